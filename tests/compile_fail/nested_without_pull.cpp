// SPDX-License-Identifier: Apache-2.0
// expect: a penalty over nested groups needs .*T group_pull\(T squared_norm\) const
// A penalty over nested groups that does not say what one of them does to a weight.
#include <espalier/core/macros.hpp>
#include <espalier/layer/dense.hpp>
#include <espalier/layer/input.hpp>
#include <espalier/layer/sequence.hpp>
using namespace espalier;
struct squares_of_tails {
    using axis = espalier::axis::penalty;
    static constexpr group_scope groups = group_scope::rows;
    static constexpr bool nested = true;
    template <class T> ESPALIER_FN T gradient(T w, element_about<T> const& about) const { return w * about.group_pull; }
    template <class T> ESPALIER_FN T group_value(T squared_norm) const { return squared_norm; }
#ifdef ESPALIER_POSITIVE_TWIN
    template <class T> ESPALIER_FN T group_pull(T) const {
        return T(2);
    }
#endif
};
using stack = sequence<input<16>, dense<8, squares_of_tails>>;
inline constexpr index_t width = stack::bind<shape{}, type_list<>>::output.size();
