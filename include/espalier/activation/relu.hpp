// SPDX-License-Identifier: Apache-2.0
// Rectified linear unit.
#pragma once

#include <espalier/activation/axis.hpp>
#include <espalier/core/macros.hpp>
#include <espalier/core/math.hpp>
#include <espalier/core/pack.hpp>

#include <string_view>

namespace espalier::activation {

/// y = max(x, 0); the derivative at 0 is 0. A NaN stays one.
struct relu {
    using axis = espalier::axis::activation;
    static constexpr std::string_view name = "relu";
    static constexpr bool reads_input = false;
    static constexpr bool reads_output = true;

    template <class T> ESPALIER_FN static T forward(T x) {
        using espalier::max;
        return max(T(scalar_of<T>(0)), x);
    }
    template <class T> ESPALIER_FN static T backward(T, T y, T dy) {
        using espalier::select;
        return select(y > T(scalar_of<T>(0)), dy, T(scalar_of<T>(0)));
    }
};

} // namespace espalier::activation
