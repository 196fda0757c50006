// SPDX-License-Identifier: Apache-2.0
// Which rows hold something, where only the device knows.
#pragma once

#include <cstdint>

namespace espalier {

/// *count rows from row *first on (0 when null) of every view that a kernel is given: device memory, read by the
/// kernel, so that the host need not wait. The host gives each view the most rows that there can be; what lies outside
/// the window is neither read nor written. Without a count as many rows as the view has are meant.
struct live_window {
    std::int32_t const* count = nullptr;
    std::int32_t const* first = nullptr;
};

} // namespace espalier
