// SPDX-License-Identifier: Apache-2.0
// expect: a projection needs .*apply\(T next\) const. or .*apply\(T next, element_about<T> const& about\) const
// expect: at_layer<1>
// A projection whose function is not const.
#include <espalier/core/macros.hpp>
#include <espalier/layer/dense.hpp>
#include <espalier/layer/input.hpp>
#include <espalier/layer/sequence.hpp>
using namespace espalier;
#ifdef ESPALIER_POSITIVE_TWIN
#define CONST const
#else
#define CONST
#endif
struct zeros_only {
    using axis = espalier::axis::projection;
    template <class T> ESPALIER_FN T apply(T next) CONST { return next - next; }
};
using stack = sequence<input<16>, dense<8, zeros_only>>;
inline constexpr index_t width = stack::bind<shape{}, type_list<>>::output.size();
