// SPDX-License-Identifier: Apache-2.0
// What a penalty on parameters is: a term of the objective, evaluated where the update pass has the weight in a
// register.
//
// Archetype of the op of an element-wise penalty (everything but `value` and `gradient` is optional):
//
//     struct my_op {                                            // numbers; the type carries structure only
//         template <class T> ESPALIER_FN T value(T w) const;    // share of the weight w in the term
//         template <class T> ESPALIER_FN T gradient(T w) const; // its derivative (a subgradient at kinks)
//         template <class T> ESPALIER_FN T prox(T w, T rate) const; // argmin_u value(u) + (u - w)^2 / (2 rate);
//                                                                   // what `proximal<>` uses in place of the gradient
//         static constexpr bool proximal = false;               // true: prox after the step, gradient not used
//     };
//
// and of one over groups, the rows or columns of a tensor:
//
//     struct my_group_op {
//         static constexpr group_scope groups = group_scope::rows;
//         template <class T> ESPALIER_FN T gradient(T w, T squared_norm) const; // squared norm of the group of w
//         template <class T> ESPALIER_FN T group_value(T squared_norm) const;   // share of one group in the term
//         // optional, what `proximal<>` uses: the element of w in argmin_u group_value(|u|^2) + |u - w|^2 / (2 rate),
//         // where squared_norm is that of the group after the step; w itself for a rate of 0
//         template <class T> ESPALIER_FN T prox(T w, T rate, T squared_norm) const;
//     };
//
// T is float, double or a pack of them. The policy itself has `axis`, `name`, `op` and `at(clock)` as in
// core/policy.hpp; a group policy may have a short_name `group_name`: groups of equal name and equal index share one
// norm across tensors.
#pragma once

#include <espalier/core/members.hpp>
#include <espalier/core/pack.hpp>
#include <espalier/core/policy.hpp>
#include <espalier/core/update.hpp>
#include <espalier/penalty/axis.hpp>

#include <concepts>
#include <type_traits>

namespace espalier::penalty {

template <class Op, class T>
concept has_value = requires(Op const& op, T x) {
    { op.value(x) } -> gives<T>;
};

template <class Op, class T>
concept has_gradient = requires(Op const& op, T x) {
    { op.gradient(x) } -> gives<T>;
};

template <class Op, class T>
concept has_prox = requires(Op const& op, T x) {
    { op.prox(x, x) } -> gives<T>;
};

template <class Op, class T>
concept has_group_gradient = requires(Op const& op, T x) {
    { op.gradient(x, x) } -> gives<T>;
};

template <class Op, class T>
concept has_group_value = requires(Op const& op, T x) {
    { op.group_value(x) } -> gives<T>;
};

template <class Op, class T>
concept has_group_prox = requires(Op const& op, T x) {
    { op.prox(x, x, x) } -> gives<T>;
};

template <class Op>
concept has_groups = std::same_as<std::remove_cvref_t<decltype(Op::groups)>, group_scope>;

template <class P>
concept element_penalty = policy_on<P, axis::penalty> && std::is_trivially_copyable_v<op_of<P>> && has_value < op_of<P>,
float > &&has_value<op_of<P>, double>&& has_gradient<op_of<P>, float>&& has_gradient<op_of<P>, double>&&
            has_value<op_of<P>, native_pack<float>>&& has_gradient<op_of<P>, native_pack<float>>;

template <class P>
concept group_penalty = policy_on<P, axis::penalty> && std::is_trivially_copyable_v<op_of<P>> && has_groups<op_of<P>> &&
                        has_group_value < op_of<P>,
float >
    &&has_group_value<op_of<P>, double>&& has_group_gradient<op_of<P>, float>&& has_group_gradient<op_of<P>, double>&&
        has_group_value<op_of<P>, native_pack<float>>&& has_group_gradient<op_of<P>, native_pack<float>>;

} // namespace espalier::penalty

namespace espalier {

/// What a policy on the axis needs.
template <class Asked> consteval bool axis::penalty::members() {
    using op = typename Asked::op;
    using namespace detail;
    if constexpr (penalty_groups<op>() != group_scope::element) {
        ESPALIER_NEEDS_OF_T(gradient, espalier::penalty::has_group_gradient,
                            "a penalty over groups needs `template <class T> ESPALIER_FN T gradient(T w, T "
                            "squared_norm) const` in its op");
        ESPALIER_NEEDS_OF_T(value, espalier::penalty::has_group_value,
                            "a penalty over groups needs `template <class T> ESPALIER_FN T group_value(T "
                            "squared_norm) const` in its op, the share of one group in the term");
        return gradient && value;
    } else {
        ESPALIER_NEEDS_OF_T(value, espalier::penalty::has_value,
                            "a penalty needs `template <class T> ESPALIER_FN T value(T w) const` in its op, the "
                            "share of one weight in the term");
        if constexpr (is_proximal<op>()) {
            ESPALIER_NEEDS_OF_T(prox, espalier::penalty::has_prox,
                                "a penalty that is `proximal` needs `template <class T> ESPALIER_FN T prox(T w, T "
                                "rate) const` in its op");
            return value && prox;
        } else {
            ESPALIER_NEEDS_OF_T(gradient, espalier::penalty::has_gradient,
                                "a penalty needs `template <class T> ESPALIER_FN T gradient(T w) const` in its op, "
                                "the derivative of its value");
            return value && gradient;
        }
    }
}

} // namespace espalier
