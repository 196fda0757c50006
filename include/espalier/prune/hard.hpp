// SPDX-License-Identifier: Apache-2.0
// A pruned weight is 0 and stays 0.
#pragma once

#include <espalier/weight/fixed_mask.hpp>

#include <string_view>

namespace espalier::prune {

/// effective(w) = keep ? w : 0, and that is what is stored: no second copy for the products. Pruned weights receive no
/// gradient; a later selection can only bring them back as zeros.
struct hard : weight::kept_or_zero {
    static constexpr std::string_view name = "hard";
};

} // namespace espalier::prune
