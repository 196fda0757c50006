// SPDX-License-Identifier: Apache-2.0
// The kernel bodies over rows on the emulated block: row-wise activations and losses.
#include <support/catch.hpp>

#include "launches.hpp"

#include <espalier/activation/softmax.hpp>
#include <espalier/core/rows.hpp>
#include <espalier/device/cpu/row_loss.hpp>
#include <espalier/kernels/row_loss.hpp>
#include <espalier/kernels/row_map.hpp>
#include <espalier/loss/cross_entropy.hpp>
#include <espalier/loss/early_learning.hpp>
#include <espalier/loss/mean_squared_error.hpp>

#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

namespace {

using namespace kernel_tests;
namespace k = espalier::kernels;
using espalier::matrix_view;

// Everything a loss leaves behind.
struct loss_output {
    padded_matrix<float> gradient;
    std::vector<float> state, row_values;
    k::row_loss_result result;
    k::error_word error;
};

template <int N, class Loss, class Launch, class Single>
loss_output run_loss(Launch const& launch, Single const& single, Loss const& loss, padded_matrix<float> const& z,
                     espalier::rows const& batch, std::vector<float> const& dense, index_t samples,
                     std::vector<float> const& state) {
    loss_output out{padded_matrix<float>(z.rows, N, 1, 50),
                    state,
                    std::vector<float>(static_cast<std::size_t>(z.rows), -3.0f),
                    {},
                    {}};
    k::row_loss_arguments<float> a;
    a.z = z.view();
    a.batch = batch;
    a.gradient = out.gradient.view();
    if (!dense.empty()) a.dense_targets = {dense.data(), z.rows, N, N};
    if (samples > 0) a.state = {out.state.data(), samples, N, N};
    a.row_values = {out.row_values.data(), z.rows};
    std::vector<double> weighted(static_cast<std::size_t>(z.rows), -9.0);
    out.result.value = -9;
    single([&](auto const& block) {
        k::count_rows<Loss>(block, batch, N, samples > 0, samples, 0.0, &out.result, &out.error);
    });
    launch([&](auto const& block) { k::row_loss<N>(block, loss, a, &out.result, weighted.data(), &out.error); });
    single([&](auto const& block) { k::finish_loss(block, weighted.data(), z.rows, &out.result); });
    return out;
}

template <int N, class Loss>
void check_loss(Loss const& loss, index_t row_count, bool tags, bool with_state, bool repeated, int copies = 1) {
    CAPTURE(N, row_count, tags, with_state, repeated, copies);
    row_count *= copies;
    padded_matrix<float> const z(row_count, N, 3, 4);
    auto const n = static_cast<std::size_t>(row_count);
    std::vector<std::int32_t> label(n), partner(n);
    std::vector<float> mixing(n), weight(n), sign(n);
    std::vector<std::int64_t> sample(n);
    for (std::size_t i = 0; i < n; ++i) {
        label[i] = i % 5 == 3 ? -1 : static_cast<std::int32_t>(i * 7 % N);
        partner[i] = i % 4 == 1 ? -1 : static_cast<std::int32_t>(i * 3 % N);
        mixing[i] = static_cast<float>(i % 8) / 8.0f;
        weight[i] = i % 5 == 2 ? 0.0f : 0.5f + static_cast<float>(i % 3);
        sign[i] = i % 6 == 0 ? -1.0f : 1.0f;
        sample[i] = static_cast<std::int64_t>(repeated ? i * i % 7 : 2 * i);
    }
    // What is known of a row is known of all its outputs.
    std::size_t const once = n / static_cast<std::size_t>(copies);
    for (std::size_t i = once; i < n; ++i) {
        label[i] = label[i - once];
        partner[i] = partner[i - once];
        mixing[i] = mixing[i - once];
        weight[i] = weight[i - once];
        sign[i] = sign[i - once];
        sample[i] = sample[i - once];
    }
    espalier::rows batch;
    batch.count = row_count;
    batch.copies = copies;
    batch.label = label.data();
    batch.sample = sample.data();
    if (tags) {
        batch.partner_label = partner.data();
        batch.mixing = mixing.data();
        batch.weight = weight.data();
        batch.sign = sign.data();
    }
    index_t const samples = with_state ? 2 * row_count + 7 : 0;
    std::vector<float> state;
    for (float v : numbers<float>(samples * N, 6))
        state.push_back(std::fabs(v) / static_cast<float>(2 * N));
    std::vector<float> dense;
    if (espalier::loss::needs_dense_target<Loss>) dense = numbers<float>(row_count * N, 7);

    // The pass of the CPU.
    padded_matrix<float> gradient(row_count, N, 1, 50);
    std::vector<float> cpu_state = state, row_values(n, -3.0f);
    espalier::cpu::loss_buffers<float> buffers;
    if (!dense.empty()) buffers.dense_targets = {dense.data(), row_count, N, N};
    buffers.gradient = gradient.view();
    if (with_state) buffers.state = {cpu_state.data(), samples, N, N};
    buffers.row_values = {row_values.data(), row_count};
    auto const expected = espalier::cpu::row_loss<float, N>(loss, z.view(), batch, buffers);

    std::vector<loss_output> results;
    for_launches([&](auto const& launch) {
        for_blocks([&](auto const& single) {
            results.push_back(run_loss<N>(launch, single, loss, z, batch, dense, samples, state));
        });
    });
    for (auto const& r : results) {
        bool right = r.error.bits == 0 && r.result.valid && r.result.counted == expected.counted;
        right &= near(r.result.value, expected.value, 2e-5) && near(r.result.sum, expected.sum, 2e-5);
        right &= r.gradient.same_padding(gradient);
        for (index_t i = 0; i < row_count; ++i) {
            right &= near(static_cast<double>(r.row_values[static_cast<std::size_t>(i)]),
                          static_cast<double>(row_values[static_cast<std::size_t>(i)]), 1e-5);
            for (index_t c = 0; c < N; ++c)
                right &= near(static_cast<double>(r.gradient(i, c)), static_cast<double>(gradient(i, c)), 2e-5);
        }
        for (std::size_t i = 0; i < state.size(); ++i)
            right &= near(static_cast<double>(r.state[i]), static_cast<double>(cpu_state[i]), 1e-5);
        REQUIRE(right);
        REQUIRE(same_bits(r.gradient.data, results[0].gradient.data));
        REQUIRE(same_bits(r.state, results[0].state));
        REQUIRE(r.result.sum == results[0].result.sum);
    }
}

} // namespace

TEMPLATE_TEST_CASE_SIG("row softmax bodies", "[kernels]", ((int N), N), 1, 7, 8, 9, 31, 33, 64, 100, 257, 1100) {
    espalier::activation::softmax const op{};
    for (index_t r : all_rows) {
        CAPTURE(N, r);
        padded_matrix<float> const x(r, N, 2, 1), upstream(r, N, 2, 2);
        std::vector<padded_matrix<float>> y, dx;
        for_launches([&](auto const& launch) {
            y.push_back(x);
            dx.push_back(upstream);
            launch([&](auto const& block) { k::row_map_forward<N>(block, op, y.back().view()); });
            launch([&](auto const& block) {
                k::row_map_backward<N>(block, op, matrix_view<float const>(y.back().view()), dx.back().view());
            });
        });
        if (N <= k::widest_tile_row)
            for (std::size_t i = 1; i < y.size(); ++i) {
                REQUIRE(same_bits(y[i].data, y[0].data));
                REQUIRE(same_bits(dx[i].data, dx[0].data));
            }
        bool right = y[0].same_padding(x) && dx[0].same_padding(upstream);
        for (index_t i = 0; i < r; ++i) {
            double total = 0, mean = 0;
            for (index_t c = 0; c < N; ++c)
                total += std::exp(static_cast<double>(x(i, c)));
            for (index_t c = 0; c < N; ++c)
                mean += std::exp(static_cast<double>(x(i, c))) / total * static_cast<double>(upstream(i, c));
            for (std::size_t l = 0; l < y.size(); ++l)
                for (index_t c = 0; c < N; ++c) {
                    double const p = std::exp(static_cast<double>(x(i, c))) / total;
                    right &= near(static_cast<double>(y[l](i, c)), p, 1e-6);
                    right &=
                        near(static_cast<double>(dx[l](i, c)), p * (static_cast<double>(upstream(i, c)) - mean), 3e-6);
                }
        }
        REQUIRE(right);
    }
}

TEST_CASE("row loss bodies against the pass of the CPU") {
    for (index_t r : all_rows)
        for (bool tags : {false, true}) {
            check_loss<1>(espalier::loss::mean_squared_error{}, r, tags, false, false);
            check_loss<10>(espalier::loss::cross_entropy{0.1}, r, tags, false, false);
            check_loss<100>(espalier::loss::cross_entropy{}, r, tags, false, false);
            check_loss<33>(espalier::loss::mean_squared_error{}, r, tags, false, false);
            check_loss<9>(espalier::loss::early_learning{}, r, tags, true, false);
            check_loss<9>(espalier::loss::early_learning{}, r, tags, true, true);
            check_loss<9>(espalier::loss::early_learning{}, r, tags, false, false);
            check_loss<9>(espalier::loss::early_learning{}, r, tags, true, false, 3);
            check_loss<9>(espalier::loss::early_learning{}, r, tags, true, true, 2);
            check_loss<100>(espalier::loss::early_learning{}, r, tags, true, true, 2);
            check_loss<10>(espalier::loss::cross_entropy{}, r, tags, false, false, 3);
        }
}

TEST_CASE("row loss bodies report what is wrong with a batch and leave everything as it was") {
    padded_matrix<float> const z(33, 9, 0, 4);
    std::vector<float> const state = numbers<float>(40 * 9, 6);
    auto const run = [&](int bad_row, std::int32_t bad_label, float share, std::int64_t bad_sample,
                         std::uint32_t expected_bits) {
        std::vector<std::int32_t> label(33, 2), partner(33, 3);
        std::vector<float> mixing(33, 0.5f);
        std::vector<std::int64_t> sample(33);
        for (int i = 0; i < 33; ++i)
            sample[static_cast<std::size_t>(i)] = i;
        auto const at = static_cast<std::size_t>(bad_row);
        label[at] = bad_label;
        mixing[at] = share;
        sample[at] = bad_sample;
        espalier::rows batch;
        batch.count = 33;
        batch.label = label.data();
        batch.partner_label = partner.data();
        batch.mixing = mixing.data();
        batch.sample = sample.data();
        for_launches([&](auto const& launch) {
            for_blocks([&](auto const& single) {
                auto const r = run_loss<9>(launch, single, espalier::loss::early_learning{}, z, batch, {}, 40, state);
                REQUIRE(r.error.bits == expected_bits);
                REQUIRE(r.error.row == static_cast<std::uint32_t>(bad_row));
                REQUIRE_FALSE(r.result.valid);
                REQUIRE(r.result.value == 0.0);
                REQUIRE(same_bits(r.state, state));
                REQUIRE(same_bits(r.gradient.data, padded_matrix<float>(33, 9, 1, 50).data));
            });
        });
    };
    run(17, 9, 0.5f, 17, k::label_out_of_range);
    run(0, -2, 0.5f, 0, k::label_out_of_range);
    run(32, 1, 1.5f, 32, k::mixing_out_of_range);
    run(32, 1, std::numeric_limits<float>::quiet_NaN(), 32, k::mixing_out_of_range);
    run(5, 1, 0.5f, 40, k::sample_out_of_range);
    run(5, 12, 0.5f, -1, k::sample_out_of_range | k::label_out_of_range);
}

TEST_CASE("row loss bodies report what is not finite, a logit of minus infinity that the loss hides too") {
    static constexpr float infinity = std::numeric_limits<float>::infinity();
    float const planted = GENERATE(std::numeric_limits<float>::quiet_NaN(), infinity, -infinity);
    padded_matrix<float> z(33, 10, 0, 4);
    z.data[10 * 21 + 3] = planted;
    std::vector<std::int32_t> const label(33, 2);
    espalier::rows batch;
    batch.count = 33;
    batch.label = label.data();
    for_launches([&](auto const& launch) {
        for_blocks([&](auto const& single) {
            auto const r = run_loss<10>(launch, single, espalier::loss::cross_entropy{}, z, batch, {}, 0, {});
            REQUIRE(r.error.bits == k::loss_not_finite);
            REQUIRE(r.error.row == 21);
        });
    });
}
