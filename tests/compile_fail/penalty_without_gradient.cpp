// SPDX-License-Identifier: Apache-2.0
// expect: a penalty needs .*gradient
// expect: at_layer<1>
// expect c++: from_policy<.*sum_of_weights>
// expect nvcc: P=sum_of_weights
// A penalty on parameters that has a value and no gradient.
#include <espalier/core/macros.hpp>
#include <espalier/layer/dense.hpp>
#include <espalier/layer/input.hpp>
#include <espalier/layer/sequence.hpp>
using namespace espalier;
struct sum_of_weights {
    using axis = espalier::axis::penalty;
    template <class T> ESPALIER_FN T value(T w) const { return w; }
#ifdef ESPALIER_POSITIVE_TWIN
    template <class T> ESPALIER_FN T gradient(T) const {
        return T(1);
    }
#endif
};
using stack = sequence<input<16>, dense<8, sum_of_weights>>;
inline constexpr index_t width = stack::bind<shape{}, type_list<>>::output.size();
