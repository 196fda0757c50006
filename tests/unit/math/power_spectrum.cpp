// SPDX-License-Identifier: Apache-2.0
// Power spectra: single frequencies, Parseval's sum for lengths of every kind. The order of products modulo a prime.
#include <espalier/core/error.hpp>
#include <espalier/math/power_spectrum.hpp>
#include <espalier/math/primitive_root.hpp>

#include <support/catch.hpp>
#include <support/message_of.hpp>

#include <algorithm>
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

TEST_CASE("powers_of_primitive_root: every residue once, and products are sums of places", "[math]") {
    CHECK(math::powers_of_primitive_root(2) == std::vector<index_t>{1});
    CHECK(math::powers_of_primitive_root(3) == std::vector<index_t>{1, 2});
    CHECK(math::powers_of_primitive_root(7) == std::vector<index_t>{1, 3, 2, 6, 4, 5}); // 2 has the order 3
    for (index_t const p : {41, 59, 97, 65521}) {
        auto const powers = math::powers_of_primitive_root(p);
        auto const at = [&](index_t place) { return powers[static_cast<std::size_t>(place % (p - 1))]; };
        for (index_t i = 0; i < p - 1; i += 1 + p / 50)
            for (index_t j = 0; j < p - 1; j += 1 + p / 40)
                CHECK(at(i) * at(j) % p == at(i + j));
        auto sorted = powers;
        std::sort(sorted.begin(), sorted.end());
        bool each = static_cast<index_t>(sorted.size()) == p - 1;
        for (std::size_t i = 0; each && i < sorted.size(); ++i)
            each = sorted[i] == static_cast<index_t>(i) + 1;
        CHECK(each);
    }
    for (index_t const p : {-3, 0, 1, 9, 91})
        CHECK_THROWS_AS(math::powers_of_primitive_root(p), data_error);
    CHECK(message_of<data_error>([] { math::powers_of_primitive_root(15); }) ==
          "math::powers_of_primitive_root: 15 was given; needed is a prime of at most 2^31");
}
