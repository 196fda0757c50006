// SPDX-License-Identifier: Apache-2.0
// expect: a tap stands where every row of the batch passes once
// expect: put them before or behind it
// A tap in a tail that runs every row several times.
#include <espalier/core/short_name.hpp>
#include <espalier/layer/dense.hpp>
#include <espalier/layer/input.hpp>
#include <espalier/layer/multi_sample.hpp>
#include <espalier/layer/sequence.hpp>
#include <espalier/layer/tap.hpp>
using namespace espalier;
using namespace espalier::literals;
#ifdef ESPALIER_POSITIVE_TWIN
using stack = sequence<input<16>, tap<"features"_name>, multi_sample<3, dense<4>>>;
#else
using stack = sequence<input<16>, multi_sample<3, tap<"features"_name>, dense<4>>>;
#endif
inline constexpr index_t width = stack::bind<shape{}, type_list<>>::output.size();
