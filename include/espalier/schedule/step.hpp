// SPDX-License-Identifier: Apache-2.0
// A staircase: the value is multiplied by a factor at regular times.
#pragma once

#include <espalier/core/macros.hpp>
#include <espalier/schedule/concept.hpp>

#include <cstdint>
#include <limits>

namespace espalier::schedule {

/// v(t) = from * factor^floor(t / every).
struct step {
    double from = 0.0;
    double factor = 1.0;
    std::uint64_t every = 1;
    time_unit unit = time_unit::step;

    ESPALIER_FN constexpr double at(clock const& now) const {
        double value = 1.0, base = factor;
        // Powers by squaring: exact for factors such as 0.5 and the same on every machine.
        for (std::uint64_t n = time_of(now, unit) / (every == 0 ? 1 : every); n != 0; n >>= 1) {
            if (n & 1) value *= base;
            if (n > 1) base *= base;
        }
        return from * value;
    }
    constexpr char const* problem() const {
        if (!finite(from)) return "step: `from` must be finite";
        if (!(factor >= 0.0 && finite(factor))) return "step: `factor` must be finite and not negative";
        return every == 0 ? "step: `every` must be at least 1" : nullptr;
    }
    constexpr bounds range() const {
        if (factor == 1.0 || from == 0.0) return {from, from};
        if (factor < 1.0) return between(0.0, from);
        constexpr double infinity = std::numeric_limits<double>::infinity();
        return from > 0.0 ? bounds{from, infinity} : bounds{-infinity, from};
    }
};

} // namespace espalier::schedule
