// SPDX-License-Identifier: Apache-2.0
// Logistic function.
#pragma once

#include <espalier/activation/axis.hpp>
#include <espalier/core/macros.hpp>
#include <espalier/core/math.hpp>
#include <espalier/core/pack.hpp>

#include <string_view>

namespace espalier::activation {

/// y = 1 / (1 + exp(-x)); dy/dx = y (1 - y).
struct sigmoid {
    using axis = espalier::axis::activation;
    static constexpr std::string_view name = "sigmoid";
    static constexpr bool reads_input = false;
    static constexpr bool reads_output = true;

    template <class T> ESPALIER_FN static T forward(T x) {
        using espalier::sigmoid; // a name in the block hides the name of this struct
        return sigmoid(x);
    }
    template <class T> ESPALIER_FN static T backward(T, T y, T dy) { return dy * y * (T(scalar_of<T>(1)) - y); }
};

} // namespace espalier::activation
