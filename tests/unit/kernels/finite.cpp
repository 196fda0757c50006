// SPDX-License-Identifier: Apache-2.0
// What kernel bodies report of numbers that are not finite, on the emulated block; results that hide them included.
#include <support/catch.hpp>

#include "launches.hpp"

#include <espalier/activation/relu.hpp>
#include <espalier/activation/softmax.hpp>
#include <espalier/activation_penalty/l1.hpp>
#include <espalier/core/epilogue.hpp>
#include <espalier/dropout/none.hpp>
#include <espalier/gate/softmax.hpp>
#include <espalier/gate/top_k.hpp>
#include <espalier/kernels/batch_norm.hpp>
#include <espalier/kernels/epilogue.hpp>
#include <espalier/kernels/norms.hpp>
#include <espalier/kernels/row_gate.hpp>
#include <espalier/kernels/row_map.hpp>
#include <espalier/kernels/update.hpp>
#include <espalier/optimizer/sgd.hpp>
#include <espalier/weight/identity.hpp>

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

namespace {

using namespace kernel_tests;
namespace k = espalier::kernels;
using espalier::flat_tuple;
using espalier::matrix_view;

constexpr float infinity = std::numeric_limits<float>::infinity();
constexpr float bad_numbers[] = {std::numeric_limits<float>::quiet_NaN(), infinity, -infinity};

espalier::rows rows_of(index_t count) {
    espalier::rows batch;
    batch.count = count;
    return batch;
}

/// Runs `body(launch, error)` clean and with the number planted at `place`; `bits` and `row` are what it should say.
template <class Body>
void check(std::vector<float>& data, index_t place, std::uint32_t bits, std::uint32_t row, Body const& body) {
    for_launches([&](auto const& launch) {
        k::error_word clean;
        body(launch, &clean);
        REQUIRE(clean.clear());
        body(launch, static_cast<k::error_word*>(nullptr));
        float& number = data[static_cast<std::size_t>(place)];
        float const good = number;
        for (float const bad : bad_numbers) {
            number = bad;
            k::error_word error;
            body(launch, &error);
            number = good;
            INFO("planted " << bad << ", bits " << error.bits << ", row " << error.row);
            REQUIRE(error.bits == bits);
            REQUIRE(error.row == row);
        }
    });
}

} // namespace

TEST_CASE("epilogue bodies report what goes into them") {
    std::vector<float> z(33 * 20, 0.5f), y(33 * 20), sums(20), columns(2000);
    std::vector<double> elements(200);
    matrix_view<float const> const from{z.data(), 33, 20, 20};
    matrix_view<float> const to{y.data(), 33, 20, 20};
    espalier::epilogue_op<espalier::activation::relu, espalier::dropout::none> const plain{};
    espalier::epilogue_op<espalier::activation::relu, espalier::dropout::none,
                          espalier::activation_penalty::l1_op> const penalised{};
    for (index_t const place : {17 * 20 + 3, 17 * 20 + 19}) {
        check(z, place, k::activation_not_finite, 17, [&](auto const& launch, k::error_word* error) {
            launch([&](auto const& group) { k::epilogue_forward(group, plain, from, to, {}, rows_of(33), error); });
        });
        check(z, place, k::activation_not_finite, 17, [&](auto const& launch, k::error_word* error) {
            k::epilogue_scratch<float> const scratch{elements.data(), columns.data()};
            launch([&](auto const& group) {
                k::epilogue_forward_strips(group, penalised, from, to, {}, rows_of(33), scratch, error);
            });
        });
    }
}

TEST_CASE("epilogue bodies report the gradient that comes back to them") {
    std::vector<float> z(33 * 20, -0.5f), dy(33 * 20, 1.0f), dz(33 * 20), partial(4000);
    espalier::epilogue_op<espalier::activation::relu, espalier::dropout::none> const op{};
    matrix_view<float const> const from{z.data(), 33, 20, 20}, upstream{dy.data(), 33, 20, 20};
    matrix_view<float> const to{dz.data(), 33, 20, 20};
    for (float* const sums : {partial.data(), static_cast<float*>(nullptr)})
        for (index_t const place : {17 * 20 + 3, 17 * 20 + 19, 0, 33 * 20 - 1})
            check(dy, place, k::activation_not_finite, static_cast<std::uint32_t>(place / 20),
                  [&](auto const& launch, k::error_word* error) {
                      launch([&](auto const& group) {
                          k::epilogue_backward(group, op, from, upstream, to, {}, rows_of(33), {}, sums, {0, 33, 0},
                                               error);
                      });
                      // Which shows nothing of it.
                      REQUIRE(std::all_of(dz.begin(), dz.end(), [](float g) { return g == 0.0f; }));
                  });
}

TEST_CASE("row bodies report what goes into a row-wise activation and what comes back to it") {
    constexpr int width = 20;
    std::vector<float> x(33 * width, 0.5f), y(33 * width, 0.05f), dy(33 * width, 1.0f);
    espalier::activation::softmax const op{};
    for (index_t const place : {9 * width, 9 * width + 19}) {
        check(x, place, k::activation_not_finite, 9, [&](auto const& launch, k::error_word* error) {
            auto kept = x;
            launch([&](auto const& block) {
                k::row_map_forward<width>(block, op, matrix_view<float>{kept.data(), 33, width, width}, error);
            });
        });
        check(dy, place, k::activation_not_finite, 9, [&](auto const& launch, k::error_word* error) {
            auto kept = dy;
            launch([&](auto const& block) {
                k::row_map_backward<width>(block, op, matrix_view<float const>{y.data(), 33, width, width},
                                           matrix_view<float>{kept.data(), 33, width, width}, error);
            });
        });
    }
}

TEST_CASE("the search looks at the rows of every block and at no others") {
    // Three blocks of 7 rows, 11 rows apart, of 13 columns of 16; whatever lies between them counts nowhere.
    std::vector<float> x(33 * 16, std::numeric_limits<float>::quiet_NaN());
    matrix_view<float> const rows{x.data(), 7, 13, 16};
    for (index_t b = 0; b < 3; ++b)
        for (index_t r = 0; r < 7; ++r)
            std::fill_n(rows.row(b * 11 + r), 13, 1.0f);
    for (index_t b = 0; b < 3; ++b)
        for (index_t const c : {0, 7, 12})
            check(x, (b * 11 + 2 * b) * 16 + c, k::rows_not_finite, static_cast<std::uint32_t>(2 * b),
                  [&](auto const& launch, k::error_word* error) {
                      launch([&](auto const& group) {
                          k::find_rows_not_finite(group, matrix_view<float const>(rows), 3, 11, k::rows_not_finite,
                                                  error);
                      });
                  });
}

TEST_CASE("gate bodies report logits and gradients that experts without a weight hide") {
    using gate = espalier::gate::top_k<5, 2>;
    using op = espalier::op_of<gate>;
    std::vector<float> z(33 * 5, 0.25f), weight(33 * 2), dweight(33 * 2, 1.0f), gradient(33 * 5);
    std::vector<std::int32_t> expert(33 * 2);
    for (index_t r = 0; r < 33; ++r)
        z[static_cast<std::size_t>(r * 5 + 1)] = z[static_cast<std::size_t>(r * 5 + 2)] = 2.0f;
    matrix_view<float const> const logits{z.data(), 33, 5, 5};
    matrix_view<float> const weights{weight.data(), 33, 2, 2};
    matrix_view<std::int32_t> const experts{expert.data(), 33, 2, 2};
    op const numbers = espalier::op_at<gate>(espalier::clock{});
    auto const forward = [&](auto const& launch, k::error_word* error) {
        launch([&](auto const& block) {
            k::row_gate_forward<gate>(block, numbers, logits, weights, experts, static_cast<double*>(nullptr), {},
                                      error);
        });
    };
    check(z, 9 * 5 + 4, k::gate_not_finite, 9, forward);
    for_launches([&](auto const& launch) { forward(launch, nullptr); });
    check(dweight, 9 * 2 + 1, k::gate_not_finite, 9, [&](auto const& launch, k::error_word* error) {
        launch([&](auto const& block) {
            k::row_gate_backward<gate>(block, numbers, logits, matrix_view<float const>(weights),
                                       matrix_view<std::int32_t const>(experts),
                                       matrix_view<float const>{dweight.data(), 33, 2, 2},
                                       matrix_view<float>{gradient.data(), 33, 5, 5}, {}, error);
        });
    });
}

TEST_CASE("the search for numbers that are not finite") {
    std::vector<float> x(1003, 3e38f);
    for (index_t const place : {0, 501, 1002})
        check(x, place, k::gradient_not_finite, static_cast<std::uint32_t>(place / 8 * 8),
              [&](auto const& launch, k::error_word* error) {
                  launch([&](auto const& group) {
                      k::find_not_finite(group, x.data(), 1003, k::gradient_not_finite, error);
                  });
              });
}

TEST_CASE("the sum of squares of finite floats is finite") {
    std::vector<float> const x(100, 3e38f);
    for_launches([&](auto const& launch) {
        std::vector<double> partial(static_cast<std::size_t>(k::norm_chunks(100)));
        launch([&](auto const& group) { k::square_partials(group, x.data(), 100, partial.data()); });
        REQUIRE(std::fabs(partial[0] / (100.0 * static_cast<double>(3e38f) * static_cast<double>(3e38f)) - 1.0) < 1e-6);
    });
}

TEST_CASE("moments of a batch that overflow are reported by column") {
    std::vector<float> x(40 * 9), partial(4000), mean(9), variance(9);
    for (std::size_t i = 0; i < x.size(); ++i)
        x[i] = i / 9 % 2 == 0 ? 1.0f : -1.0f;
    matrix_view<float const> const view{x.data(), 40, 9, 9};
    auto const run = [&](auto const& launch, k::error_word* error) {
        launch([&](auto const& block) { k::moment_partials(block, view, partial.data()); });
        launch([&](auto const& block) {
            k::finish_moments(block, static_cast<float const*>(partial.data()), 40, 9, mean.data(), variance.data(),
                              static_cast<index_t*>(nullptr), error);
        });
    };
    check(x, 5 * 9 + 7, k::moments_not_finite, 7, run);
    x[5 * 9 + 7] = 3e19f; // finite, and its square is not
    for_launches([&](auto const& launch) {
        k::error_word error;
        run(launch, &error);
        REQUIRE(error.bits == k::moments_not_finite);
    });
}

TEST_CASE("update bodies report what they spoil, and go on in all blocks") {
    using rule = espalier::tensor_rule<espalier::weight::identity, flat_tuple<>, flat_tuple<>>;
    espalier::optimizer::sgd_op<espalier::optimizer::momentum_kind::none> const sgd{1.0, 0.0, 0.0};
    for_launches([&](auto const& launch) {
        std::vector<float> w(3000, 1.0f), g(3000, 1.0f);
        w[1500] = -3e38f;
        g[1500] = 3e38f;
        espalier::update_segment<float> segment;
        segment.rows = 1;
        segment.columns = 3000;
        segment.weights = w.data();
        segment.gradients = g.data();
        k::error_word error;
        k::update_context context;
        context.error = &error;
        launch([&](auto const& block) {
            k::update_tensor(block, sgd, rule{}, segment, context, static_cast<double*>(nullptr));
        });
        REQUIRE(error.bits == k::update_not_finite);
        REQUIRE_FALSE(k::failed(&error));
        REQUIRE(w[0] == 0.0f);
        REQUIRE(w[2999] == 0.0f);
    });
}
