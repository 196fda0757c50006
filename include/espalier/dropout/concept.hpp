// SPDX-License-Identifier: Apache-2.0
// What a dropout is: a random factor of every output of a layer, drawn again in backward and never stored.
//
// Archetype of its op:
//
//     struct my_op {
//         static constexpr random_scope scope = random_scope::element; // one decision for each element, or for each
//         row template <class T, class Bits> ESPALIER_FN T factor(Bits bits) const; // not for random_scope::none
//     };
//
// `bits` is a uniform 16-bit draw, widened to an unsigned integer or a pack of them with the lanes of T. The policy has
// `axis`, `name`, `op`, `at(clock)` as in core/policy.hpp and `static constexpr bool draws`. At inference the factor
// is 1: E[factor] = 1 is the policy's to keep.
#pragma once

#include <espalier/core/axis.hpp>
#include <espalier/core/clock.hpp>
#include <espalier/core/epilogue.hpp>
#include <espalier/core/error.hpp>
#include <espalier/core/policy.hpp>
#include <espalier/schedule/concept.hpp>

#include <concepts>
#include <cstdint>
#include <string>
#include <string_view>
#include <type_traits>

namespace espalier::dropout {

template <class Op>
concept has_scope = std::same_as<std::remove_cvref_t<decltype(Op::scope)>, random_scope>;

template <class Op, class T>
concept has_factor = requires(Op const& op, std::uint32_t bits) {
    { op.template factor<T>(bits) } -> std::convertible_to<T>;
};

namespace detail {

template <class Op> consteval bool draws_nothing() {
    if constexpr (has_scope<Op>)
        return Op::scope == random_scope::none;
    else
        return false;
}

} // namespace detail

template <class P>
concept has_draws = requires {
    { P::draws } -> std::convertible_to<bool>;
};

template <class P>
concept random_field = policy_on<P, axis::dropout> && std::is_trivially_copyable_v<op_of<P>> && has_draws<P> &&
    has_scope<op_of<P>> &&
    (detail::draws_nothing<op_of<P>>() || (has_factor<op_of<P>, float> && has_factor<op_of<P>, double>));

namespace detail {

/// Whether `x` may be a rate as far as that is known while compiling: within [0, 1). A schedule that does not bound its
/// values is checked when it gives them.
template <schedule::number_or_schedule X> consteval bool is_rate(X const& x) {
    if (schedule::problem(x)) return false;
    schedule::bounds const range = schedule::range_of(x);
    return (!schedule::finite(range.low) || range.low >= 0.0) && (!schedule::finite(range.high) || range.high < 1.0);
}

/// The rate now. Throws data_error when a schedule gives one outside [0, 1).
template <schedule::number_or_schedule X> double rate_at(X const& x, clock const& now, std::string_view dropout_name) {
    double const value = schedule::value_at(x, now);
    if (!(value >= 0.0 && value < 1.0))
        throw data_error("dropout " + std::string(dropout_name) + ": its rate is " + std::to_string(value) +
                         " at step " + std::to_string(now.step) + ", needed is a number in [0, 1)");
    return value;
}

} // namespace detail
} // namespace espalier::dropout
