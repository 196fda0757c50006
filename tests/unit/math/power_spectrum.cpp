// SPDX-License-Identifier: Apache-2.0
// Power spectra: single frequencies, Parseval's sum for lengths of every kind, precision.
#include <espalier/math/power_spectrum.hpp>

#include <support/catch.hpp>

#include <cmath>
#include <cstddef>
#include <numbers>
#include <vector>

using namespace espalier;

TEST_CASE("power_spectrum: a cosine has one frequency", "[math]") {
    for (std::size_t const n : {5u, 8u, 97u})
        for (std::size_t f = 0; f <= n / 2; ++f) {
            std::vector<double> v(n);
            for (std::size_t i = 0; i < n; ++i)
                v[i] = std::cos(2.0 * std::numbers::pi * static_cast<double>(f * i % n) / static_cast<double>(n));
            auto const power = math::power_spectrum(v);
            REQUIRE(power.size() == n / 2 + 1);
            // Half of it is at the frequency n - f, but where that is f itself.
            double const expected = std::pow(static_cast<double>(n) * (2 * f % n == 0 ? 1.0 : 0.5), 2.0);
            for (std::size_t j = 0; j < power.size(); ++j)
                CHECK(power[j] == Approx(j == f ? expected : 0.0).margin(1e-12 * expected));
        }
}

TEST_CASE("power_spectrum: numbers by hand, and the sum of Parseval", "[math]") {
    // F_0 = 6, F_1 = -1.5 + 0.866i
    auto const three = math::power_spectrum(std::vector<double>{1.0, 2.0, 3.0});
    CHECK(three[0] == 36.0);
    CHECK(three[1] == Approx(3.0).epsilon(1e-14));
    CHECK(math::power_spectrum({}) == std::vector<double>{0.0});
    CHECK(math::power_spectrum(std::vector<double>{-3.0}) == std::vector<double>{9.0});
    for (std::size_t n = 2; n < 70; ++n) {
        std::vector<double> v(n);
        double squares = 0.0;
        for (std::size_t i = 0; i < n; ++i) {
            v[i] = std::sin(0.7 * static_cast<double>(i * i) + 0.1 * static_cast<double>(n));
            squares += v[i] * v[i];
        }
        auto const power = math::power_spectrum(v);
        double sum = 0.0;
        for (std::size_t j = 0; j < power.size(); ++j)
            sum += power[j] * (2 * j % n == 0 ? 1.0 : 2.0);
        CHECK(sum == Approx(squares * static_cast<double>(n)).epsilon(1e-13));
    }
}
