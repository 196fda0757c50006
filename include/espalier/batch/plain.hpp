// SPDX-License-Identifier: Apache-2.0
// The default of the batch seam.
#pragma once

#include <string_view>

namespace espalier::batch {

/// Rows as they are. Costs one gather.
struct plain {
    static constexpr std::string_view name = "plain";
    static constexpr bool mixes = false;
};

} // namespace espalier::batch
