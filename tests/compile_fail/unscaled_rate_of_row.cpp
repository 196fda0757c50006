// SPDX-License-Identifier: Apache-2.0
// expect: dropout::unscaled needs a dropout whose op has a member .scale.
// expect: rate_of_row
// A dropout without a scale that could be left out.
#include <espalier/dropout/bernoulli.hpp>
#include <espalier/dropout/rate_of_row.hpp>
#include <espalier/dropout/unscaled.hpp>
#include <espalier/layer/dense.hpp>
#include <espalier/layer/input.hpp>
#include <espalier/layer/sequence.hpp>
using namespace espalier;
#ifdef ESPALIER_POSITIVE_TWIN
using stack = sequence<input<16>, dense<8, dropout::unscaled<dropout::bernoulli<0.5>>>>;
#else
using stack = sequence<input<16>, dense<8, dropout::unscaled<dropout::rate_of_row<>>>>;
#endif
inline constexpr index_t width = stack::bind<shape{}, type_list<>>::output.size();
