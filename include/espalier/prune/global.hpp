// SPDX-License-Identifier: Apache-2.0
// Weights are compared over all layers that say so.
#pragma once

#include <string_view>

namespace espalier::prune {

/// The tensors of all layers with this selection are one pool: the trainer gathers them and calls `select_largest`
/// once. Each tensor's schedule says how many weights it gives up to the pool's count.
struct global_selection {
    static constexpr std::string_view name = "global";
    static constexpr bool global = true;
};
/// Its name in a list of policies.
using global = global_selection;

} // namespace espalier::prune
