// SPDX-License-Identifier: Apache-2.0
// host only. Definitions of schedule/within.hpp; see core/library.hpp.
#pragma once

#include <espalier/schedule/within.hpp>

#include <espalier/core/text.hpp>

#include <limits>

namespace espalier::schedule {

namespace detail {

ESPALIER_LIBRARY void throw_outside(double value, std::uint64_t step, bounds allowed, std::string_view axis,
                                    std::string_view policy, std::string_view number) {
    std::string needed = ", needed is a number of at least " + std::to_string(allowed.low);
    if (allowed.high == from_0_to_below_1.high)
        needed += " and below 1";
    else if (allowed.high < std::numeric_limits<double>::max())
        needed += " and at most " + std::to_string(allowed.high);
    espalier::detail::throw_data_error(axis, " ", policy, ": its ", number, " is ", value, " at step ", step, needed);
}

} // namespace detail

} // namespace espalier::schedule
