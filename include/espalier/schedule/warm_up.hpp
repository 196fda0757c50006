// SPDX-License-Identifier: Apache-2.0
// A linear start in front of another schedule.
#pragma once

#include <espalier/core/macros.hpp>
#include <espalier/schedule/concept.hpp>

#include <cstdint>

namespace espalier::schedule {

/// v(t) = (from + (1 - from) t / steps) * inner(0) while t < steps, then inner(t - steps). `from` is the share of the
/// inner schedule's first value at time 0; the inner schedule starts at its own time 0 when the warm-up ends.
template <number_or_schedule Inner> struct warm_up {
    std::uint64_t steps = 0;
    Inner inner{};
    double from = 0.0;
    time_unit unit = time_unit::step;

    ESPALIER_ANYWHERE
    ESPALIER_FN constexpr double at(clock const& now) const {
        double const u = progress(now, 0, steps, unit);
        double const value = value_at(inner, clock_after(now, steps, unit));
        return u >= 1.0 ? value : (from * (1.0 - u) + u) * value;
    }
    constexpr char const* problem() const {
        if (!(from >= 0.0 && finite(from))) return "warm_up: `from` must be finite and not negative";
        return schedule::problem(inner);
    }
    constexpr bounds range() const {
        bounds const whole = range_of(inner);
        double const share_low = from < 1.0 ? from : 1.0, share_high = from > 1.0 ? from : 1.0;
        return {whole.low * (whole.low < 0.0 ? share_high : share_low),
                whole.high * (whole.high > 0.0 ? share_high : share_low)};
    }
};

} // namespace espalier::schedule
