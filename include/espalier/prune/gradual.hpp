// SPDX-License-Identifier: Apache-2.0
// Sparsity that grows quickly at first and slowly at the end.
#pragma once

#include <espalier/core/clock.hpp>
#include <espalier/schedule/concept.hpp>

#include <cstdint>

namespace espalier::prune {

/// s(t) = to + (from - to) (1 - (t - start) / steps)^3 from step `start` on, `to` from start + steps on, 0 before start
/// (Zhu and Gupta 2017, eq. 1). Masks are selected anew at `start`, every `every` steps, and at start + steps, the last
/// time: then they stay.
struct gradual {
    double from = 0.0;
    double to = 0.0;
    std::uint64_t start = 0;
    std::uint64_t steps = 0;
    std::uint64_t every = 1;

    constexpr double at(clock const& now) const {
        if (now.step < start) return 0.0;
        double const left = 1.0 - schedule::progress(now, start, steps, schedule::time_unit::step);
        double const share = left * left * left;
        return from * share + to * (1.0 - share);
    }
    constexpr bool due(clock const& now) const {
        if (now.step < start || now.step - start > steps) return false;
        std::uint64_t const t = now.step - start;
        return t == steps || t % (every == 0 ? 1 : every) == 0;
    }
    constexpr char const* problem() const {
        return from >= 0.0 && from <= 1.0 && to >= 0.0 && to <= 1.0 ? nullptr
                                                                    : "gradual: `from` and `to` must lie in [0, 1]";
    }
    constexpr schedule::bounds range() const {
        return start == 0 ? schedule::between(from, to) : schedule::bounds{0.0, from > to ? from : to};
    }
};

} // namespace espalier::prune
