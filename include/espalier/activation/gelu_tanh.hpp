// SPDX-License-Identifier: Apache-2.0
// Gaussian error linear unit, the form with the hyperbolic tangent.
#pragma once

#include <espalier/activation/axis.hpp>
#include <espalier/core/macros.hpp>
#include <espalier/core/math.hpp>
#include <espalier/core/pack.hpp>

#include <string_view>

namespace espalier::activation {

/// y = x (1 + tanh(u)) / 2 with u = sqrt(2 / pi) (x + 0.044715 x^3) (Hendrycks and Gimpel 2016, section 2);
/// dy/dx = (1 + tanh(u)) / 2 + x (1 - tanh(u)^2) u' / 2.
struct gelu_tanh {
    using axis = espalier::axis::activation;
    static constexpr std::string_view name = "gelu_tanh";
    static constexpr bool reads_input = true;
    static constexpr bool reads_output = false;

    template <class T> ESPALIER_FN static T forward(T x) {
        using espalier::tanh;
        using S = scalar_of<T>;
        return T(S(0.5)) * x * (T(S(1)) + tanh(inner(x)));
    }
    template <class T> ESPALIER_FN static T backward(T x, T, T dy) {
        using espalier::max, espalier::min, espalier::tanh;
        using S = scalar_of<T>;
        // Beyond +-12 the tangent is +-1 in every precision; without the bound x^2 overflows and meets a factor of 0.
        T const b = max(T(S(-12)), min(T(S(12)), x));
        T const t = tanh(inner(b));
        T const slope = T(S(0.79788456080286536)) * fma(T(S(3 * 0.044715)) * b, b, T(S(1)));
        return dy * T(S(0.5)) * fma(b * fma(-t, t, T(S(1))), slope, T(S(1)) + t);
    }

private:
    template <class T> ESPALIER_FN static T inner(T x) {
        using S = scalar_of<T>;
        return T(S(0.79788456080286536)) * x * fma(T(S(0.044715)) * x, x, T(S(1)));
    }
};

} // namespace espalier::activation
