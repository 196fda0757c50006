// SPDX-License-Identifier: Apache-2.0
// How rows reach the experts of a mixture.
#pragma once

#include <espalier/core/axis.hpp>

#include <string_view>

namespace espalier::dispatch {

/// Every expert runs on every row; weights of 0 remove what was not wanted. Right while most slots are filled.
struct dense {
    using axis = espalier::axis::dispatch;
    static constexpr std::string_view name = "dense";
    static constexpr bool gathers = false;
};

/// The rows of each expert are counted, gathered (in row order) and run together; outputs are combined in slot order.
/// Work is proportional to the filled slots.
struct compacted {
    using axis = espalier::axis::dispatch;
    static constexpr std::string_view name = "compacted";
    static constexpr bool gathers = true;
};

} // namespace espalier::dispatch
