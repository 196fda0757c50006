// SPDX-License-Identifier: Apache-2.0
// The area under the curve against counting all pairs, and on every system against the serial function.
#include <espalier/core/error.hpp>
#include <espalier/thrust/area_under_curve.hpp>
#include <espalier/train/area_under_curve.hpp>

#include <support/catch.hpp>
#include <support/thrust_systems.hpp>

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <random>
#include <vector>

using namespace espalier;

namespace {

/// By definition, over all pairs.
template <class T> double by_pairs(std::vector<T> const& scores, std::vector<float> const& labels) {
    std::uint64_t twice = 0, pairs = 0;
    for (std::size_t i = 0; i < scores.size(); ++i)
        for (std::size_t j = 0; j < scores.size(); ++j)
            if (labels[i] > 0.5f && !(labels[j] > 0.5f)) {
                twice += scores[i] > scores[j] ? 2u : scores[i] == scores[j] ? 1u : 0u;
                ++pairs;
            }
    return static_cast<double>(twice) / static_cast<double>(2 * pairs);
}

template <class T> double area(std::vector<T> const& scores, std::vector<float> const& labels) {
    return area_under_curve(scores.begin(), scores.end(), labels.begin());
}

} // namespace

TEMPLATE_TEST_CASE("the area under the curve counts pairs, on every system alike", "[thrust]", float, double) {
    using T = TestType;
    std::mt19937_64 random(3);
    std::normal_distribution<double> normal;
    T const strange[] = {-std::numeric_limits<T>::infinity(),  std::numeric_limits<T>::infinity(),   -T(0), T(0),
                         std::numeric_limits<T>::denorm_min(), -std::numeric_limits<T>::denorm_min()};
    for (std::size_t n : {2u, 3u, 32u, 33u, 300u})
        for (double share : {0.03, 0.5, 0.9})
            for (int kind = 0; kind < 3; ++kind) {
                std::vector<T> scores(n);
                std::vector<float> labels(n);
                for (std::size_t i = 0; i < n; ++i) {
                    labels[i] = static_cast<double>(random() % 1000) < 1000.0 * share ? 1.0f : 0.0f;
                    double const x = normal(random) + static_cast<double>(labels[i]);
                    scores[i] = static_cast<T>(kind == 0 ? x : std::round(2 * x));
                    if (kind == 2) scores[i] = strange[random() % 6];
                }
                labels[0] = 1.0f;
                labels[1] = 0.0f;
                double const expected = by_pairs(scores, labels);
                CHECK(area(scores, labels) == expected);
                on_every_system([&](auto const& system) {
                    CHECK(area_under_curve(system, scores.begin(), scores.end(), labels.begin()) == expected);
                });
            }
}

TEST_CASE("the area under the curve of known scores", "[thrust]") {
    CHECK(area<float>({0.1f, 0.4f, 0.35f, 0.8f}, {0, 0, 1, 1}) == 0.75);
    CHECK(area<float>({1, 1, 1}, {1, 0, 0}) == 0.5);
    CHECK(area<float>({0.0f, -0.0f}, {1, 0}) == 0.5);
    CHECK(area<float>({2, 1}, {1, 0}) == 1.0);
    CHECK(area<double>({1, 2}, {1, 0}) == 0.0);
    CHECK(area<double>({2, 1}, {0.75f, 0.5f}) == 1.0); // positive is above one half
    std::vector<float> const scores{2, 1, 3};
    std::vector<bool> const bits{true, false, false};
    std::uint8_t const bytes[] = {1, 0, 0};
    CHECK(area_under_curve(scores.begin(), scores.end(), bits.begin()) == 0.5);
    CHECK(area_under_curve(scores.data(), scores.data() + 3, bytes) == 0.5);
    CHECK(area_under_curve(thrust::seq, scores.data(), scores.data() + 3, bytes) == 0.5);
}

TEST_CASE("more than 255 and 65535 positives are counted", "[thrust]") {
    std::size_t const n = 200000;
    std::vector<float> scores(n);
    std::vector<std::uint8_t> labels(n);
    for (std::size_t i = 0; i < n; ++i) {
        scores[i] = static_cast<float>(i / 2); // every positive is tied with one negative
        labels[i] = static_cast<std::uint8_t>(i % 2);
    }
    CHECK(area_under_curve(scores.begin(), scores.end(), labels.begin()) == 0.5);
    on_every_system([&](auto const& system) {
        CHECK(area_under_curve(system, scores.begin(), scores.end(), labels.begin()) == 0.5);
    });
}

TEST_CASE("one class has no area under the curve, and what is no number is named", "[thrust]") {
    float const nan = std::numeric_limits<float>::quiet_NaN();
    std::vector<float> const scores{1, 2, 3}, broken{1, 2, nan}, one_class{1, 1, 1}, other{0, 0, 0}, mixed{0, 1, 0},
        unknown{0, nan, 1};
    CHECK(std::isnan(area(scores, one_class)));
    CHECK(std::isnan(area(scores, other)));
    CHECK(std::isnan(area<float>({}, {})));
    CHECK_THROWS_WITH(area(broken, mixed), "area_under_curve: the score or the label of row 2 is no number");
    CHECK_THROWS_WITH(area(scores, unknown), "area_under_curve: the score or the label of row 1 is no number");
    on_every_system([&](auto const& system) {
        auto const on_it = [&](std::vector<float> const& s, std::vector<float> const& l) {
            return area_under_curve(system, s.begin(), s.end(), l.begin());
        };
        CHECK(std::isnan(on_it(scores, one_class)));
        CHECK(std::isnan(on_it(scores, other)));
        CHECK(std::isnan(on_it({}, {})));
        CHECK_THROWS_AS(on_it(broken, mixed), data_error);
        CHECK_THROWS_WITH(on_it(scores, unknown), "area_under_curve: the score or the label of row 1 is no number");
    });
}
