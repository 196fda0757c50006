// SPDX-License-Identifier: Apache-2.0
// expect: a tensor has one mask, and both maps of weight::composed have one
// expect: given_type<
// Two masks, of which a tensor has one.
#include <espalier/core/layout.hpp>
#include <espalier/weight/composed.hpp>
#include <espalier/weight/fixed_mask.hpp>
#include <espalier/weight/identity.hpp>
using namespace espalier;
#ifdef ESPALIER_POSITIVE_TWIN
using outer = weight::identity;
#else
using outer = weight::fixed_mask;
#endif
inline constexpr bool masked = weight::composed<weight::fixed_mask, outer>::op::uses_mask;
