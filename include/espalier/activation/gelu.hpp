// SPDX-License-Identifier: Apache-2.0
// Gaussian error linear unit, exact form.
#pragma once

#include <espalier/activation/axis.hpp>
#include <espalier/core/macros.hpp>
#include <espalier/core/math.hpp>
#include <espalier/core/pack.hpp>

#include <string_view>

namespace espalier::activation {

/// y = x Phi(x) with the normal distribution Phi(x) = (1 + erf(x / sqrt(2))) / 2 (Hendrycks and Gimpel 2016, section
/// 2); dy/dx = Phi(x) + x exp(-x^2 / 2) / sqrt(2 pi).
struct gelu {
    using axis = espalier::axis::activation;
    static constexpr std::string_view name = "gelu";
    static constexpr bool reads_input = true;
    static constexpr bool reads_output = false;

    template <class T> ESPALIER_FN static T forward(T x) {
        using espalier::erf;
        using S = scalar_of<T>;
        return T(S(0.5)) * x * (T(S(1)) + erf(x * T(S(0.70710678118654752))));
    }
    template <class T> ESPALIER_FN static T backward(T x, T, T dy) {
        using espalier::erf, espalier::exp;
        using S = scalar_of<T>;
        T const share = T(S(0.5)) + T(S(0.5)) * erf(x * T(S(0.70710678118654752)));
        T const density = T(S(0.39894228040143268)) * exp(T(S(-0.5)) * x * x);
        return dy * fma(x, density, share);
    }
};

} // namespace espalier::activation
