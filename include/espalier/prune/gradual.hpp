// SPDX-License-Identifier: Apache-2.0
// Sparsity that grows quickly at first and slowly at the end.
#pragma once

#include <espalier/core/clock.hpp>
#include <espalier/schedule/concept.hpp>

#include <cstdint>

namespace espalier::prune {

/// s(t) = to + (from - to) (1 - (t - start) / steps)^3 from step `start` on, `to` from start + steps - 1 on, 0 before
/// start (Zhu and Gupta 2017, eq. 1). Masks are selected anew at `start`, every `every` steps, and at start + steps -
/// 1, the last time: then they stay. So the last of the `steps` steps, and a training of start + steps steps, has `to`.
struct gradual {
    double from = 0.0;
    double to = 0.0;
    std::uint64_t start = 0;
    std::uint64_t steps = 0;
    std::uint64_t every = 1;

    constexpr double at(clock const& now) const {
        if (now.step < start) return 0.0;
        if (now.step - start >= last()) return to;
        double const left = 1.0 - schedule::progress(now, start, steps, schedule::time_unit::step);
        double const share = left * left * left;
        return from * share + to * (1.0 - share);
    }
    constexpr bool due(clock const& now) const {
        if (now.step < start || now.step - start > last()) return false;
        std::uint64_t const t = now.step - start;
        return t == last() || t % (every == 0 ? 1 : every) == 0;
    }
    constexpr char const* problem() const {
        return from >= 0.0 && from <= 1.0 && to >= 0.0 && to <= 1.0 ? nullptr
                                                                    : "gradual: `from` and `to` must lie in [0, 1]";
    }
    constexpr schedule::bounds range() const {
        return start == 0 ? schedule::between(from, to) : schedule::bounds{0.0, from > to ? from : to};
    }
    /// The time after `start` of the last selection.
    constexpr std::uint64_t last() const { return steps == 0 ? 0 : steps - 1; }
};

} // namespace espalier::prune
