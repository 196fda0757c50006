// SPDX-License-Identifier: Apache-2.0
// The squared coefficient of variation, by which balance between experts is measured.
#pragma once

#include <espalier/core/macros.hpp>

namespace espalier::gate {

/// c CV^2(v) = c V / (m^2 + 1e-10) with the mean m and the population variance V = mean of (v - m)^2 of the Experts
/// numbers. `slopes` receives
///     c (2 (v_l - m) - 2 V m / (m^2 + 1e-10)) / (Experts (m^2 + 1e-10)).
template <int Experts> ESPALIER_FN double squared_variation(double c, double const* v, double* slopes) {
    double sum = 0.0, squares = 0.0;
    for (int l = 0; l < Experts; ++l)
        sum += v[l];
    double const m = sum / Experts;
    for (int l = 0; l < Experts; ++l)
        squares += (v[l] - m) * (v[l] - m);
    double const variance = squares / Experts, scale = 1.0 / (m * m + 1e-10);
    for (int l = 0; l < Experts; ++l)
        slopes[l] = 2.0 * c * scale / Experts * (v[l] - m - variance * m * scale);
    return c * variance * scale;
}

} // namespace espalier::gate
