// SPDX-License-Identifier: Apache-2.0
// expect: a number of a policy lies outside of its bounds
// expect: adaptive_gain<
// expect: eta|adaptive_gain_op::number
// A gain that would stop its adapter, and one without an end.
#include <espalier/layer/dense.hpp>
#include <espalier/layer/input.hpp>
#include <espalier/layer/sequence.hpp>
#include <espalier/weight/adaptive_gain.hpp>
#include <espalier/weight/low_rank_adapter.hpp>
#include <limits>
using namespace espalier;
#ifdef ESPALIER_POSITIVE_TWIN
using gain = weight::adaptive_gain<2.0>;
#else
using gain = weight::adaptive_gain<0.0>;
using other = weight::adaptive_gain<std::numeric_limits<double>::infinity()>::op;
#endif
using stack = sequence<input<16>, dense<8, weight::low_rank_adapter<4, gain>>>;
inline constexpr index_t width = stack::bind<shape{}, type_list<>>::output.size();
