// SPDX-License-Identifier: Apache-2.0
// A pruned weight is 0 and stays 0.
#pragma once

#include <espalier/core/macros.hpp>
#include <espalier/core/pack.hpp>

#include <string_view>

namespace espalier::prune {

/// effective(w) = keep ? w : 0, and that is what is stored: no second copy for the products. Pruned weights receive no
/// gradient; a later selection can only bring them back as zeros.
struct hard {
    static constexpr std::string_view name = "hard";
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

} // namespace espalier::prune
