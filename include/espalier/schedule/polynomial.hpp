// SPDX-License-Identifier: Apache-2.0
// A power of the remaining time; the cubic one is the gradual pruning schedule.
#pragma once

#include <espalier/core/macros.hpp>
#include <espalier/schedule/concept.hpp>

#include <cmath>
#include <cstdint>

namespace espalier::schedule {

/// v(t) = to + (from - to) (1 - u)^power with u = clamp((t - start) / steps, 0, 1). With from = 0 and power = 3 it is
/// the sparsity of gradual magnitude pruning (Zhu and Gupta 2017, eq. 1).
struct polynomial {
    double from = 0.0;
    double to = 0.0;
    std::uint64_t steps = 0;
    double power = 1.0;
    std::uint64_t start = 0;
    time_unit unit = time_unit::step;

    ESPALIER_FN double at(clock const& now) const {
        double const u = progress(now, start, steps, unit);
        if (u >= 1.0) return to;
        double const share = std::pow(1.0 - u, power);
        return from * share + to * (1.0 - share);
    }
    constexpr char const* problem() const {
        if (!(finite(from) && finite(to))) return "polynomial: `from` and `to` must be finite";
        return power > 0.0 && finite(power) ? nullptr : "polynomial: `power` must be positive and finite";
    }
    constexpr bounds range() const { return between(from, to); }
};

} // namespace espalier::schedule
