// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <espalier/core/view.hpp>

namespace espalier {

/// Extents of one row of a batch: `features` channels of a `height` x `width` grid; a plain vector is 1 x 1.
struct shape {
    int features = 0;
    int height = 1;
    int width = 1;

    constexpr index_t size() const { return index_t{features} * height * width; }
    friend constexpr bool operator==(shape const&, shape const&) = default;
};

} // namespace espalier
