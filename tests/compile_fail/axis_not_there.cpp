// SPDX-License-Identifier: Apache-2.0
// expect: a policy stands on an axis that this layer does not have
// expect: at_layer<1>
// expect c++: on_axis<.*gate>
// expect: top_k<8, 2
// expect nvcc: top_k<8, 2
// A gate in a dense layer.
#include <espalier/gate/top_k.hpp>
#include <espalier/layer/dense.hpp>
#include <espalier/layer/input.hpp>
#include <espalier/layer/moe.hpp>
#include <espalier/layer/sequence.hpp>
using namespace espalier;
#ifdef ESPALIER_POSITIVE_TWIN
using stack = sequence<input<16>, moe<gate::top_k<8, 2>, dense<4>>>;
#else
using stack = sequence<input<16>, dense<4, gate::top_k<8, 2>>>;
#endif
inline constexpr index_t width = stack::bind<shape{}, type_list<>>::output.size();
