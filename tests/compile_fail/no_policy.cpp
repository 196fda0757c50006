// SPDX-License-Identifier: Apache-2.0
// expect: something in a layer.s list is not a policy
// expect: at_layer<1>
// expect c++: from_policy<.*dense<4>
// expect nvcc: P=espalier::dense<4>
// A layer in the list of another layer's policies.
#include <espalier/activation/relu.hpp>
#include <espalier/layer/dense.hpp>
#include <espalier/layer/input.hpp>
#include <espalier/layer/sequence.hpp>
using namespace espalier;
#ifdef ESPALIER_POSITIVE_TWIN
using stack = sequence<input<16>, dense<8, activation::relu>, dense<4>>;
#else
using stack = sequence<input<16>, dense<8, activation::relu, dense<4>>>;
#endif
inline constexpr index_t width = stack::bind<shape{}, type_list<>>::output.size();
