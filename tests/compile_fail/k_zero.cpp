// SPDX-License-Identifier: Apache-2.0
// expect: gate::top_k<experts, k> needs 1 <= k <= experts
#include <espalier/gate/softmax.hpp>
#include <espalier/gate/top_k.hpp>
#include <espalier/layer/dense.hpp>
#include <espalier/layer/input.hpp>
#include <espalier/layer/moe.hpp>
#include <espalier/layer/sequence.hpp>
using namespace espalier;
#ifdef ESPALIER_POSITIVE_TWIN
using stack = sequence<input<8>, moe<gate::top_k<4, 1>, dense<4>>>;
#else
using stack = sequence<input<8>, moe<gate::top_k<4, 0>, dense<4>>>;
#endif
inline constexpr index_t width = stack::bind<shape{}, type_list<>>::output.size();
