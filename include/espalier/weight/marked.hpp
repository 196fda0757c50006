// SPDX-License-Identifier: Apache-2.0
// A binary mask that changes no weight: it is there for the penalties that read it.
#pragma once

#include <espalier/core/macros.hpp>
#include <espalier/weight/axis.hpp>

#include <string_view>

namespace espalier::weight {

/// Functions of a map that leaves every weight as it is, be it kept or not.
struct only_marked {
    static constexpr bool uses_mask = true;
    static constexpr bool needs_operand = false;
    static constexpr bool only_marks = true;

    template <class T> ESPALIER_FN static T pull(T g) { return g; }
    template <class T> ESPALIER_FN static T store(T next) { return next; }
    template <class T> ESPALIER_FN static T effective(T raw) { return raw; }
};

/// effective(w) = w. What the mask leaves out is marked and no more: `penalty::where_pruned` finds it there. With the
/// mask of the channels that are to go, `on<role::scale, marked>` and `on<role::scale, penalty::where_pruned<l1<...>>>`
/// are MaskSparsity (Jiang et al. 2022, "Pruning-aware sparse regularization for network pruning"). Before `set_mask`
/// nothing is marked. Nothing is written beside the weights.
struct marked : only_marked {
    using axis = espalier::axis::weight;
    static constexpr std::string_view name = "marked";
};

} // namespace espalier::weight
