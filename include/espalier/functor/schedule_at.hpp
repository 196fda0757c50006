// SPDX-License-Identifier: Apache-2.0
// A schedule as a function object of the step.
#pragma once

#include <espalier/core/clock.hpp>
#include <espalier/core/macros.hpp>
#include <espalier/schedule/concept.hpp>

#include <cstdint>
#include <type_traits>

namespace espalier {

/// What `schedule_at` gives.
template <class S> struct schedule_functor {
    S schedule;
    clock fixed{};

    ESPALIER_ANYWHERE
    ESPALIER_FN constexpr double operator()(std::uint64_t step) const {
        clock now = fixed;
        now.step = now.updates = step;
        if (now.steps_per_epoch != 0) {
            now.epoch = now.step / now.steps_per_epoch;
            now.epoch_begin = now.epoch * now.steps_per_epoch;
        }
        return schedule::value_at(schedule, now);
    }
};

/// The value of a schedule, or a number, at a step: of a step that is `step` updates and step / steps_per_epoch epochs
/// after the start of training. What else its clock says comes from `fixed`: the length of an epoch, the values of
/// schedule::runtime, which must lie where the functor runs. Schedules of the library run on the device too, where cos
/// and pow may differ from the host's in the last digits; one of your own does if its `at` is ESPALIER_FN.
///
///     thrust::transform(steps.begin(), steps.end(), rates.begin(),
///                       esp::schedule_at(esp::schedule::cosine{.from = 1e-3, .steps = 10000}));
template <schedule::number_or_schedule S>
constexpr schedule_functor<S> schedule_at(S const& schedule, clock const& fixed = {}) {
    static_assert(std::is_trivially_copyable_v<S>, "espalier: a schedule is a plain aggregate of numbers");
    return {schedule, fixed};
}

} // namespace espalier
