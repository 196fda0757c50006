// SPDX-License-Identifier: Apache-2.0
// The kernel bodies of batch normalisation on the emulated block, against the loops of the CPU.
#include <support/catch.hpp>

#include "launches.hpp"

#include <espalier/device/cpu/batch_norm.hpp>
#include <espalier/kernels/batch_norm.hpp>

#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

namespace {

using namespace kernel_tests;
namespace k = espalier::kernels;
using espalier::master_of;
using espalier::matrix_view;
using espalier::tape_copies;

constexpr double epsilon = 1e-3;

/// Everything that the bodies leave behind. Two numbers a column stand one after the other, as in a network: the second
/// ones are rarely on a boundary of 16 bytes.
template <class T> struct outputs {
    using W = master_of<T>;
    std::vector<W> moments, running, gradients;
    padded_matrix<T> y, dx;
    index_t counted = -7;
};

template <class T, class Launch>
outputs<T> run(Launch const& launch, padded_matrix<T> const& x, padded_matrix<T> const& dy,
               std::vector<master_of<T>> const& parameters, bool through_statistics) {
    using W = master_of<T>;
    index_t const n = x.rows, columns = x.columns;
    auto const both = static_cast<std::size_t>(2 * columns);
    outputs<T> out{numbers<W>(2 * columns, 20), std::vector<W>(both), std::vector<W>(both, W(-7)),
                   padded_matrix<T>(n, columns, 1, 50), padded_matrix<T>(n, columns, 2, 51)};
    for (std::size_t c = 0; c < both; ++c)
        out.running[c] = static_cast<W>(c) / W(8);
    out.running.push_back(W(20)); // rows of the largest batch so far
    for (W& v : out.moments)
        v = v * v;
    W *const mean = out.moments.data(), *const variance = mean + columns;
    W const *const scale = parameters.data(), *const shift = scale + columns;
    std::vector<W> partial(static_cast<std::size_t>(k::pair_partial_size(n, columns)), W(-3));
    std::vector<W> sums(static_cast<std::size_t>(2 * k::octets_of(columns) * k::octet), W(-3));
    if (through_statistics) {
        launch([&](auto const& block) { k::moment_partials(block, x.view(), partial.data()); });
        launch([&](auto const& block) {
            k::finish_moments(block, static_cast<W const*>(partial.data()), n, columns, mean, variance, &out.counted);
        });
    }
    W const *const m = mean, *const v = variance;
    launch([&](auto const& block) { k::normalise(block, x.view(), m, v, scale, shift, epsilon, out.y.view()); });
    launch(
        [&](auto const& block) { k::normal_sum_partials(block, x.view(), dy.view(), m, v, epsilon, partial.data()); });
    launch([&](auto const& block) {
        k::finish_normal_sums(block, static_cast<W const*>(partial.data()), n, columns, sums.data(),
                              out.gradients.data(), out.gradients.data() + columns);
    });
    launch([&](auto const& block) {
        k::normalise_backward(block, x.view(), dy.view(), m, v, scale, epsilon,
                              static_cast<W const*>(through_statistics ? sums.data() : nullptr), out.dx.view());
    });
    if (through_statistics)
        launch([&](auto const& block) {
            k::running_moments(block, m, v, columns, &out.counted, 0.3, out.running.data(), tape_copies{},
                               static_cast<k::error_word const*>(nullptr));
        });
    return out;
}

template <class T> void check(index_t n, index_t columns, double offset, bool through_statistics, double tolerance) {
    using W = master_of<T>;
    CAPTURE(sizeof(T), n, columns, offset, through_statistics);
    padded_matrix<T> x(n, columns, 3, 1);
    for (T& e : x.data)
        e = static_cast<T>(static_cast<float>(static_cast<W>(e)) + static_cast<float>(offset));
    padded_matrix<T> const dy(n, columns, 1, 2);
    auto const parameters = numbers<W>(2 * columns, 3);
    std::vector<outputs<T>> got;
    for_launches([&](auto const& launch) { got.push_back(run<T>(launch, x, dy, parameters, through_statistics)); });

    // The same by the loops of the CPU, in double.
    auto const wide = [](padded_matrix<T> const& from) {
        std::vector<double> v;
        for (index_t r = 0; r < from.rows; ++r)
            for (index_t c = 0; c < from.columns; ++c)
                v.push_back(static_cast<double>(static_cast<W>(from(r, c))));
        return v;
    };
    auto const xs = wide(x), dys = wide(dy);
    std::vector<double> const numbers_of(parameters.begin(), parameters.end());
    auto const both = static_cast<std::size_t>(2 * columns);
    std::vector<double> moments, y(xs.size()), dx(xs.size()), gradients(both), running;
    for (W v : numbers<W>(2 * columns, 20))
        moments.push_back(static_cast<double>(v * v));
    for (std::size_t c = 0; c < both; ++c)
        running.push_back(static_cast<double>(c) / 8);
    running.push_back(20.0);
    matrix_view<double const> const xv{xs.data(), n, columns, columns}, dv{dys.data(), n, columns, columns};
    double *const mean = moments.data(), *const variance = mean + columns;
    double const *const scale = numbers_of.data(), *const shift = scale + columns;
    if (through_statistics) espalier::cpu::column_moments(xv, mean, variance);
    espalier::cpu::normalise<double>(xv, mean, variance, scale, shift, epsilon,
                                     matrix_view<double>{y.data(), n, columns, columns});
    espalier::cpu::normalise_backward<double>(xv, dv, mean, variance, scale, epsilon, through_statistics,
                                              gradients.data(), gradients.data() + columns,
                                              matrix_view<double>{dx.data(), n, columns, columns});
    if (through_statistics) espalier::cpu::running_moments<double>(mean, variance, columns, n, 0.3, running.data());

    double const storage = sizeof(T) == 2 ? 5e-3 : tolerance;
    for (auto const& g : got) {
        REQUIRE(same_bits(g.moments, got[0].moments));
        REQUIRE(same_bits(g.running, got[0].running));
        REQUIRE(same_bits(g.gradients, got[0].gradients));
        REQUIRE(same_bits(g.y.data, got[0].y.data));
        REQUIRE(same_bits(g.dx.data, got[0].dx.data));
        REQUIRE(g.counted == (through_statistics ? n : -7));
    }
    auto const& g = got[0];
    bool right =
        g.y.same_padding(padded_matrix<T>(n, columns, 1, 50)) && g.dx.same_padding(padded_matrix<T>(n, columns, 2, 51));
    for (std::size_t c = 0; c < both; ++c) {
        right &= near(static_cast<double>(g.moments[c]), moments[c], tolerance);
        right &= near(static_cast<double>(g.running[c]), running[c], tolerance);
        right &= near(static_cast<double>(g.gradients[c]), gradients[c], 20 * tolerance);
    }
    right &= static_cast<double>(g.running[both]) == running[both];
    auto const ys = wide(g.y), dxs = wide(g.dx);
    for (std::size_t i = 0; i < ys.size(); ++i)
        right &= near(ys[i], y[i], 4 * storage) && near(dxs[i], dx[i], 8 * storage);
    REQUIRE(right);
}

} // namespace

TEST_CASE("batch normalisation bodies against the loops of the CPU") {
    for (index_t n : {0, 1, 2, 9, 33, 300})
        for (index_t columns : {0, 1, 7, 8, 33, 64, 100}) {
            if (n == 300 && columns > 33) continue;
            for (bool through_statistics : {true, false}) {
                check<float>(n, columns, 0.0, through_statistics, 2e-6);
                check<double>(n, columns, 0.0, through_statistics, 1e-14);
                check<narrow>(n, columns, 0.0, through_statistics, 2e-6);
            }
        }
    // More rows than strips of the least height, and a pass in the higher strips.
    check<float>(2049, 9, 0.0, true, 2e-6);
}

TEST_CASE("batch normalisation bodies: a mean that is large beside the spread") {
    // A mean of 2^10 in float is off by up to 2^-14, which scale / sigma makes 1.1e-4 in y (4 times the number below is
    // allowed there). The difference of two sums of squares would be off by 0.06 in the variance.
    check<float>(300, 9, 1024.0, true, 5e-5);
    check<double>(300, 9, 1048576.0, true, 1e-9);
}

TEST_CASE("batch normalisation bodies: dx may be dy") {
    padded_matrix<float> const x(33, 20, 1, 1);
    auto const parameters = numbers<float>(40, 3);
    padded_matrix<float> apart(33, 20, 1, 2), dy(33, 20, 1, 2), in_place = dy;
    std::vector<float> const mean(20, 0.25f), variance(20, 2.0f), sums = numbers<float>(48, 4);
    for_blocks([&](auto const& launch) {
        in_place = dy;
        launch([&](auto const& block) {
            k::normalise_backward(block, x.view(), matrix_view<float const>(dy.view()), mean.data(), variance.data(),
                                  parameters.data(), epsilon, sums.data(), apart.view());
        });
        launch([&](auto const& block) {
            k::normalise_backward(block, x.view(), matrix_view<float const>(in_place.view()), mean.data(),
                                  variance.data(), parameters.data(), epsilon, sums.data(), in_place.view());
        });
        REQUIRE(same_bits(apart.data, in_place.data));
    });
}

TEST_CASE("running moments stay as they are without rows and after an error") {
    std::vector<float> const mean(9, 1.0f), variance(9, 2.0f);
    auto before = numbers<float>(19, 7);
    before[18] = 4.0f; // rows of the largest batch so far
    for_launches([&](auto const& launch) {
        auto const after = [&](index_t n, std::uint32_t bits) {
            std::vector<float> running = before;
            k::error_word const error{bits, 0};
            launch([&](auto const& block) {
                k::running_moments(block, mean.data(), variance.data(), index_t{9}, &n, 0.5, running.data(),
                                   tape_copies{}, &error);
            });
            return running;
        };
        REQUIRE(same_bits(after(0, 0), before));
        REQUIRE(same_bits(after(5, k::loss_not_finite), before));
        for (index_t n : {1, 2, 4, 8}) {
            auto const changed = after(n, 0);
            double const share = n < 4 ? 1.0 - std::pow(0.5, static_cast<double>(n) / 4.0) : 0.5;
            double const unbiased = n > 1 ? static_cast<double>(n) / static_cast<double>(n - 1) : 1.0;
            for (std::size_t c = 0; c < 9; ++c) {
                double const m = static_cast<double>(before[c]), v = static_cast<double>(before[9 + c]);
                REQUIRE(near(static_cast<double>(changed[c]), (1.0 - share) * m + share, 1e-6));
                if (n == 1) REQUIRE(changed[9 + c] == before[9 + c]); // one row has no variance
                if (n > 1)
                    REQUIRE(
                        near(static_cast<double>(changed[9 + c]), (1.0 - share) * v + share * unbiased * 2.0, 1e-6));
            }
            REQUIRE(changed[18] == (n == 8 ? 8.0f : 4.0f));
        }
    });
}

TEST_CASE("running moments of several copies are those of all their rows") {
    constexpr index_t columns = 11, n = 6;
    constexpr int copies = 3;
    padded_matrix<float> const all(copies * n, columns, 1, 5);
    auto before = numbers<float>(2 * columns + 1, 9);
    before.back() = 20.0f; // rows of the largest batch so far
    // The copies' moments lie apart in one block, as tapes do.
    constexpr std::size_t stride = 40;
    std::vector<float> kept(copies * stride, -7.0f);
    for (int c = 0; c < copies; ++c) {
        float* const to = kept.data() + stride * static_cast<std::size_t>(c);
        espalier::cpu::column_moments(all.view().middle_rows(c * n, n), to, to + columns);
    }
    std::vector<float> mean(columns), variance(columns), wanted = before, cpu = before;
    espalier::cpu::column_moments(all.view(), mean.data(), variance.data());
    espalier::cpu::running_moments(mean.data(), variance.data(), columns, copies * n, 0.25, wanted.data());
    tape_copies const where{copies, static_cast<index_t>(stride * sizeof(float))};
    float const* const first = kept.data();
    espalier::cpu::running_moments(first, first + columns, columns, n, 0.25, cpu.data(), where);
    for_launches([&](auto const& launch) {
        std::vector<float> running = before;
        launch([&](auto const& block) {
            k::running_moments(block, first, first + columns, columns, &n, 0.25, running.data(), where,
                               static_cast<k::error_word const*>(nullptr));
        });
        for (std::size_t i = 0; i < running.size(); ++i) {
            REQUIRE(near(static_cast<double>(running[i]), static_cast<double>(wanted[i]), 2e-6));
            REQUIRE(near(static_cast<double>(cpu[i]), static_cast<double>(running[i]), 1e-7));
        }
    });
}
