// SPDX-License-Identifier: Apache-2.0
// What an activation is: a function of one element, or of one row.
//
// Archetype, element form (everything but `axis`, `forward` and `backward` is optional):
//
//     struct my_activation {
//         using axis = espalier::axis::activation;
//         static constexpr std::string_view name = "mine";
//         static constexpr bool reads_input = true;   // whether backward looks at x; both are true when not declared,
//         static constexpr bool reads_output = true;  //   and an activation that looks at one needs less memory
//         template <class T> ESPALIER_FN static T forward(T x);            // T: float, double, or a pack of them
//         template <class T> ESPALIER_FN static T backward(T x, T y, T dy); // y = forward(x); gives dy * dy/dx
//     };
//
// Row form, for functions that mix the columns of a row. Both work in place; backward sees outputs only.
//
//     struct my_row_activation {
//         using axis = espalier::axis::activation;
//         static constexpr bool row_form = true;
//         template <class Group, class T, int N>
//         ESPALIER_FN static void forward(Group const& group, row<Group, T, N>& x);
//         template <class Group, class T, int N>
//         ESPALIER_FN static void backward(Group const& group, row<Group, T, N> const& y, row<Group, T, N>& dy);
//     };
#pragma once

#include <espalier/activation/axis.hpp>
#include <espalier/core/about.hpp>
#include <espalier/core/group.hpp>
#include <espalier/core/macros.hpp>
#include <espalier/core/members.hpp>
#include <espalier/core/pack.hpp>
#include <espalier/core/row.hpp>

#include <concepts>
#include <type_traits>

namespace espalier::activation {

namespace detail {

ESPALIER_MEMBER_OR(is_row_form, row_form, false)
ESPALIER_MEMBER_OR(reads_input, reads_input, true)
ESPALIER_MEMBER_OR(reads_output, reads_output, true)
} // namespace detail

/// Whether backward of an element activation looks at what came in.
template <class A> inline constexpr bool reads_input = detail::reads_input<A>();
/// Whether it looks at what went out.
template <class A> inline constexpr bool reads_output = detail::reads_output<A>();
/// Whether the activation mixes the columns of a row.
template <class A> inline constexpr bool row_form = detail::is_row_form<A>();

template <class A>
concept on_activation_axis = std::same_as<typename A::axis, axis::activation>;

template <class A, class T>
concept has_forward = requires(A const& a, T x) {
    { a.forward(x) } -> gives<T>;
};

template <class A, class T>
concept has_backward = requires(A const& a, T x) {
    { a.backward(x, x, x) } -> gives<T>;
};

template <class A>
concept element_activation = on_activation_axis<A> && !row_form<A> && has_forward<A, float> && has_backward<A, float> &&
                             has_forward<A, double> && has_backward<A, double> && has_forward<A, native_pack<float>> &&
                             has_backward<A, native_pack<float>>;

template <class A, class T>
concept has_row_functions = requires(serial_group g, row<serial_group, T, 3>& x) {
    A::forward(g, x);
    A::backward(g, x, x);
};

template <class A>
concept row_activation =
    on_activation_axis<A> && row_form<A> && has_row_functions<A, float> && has_row_functions<A, native_pack<float>>;

} // namespace espalier::activation

namespace espalier {

/// What a policy on the axis needs.
template <class Asked> consteval bool axis::activation::members() {
    using op = typename Asked::op;
    if constexpr (espalier::activation::row_form<op>) {
        ESPALIER_NEEDS_OF_T(both, espalier::activation::has_row_functions,
                            "a row-wise activation needs `template <class Group, class T, int N> static void "
                            "forward(Group const&, row<Group, T, N>& x)` and `backward(Group const&, row<Group, "
                            "T, N> const& y, row<Group, T, N>& dy)`");
        return both;
    } else {
        ESPALIER_NEEDS_OF_T(forward, espalier::activation::has_forward,
                            "an activation needs `template <class T> ESPALIER_FN static T forward(T x)`");
        ESPALIER_NEEDS_OF_T(backward, espalier::activation::has_backward,
                            "an activation needs `template <class T> ESPALIER_FN static T backward(T x, T y, "
                            "T dy)`, which gives dy times the derivative at x; y is forward(x)");
        return forward && backward;
    }
}

} // namespace espalier
