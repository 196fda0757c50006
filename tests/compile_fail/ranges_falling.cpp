// SPDX-License-Identifier: Apache-2.0
// expect: gate::ranges_between needs at least two bounds, each above the one before it
#include <espalier/gate/by_range.hpp>
#include <espalier/gate/softmax.hpp>
#include <espalier/gate/top_k.hpp>
#include <espalier/layer/dense.hpp>
#include <espalier/layer/input.hpp>
#include <espalier/layer/moe.hpp>
#include <espalier/layer/sequence.hpp>
using namespace espalier;
#ifdef ESPALIER_POSITIVE_TWIN
using stack = sequence<input<8>, moe<gate::by_range<gate::ranges_between<0.0, 1.0, 2.0>>, dense<4>>>;
#else
using stack = sequence<input<8>, moe<gate::by_range<gate::ranges_between<0.0, 2.0, 1.0>>, dense<4>>>;
#endif
inline constexpr index_t width = stack::bind<shape{}, type_list<>>::output.size();
