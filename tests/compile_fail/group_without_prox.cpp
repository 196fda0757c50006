// SPDX-License-Identifier: Apache-2.0
// expect: penalty::proximal needs a penalty with .*T prox\(T w, element_about<T> const& about\) const
// expect c++: from_policy<.*squares_of_groups>
// expect nvcc: Penalty=squares_of_groups
// A penalty over groups without a prox, asked for it.
#include <espalier/core/macros.hpp>
#include <espalier/layer/dense.hpp>
#include <espalier/layer/input.hpp>
#include <espalier/layer/sequence.hpp>
#include <espalier/penalty/proximal.hpp>
using namespace espalier;
struct squares_of_groups {
    using axis = espalier::axis::penalty;
    static constexpr group_scope groups = group_scope::rows;
    template <class T> ESPALIER_FN T gradient(T w) const { return w + w; }
    template <class T> ESPALIER_FN T group_value(T squared_norm) const { return squared_norm; }
#ifdef ESPALIER_POSITIVE_TWIN
    template <class T> ESPALIER_FN T prox(T w, element_about<T> const& about) const {
        return w / (T(1) + about.rate + about.rate);
    }
#endif
};
using stack = sequence<input<16>, dense<8, penalty::proximal<squares_of_groups>>>;
inline constexpr index_t width = stack::bind<shape{}, type_list<>>::output.size();
