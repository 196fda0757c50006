// SPDX-License-Identifier: Apache-2.0
// expect: a function takes or gives one type of number, and loops call it with packs of them too
// expect: a penalty needs .*T value\(T w\) const
// expect: at_layer<1>
// A penalty whose value is always a double: a pack of them cannot become one.
#include <espalier/core/macros.hpp>
#include <espalier/layer/dense.hpp>
#include <espalier/layer/input.hpp>
#include <espalier/layer/sequence.hpp>
using namespace espalier;
struct square {
    using axis = espalier::axis::penalty;
#ifdef ESPALIER_POSITIVE_TWIN
    template <class T> ESPALIER_FN T value(T w) const {
        return w * w;
    }
#else
    template <class T> ESPALIER_FN double value(T w) const {
        return w * w;
    }
#endif
    template <class T> ESPALIER_FN T gradient(T w) const {
        return w + w;
    }
};
using stack = sequence<input<16>, dense<8, square>>;
inline constexpr index_t width = stack::bind<shape{}, type_list<>>::output.size();
