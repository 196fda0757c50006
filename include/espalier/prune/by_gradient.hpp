// SPDX-License-Identifier: Apache-2.0
// A weight is worth the absolute value of its gradient.
#pragma once

#include <espalier/core/macros.hpp>
#include <espalier/prune/by_magnitude.hpp>
#include <espalier/prune/concept.hpp>

#include <string_view>

namespace espalier::prune {

/// |dL/dw|, of the loss and the terms over activations at the step's batch, before transforms and clipping. What is
/// left out has a gradient like any other: how much the loss would fall if it came back (Evci, Gale, Menick, Castro and
/// Elsen 2020, "Rigging the lottery: making all tickets winners", section 3). A NaN is worth less than 0.
struct by_gradient {
    static constexpr std::string_view name = "gradient";

    template <class T> ESPALIER_FN static auto key(T, about<T> const& more) { return by_magnitude::key(more.gradient); }
};

} // namespace espalier::prune
