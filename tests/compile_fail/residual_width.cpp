// SPDX-License-Identifier: Apache-2.0
// expect: the layers inside a residual give another width than they receive
// expect: at_layer<1>
// expect c++: given_width<24
// expect c++: needed_width<16
// expect nvcc: In=espalier::shape\{16, 1, 1\}
// expect nvcc: dense<24>
// A residual whose inner layers change the width.
#include <espalier/layer/dense.hpp>
#include <espalier/layer/input.hpp>
#include <espalier/layer/residual.hpp>
#include <espalier/layer/sequence.hpp>
using namespace espalier;
#ifdef ESPALIER_POSITIVE_TWIN
using stack = sequence<input<16>, residual<dense<24>, dense<16>>, dense<10>>;
#else
using stack = sequence<input<16>, residual<dense<32>, dense<24>>, dense<10>>;
#endif
inline constexpr index_t width = stack::bind<shape{}, type_list<>>::output.size();
