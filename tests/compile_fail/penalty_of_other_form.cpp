// SPDX-License-Identifier: Apache-2.0
// expect: a penalty over groups needs .*T gradient\(T w, element_about<T> const& about\) const
// expect: at_layer<1>
// expect c++: from_policy<.*norms_of_groups>
// expect nvcc: P=norms_of_groups
// A penalty over groups that wants the squared norm as an argument of its own.
#include <espalier/core/macros.hpp>
#include <espalier/layer/dense.hpp>
#include <espalier/layer/input.hpp>
#include <espalier/layer/sequence.hpp>
using namespace espalier;
struct norms_of_groups {
    using axis = espalier::axis::penalty;
    static constexpr group_scope groups = group_scope::rows;
    template <class T> ESPALIER_FN T group_value(T squared_norm) const { return squared_norm * squared_norm; }
#ifdef ESPALIER_POSITIVE_TWIN
    template <class T> ESPALIER_FN T gradient(T w, element_about<T> const& about) const {
        return T(4) * w * about.squared_norm;
    }
#else
    template <class T> ESPALIER_FN T gradient(T w, T squared_norm) const {
        return T(4) * w * squared_norm;
    }
#endif
};
using stack = sequence<input<16>, dense<8, norms_of_groups>>;
inline constexpr index_t width = stack::bind<shape{}, type_list<>>::output.size();
