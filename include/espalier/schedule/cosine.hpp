// SPDX-License-Identifier: Apache-2.0
// Half a period of a cosine between two values.
#pragma once

#include <espalier/core/macros.hpp>
#include <espalier/schedule/concept.hpp>

#include <cmath>
#include <cstdint>
#include <numbers>

namespace espalier::schedule {

/// v(t) = to + (from - to) (1 + cos(pi u)) / 2 with u = clamp((t - start) / steps, 0, 1)
/// (cosine annealing without restarts: Loshchilov and Hutter 2017, eq. 5).
struct cosine {
    double from = 0.0;
    double to = 0.0;
    std::uint64_t steps = 0;
    std::uint64_t start = 0;
    time_unit unit = time_unit::step;

    ESPALIER_FN double at(clock const& now) const {
        double const u = progress(now, start, steps, unit);
        if (u >= 1.0) return to;
        double const share = 0.5 * (1.0 + std::cos(std::numbers::pi * u));
        return from * share + to * (1.0 - share);
    }
    constexpr char const* problem() const {
        return finite(from) && finite(to) ? nullptr : "cosine: `from` and `to` must be finite";
    }
    constexpr bounds range() const { return between(from, to); }
};

} // namespace espalier::schedule
