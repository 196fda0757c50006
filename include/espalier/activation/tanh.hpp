// SPDX-License-Identifier: Apache-2.0
// Hyperbolic tangent.
#pragma once

#include <espalier/activation/axis.hpp>
#include <espalier/core/macros.hpp>
#include <espalier/core/math.hpp>
#include <espalier/core/pack.hpp>

#include <string_view>

namespace espalier::activation {

/// y = tanh(x); dy/dx = 1 - y^2.
struct tanh {
    using axis = espalier::axis::activation;
    static constexpr std::string_view name = "tanh";
    static constexpr bool reads_input = false;
    static constexpr bool reads_output = true;

    template <class T> ESPALIER_FN static T forward(T x) {
        using espalier::tanh; // a name in the block hides the name of this struct
        return tanh(x);
    }
    template <class T> ESPALIER_FN static T backward(T, T y, T dy) {
        // Not left to the compiler's choice of fusing: near 1 the two roundings have hardly a digit in common.
        return dy * fma(-y, y, T(scalar_of<T>(1)));
    }
};

} // namespace espalier::activation
