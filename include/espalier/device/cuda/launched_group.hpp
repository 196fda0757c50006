// SPDX-License-Identifier: Apache-2.0
// Which group of a launch a block works for. Include it from .cu files.
#pragma once

#include <espalier/core/macros.hpp>

namespace espalier::cuda {

/// Rows of the grid are the groups of a launch (core/live_groups.hpp).
ESPALIER_FN int launched_group() {
#if ESPALIER_ON_DEVICE
    return static_cast<int>(blockIdx.y);
#else
    return 0;
#endif
}

} // namespace espalier::cuda
