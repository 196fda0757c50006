// SPDX-License-Identifier: Apache-2.0
// host only. One call that says whether a schedule of one's own keeps its contract.
#pragma once

#include <espalier/core/clock.hpp>
#include <espalier/schedule/concept.hpp>
#include <espalier/train/policy_checker.hpp>

#include <cmath>
#include <cstdint>
#include <string>

namespace espalier {

/// Checks a schedule on its own at `steps` steps in epochs of ten: its numbers make sense (`problem`); every value is
/// finite and inside `range`, if it says one; the same time has the same value, also when it is asked for out of order.
///
///     auto const report = check_schedule(my_schedule{.from = 0.1}, 1000);
///     if (!report.ok()) std::fputs(report.text.c_str(), stdout);
template <class Schedule> policy_report check_schedule(Schedule const& given, std::uint64_t steps = 1000) {
    policy_checker to;
    if constexpr (schedule::number_or_schedule<Schedule>) {
        to.report.text = "a schedule\n";
        char const* const why = schedule::problem(given);
        to.line(!why, "its numbers make sense" + (why ? std::string(": ") + why : std::string()));
        schedule::bounds const range = schedule::range_of(given);
        auto finite = to.over("values are finite");
        auto inside = to.over("values lie in its range");
        auto pure = to.over("a time has one value");
        auto const at = [&](std::uint64_t step) {
            clock now;
            now.step = now.updates = step;
            now.steps_per_epoch = 10;
            now.epoch = step / 10;
            now.epoch_begin = now.epoch * 10;
            return schedule::value_at(given, now);
        };
        for (std::uint64_t step = 0; step < steps; ++step) {
            std::string const place = "step " + std::to_string(step);
            double const value = at(step);
            finite.require(std::isfinite(value), place, "given " + detail::number_text(value));
            double const room = 1e-12 * (1.0 + std::fabs(value));
            inside.require(value >= range.low - room && value <= range.high + room, place,
                           "given " + detail::text_of(value) + ", the range is " + detail::text_of(range.low) + " to " +
                               detail::text_of(range.high));
            at(steps - step);
            pure.compare(place, at(step), value, 0.0);
        }
    }
    return to.report;
}

} // namespace espalier
