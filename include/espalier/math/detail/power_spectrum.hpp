// SPDX-License-Identifier: Apache-2.0
// host only. Definitions of math/power_spectrum.hpp; see core/library.hpp.
#pragma once

#include <espalier/math/power_spectrum.hpp>

#include <cmath>
#include <cstddef>
#include <numbers>

namespace espalier::math {

ESPALIER_LIBRARY std::vector<double> power_spectrum(std::span<double const> v) {
    std::size_t const n = v.size();
    std::vector<double> cosine(n), sine(n), power(n / 2 + 1);
    for (std::size_t i = 0; i < n; ++i) {
        double const angle = 2.0 * std::numbers::pi * static_cast<double>(i) / static_cast<double>(n);
        cosine[i] = std::cos(angle);
        sine[i] = std::sin(angle);
    }
    for (std::size_t j = 0; j < power.size(); ++j) {
        double real = 0.0, imaginary = 0.0;
        std::size_t turn = 0; // i j modulo n
        for (double const x : v) {
            real += x * cosine[turn];
            imaginary += x * sine[turn];
            turn += j;
            if (turn >= n) turn -= n;
        }
        power[j] = real * real + imaginary * imaginary;
    }
    return power;
}

} // namespace espalier::math
