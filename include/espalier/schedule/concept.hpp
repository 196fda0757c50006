// SPDX-License-Identifier: Apache-2.0
// What a schedule is: a number as a pure function of the clock, evaluated on the host once a step.
#pragma once

#include <espalier/core/clock.hpp>
#include <espalier/core/diagnostic.hpp>
#include <espalier/core/macros.hpp>

#include <concepts>
#include <cstdint>
#include <limits>
#include <type_traits>

/// Schedules: numbers that depend on the time of training.
///
/// Contract of a schedule `S`
///     struct S {                                       // a plain aggregate of scalars and other schedules: no array,
///         double from = 0.0;                           // no constructor, so that it may be a template argument of
///         std::uint64_t steps = 0;                     // a policy under every compiler: dropout::bernoulli<S{...}>
///         time_unit unit = time_unit::step;            // optional: what `steps` counts
///         double at(clock const&) const;               // required: the value now; constexpr where it can be
///         constexpr char const* problem() const;       // optional: why the numbers make no sense, or null
///         constexpr bounds range() const;              // optional: an interval that holds every value it can take
///     };
///
/// Time. `time_unit::step` counts optimizer steps over all epochs, `epoch` complete passes over the training set, and
/// `update` the updates of the parameter group that asks. The first step has time 0.
/// Ends. A schedule with `start` and `steps` is clamped at both ends: it has the value `from` until time `start`
/// (included) and the value `to` from time `start + steps` on. With `steps == 0` it has its final value `to` at every
/// time; a period `every == 0` is read as 1.
/// Composition. The inner schedule of `warm_up` and the second one of `piecewise` start at their own time 0 when their
/// turn comes; the factors of `product` see the unchanged clock.
namespace espalier::schedule {

/// What a schedule counts its time in.
enum class time_unit : std::uint8_t { step, epoch, update };

/// A number of the policy lists that varies with time.
template <class S>
concept schedule = std::is_class_v<S> && requires(S const& s, clock const& now) {
    { s.at(now) } -> std::convertible_to<double>;
};

namespace detail {
/// A structure that stands where a number or a schedule does is meant to be a schedule: one that is none says what it
/// lacks, instead of the list of constraints that failed.
template <class X> consteval bool is_schedule() {
    if constexpr (std::is_class_v<X>)
        static_assert(diagnostic::holds<schedule<X>, diagnostic::given_type<X>>,
                      "espalier: a schedule needs `constexpr double at(espalier::clock const& now) const`, and what "
                      "stands in the place of a number or a schedule has none; the next lines name the type");
    return schedule<X>;
}
} // namespace detail

/// What a value parameter of a policy may be: a number, or a schedule that gives one.
template <class X>
concept number_or_schedule = std::is_arithmetic_v<X> || detail::is_schedule<X>();

/// The value of `x` now: `x` itself when it is a number.
ESPALIER_ANYWHERE
template <number_or_schedule X> ESPALIER_FN constexpr double value_at(X const& x, clock const& now) {
    if constexpr (std::is_arithmetic_v<X>)
        return static_cast<double>(x);
    else
        return static_cast<double>(x.at(now));
}

/// A closed interval.
struct bounds {
    double low = -std::numeric_limits<double>::infinity();
    double high = std::numeric_limits<double>::infinity();

    constexpr bool within(bounds const& outer) const { return low >= outer.low && high <= outer.high; }
    friend constexpr bool operator==(bounds const&, bounds const&) = default;
};

/// The smallest interval that holds both ends, in either order.
constexpr bounds between(double a, double b) {
    return a < b ? bounds{a, b} : bounds{b, a};
}

/// An interval that holds every value `x` can take; unbounded when the schedule does not say. A policy checks its own
/// range with it at compile time: `requires(schedule::range_of(Rate).within({0.0, 1.0}))`.
template <number_or_schedule X> constexpr bounds range_of(X const& x) {
    if constexpr (std::is_arithmetic_v<X>)
        return {static_cast<double>(x), static_cast<double>(x)};
    else if constexpr (requires { x.range(); })
        return x.range();
    else
        return {};
}

/// Neither infinite nor NaN.
constexpr bool finite(double x) {
    return x >= -std::numeric_limits<double>::max() && x <= std::numeric_limits<double>::max();
}

/// A number, and a finite one.
template <class X> constexpr bool finite_number(X const& x) {
    if constexpr (std::is_arithmetic_v<X>)
        return finite(static_cast<double>(x));
    else
        return false;
}

/// Why the numbers of `x` make no sense, or null.
template <number_or_schedule X> constexpr char const* problem(X const& x) {
    if constexpr (std::is_arithmetic_v<X>)
        return finite(static_cast<double>(x)) ? nullptr : "a constant must be finite";
    else if constexpr (requires { x.problem(); })
        return x.problem();
    else
        return nullptr;
}

/// Time of `now` in `unit`.
ESPALIER_FN constexpr std::uint64_t time_of(clock const& now, time_unit unit) {
    switch (unit) {
    case time_unit::epoch:
        return now.epoch;
    case time_unit::update:
        return now.updates;
    default:
        return now.step;
    }
}

/// Share of `steps` that has passed since `start`, in [0, 1]; 1 when `steps` is 0.
ESPALIER_FN constexpr double progress(clock const& now, std::uint64_t start, std::uint64_t steps, time_unit unit) {
    std::uint64_t const t = time_of(now, unit);
    if (steps == 0) return 1.0;
    if (t <= start) return 0.0;
    if (t - start >= steps) return 1.0;
    return static_cast<double>(t - start) / static_cast<double>(steps);
}

/// The clock as a schedule sees it that starts `offset` later. Steps and epochs move together where the length of an
/// epoch is known; every count stops at 0.
ESPALIER_FN constexpr clock clock_after(clock now, std::uint64_t offset, time_unit unit) {
    auto const less = [](std::uint64_t a, std::uint64_t b) { return a > b ? a - b : 0; };
    switch (unit) {
    case time_unit::epoch:
        now.epoch = less(now.epoch, offset);
        now.step = less(now.step, offset * now.steps_per_epoch);
        break;
    case time_unit::update:
        now.updates = less(now.updates, offset);
        break;
    default:
        now.step = less(now.step, offset);
        if (now.steps_per_epoch != 0) now.epoch = less(now.epoch, offset / now.steps_per_epoch);
    }
    return now;
}

} // namespace espalier::schedule
