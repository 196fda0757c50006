// SPDX-License-Identifier: Apache-2.0
// expect: the layer before gives rows of another width than this input<> states
// expect: at_layer<2>
// expect c++: given_width<32
// expect c++: needed_width<64
// expect nvcc: In=espalier::shape\{32, 1, 1\}
// expect nvcc: input<64
// A checkpoint in the middle of a stack states another width than the layer before gives.
#include <espalier/layer/dense.hpp>
#include <espalier/layer/input.hpp>
#include <espalier/layer/sequence.hpp>
using namespace espalier;
#ifdef ESPALIER_POSITIVE_TWIN
using stack = sequence<input<16>, dense<32>, input<32>, dense<10>>;
#else
using stack = sequence<input<16>, dense<32>, input<64>, dense<10>>;
#endif
inline constexpr index_t width = stack::bind<shape{}, type_list<>>::output.size();
