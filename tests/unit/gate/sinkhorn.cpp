// SPDX-License-Identifier: Apache-2.0
// Sinkhorn normalisation against published numbers, a plain loop, central differences, and itself on the lanes of a
// block.
#include <espalier/core/group.hpp>
#include <espalier/core/random.hpp>
#include <espalier/device/cpu/routing.hpp>
#include <espalier/device/emulated/emulated_block.hpp>
#include <espalier/gate/linear_assignment.hpp>
#include <espalier/gate/sinkhorn.hpp>

#include <support/catch.hpp>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

using namespace espalier;

namespace {

using numbers = std::vector<double>;

std::size_t size(index_t n) {
    return static_cast<std::size_t>(n);
}

/// n x n numbers in [-width, width).
numbers random_matrix(int n, double width, std::uint64_t stream) {
    numbers m(size(index_t(n) * n));
    fill_uniform(make_site(3, stream), -width, width, array_view<double>{m.data(), index_t(n) * n});
    return m;
}

struct soft_permutation {
    int n;
    double temperature;
    int iterations;
    numbers scores;
    numbers scratch = numbers(size(gate::sinkhorn_scratch(n, iterations)), std::nan(""));
    numbers p = numbers(scores.size(), std::nan(""));

    soft_permutation(int experts, numbers r, double tau, int rounds)
        : n(experts), temperature(tau), iterations(rounds), scores(std::move(r)) {
        gate::sinkhorn(serial_group{}, n, scores.data(), temperature, iterations, scratch.data(), p.data());
    }
    numbers backward(numbers dp) const {
        numbers memory = scratch;
        gate::sinkhorn_backward(serial_group{}, n, scores.data(), temperature, iterations, memory.data(), p.data(),
                                dp.data());
        return dp;
    }
    double entropy() const { return gate::permutation_entropy(serial_group{}, n, p.data()); }
    std::vector<std::int32_t> assignment() const {
        std::vector<std::int32_t> choice(size(n));
        numbers memory(size(gate::linear_assignment_scratch(n)));
        gate::linear_assignment(serial_group{}, n, p.data(), choice.data(), memory.data());
        return choice;
    }
};

void check_close(numbers const& given, numbers const& wanted, double tolerance) {
    REQUIRE(given.size() == wanted.size());
    for (std::size_t i = 0; i < given.size(); ++i) {
        INFO("entry " << i << ": " << given[i] << ", wanted " << wanted[i]);
        CHECK(std::abs(given[i] - wanted[i]) <= tolerance);
    }
}

/// The definition, word for word, in long double.
numbers plain_sinkhorn(int n, numbers const& scores, double temperature, int iterations) {
    using wide = long double;
    std::vector<wide> x(scores.size());
    for (std::size_t i = 0; i < x.size(); ++i)
        x[i] = wide(scores[i]) / wide(temperature);
    auto const subtract = [&](int first, int step) {
        wide top = -std::numeric_limits<wide>::infinity(), sum = 0;
        for (int k = 0; k < n; ++k)
            top = std::max(top, x[size(first + k * step)]);
        for (int k = 0; k < n; ++k)
            sum += std::exp(x[size(first + k * step)] - top);
        for (int k = 0; k < n; ++k)
            x[size(first + k * step)] -= top + std::log(sum);
    };
    for (int t = 0; t < iterations; ++t) {
        for (int i = 0; i < n; ++i)
            subtract(i * n, 1);
        for (int j = 0; j < n; ++j)
            subtract(j, n);
    }
    numbers p(x.size());
    for (std::size_t i = 0; i < x.size(); ++i)
        p[i] = static_cast<double>(std::exp(x[i]));
    return p;
}

} // namespace

TEST_CASE("sinkhorn gives the published soft permutation, entropy and gradient", "[gate][sinkhorn]") {
    soft_permutation const soft(3, {.02, -.01, .03, .01, .04, -.02, -.03, 0, .05}, .05, 20);
    check_close(soft.p,
                {0.459467103, 0.20383621, 0.336696687, 0.356863571, 0.525632861, 0.117503568, 0.183669326, 0.270530929,
                 0.545799745},
                6e-10);
    CHECK(std::abs(soft.entropy() - 6.001642052) <= 6e-10);
    CHECK(soft.assignment() == std::vector<std::int32_t>{0, 1, 2});

    // L = sum g' w + zeta Omega, g' = g P / rowsum(g P)
    double const gates[2][3] = {{.5, .3, .2}, {0, .6, .4}}, w[2][3] = {{1, 0, -1}, {0, 2, .5}};
    numbers dp(9, 0.0), permuted;
    for (int b = 0; b < 2; ++b) {
        double h[3] = {}, total = 0, mean = 0;
        for (int v = 0; v < 3; ++v) {
            for (int u = 0; u < 3; ++u)
                h[v] += gates[b][u] * soft.p[size(3 * u + v)];
            total += h[v];
        }
        for (int v = 0; v < 3; ++v) {
            permuted.push_back(h[v] / total);
            mean += w[b][v] * h[v] / total;
        }
        for (int u = 0; u < 3; ++u)
            for (int v = 0; v < 3; ++v)
                dp[size(3 * u + v)] += gates[b][u] * (w[b][v] - mean) / total;
    }
    check_close(permuted, {0.373526488, 0.313714149, 0.312759363, 0.287585873, 0.423592088, 0.288822039}, 6e-10);
    gate::permutation_entropy_backward(serial_group{}, 3, soft.p.data(), .1, dp.data());
    check_close(soft.backward(dp),
                {2.508183646, -1.795241483, -0.712942163, -2.079346222, 1.633195072, 0.44615115, -0.428837424,
                 0.162046411, 0.266791013},
                6e-10);
}

TEST_CASE("sinkhorn along the published schedule of temperatures", "[gate][sinkhorn]") {
    numbers const scores{.013,  .021, -.030, .008, .040, .012,  .010, -.025,
                         -.011, .017, .019,  .032, .005, -.041, .028, .009};
    std::vector<std::int32_t> const assignment{1, 0, 3, 2};
    soft_permutation const first(4, scores, 1e-3, 20);
    check_close(first.p,
                {0.000331008, 0.999999692, 0, 0.000002245, 0.999668992, 0, 0, 0, 0, 3.08e-07, 0.00000226, 0.999997749,
                 0, 0, 0.99999774, 6e-09},
                6e-10);
    CHECK(std::abs(first.entropy() - 0.006087994) <= 6e-10);
    CHECK(first.assignment() == assignment);

    soft_permutation const middle(4, scores, 1e-5, 85);
    check_close(middle.p, {0, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 1, 0, 0, 1, 0}, 1e-12);
    CHECK(std::abs(middle.entropy() + 8e-06) <= 1e-10);
    CHECK(middle.assignment() == assignment);
    // a hard permutation has no gradient
    check_close(middle.backward(random_matrix(4, 1.0, 1)), numbers(16, 0.0), 1e-9);

    soft_permutation const last(4, scores, 1.0964781961431852e-07, 148);
    check_close(last.p, middle.p, 1e-12);
}

TEST_CASE("sinkhorn agrees with its definition", "[gate][sinkhorn]") {
    for (int const n : {1, 2, 3, 7, 8, 9, 16, 21})
        for (int const iterations : {0, 1, 2, 20})
            for (double const temperature : {1.0, 0.05}) {
                INFO(n << " experts, " << iterations << " rounds, temperature " << temperature);
                numbers const scores = random_matrix(n, 0.2, 10 + static_cast<std::uint64_t>(n));
                soft_permutation const soft(n, scores, temperature, iterations);
                numbers const wanted = plain_sinkhorn(n, scores, temperature, iterations);
                for (std::size_t i = 0; i < wanted.size(); ++i)
                    REQUIRE(std::abs(soft.p[i] - wanted[i]) <= 1e-13 * (1 + wanted[i]));
            }
    // R / temperature of 5e5 and near-ties: what is left of the digits is about 1e-10
    numbers const scores = random_matrix(16, 0.05, 2);
    soft_permutation const cold(16, scores, 1e-7, 150);
    check_close(cold.p, plain_sinkhorn(16, scores, 1e-7, 150), 2e-8);
    for (int j = 0; j < 16; ++j) {
        double column = 0;
        for (int i = 0; i < 16; ++i)
            column += cold.p[size(16 * i + j)];
        CHECK(std::abs(column - 1) <= 1e-9);
    }
}

TEST_CASE("sinkhorn takes scores of either precision", "[gate][sinkhorn]") {
    int const n = 13, iterations = 9;
    numbers const scores = random_matrix(n, 0.1, 4);
    std::vector<float> const narrow(scores.begin(), scores.end());
    soft_permutation const wide(n, numbers(narrow.begin(), narrow.end()), 0.02, iterations);
    numbers scratch(wide.scratch.size()), p(wide.p.size());
    gate::sinkhorn(serial_group{}, n, narrow.data(), 0.02, iterations, scratch.data(), p.data());
    CHECK(p == wide.p);
    numbers dp = random_matrix(n, 1.0, 5);
    numbers const wanted = wide.backward(dp);
    gate::sinkhorn_backward(serial_group{}, n, narrow.data(), 0.02, iterations, scratch.data(), p.data(), dp.data());
    CHECK(dp == wanted);
}

TEST_CASE("the gradients of sinkhorn and of the entropy are those of differences", "[gate][sinkhorn]") {
    for (int const n : {1, 2, 5, 8, 11})
        for (int const iterations : {0, 1, 6}) {
            INFO(n << " experts, " << iterations << " rounds");
            numbers const scores = random_matrix(n, 0.5, 20 + static_cast<std::uint64_t>(n));
            numbers const w = random_matrix(n, 1.0, 40 + static_cast<std::uint64_t>(n));
            double const temperature = 0.4, scale = 0.7;
            auto const value = [&](numbers const& r) {
                soft_permutation const soft(n, r, temperature, iterations);
                double sum = scale * soft.entropy();
                for (std::size_t i = 0; i < w.size(); ++i)
                    sum += w[i] * soft.p[i];
                return sum;
            };
            soft_permutation const soft(n, scores, temperature, iterations);
            numbers dp = w;
            gate::permutation_entropy_backward(serial_group{}, n, soft.p.data(), scale, dp.data());
            numbers const gradient = soft.backward(dp);
            for (std::size_t i = 0; i < scores.size(); ++i) {
                double const step = 1e-5;
                numbers up = scores, down = scores;
                up[i] += step;
                down[i] -= step;
                double const difference = (value(up) - value(down)) / (2 * step);
                INFO("entry " << i << ": " << gradient[i] << ", difference " << difference);
                REQUIRE(std::abs(gradient[i] - difference) <= 1e-8 * (1 + std::abs(difference)));
            }
        }
}

namespace {

template <int Lanes> void check_lanes(int n, int iterations, std::uint64_t order) {
    INFO(Lanes << " lanes, " << n << " experts, order " << order);
    numbers const r = random_matrix(n, 0.3, 60 + static_cast<std::uint64_t>(n));
    std::vector<float> const scores(r.begin(), r.end());
    numbers const upstream = random_matrix(n, 1.0, 90 + static_cast<std::uint64_t>(n));
    double const temperature = 0.11;

    numbers scratch(size(gate::sinkhorn_scratch(n, iterations))), p(r.size()), dp = upstream;
    serial_group const one;
    gate::sinkhorn(one, n, scores.data(), temperature, iterations, scratch.data(), p.data());
    double const entropy = gate::permutation_entropy(one, n, p.data());
    gate::permutation_entropy_backward(one, n, p.data(), 0.2, dp.data());
    gate::sinkhorn_backward(one, n, scores.data(), temperature, iterations, scratch.data(), p.data(), dp.data());

    numbers block_scratch(scratch.size()), block_p(p.size()), block_dp = upstream, block_entropy(Lanes);
    emulated_launch<Lanes>(1,
                           [&](auto& group) {
                               gate::sinkhorn(group, n, scores.data(), temperature, iterations, block_scratch.data(),
                                              block_p.data());
                               block_entropy[group.thread_rank()] = gate::permutation_entropy(group, n, block_p.data());
                               gate::permutation_entropy_backward(group, n, block_p.data(), 0.2, block_dp.data());
                               gate::sinkhorn_backward(group, n, scores.data(), temperature, iterations,
                                                       block_scratch.data(), block_p.data(), block_dp.data());
                           },
                           {.order_seed = order});
    auto const same = [](double a, double b) {
        return std::bit_cast<std::uint64_t>(a) == std::bit_cast<std::uint64_t>(b);
    };
    CHECK(std::ranges::equal(block_scratch, scratch, same));
    CHECK(std::ranges::equal(block_p, p, same));
    CHECK(std::ranges::equal(block_dp, dp, same));
    CHECK(std::ranges::all_of(block_entropy, [&](double x) { return same(x, entropy); }));
}

} // namespace

TEST_CASE("sinkhorn gives the same bits for every number of lanes", "[gate][sinkhorn]") {
    for (int const n : {1, 3, 8, 16, 33, 70})
        for (std::uint64_t const order : {0, 7}) {
            int const iterations = n > 32 ? 3 : 12;
            check_lanes<32>(n, iterations, order);
            check_lanes<64>(n, iterations, order);
        }
}

TEST_CASE("sinkhorn of special matrices", "[gate][sinkhorn]") {
    SECTION("one expert") {
        soft_permutation const soft(1, {0.37}, 1e-3, 20);
        CHECK(soft.p[0] == 1.0);
        CHECK(soft.assignment() == std::vector<std::int32_t>{0});
        CHECK(soft.backward({3.0}) == numbers{0.0});
    }
    SECTION("equal scores") {
        soft_permutation const soft(5, numbers(25, 0.02), 1e-4, 20);
        check_close(soft.p, numbers(25, 0.2), 1e-12);
        CHECK(std::ranges::all_of(soft.p, [&](double x) { return x == soft.p[0]; }));
        CHECK(soft.assignment() == std::vector<std::int32_t>{0, 1, 2, 3, 4});
    }
    SECTION("no experts: nothing is touched") {
        gate::sinkhorn<serial_group, float>(serial_group{}, 0, nullptr, 1.0, 3, nullptr, nullptr);
        CHECK(gate::permutation_entropy(serial_group{}, 0, nullptr) == 0.0);
        CHECK(gate::sinkhorn_scratch(0, 3) == 0);
    }
    SECTION("NaN stays visible") {
        numbers scores = random_matrix(9, 0.1, 8);
        scores[40] = std::nan("");
        soft_permutation const soft(9, scores, 0.1, 3);
        CHECK(std::ranges::any_of(soft.p, [](double x) { return std::isnan(x); }));
        CHECK(std::isnan(soft.entropy()));
    }
}

TEST_CASE("sinkhorn: Gumbel noise and temperatures at the ends of what a search accepts", "[gate]") {
    struct numbers_of_search {
        double temperature, noise, entropy;
        int iterations;
    };
    constexpr int n = 6;
    for (double const noise : {0.0, 1e-300, 1.0, 1e6})
        for (double const temperature : {1e-7, 1e6})
            for (int const iterations : {1, 20, 1000}) {
                numbers_of_search const op{temperature, noise, 1e6, iterations};
                std::vector<float> scores(n * n), permutation(n * n), gradient(n * n, 1.0f), dscores(n * n);
                for (int i = 0; i < n * n; ++i)
                    scores[static_cast<std::size_t>(i)] = 0.01f * static_cast<float>((i * 7) % 11 - 5);
                numbers noisy(n * n), soft(n * n), dsoft(n * n);
                numbers scratch(static_cast<std::size_t>(gate::sinkhorn_scratch(n, iterations)));
                double term = 0.0;
                cpu::soft_permutation(op, n, scores.data(), make_site(5, 6), noisy.data(), scratch.data(), soft.data(),
                                      permutation.data(), &term);
                cpu::soft_permutation_backward(op, n, noisy.data(), scratch.data(), soft.data(), gradient.data(),
                                               dsoft.data(), dscores.data());
                INFO("noise " << noise << ", temperature " << temperature << ", " << iterations << " iterations");
                int wrong = 0;
                for (std::size_t i = 0; i < n * n; ++i)
                    wrong +=
                        !(std::isfinite(noisy[i]) && soft[i] >= 0.0 && soft[i] <= 1.1 && std::isfinite(dscores[i]));
                CHECK(wrong == 0);
                CHECK(std::isfinite(term));
            }
}
