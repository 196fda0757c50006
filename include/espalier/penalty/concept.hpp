// SPDX-License-Identifier: Apache-2.0
// What a penalty on parameters is: a term of the objective, evaluated where the update pass has the weight in a
// register.
//
// Archetype of the op of an element-wise penalty (everything but `value` and `gradient` is optional):
//
//     struct my_op {                                            // numbers; the type carries structure only
//         template <class T> ESPALIER_FN T value(T w) const;    // share of the weight w in the term
//         template <class T> ESPALIER_FN T gradient(T w) const; // its derivative (a subgradient at kinks)
//         // argmin_u value(u) + (u - w)^2 / (2 about.rate), where w is the weight after the step: what `proximal<>`
//         // uses in place of the gradient
//         template <class T> ESPALIER_FN T prox(T w, element_about<T> const& about) const;
//         static constexpr bool proximal = false;               // true: prox after the step, gradient not used
//         static constexpr bool needs_mask = false;             // true: only for tensors with a mask: `about.keep`
//         // companions: further tensors of the extents of the weights, whose numbers of w `about.companion[k]` has
//         static constexpr int companions = 1;                  // or 2
//         static constexpr std::string_view companion_names[companions] = {"anchor"};
//     };
//
// and of one over groups, the rows or columns of a tensor or all of it, whose `about` has the squared norm of the group
// of w:
//
//     struct my_group_op {
//         static constexpr group_scope groups = group_scope::rows;
//         template <class T> ESPALIER_FN T group_value(T squared_norm) const; // share of one group in the term
//         template <class T> ESPALIER_FN T gradient(T w, element_about<T> const& about) const;
//         // optional: the element of w in argmin_u group_value(|u|^2) + |u - w|^2 / (2 about.rate), where the norm is
//         // that of the group after the step; w itself for a rate of 0
//         template <class T> ESPALIER_FN T prox(T w, element_about<T> const& about) const;
//     };
//
// Groups may be nested, group k being made of rows (or columns) k, k + 1, ...: with `static constexpr bool nested =
// true` the op has
//
//         // twice the derivative of group_value; 0 at a norm of 0
//         template <class T> ESPALIER_FN T group_pull(T squared_norm) const;
//
// and `about.group_pull` is the sum of that over the groups that w is in: the gradient is w times it. A policy over
// groups may be over group_scope::ranks, with `template <over Side> using along`, itself over rows or columns.
//
// Every function of w may have `about` or not (core/element_about.hpp says what is in it). T is float, double or a pack
// of them. The policy itself has `axis`, `name`, `op` and `at(clock)` as in core/policy.hpp; a group policy may have a
// short_name `group_name`: groups of equal name and equal index share one norm across tensors. Penalties of one tensor
// whose ops name the same companion read the same one.
#pragma once

#include <espalier/core/about.hpp>
#include <espalier/core/companions.hpp>
#include <espalier/core/element_about.hpp>
#include <espalier/core/members.hpp>
#include <espalier/core/pack.hpp>
#include <espalier/core/policy.hpp>
#include <espalier/penalty/axis.hpp>

#include <concepts>
#include <cstddef>
#include <string_view>
#include <type_traits>

namespace espalier::penalty {

namespace detail {
ESPALIER_ABOUT_FORMS(value)
ESPALIER_ABOUT_FORMS(gradient)
ESPALIER_ABOUT_FORMS(prox)
} // namespace detail

template <class Op, class T>
concept has_value = requires(Op const& op, element_about<T> const& about, T w) {
    { detail::value(op, about, w) } -> gives<T>;
};

template <class Op, class T>
concept has_gradient = requires(Op const& op, element_about<T> const& about, T w) {
    { detail::gradient(op, about, w) } -> gives<T>;
};

template <class Op, class T>
concept has_prox = requires(Op const& op, element_about<T> const& about, T w) {
    { detail::prox(op, about, w) } -> gives<T>;
};

template <class Op, class T>
concept has_group_value = requires(Op const& op, T squared_norm) {
    { op.group_value(squared_norm) } -> gives<T>;
};

template <class Op, class T>
concept has_group_pull = requires(Op const& op, T squared_norm) {
    { op.group_pull(squared_norm) } -> gives<T>;
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
float > &&has_group_value<op_of<P>, double>&& has_gradient<op_of<P>, float>&& has_gradient<op_of<P>, double>&&
            has_group_value<op_of<P>, native_pack<float>>&& has_gradient<op_of<P>, native_pack<float>>;

} // namespace espalier::penalty

namespace espalier {

/// What a policy on the axis needs.
template <class Asked> consteval bool axis::penalty::members() {
    using op = typename Asked::op;
    using namespace detail;
    constexpr bool named = names_companions<op>();
    ESPALIER_NEEDS(named,
                   "a penalty that reads companions of the weights needs `static constexpr int companions = 1;` (or "
                   "2) and `static constexpr std::string_view companion_names[companions] = {\"anchor\"};` in its op, "
                   "each with a name of its own");
    if constexpr (penalty_groups<op>() != group_scope::element) {
        ESPALIER_NEEDS_OF_T(gradient, espalier::penalty::has_gradient,
                            "a penalty over groups needs `template <class T> ESPALIER_FN T gradient(T w, "
                            "element_about<T> const& about) const` in its op; about.squared_norm is that of the "
                            "group of w");
        ESPALIER_NEEDS_OF_T(value, espalier::penalty::has_group_value,
                            "a penalty over groups needs `template <class T> ESPALIER_FN T group_value(T "
                            "squared_norm) const` in its op, the share of one group in the term");
        if constexpr (op_nests<op>()) {
            ESPALIER_NEEDS_OF_T(pull, espalier::penalty::has_group_pull,
                                "a penalty over nested groups needs `template <class T> ESPALIER_FN T group_pull(T "
                                "squared_norm) const` in its op, what a group multiplies each of its weights with in "
                                "the gradient");
            return named && gradient && value && pull;
        } else {
            return named && gradient && value;
        }
    } else {
        ESPALIER_NEEDS_OF_T(value, espalier::penalty::has_value,
                            "a penalty needs `template <class T> ESPALIER_FN T value(T w) const` in its op, the "
                            "share of one weight in the term; `element_about<T> const& about` may follow w");
        if constexpr (is_proximal<op>()) {
            ESPALIER_NEEDS_OF_T(prox, espalier::penalty::has_prox,
                                "a penalty that is `proximal` needs `template <class T> ESPALIER_FN T prox(T w, "
                                "element_about<T> const& about) const` in its op; the rate is about.rate");
            return named && value && prox;
        } else {
            ESPALIER_NEEDS_OF_T(gradient, espalier::penalty::has_gradient,
                                "a penalty needs `template <class T> ESPALIER_FN T gradient(T w) const` in its op, "
                                "the derivative of its value; `element_about<T> const& about` may follow w");
            return named && value && gradient;
        }
    }
}

} // namespace espalier
