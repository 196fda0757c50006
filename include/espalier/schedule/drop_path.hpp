// SPDX-License-Identifier: Apache-2.0
// ScheduledDropPath: a rate that grows with training and with the depth of the cell.
#pragma once

#include <espalier/core/macros.hpp>
#include <espalier/schedule/concept.hpp>

#include <cstdint>

namespace espalier::schedule {

/// v(t) = u (cell + 1) / cells (1 - keep) with u = clamp(t / steps, 0, 1): the rate at which paths of cell number
/// `cell` of `cells` are dropped, when those of the last cell are to be kept with probability `keep` in the end (Zoph
/// et al. 2018, "Learning transferable architectures for scalable image recognition", in the form of the authors'
/// code). For `dropout::drop_path` on every path of a cell but the identity. `cells` counts stems and reductions too,
/// and even the first cell has a rate above 0. With `steps` 0 the rate depends on the depth alone, as schedules without
/// a duration have their final value; with `cell = 0, cells = 1` on time alone.
struct drop_path {
    double keep = 1.0;
    std::uint64_t cell = 0;
    std::uint64_t cells = 1;
    std::uint64_t steps = 0;
    time_unit unit = time_unit::step;

    ESPALIER_FN constexpr double at(clock const& now) const { return last() * progress(now, 0, steps, unit); }
    constexpr char const* problem() const {
        if (!(keep > 0.0 && keep <= 1.0)) return "drop_path: `keep` must be above 0 and not above 1";
        return cell < cells ? nullptr : "drop_path: `cell` counts from 0 and must be below `cells`";
    }
    constexpr bounds range() const { return {0.0, last()}; }

private:
    ESPALIER_FN constexpr double last() const {
        return static_cast<double>(cell + 1) / static_cast<double>(cells) * (1.0 - keep);
    }
};

} // namespace espalier::schedule
