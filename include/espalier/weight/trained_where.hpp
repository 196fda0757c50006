// SPDX-License-Identifier: Apache-2.0
// A binary mask that the user gives: some weights are trained, the others keep their values.
#pragma once

#include <espalier/core/element_about.hpp>
#include <espalier/core/macros.hpp>
#include <espalier/core/pack.hpp>
#include <espalier/weight/axis.hpp>

#include <string_view>

namespace espalier::weight {

/// Functions of a map that trains a weight or leaves it as it is.
struct kept_or_frozen {
    static constexpr bool uses_mask = true;
    static constexpr bool needs_operand = false;
    static constexpr bool freezes = true;

    template <class T> ESPALIER_FN static T pull(T g, element_about<T> const& about) {
        using espalier::select;
        return select(about.keep, g, T(scalar_of<T>(0)));
    }
    template <class T> ESPALIER_FN static T store(T next, element_about<T> const& about) {
        using espalier::select;
        return select(about.keep, next, about.weight);
    }
    template <class T> ESPALIER_FN static T effective(T raw) { return raw; }
};

/// effective(w) = w. Where the mask keeps a weight it is an ordinary one. Elsewhere it stays what it is, bit for bit:
/// no gradient, penalty, prox, transform or decay moves it, its moments stay 0, and it is no part of the value of a
/// penalty on single weights or of a norm that clips. A penalty over groups takes their norms over all weights of a
/// group. Before `set_mask` everything is trained. Nothing is written beside the weights; moments are kept of all.
struct trained_where : kept_or_frozen {
    using axis = espalier::axis::weight;
    static constexpr std::string_view name = "trained_where";
};

} // namespace espalier::weight
