// SPDX-License-Identifier: Apache-2.0
// expect: a function takes or gives one type of number, and loops call it with packs of them too
// expect: an activation needs .*T forward\(T x\)
// expect: at_layer<1>
// expect c++: from_policy<.*cube>
// expect nvcc: P=cube
// An activation of floats alone: doubles become floats silently, packs cannot.
#include <espalier/core/macros.hpp>
#include <espalier/layer/dense.hpp>
#include <espalier/layer/input.hpp>
#include <espalier/layer/sequence.hpp>
using namespace espalier;
struct cube {
    using axis = espalier::axis::activation;
#ifdef ESPALIER_POSITIVE_TWIN
    template <class T> ESPALIER_FN static T forward(T x) {
        return x * x * x;
    }
#else
    ESPALIER_FN static float forward(float x) {
        return x * x * x;
    }
#endif
    template <class T> ESPALIER_FN static T backward(T x, T, T dy) {
        return dy * T(3) * x * x;
    }
};
using stack = sequence<input<16>, dense<8, cube>>;
inline constexpr index_t width = stack::bind<shape{}, type_list<>>::output.size();
