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
    using espalier::detail::text_of, espalier::detail::throw_data_error;
    std::string const most = allowed.high == from_0_to_below_1.high ? " and below 1"
                             : allowed.high < std::numeric_limits<double>::max()
                                 ? text_of(" and at most ", allowed.high)
                                 : "";
    throw_data_error(axis, " ", policy, ": its ", number, " is ", value, " at step ", step,
                     ", needed is a number of at least ", allowed.low, most);
}

} // namespace detail

} // namespace espalier::schedule
