// SPDX-License-Identifier: Apache-2.0
// The time that schedules see.
#pragma once

#include <espalier/core/short_name.hpp>
#include <espalier/core/view.hpp>

#include <cstdint>

namespace espalier {

/// A number that the running program sets, found by name (see `schedule::runtime`).
struct named_value {
    short_name name;
    double value = 0.0;
};

/// Where training stands. A schedule is a pure function of this value, evaluated on the host once a step.
struct clock {
    std::uint64_t step = 0;            ///< optimizer steps since the start of training, over all epochs
    std::uint64_t epoch = 0;           ///< complete passes over the training set
    std::uint64_t steps_per_epoch = 0; ///< 0 when there is no data set to count by
    std::uint64_t epoch_begin = 0;     ///< step with which the epoch began
    std::uint64_t phase = 0;           ///< stage of a trainer procedure
    std::uint64_t updates = 0;         ///< updates of the parameter group that asks
    array_view<named_value const> values{};
    bool standing = false; ///< weights are being prepared for this very step, not by the update before it

    /// One step later. An epoch ends where its length is known.
    constexpr clock later() const {
        clock after = *this;
        ++after.step;
        ++after.updates;
        if (steps_per_epoch != 0 && after.step >= epoch_begin + steps_per_epoch) {
            ++after.epoch;
            after.epoch_begin = after.step;
        }
        return after;
    }

    /// The step for which an update at this moment prepares the weights: the following one.
    constexpr clock next() const { return standing ? *this : later(); }
};

} // namespace espalier
