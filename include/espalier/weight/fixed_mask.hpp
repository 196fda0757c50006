// SPDX-License-Identifier: Apache-2.0
// A binary mask that the user gives: some weights are 0 and stay 0.
#pragma once

#include <espalier/core/macros.hpp>
#include <espalier/core/pack.hpp>
#include <espalier/weight/axis.hpp>

#include <string_view>

namespace espalier::weight {

/// effective(w) = keep ? w : 0. Masked weights are stored as 0, so products read the stored weights and no copy is
/// written; they receive no gradient.
struct fixed_mask {
    using axis = espalier::axis::weight;
    static constexpr std::string_view name = "fixed_mask";
    static constexpr bool uses_mask = true;
    static constexpr bool needs_operand = false;

    template <class T, class Keep> ESPALIER_FN static T pull(T g, T, Keep keep) {
        using espalier::select;
        return select(keep, g, T(scalar_of<T>(0)));
    }
    template <class T, class Keep> ESPALIER_FN static T store(T next, Keep keep) {
        using espalier::select;
        return select(keep, next, T(scalar_of<T>(0)));
    }
    template <class T, class Keep> ESPALIER_FN static T effective(T raw, Keep keep) { return store(raw, keep); }
};

} // namespace espalier::weight
