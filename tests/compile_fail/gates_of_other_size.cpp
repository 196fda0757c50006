// SPDX-License-Identifier: Apache-2.0
// expect: the gates of a multi_gate share their experts
#include <espalier/gate/softmax.hpp>
#include <espalier/gate/top_k.hpp>
#include <espalier/layer/dense.hpp>
#include <espalier/layer/input.hpp>
#include <espalier/layer/moe.hpp>
#include <espalier/layer/multi_gate.hpp>
#include <espalier/layer/sequence.hpp>
using namespace espalier;
#ifdef ESPALIER_POSITIVE_TWIN
using stack = sequence<input<8>, multi_gate<gates<gate::top_k<4, 2>, gate::softmax<4>>, dense<4>>>;
#else
using stack = sequence<input<8>, multi_gate<gates<gate::top_k<4, 2>, gate::softmax<5>>, dense<4>>>;
#endif
inline constexpr index_t width = stack::bind<shape{}, type_list<>>::output.size();
