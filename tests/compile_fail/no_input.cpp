// SPDX-License-Identifier: Apache-2.0
// expect: the width of the layer.s input is unknown; begin the stack with espalier::input<WIDTH>
// expect: at_layer<0>
// A stack that does not begin with input<>.
#include <espalier/layer/dense.hpp>
#include <espalier/layer/input.hpp>
#include <espalier/layer/sequence.hpp>
using namespace espalier;
#ifdef ESPALIER_POSITIVE_TWIN
using stack = sequence<input<16>, dense<32>, dense<10>>;
#else
using stack = sequence<dense<32>, dense<10>>;
#endif
inline constexpr index_t width = stack::bind<shape{}, type_list<>>::output.size();
