// SPDX-License-Identifier: Apache-2.0
// A straight line between two values.
#pragma once

#include <espalier/core/macros.hpp>
#include <espalier/schedule/concept.hpp>

#include <cstdint>

namespace espalier::schedule {

/// v(t) = from + (to - from) u with u = clamp((t - start) / steps, 0, 1).
struct linear {
    double from = 0.0;
    double to = 0.0;
    std::uint64_t steps = 0;
    std::uint64_t start = 0;
    time_unit unit = time_unit::step;

    ESPALIER_FN constexpr double at(clock const& now) const {
        double const u = progress(now, start, steps, unit);
        return from * (1.0 - u) + to * u; // exact at both ends, unlike from + (to - from) u
    }
    constexpr char const* problem() const {
        return finite(from) && finite(to) ? nullptr : "linear: `from` and `to` must be finite";
    }
    constexpr bounds range() const { return between(from, to); }
};

} // namespace espalier::schedule
