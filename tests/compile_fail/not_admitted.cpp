// SPDX-License-Identifier: Apache-2.0
// expect c++: a policy refuses the layer it was given to
// expect: at_layer<1>
// expect c++: from_policy<.*only_alone>
// expect nvcc: P=only_alone
// A policy that asks for a layer without other policies.
#include <espalier/core/macros.hpp>
#include <espalier/layer/dense.hpp>
#include <espalier/layer/input.hpp>
#include <espalier/layer/sequence.hpp>
using namespace espalier;
struct only_alone {
    using axis = espalier::axis::activation;
    template <class T> ESPALIER_FN static T forward(T x) { return x; }
    template <class T> ESPALIER_FN static T backward(T, T, T dy) { return dy; }
    template <class Layer> static consteval bool admits() { return std::is_same_v<Layer, dense<8, only_alone>>; }
};
#ifdef ESPALIER_POSITIVE_TWIN
using stack = sequence<input<16>, dense<8, only_alone>>;
#else
using stack = sequence<input<16>, dense<8, only_alone, no_bias>>;
#endif
inline constexpr index_t width = stack::bind<shape{}, type_list<>>::output.size();
