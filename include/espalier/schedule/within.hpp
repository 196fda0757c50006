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

/// Base of a policy whose op is made of coefficients and nothing else, each a number or a schedule, finite and not
/// negative: `struct l1 : schedule::with_coefficients<axis::penalty, l1<C>, l1_op, C>` has an axis and an op and makes
/// the op of the coefficients' values. Throws data_error when a schedule gives another value.
template <class Axis, class Policy, class Op, auto... Coefficients> struct with_coefficients {
    static_assert(diagnostic::holds<(stays_within(Coefficients, not_negative) && ...), diagnostic::from_policy<Policy>,
                                    diagnostic::given<Coefficients>...>,
                  "espalier: the coefficient of a penalty must be finite and not negative; the next lines name the "
                  "penalty and what it was given");
    using axis = Axis;
    using op = Op;
    static op at(clock const& now) {
        return op{value_within(Coefficients, now, not_negative, Axis::name, Policy::name, "coefficient")...};
    }
};

} // namespace espalier::schedule

#if defined(ESPALIER_HEADER_ONLY)
#include <espalier/schedule/detail/within.hpp>
#endif
