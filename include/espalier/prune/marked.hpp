// SPDX-License-Identifier: Apache-2.0
// A pruned weight is marked and goes on as before.
#pragma once

#include <espalier/weight/marked.hpp>

#include <string_view>

namespace espalier::prune {

/// effective(w) = w: weights are selected, and only what reads the mask, `penalty::where_pruned`, treats them apart.
struct marked : weight::only_marked {
    static constexpr std::string_view name = "marked";
};

} // namespace espalier::prune
