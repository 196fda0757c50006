// SPDX-License-Identifier: Apache-2.0
// The kernel bodies of gates that look rows up, let experts choose, or search for a permutation, on the emulated block,
// against the loops of the CPU.
#include <support/catch.hpp>

#include "launches.hpp"

#include <espalier/core/random.hpp>
#include <espalier/core/rows.hpp>
#include <espalier/device/cpu/routing.hpp>
#include <espalier/gate/by_range.hpp>
#include <espalier/gate/enforced.hpp>
#include <espalier/gate/hash.hpp>
#include <espalier/gate/linear_assignment.hpp>
#include <espalier/gate/sinkhorn.hpp>
#include <espalier/kernels/routing.hpp>

#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

namespace {

using namespace kernel_tests;
namespace k = espalier::kernels;
namespace gate = espalier::gate;
using espalier::matrix_view;

/// Numbers of a search, as an op has them.
struct search_numbers {
    double temperature, noise, entropy;
    int iterations;
};

constexpr index_t row_count = 37;

std::vector<std::int32_t> experts_of(index_t rows, index_t slots, int experts) {
    std::vector<std::int32_t> e;
    for (index_t r = 0; r < rows; ++r)
        for (index_t s = 0; s < slots; ++s)
            e.push_back(static_cast<std::int32_t>((5 * r + 3 * s) % experts));
    return e;
}

template <class T> void check_slots(int experts, index_t slots) {
    CAPTURE(experts, slots);
    auto const expert = experts_of(row_count, slots, experts);
    auto weight = numbers<T>(row_count * slots, 3);
    auto chosen = expert;
    for (std::size_t i = 0; i < weight.size(); ++i)
        if (i % 4 == 1) {
            weight[i] = T(0);
            chosen[i] = 1000000; // of an empty slot: not looked at
        }
    auto const dspread = numbers<T>(row_count * experts, 4);
    matrix_view<T const> const w{weight.data(), row_count, slots, slots};
    matrix_view<std::int32_t const> const e{chosen.data(), row_count, slots, slots};
    matrix_view<T const> const ds{dspread.data(), row_count, experts, experts};
    std::vector<T> spread(dspread.size()), gathered(weight.size());
    espalier::cpu::spread_slots(w, e, matrix_view<T>{spread.data(), row_count, experts, experts});
    espalier::cpu::gather_slots(ds, w, e, matrix_view<T>{gathered.data(), row_count, slots, slots});
    for_launches([&](auto const& launch) {
        std::vector<T> to(spread.size(), T(-7)), back(gathered.size(), T(-7));
        std::vector<std::int32_t> numbered(static_cast<std::size_t>(row_count * slots), -7);
        launch([&](auto const& block) {
            k::spread_slots(block, w, e, matrix_view<T>{to.data(), row_count, experts, experts});
        });
        launch([&](auto const& block) {
            k::gather_slots(block, ds, w, e, matrix_view<T>{back.data(), row_count, slots, slots});
        });
        launch([&](auto const& block) {
            k::number_slots(block, matrix_view<std::int32_t>{numbered.data(), row_count, slots, slots});
        });
        REQUIRE(same_bits(to, spread));
        REQUIRE(same_bits(back, gathered));
        for (std::size_t i = 0; i < numbered.size(); ++i)
            REQUIRE(numbered[i] == static_cast<std::int32_t>(i) % static_cast<std::int32_t>(slots));
    });
}

template <class T> void check_sums(int experts, double tolerance) {
    auto given = numbers<T>(row_count * experts, 5);
    for (T& x : given)
        x = x * x + T(0.125);
    auto const dg = numbers<T>(row_count * experts, 6);
    std::vector<T> expected = given, sum(row_count), d(given.size());
    matrix_view<T const> const upstream{dg.data(), row_count, experts, experts};
    espalier::cpu::divide_by_sums(matrix_view<T>{expected.data(), row_count, experts, experts}, sum.data());
    espalier::cpu::divide_by_sums_backward(matrix_view<T const>{expected.data(), row_count, experts, experts}, upstream,
                                           sum.data(), matrix_view<T>{d.data(), row_count, experts, experts});
    std::vector<std::vector<T>> all;
    for_launches([&](auto const& launch) {
        std::vector<T> w = given, s(row_count), back(d.size());
        launch([&](auto const& block) {
            k::divide_by_sums(block, matrix_view<T>{w.data(), row_count, experts, experts}, s.data());
        });
        launch([&](auto const& block) {
            k::divide_by_sums_backward(block, matrix_view<T const>{w.data(), row_count, experts, experts}, upstream,
                                       static_cast<T const*>(s.data()),
                                       matrix_view<T>{back.data(), row_count, experts, experts});
        });
        for (std::size_t i = 0; i < w.size(); ++i) {
            REQUIRE(near(static_cast<double>(w[i]), static_cast<double>(expected[i]), tolerance));
            REQUIRE(near(static_cast<double>(back[i]), static_cast<double>(d[i]), tolerance));
        }
        for (std::size_t i = 0; i < s.size(); ++i)
            REQUIRE(near(static_cast<double>(s[i]), static_cast<double>(sum[i]), tolerance));
        w.insert(w.end(), back.begin(), back.end());
        all.push_back(w);
    });
    for (auto const& w : all)
        REQUIRE(same_bits(w, all[0]));
}

template <class T> void check_choice(int experts) {
    auto given = numbers<T>(row_count * experts, 7);
    T const nan_value = std::numeric_limits<T>::quiet_NaN(), infinity = std::numeric_limits<T>::infinity();
    for (index_t r = 0; r < row_count; ++r)
        for (int e = 0; e < experts; ++e) {
            T& w = given[static_cast<std::size_t>(r * experts + e)];
            if (e == 0) w = T(0.25);                        // all equal
            if (e == 1) w = T(static_cast<int>(4 * w)) / 4; // many ties, both signs
            if (e == 2 && r % 9 == 4) w = nan_value;        // NaN and infinity are equally large
            if (e == 2 && r % 9 == 3) w = infinity;
            if (e == 3) w = r % 2 ? T(0) : -T(0); // equal zeros
        }
    for (index_t count : {1, 2, 5, 18, 36, 37, 60}) {
        CAPTURE(experts, count);
        std::vector<T> expected = given, order(row_count);
        espalier::cpu::choose_rows(count, order.data(), matrix_view<T>{expected.data(), row_count, experts, experts});
        for_launches([&](auto const& launch) {
            std::vector<T> w = given;
            launch([&](auto const& block) {
                k::choose_rows(block, count, matrix_view<T>{w.data(), row_count, experts, experts});
            });
            std::size_t wrong = 0;
            for (std::size_t i = 0; i < w.size(); ++i)
                wrong += !(w[i] == expected[i] || (w[i] != w[i] && expected[i] != expected[i]));
            REQUIRE(wrong == 0);
        });
    }
}

void check_search(int n, double noise) {
    CAPTURE(n, noise);
    search_numbers const op{0.1, noise, 0.3, 12};
    auto const scores = numbers<float>(n * n, 8), dp = numbers<float>(n * n, 9);
    auto const count = static_cast<std::size_t>(n * n);
    espalier::random_site const site = espalier::make_site(7, 3, 11, 1);
    auto const room =
        static_cast<std::size_t>(gate::sinkhorn_scratch(n, op.iterations) + gate::linear_assignment_scratch(n) + n);
    std::vector<double> noisy(count), potentials(room), soft(count), dsoft(count);
    std::vector<float> permutation(count), dscores(count), hard(count);
    double term = -7.0;
    espalier::cpu::soft_permutation(op, n, scores.data(), site, noisy.data(), potentials.data(), soft.data(),
                                    permutation.data(), &term);
    espalier::cpu::soft_permutation_backward(op, n, noisy.data(), potentials.data(), soft.data(), dp.data(),
                                             dsoft.data(), dscores.data());
    espalier::cpu::round_permutation(n, soft.data(), potentials.data(), hard.data());
    for_blocks([&](auto const& launch) {
        std::vector<double> noisy1(count), potentials1(room), soft1(count), dsoft1(count);
        std::vector<float> permutation1(count), dscores1(count), hard1(count, -7.0f);
        double term1 = -7.0;
        launch([&](auto const& block) {
            k::soft_permutation(block, op, n, scores.data(), site, noisy1.data(), potentials1.data(), soft1.data(),
                                permutation1.data(), &term1);
        });
        launch([&](auto const& block) {
            k::soft_permutation_backward(block, op, n, static_cast<double const*>(noisy1.data()), potentials1.data(),
                                         static_cast<double const*>(soft1.data()), dp.data(), dsoft1.data(),
                                         dscores1.data());
        });
        k::error_word error;
        launch([&](auto const& block) {
            k::round_permutation(block, n, static_cast<double const*>(soft1.data()), potentials1.data(), hard1.data(),
                                 static_cast<k::error_word const*>(&error));
        });
        for (std::size_t i = 0; i < count; ++i) {
            REQUIRE(near(soft1[i], soft[i], 1e-12));
            REQUIRE(near(static_cast<double>(permutation1[i]), static_cast<double>(permutation[i]), 1e-7));
            REQUIRE(near(static_cast<double>(dscores1[i]), static_cast<double>(dscores[i]), 1e-6));
        }
        REQUIRE(near(term1, term, 1e-11));
        REQUIRE(same_bits(hard1, hard));
        error.bits = k::label_out_of_range;
        std::vector<float> untouched = hard1;
        for (float& x : untouched)
            x = -1.0f;
        std::vector<float> const before = untouched;
        launch([&](auto const& block) {
            k::round_permutation(block, n, static_cast<double const*>(soft1.data()), potentials1.data(),
                                 untouched.data(), static_cast<k::error_word const*>(&error));
        });
        REQUIRE(same_bits(untouched, before));
    });
}

/// Choices of the tile and of the lone lane on the same gains.
void check_assignment(std::vector<double> const& gain, int n) {
    auto const room = static_cast<std::size_t>(gate::linear_assignment_scratch(n));
    std::vector<double> scratch(room);
    std::vector<std::int32_t> expected(static_cast<std::size_t>(n), -7), choice = expected;
    gate::linear_assignment(espalier::serial_group{}, n, gain.data(), expected.data(), scratch.data());
    for_blocks([&](auto const& launch) {
        launch([&](auto const& block) {
            auto const tile = block.template tile<32>();
            if (block.thread_rank() < 32) gate::linear_assignment(tile, n, gain.data(), choice.data(), scratch.data());
        });
        REQUIRE(choice == expected);
    });
}

} // namespace

TEST_CASE("routing bodies: rows are looked up as on the CPU, and a row without an expert is reported") {
    using keyed = gate::hash<5, 40>;
    using tagged = gate::enforced<5>;
    using ranged = gate::by_range<gate::equal_ranges<4, -2.0, 2.0>, gate::from_column<1>>;
    auto const x = numbers<float>(row_count * 3, 1);
    matrix_view<float const> const inputs{x.data(), row_count, 3, 3};
    std::vector<float> table(40);
    keyed::fill_table(matrix_view<float>{table.data(), 1, 40, 40}, espalier::make_site(7, 3, 11, 1));
    std::vector<std::uint64_t> key;
    std::vector<std::int32_t> group;
    for (index_t r = 0; r < row_count; ++r) {
        key.push_back(static_cast<std::uint64_t>(r * 7 % 40));
        group.push_back(static_cast<std::int32_t>(r * 3 % 5));
    }
    espalier::rows batch;
    batch.count = row_count;
    batch.key = key.data();
    batch.group = group.data();
    auto const check = [&]<class Gate>(Gate const&) {
        auto const op = espalier::op_at<Gate>(espalier::clock{});
        std::vector<float> weight(row_count), expected_weight(row_count);
        std::vector<std::int32_t> expert(row_count), expected(row_count);
        espalier::cpu::look_up<Gate>(op, batch, inputs, static_cast<float const*>(table.data()),
                                     matrix_view<float>{expected_weight.data(), row_count, 1, 1},
                                     matrix_view<std::int32_t>{expected.data(), row_count, 1, 1});
        for_launches([&](auto const& launch) {
            k::error_word error;
            launch([&](auto const& block) {
                k::look_up<Gate>(block, op, batch, inputs, static_cast<float const*>(table.data()),
                                 matrix_view<float>{weight.data(), row_count, 1, 1},
                                 matrix_view<std::int32_t>{expert.data(), row_count, 1, 1}, &error);
            });
            REQUIRE(error.clear());
            REQUIRE(same_bits(weight, expected_weight));
            REQUIRE(expert == expected);
        });
    };
    check(keyed{});
    check(tagged{});
    check(ranged{});

    group[20] = 5;
    group[11] = -1;
    for_launches([&](auto const& launch) {
        std::vector<float> weight(row_count);
        std::vector<std::int32_t> expert(row_count, -7);
        k::error_word error;
        launch([&](auto const& block) {
            k::look_up<tagged>(block, tagged{}, batch, inputs, static_cast<float const*>(nullptr),
                               matrix_view<float>{weight.data(), row_count, 1, 1},
                               matrix_view<std::int32_t>{expert.data(), row_count, 1, 1}, &error);
        });
        REQUIRE(error.bits == k::expert_out_of_range);
        REQUIRE(error.row == 11);
        for (std::int32_t e : expert)
            REQUIRE((e >= 0 && e < 5));
    });
}

TEST_CASE("routing bodies: slots to experts and back") {
    check_slots<float>(8, 2);
    check_slots<float>(13, 3);
    check_slots<double>(33, 1);
}

TEST_CASE("routing bodies: rows divided by their sums") {
    check_sums<float>(5, 1e-6);
    check_sums<float>(40, 1e-6);
    check_sums<double>(16, 1e-14);
}

TEST_CASE("routing bodies: experts choose the CPU's rows: ties, infinities and NaN included") {
    check_choice<float>(6);
    check_choice<float>(1);
    check_choice<double>(5);
}

TEST_CASE("routing bodies: a search's soft permutation, its gradient and its rounding") {
    check_search(1, 0.0);
    check_search(7, 0.0);
    check_search(8, 0.5);
    check_search(33, 0.0);
}

TEST_CASE("routing bodies: the tile's assignment is the lone lane's") {
    for (int n : {0, 1, 2, 5, 31, 32, 33, 70}) {
        CAPTURE(n);
        auto gain = numbers<double>(n * n, 17);
        check_assignment(gain, n);
        for (double& g : gain)
            g = std::floor(g); // many ties
        check_assignment(gain, n);
        for (double& g : gain)
            g = 0.5;
        check_assignment(gain, n);
    }
}
