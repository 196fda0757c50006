// SPDX-License-Identifier: Apache-2.0
// A pruned weight is hidden from the products but goes on learning, and may come back.
#pragma once

#include <espalier/core/element_about.hpp>
#include <espalier/core/macros.hpp>
#include <espalier/core/pack.hpp>

#include <string_view>

namespace espalier::prune {

/// effective(w) = keep ? w : 0 in a second copy for the products; the raw weight is stored, and its gradient is that of
/// the effective one, unchanged (Bengio et al. 2013; for masks Zhou et al. 2021, section 3.2 without its decay term).
struct straight_through {
    static constexpr std::string_view name = "straight_through";
    static constexpr bool uses_mask = true;
    static constexpr bool needs_operand = true;

    template <class T> ESPALIER_FN static T pull(T g) { return g; }
    template <class T> ESPALIER_FN static T store(T next) { return next; }
    template <class T> ESPALIER_FN static T effective(T raw, element_about<T> const& about) {
        using espalier::select;
        return select(about.keep, raw, T(scalar_of<T>(0)));
    }
};

} // namespace espalier::prune
