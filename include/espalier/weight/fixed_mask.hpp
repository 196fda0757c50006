// SPDX-License-Identifier: Apache-2.0
// A binary mask that the user gives: some weights are 0 and stay 0.
#pragma once

#include <espalier/core/element_about.hpp>
#include <espalier/core/macros.hpp>
#include <espalier/core/pack.hpp>
#include <espalier/weight/axis.hpp>

#include <string_view>

namespace espalier::weight {

/// Functions of a map that keeps a weight or makes it 0, in the stored weights themselves.
struct kept_or_zero {
    static constexpr bool uses_mask = true;
    static constexpr bool needs_operand = false;

    template <class T> ESPALIER_FN static T pull(T g, element_about<T> const& about) { return store(g, about); }
    template <class T> ESPALIER_FN static T store(T next, element_about<T> const& about) {
        using espalier::select;
        return select(about.keep, next, T(scalar_of<T>(0)));
    }
    template <class T> ESPALIER_FN static T effective(T raw, element_about<T> const& about) {
        return store(raw, about);
    }
};

/// effective(w) = keep ? w : 0. Masked weights are stored as 0, so products read the stored weights and no copy is
/// written; they receive no gradient.
struct fixed_mask : kept_or_zero {
    using axis = espalier::axis::weight;
    static constexpr std::string_view name = "fixed_mask";
};

} // namespace espalier::weight
