// SPDX-License-Identifier: Apache-2.0
// Products read the weights as they are: the default.
#pragma once

#include <espalier/core/macros.hpp>
#include <espalier/weight/axis.hpp>

#include <string_view>

namespace espalier::weight {

/// effective(w) = w.
struct identity {
    using axis = espalier::axis::weight;
    static constexpr std::string_view name = "identity";
    static constexpr bool uses_mask = false;
    static constexpr bool needs_operand = false;

    template <class T> ESPALIER_FN static T pull(T g) { return g; }
    template <class T> ESPALIER_FN static T store(T next) { return next; }
    template <class T> ESPALIER_FN static T effective(T raw) { return raw; }
};

} // namespace espalier::weight
