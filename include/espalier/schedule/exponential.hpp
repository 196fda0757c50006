// SPDX-License-Identifier: Apache-2.0
// Smooth exponential decay (or growth).
#pragma once

#include <espalier/core/macros.hpp>
#include <espalier/schedule/concept.hpp>

#include <cmath>
#include <cstdint>
#include <limits>

namespace espalier::schedule {

/// v(t) = from * rate^(t / every): multiplied by `rate` over every `every` steps, smoothly in between.
struct exponential {
    double from = 0.0;
    double rate = 1.0;
    std::uint64_t every = 1;
    time_unit unit = time_unit::step;

    ESPALIER_FN double at(clock const& now) const {
        double const periods =
            static_cast<double>(time_of(now, unit)) / static_cast<double>(every == 0 ? std::uint64_t{1} : every);
        return from * std::pow(rate, periods);
    }
    constexpr char const* problem() const {
        if (!finite(from)) return "exponential: `from` must be finite";
        if (!(rate > 0.0 && finite(rate))) return "exponential: `rate` must be positive and finite";
        return every == 0 ? "exponential: `every` must be at least 1" : nullptr;
    }
    constexpr bounds range() const {
        if (rate == 1.0 || from == 0.0) return {from, from};
        if (rate < 1.0) return between(0.0, from);
        constexpr double infinity = std::numeric_limits<double>::infinity();
        return from > 0.0 ? bounds{from, infinity} : bounds{-infinity, from};
    }
};

} // namespace espalier::schedule
