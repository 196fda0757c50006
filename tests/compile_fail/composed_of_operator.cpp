// SPDX-License-Identifier: Apache-2.0
// expect: weight::composed puts one weight map behind another, both element by element
// expect c++: given_type<
// An operator stands in the place of the kernel and maps no weights.
#include <espalier/layer/dense.hpp>
#include <espalier/weight/composed.hpp>
#include <espalier/weight/fixed_mask.hpp>
#include <espalier/weight/identity.hpp>
#include <espalier/weight/low_rank.hpp>
using namespace espalier;
#ifdef ESPALIER_POSITIVE_TWIN
using inner = weight::identity;
#else
using inner = weight::low_rank<4>;
#endif
inline constexpr auto name = weight::composed<inner, weight::fixed_mask>::name;
