// SPDX-License-Identifier: Apache-2.0
// expect: two policies stand on an axis that has room for one
// expect: alone
// expect c++: on_axis<.*activation>
// expect nvcc: Axis=espalier::(axis::activation|activation::relu::axis)
// Two activations for every layer.
#include <espalier/activation/relu.hpp>
#include <espalier/activation/tanh.hpp>
#include <espalier/layer/dense.hpp>
#include <espalier/layer/everywhere.hpp>
#include <espalier/layer/input.hpp>
#include <espalier/layer/sequence.hpp>
#include <espalier/network/parameters.hpp>
using namespace espalier;
using inner = sequence<input<16>, dense<8>, dense<4>>;
#ifdef ESPALIER_POSITIVE_TWIN
using stack = everywhere<inner, activation::relu>;
#else
using stack = everywhere<inner, activation::relu, activation::tanh>;
#endif
inline constexpr index_t width = bound<stack>::output.size();
