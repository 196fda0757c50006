// SPDX-License-Identifier: Apache-2.0
// Sigmoid-weighted linear unit, also called swish.
#pragma once

#include <espalier/activation/axis.hpp>
#include <espalier/core/macros.hpp>
#include <espalier/core/math.hpp>
#include <espalier/core/pack.hpp>

#include <string_view>

namespace espalier::activation {

/// y = x sigmoid(x) (Elfwing, Uchibe and Doya 2018, eq. 8); dy/dx = s (1 + x (1 - s)) with s = sigmoid(x).
struct silu {
    using axis = espalier::axis::activation;
    static constexpr std::string_view name = "silu";
    static constexpr bool reads_input = true;
    static constexpr bool reads_output = false;

    template <class T> ESPALIER_FN static T forward(T x) {
        using espalier::sigmoid;
        return x * sigmoid(x);
    }
    template <class T> ESPALIER_FN static T backward(T x, T, T dy) {
        using espalier::sigmoid;
        T const s = sigmoid(x), one(scalar_of<T>(1));
        return dy * s * fma(x, one - s, one);
    }
};

} // namespace espalier::activation
