// SPDX-License-Identifier: Apache-2.0
// The same sparsity from some step on.
#pragma once

#include <espalier/core/clock.hpp>
#include <espalier/schedule/concept.hpp>

#include <cstdint>

namespace espalier::prune {

/// s(t) = sparsity from step `start` on, 0 before. Masks are selected at `start`, and anew every `every` steps; with
/// every = 0 they stay.
struct constant {
    double sparsity = 0.0;
    std::uint64_t start = 0;
    std::uint64_t every = 0;

    constexpr double at(clock const& now) const { return now.step < start ? 0.0 : sparsity; }
    constexpr bool due(clock const& now) const {
        if (now.step < start) return false;
        return now.step == start || (every != 0 && (now.step - start) % every == 0);
    }
    constexpr char const* problem() const {
        return sparsity >= 0.0 && sparsity <= 1.0 ? nullptr : "constant: `sparsity` must lie in [0, 1]";
    }
    constexpr schedule::bounds range() const {
        return start == 0 ? schedule::bounds{sparsity, sparsity} : schedule::bounds{0.0, sparsity};
    }
};

} // namespace espalier::prune
