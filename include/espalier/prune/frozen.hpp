// SPDX-License-Identifier: Apache-2.0
// A pruned weight stays what it is, and only the others are trained.
#pragma once

#include <espalier/weight/trained_where.hpp>

#include <string_view>

namespace espalier::prune {

/// effective(w) = w: the mask acts on the update only. What a selection leaves out keeps the value that it has then,
/// against gradients, penalties and decay (`weight::trained_where`).
struct frozen : weight::kept_or_frozen {
    static constexpr std::string_view name = "frozen";
};

} // namespace espalier::prune
