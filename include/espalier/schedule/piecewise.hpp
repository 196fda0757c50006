// SPDX-License-Identifier: Apache-2.0
// One schedule, then another; nest it for more than two pieces.
#pragma once

#include <espalier/core/macros.hpp>
#include <espalier/schedule/concept.hpp>

#include <cstdint>

namespace espalier::schedule {

/// v(t) = first(t) while t < steps, then second(t - steps): the second schedule starts at its own time 0.
/// Three pieces: `piecewise{.steps = 10, .first = a, .second = piecewise{.steps = 20, .first = b, .second = c}}` has a
/// for 10 steps, b for 20 and c for the rest.
template <number_or_schedule First, number_or_schedule Second> struct piecewise {
    std::uint64_t steps = 0;
    First first{};
    Second second{};
    time_unit unit = time_unit::step;

    ESPALIER_ANYWHERE
    ESPALIER_FN constexpr double at(clock const& now) const {
        if (time_of(now, unit) < steps) return value_at(first, now);
        return value_at(second, clock_after(now, steps, unit));
    }
    constexpr char const* problem() const {
        char const* const text = schedule::problem(first);
        return text ? text : schedule::problem(second);
    }
    constexpr bounds range() const {
        bounds const a = range_of(first), b = range_of(second);
        return {a.low < b.low ? a.low : b.low, a.high > b.high ? a.high : b.high};
    }
};

} // namespace espalier::schedule
