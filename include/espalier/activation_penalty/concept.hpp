// SPDX-License-Identifier: Apache-2.0
// What a penalty on activations is: a term over the output of a layer, whose gradient joins the upstream gradient
// inside backward.
//
// Archetype of its op (the policy has `axis`, `name`, `op` and `at(clock)` as in core/policy.hpp):
//
//     struct my_op {
//         static constexpr penalty_scope scope = penalty_scope::element; // one sum; column: one for each column
//         template <class T> ESPALIER_FN T contribution(T y) const;      // share of one element in its sum
//         ESPALIER_FN double finish(double sum, double row_count) const; // the term; of a column its share
//         template <class T> ESPALIER_FN T gradient(T y, T row_count) const; // d term / d y
//     };
//
// A contribution or a gradient that depends on more takes `about` (core/epilogue.hpp) as its last argument; the sum of
// its column is there:
//
//         template <class T, class Bits> ESPALIER_FN T contribution(T y, epilogue_about<T, Bits> const& about) const;
//         template <class T, class Bits> ESPALIER_FN T gradient(T y, epilogue_about<T, Bits> const& about) const;
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
}
|| requires(Op const& op, T y, epilogue_about<T, drawn_bits<T>> const& about) {
    { op.contribution(y, about) } -> gives<T>;
};

template <class Op>
concept has_finish = requires(Op const& op, double sum) {
    { op.finish(sum, sum) } -> std::convertible_to<double>;
};

template <class Op, class T>
concept has_gradient = requires(Op const& op, T y) {
    { op.gradient(y, y) } -> gives<T>;
}
|| requires(Op const& op, T y, epilogue_about<T, drawn_bits<T>> const& about) {
    { op.gradient(y, about) } -> gives<T>;
};

template <class Op, class T>
concept has_functions = has_contribution<Op, T> && has_gradient<Op, T>;

template <class P>
concept output_penalty = policy_on<P, axis::activation_penalty> && std::is_trivially_copyable_v<op_of<P>> &&
                         has_scope<op_of<P>> && has_finish<op_of<P>> && has_functions < op_of<P>,
float > &&has_functions<op_of<P>, double>&& has_functions<op_of<P>, native_pack<float>>;

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
                        "its op, the share of one element in the sum, or `template <class T, class Bits> "
                        "ESPALIER_FN T contribution(T y, epilogue_about<T, Bits> const& about) const`");
    ESPALIER_NEEDS(finish, "an activation penalty needs `ESPALIER_FN double finish(double sum, double row_count) "
                           "const` in its op, the term that is added to the loss");
    ESPALIER_NEEDS_OF_T(gradient, espalier::activation_penalty::has_gradient,
                        "an activation penalty needs `template <class T> ESPALIER_FN T gradient(T y, T row_count) "
                        "const` in its op, or `template <class T, class Bits> ESPALIER_FN T gradient(T y, "
                        "epilogue_about<T, Bits> const& about) const`, whose about.column_sum is the sum of the "
                        "element's column");
    return scope && contribution && finish && gradient;
}

} // namespace espalier
