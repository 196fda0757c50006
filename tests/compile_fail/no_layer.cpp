// SPDX-License-Identifier: Apache-2.0
// expect: something in a sequence is not a layer
// expect c++: at_layer<2>
// expect nvcc: Which=2
// expect: relu
// A policy where a layer is expected.
#include <espalier/activation/relu.hpp>
#include <espalier/layer/dense.hpp>
#include <espalier/layer/elementwise.hpp>
#include <espalier/layer/input.hpp>
#include <espalier/layer/sequence.hpp>
using namespace espalier;
#ifdef ESPALIER_POSITIVE_TWIN
using stack = sequence<input<16>, dense<8>, elementwise<activation::relu>, dense<4>>;
#else
using stack = sequence<input<16>, dense<8>, activation::relu, dense<4>>;
#endif
inline constexpr index_t width = stack::bind<shape{}, type_list<>>::output.size();
