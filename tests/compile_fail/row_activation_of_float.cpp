// SPDX-License-Identifier: Apache-2.0
// expect: a function takes or gives one type of number, and loops call it with packs of them too
// expect: a row-wise activation needs
// expect: at_layer<1>
// An activation of rows of numbers, where the loops have sixteen rows at once.
#include <espalier/core/macros.hpp>
#include <espalier/layer/dense.hpp>
#include <espalier/layer/input.hpp>
#include <espalier/layer/sequence.hpp>
using namespace espalier;
#ifdef ESPALIER_POSITIVE_TWIN
#define NUMBERS T
#else
#define NUMBERS scalar_of<T>
#endif
struct halved {
    using axis = espalier::axis::activation;
    static constexpr bool row_form = true;
    template <class Group, class T, int N> ESPALIER_FN static void forward(Group const&, row<Group, T, N>& x) {
        for (int i = 0; i < x.local; ++i)
            x.v[i] = T(0.5f) * x.v[i];
    }
    template <class Group, class T, int N>
    ESPALIER_FN static void backward(Group const&, row<Group, NUMBERS, N> const&, row<Group, T, N>& dy) {
        for (int i = 0; i < dy.local; ++i)
            dy.v[i] = T(0.5f) * dy.v[i];
    }
};
using stack = sequence<input<16>, dense<8, halved>>;
inline constexpr index_t width = stack::bind<shape{}, type_list<>>::output.size();
