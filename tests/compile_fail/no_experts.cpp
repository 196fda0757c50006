// SPDX-License-Identifier: Apache-2.0
// expect: a gate needs at least one expert
#include <espalier/gate/softmax.hpp>
#include <espalier/gate/top_k.hpp>
#include <espalier/layer/dense.hpp>
#include <espalier/layer/input.hpp>
#include <espalier/layer/moe.hpp>
#include <espalier/layer/sequence.hpp>
using namespace espalier;
#ifdef ESPALIER_POSITIVE_TWIN
using stack = sequence<input<8>, moe<gate::softmax<1>, dense<4>>>;
#else
using stack = sequence<input<8>, moe<gate::softmax<0>, dense<4>>>;
#endif
inline constexpr index_t width = stack::bind<shape{}, type_list<>>::output.size();
