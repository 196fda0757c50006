// SPDX-License-Identifier: Apache-2.0
// expect: two policies stand on an axis that has room for one
// expect: at_layer<1>
// expect c++: on_axis<.*activation>
// expect c++: given<\(?(int\))?2
// expect nvcc: Axis=espalier::axis::activation
// expect nvcc: relu, espalier::activation::tanh
// Two activations in one layer.
#include <espalier/activation/relu.hpp>
#include <espalier/activation/tanh.hpp>
#include <espalier/layer/dense.hpp>
#include <espalier/layer/input.hpp>
#include <espalier/layer/sequence.hpp>
using namespace espalier;
#ifdef ESPALIER_POSITIVE_TWIN
using stack = sequence<input<16>, dense<8, activation::tanh>>;
#else
using stack = sequence<input<16>, dense<8, activation::relu, activation::tanh>>;
#endif
inline constexpr index_t width = stack::bind<shape{}, type_list<>>::output.size();
