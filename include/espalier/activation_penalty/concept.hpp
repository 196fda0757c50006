// SPDX-License-Identifier: Apache-2.0
// What a penalty on activations is: a term over the output of a layer, whose gradient joins the upstream gradient
// inside backward.
//
// Archetype of its op (the policy has `axis`, `name`, `op` and `at(clock)` as in core/policy.hpp):
//
//     struct my_op {
//         static constexpr penalty_scope scope = penalty_scope::element; // what is summed: all elements, or each
//         column template <class T> ESPALIER_FN T contribution(T y) const;      // share of one element in the sum
//         ESPALIER_FN double finish(double sum, double row_count) const; // the term; for columns, the share of one
//         column template <class T> ESPALIER_FN T gradient(T y, T row_count) const;               // element: d term /
//         d y template <class T> ESPALIER_FN T gradient(T y, T column_sum, T row_count) const; // column:  d term / d y
//     };
//
// T is float, double or a pack of them. `finish` is not called, and the term is 0, for a batch without rows.
#pragma once

#include <espalier/activation_penalty/axis.hpp>
#include <espalier/core/epilogue.hpp>
#include <espalier/core/members.hpp>
#include <espalier/core/pack.hpp>
#include <espalier/core/policy.hpp>

#include <concepts>
#include <type_traits>

namespace espalier::activation_penalty {

template <class Op>
concept has_scope = std::same_as<std::remove_cvref_t<decltype(Op::scope)>, penalty_scope>;

template <class Op, class T>
concept has_contribution = requires(Op const& op, T y) {
    { op.contribution(y) } -> gives<T>;
};

template <class Op>
concept has_finish = requires(Op const& op, double sum) {
    { op.finish(sum, sum) } -> std::convertible_to<double>;
};

template <class Op, class T>
concept has_element_gradient = requires(Op const& op, T y) {
    { op.gradient(y, y) } -> gives<T>;
};

template <class Op, class T>
concept has_column_gradient = requires(Op const& op, T y) {
    { op.gradient(y, y, y) } -> gives<T>;
};

namespace detail {

template <class Op, class T> consteval bool gradient_fits_scope() {
    if constexpr (Op::scope == penalty_scope::column)
        return has_column_gradient<Op, T>;
    else
        return has_element_gradient<Op, T>;
}

} // namespace detail

template <class Op, class T>
concept has_gradient_of_scope = detail::gradient_fits_scope<Op, T>();

template <class P>
concept output_penalty = policy_on<P, axis::activation_penalty> && std::is_trivially_copyable_v<op_of<P>> &&
                         has_scope<op_of<P>> && has_contribution < op_of<P>,
float > &&has_contribution<op_of<P>, double>&& has_finish<op_of<P>>&& has_gradient_of_scope<op_of<P>, float>&&
            has_gradient_of_scope<op_of<P>, double>&& has_contribution<op_of<P>, native_pack<float>>&&
                has_gradient_of_scope<op_of<P>, native_pack<float>>;

} // namespace espalier::activation_penalty

namespace espalier {

/// What a policy on the axis needs.
template <class Asked> consteval bool axis::activation_penalty::members() {
    using op = typename Asked::op;
    constexpr bool scope = espalier::activation_penalty::has_scope<op>;
    constexpr bool finish = espalier::activation_penalty::has_finish<op>;
    ESPALIER_NEEDS(scope, "an activation penalty needs `static constexpr penalty_scope scope` in its op: element or "
                          "column");
    ESPALIER_NEEDS_OF_T(contribution, espalier::activation_penalty::has_contribution,
                        "an activation penalty needs `template <class T> ESPALIER_FN T contribution(T y) const` in "
                        "its op, the share of one element in the sum");
    ESPALIER_NEEDS(finish, "an activation penalty needs `ESPALIER_FN double finish(double sum, double row_count) "
                           "const` in its op, the term that is added to the loss");
    if constexpr (scope) {
        ESPALIER_NEEDS_OF_T(gradient, espalier::activation_penalty::has_gradient_of_scope,
                            "an activation penalty needs `template <class T> ESPALIER_FN T gradient(T y, T "
                            "row_count) const` in its op, or `gradient(T y, T column_sum, T row_count)` when its "
                            "scope is column");
        return contribution && finish && gradient;
    } else {
        return false;
    }
}

} // namespace espalier
