// SPDX-License-Identifier: Apache-2.0
// Numbers of policies that must stay in a range: checked while compiling as far as they are known there, and again when
// a schedule gives them.
#pragma once

#include <espalier/core/clock.hpp>
#include <espalier/core/diagnostic.hpp>
#include <espalier/core/error.hpp>
#include <espalier/core/library.hpp>
#include <espalier/schedule/concept.hpp>

#include <limits>
#include <string>
#include <string_view>

namespace espalier::schedule {

/// Ranges that most numbers of policies have: coefficients, shares, and rates that must leave something.
inline constexpr bounds not_negative{0.0, std::numeric_limits<double>::max()};
/// Shares, both ends among them.
inline constexpr bounds from_0_to_1{0.0, 1.0};
/// Rates that must leave something.
inline constexpr bounds from_0_to_below_1{0.0, 1.0 - std::numeric_limits<double>::epsilon() / 2};

/// Whether `x` takes its values in `allowed`, as far as that is known while compiling: a schedule that does not bound
/// its values is checked by `value_within` when it gives them.
template <number_or_schedule X> consteval bool stays_within(X const& x, bounds allowed) {
    if (problem(x)) return false;
    bounds const range = range_of(x);
    return (!finite(range.low) || range.low >= allowed.low) && (!finite(range.high) || range.high <= allowed.high);
}

namespace detail {
[[noreturn]] void throw_outside(double value, std::uint64_t step, bounds allowed, std::string_view axis,
                                std::string_view policy, std::string_view number);
} // namespace detail

/// The value of `x` now. Throws data_error when it is outside `allowed`: "penalty l2: its coefficient is -1 at step 7,
/// needed is ...", with `axis`, `policy` and `number` as the first three words.
template <number_or_schedule X>
double value_within(X const& x, clock const& now, bounds allowed, std::string_view axis, std::string_view policy,
                    std::string_view number) {
    double const value = value_at(x, now);
    if (value >= allowed.low && value <= allowed.high) return value;
    detail::throw_outside(value, now.step, allowed, axis, policy, number);
}

/// A number of a policy: what was given for it, a number or a schedule, and its kind, which has the `name` that
/// messages call it and the `allowed` values.
template <auto Given, class Kind> struct number;

/// Kind of a number that several policies have: the weight of a term.
struct coefficient {
    static constexpr std::string_view name = "coefficient";
    static constexpr bounds allowed = not_negative;
};
/// The bound of what is cut.
struct maximum {
    static constexpr std::string_view name = "maximum";
    static constexpr bounds allowed = not_negative;
};
/// The share of what is left out.
struct rate {
    static constexpr std::string_view name = "rate";
    static constexpr bounds allowed = from_0_to_1;
};

namespace detail {

/// The op with its numbers, made by its `of` where it does not hold them as they are given.
template <class Op, class... Numbers> Op op_of_numbers(Numbers... values) {
    if constexpr (requires { Op::of(values...); })
        return Op::of(values...);
    else
        return Op{values...};
}

} // namespace detail

/// Base of what has an op that is made of numbers and of nothing else: it gives `op` and `at`. `Where` has the `name`
/// of the axis for messages. Throws data_error when a schedule gives a value that is not allowed.
template <class Where, class Policy, class Op, class... Numbers> struct made_of;
/// For numbers and their kinds.
template <class Where, class Policy, class Op, auto... Given, class... Kinds>
struct made_of<Where, Policy, Op, number<Given, Kinds>...> {
    static_assert(diagnostic::holds<(stays_within(Given, Kinds::allowed) && ...), diagnostic::from_policy<Policy>,
                                    number<Given, Kinds>..., diagnostic::needed<Kinds::allowed>...>,
                  "espalier: a number of a policy lies outside of its bounds; the next lines name the policy, its "
                  "numbers as they were given, and the bounds of each");
    using op = Op;
    static op at(clock const& now) {
        return detail::op_of_numbers<Op>(
            value_within(Given, now, Kinds::allowed, Where::name, Policy::name, Kinds::name)...);
    }
};

/// The same with an axis: `struct clip_value : schedule::with_numbers<axis::transform, clip_value<Maximum>,
/// clip_value_op, schedule::number<Maximum, maximum>>` is a policy but for its name.
template <class Axis, class Policy, class Op, class... Numbers>
struct with_numbers : made_of<Axis, Policy, Op, Numbers...> {
    using axis = Axis;
};

/// The same for numbers that are all coefficients.
template <class Axis, class Policy, class Op, auto... Coefficients>
using with_coefficients = with_numbers<Axis, Policy, Op, number<Coefficients, coefficient>...>;

} // namespace espalier::schedule

#if defined(ESPALIER_HEADER_ONLY)
#include <espalier/schedule/detail/within.hpp>
#endif
