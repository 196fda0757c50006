// SPDX-License-Identifier: Apache-2.0
// Batch normalisation against arithmetic in double: statistics of the batch in training, running ones in evaluation.
#include "naive.hpp"

#include <espalier/layer/batch_norm.hpp>
#include <espalier/layer/dense.hpp>
#include <espalier/layer/input.hpp>
#include <espalier/layer/sequence.hpp>
#include <espalier/loss/cross_entropy.hpp>
#include <espalier/optimizer/sgd.hpp>
#include <espalier/train/training.hpp>

#include <support/catch.hpp>

#include <cmath>

#include <limits>

using namespace espalier;

namespace {

struct moments {
    naive::matrix mean, variance; // of the batch, biased
};

moments moments_of(naive::matrix const& x) {
    moments m{naive::column_sums(x), naive::matrix(1, x.columns)};
    double const n = static_cast<double>(x.rows);
    for (double& v : m.mean.values)
        v /= n;
    for (index_t r = 0; r < x.rows; ++r)
        for (index_t c = 0; c < x.columns; ++c)
            m.variance(0, c) += (x(r, c) - m.mean(0, c)) * (x(r, c) - m.mean(0, c)) / n;
    return m;
}

naive::matrix normalised(naive::matrix x, moments const& m, naive::matrix const& scale, naive::matrix const& shift,
                         double epsilon) {
    for (index_t r = 0; r < x.rows; ++r)
        for (index_t c = 0; c < x.columns; ++c)
            x(r, c) = scale(0, c) * (x(r, c) - m.mean(0, c)) / std::sqrt(m.variance(0, c) + epsilon) + shift(0, c);
    return x;
}

using stack = sequence<input<11>, batch_norm<>>;

} // namespace

TEST_CASE("batch_norm: batch statistics in training, running ones in evaluation", "[layer]") {
    naive::network<stack> net({1}, 24);
    auto const x = naive::map(naive::random(24, 11, 1, 3.0), [](double v) { return v + 2.0; });
    naive::set_tensor(net, "1.scale", naive::random(1, 11, 2));
    naive::set_tensor(net, "1.shift", naive::random(1, 11, 3));
    auto const scale = naive::tensor(net, "1.scale"), shift = naive::tensor(net, "1.shift");
    CHECK(naive::distance(naive::forward<mode::train>(net, x), normalised(x, moments_of(x), scale, shift, 1e-5)) <
          1e-13);
    // before the first step: mean 0 and variance 1
    moments const start{naive::matrix(1, 11, 0.0), naive::matrix(1, 11, 1.0)};
    CHECK(naive::distance(naive::forward<mode::evaluate>(net, x), normalised(x, start, scale, shift, 1e-5)) < 1e-13);
}

TEST_CASE("batch_norm: running statistics follow steps only, with the unbiased variance", "[layer]") {
    naive::network<stack> net({1}, 24);
    auto const labels = naive::cyclic_labels(24, 11);
    training run(net, loss::cross_entropy{}, optimizer::sgd{.learning_rate = 0.0});
    moments running{naive::matrix(1, 11, 0.0), naive::matrix(1, 11, 1.0)};
    for (index_t const n : {24, 7, 2, 1}) {
        auto const x = naive::random(n, 11, static_cast<std::uint64_t>(n), 2.0);
        batch_view<double> const batch{x.view(), naive::tags_of(n, &labels), {}};
        auto const before = naive::tensor(net, "1.running_variance");
        run.gradients_of(batch);
        CHECK(naive::tensor(net, "1.running_variance").values == before.values);
        run.step(batch);
        moments const now = moments_of(x);
        // A batch smaller than the largest one has a smaller part, and one row has no variance.
        double const share = 1.0 - std::pow(0.9, static_cast<double>(n) / 24.0);
        running.mean =
            naive::zip(running.mean, now.mean, [=](double a, double b) { return (1.0 - share) * a + share * b; });
        if (n > 1) {
            double const unbiased = static_cast<double>(n) / static_cast<double>(n - 1);
            running.variance = naive::zip(running.variance, now.variance,
                                          [=](double a, double b) { return (1.0 - share) * a + share * unbiased * b; });
        }
        CHECK(naive::distance(naive::tensor(net, "1.running_mean"), running.mean) < 1e-14);
        CHECK(naive::distance(naive::tensor(net, "1.running_variance"), running.variance) < 1e-14);
    }
    auto const x = naive::random(5, 11, 77);
    CHECK(naive::distance(naive::forward<mode::evaluate>(net, x),
                          normalised(x, running, naive::tensor(net, "1.scale"), naive::tensor(net, "1.shift"), 1e-5)) <
          1e-13);
    // a step that fails leaves them alone
    auto broken = naive::random(5, 11, 78);
    broken(2, 3) = std::numeric_limits<double>::quiet_NaN();
    auto const mean = naive::tensor(net, "1.running_mean");
    CHECK_THROWS_AS(run.step({broken.view(), naive::tags_of(5, &labels), {}}), numerical_error);
    CHECK(naive::tensor(net, "1.running_mean").values == mean.values);
}

TEST_CASE("batch_norm: small batches have together the part of one of their rows", "[layer]") {
    for (index_t const part : {1, 3, 8, 24}) {
        naive::network<stack> net({1}, 24);
        auto const labels = naive::cyclic_labels(24, 11);
        training run(net, loss::cross_entropy{}, optimizer::sgd{.learning_rate = 0.0});
        auto const x = naive::random(24, 11, 3, 2.0);
        auto const step_on = [&](index_t first, index_t n) {
            run.step({x.view().middle_rows(first, n), naive::tags_of(n, &labels), {}});
        };
        step_on(0, 24); // the full one
        auto const before = naive::tensor(net, "1.running_mean");
        // The same rows again and again: the mean of each part moves the statistics towards that part.
        for (index_t first = 0; first < 24; first += part)
            step_on(0, part);
        naive::matrix mean(1, 11);
        for (index_t c = 0; c < 11; ++c)
            for (index_t r = 0; r < part; ++r)
                mean(0, c) += x(r, c) / static_cast<double>(part);
        auto const expected = naive::zip(before, mean, [](double a, double b) { return 0.9 * a + 0.1 * b; });
        CHECK(naive::distance(naive::tensor(net, "1.running_mean"), expected) < 1e-13);
    }
}

TEST_CASE("batch_norm: its own numbers", "[layer]") {
    using quick = sequence<input<4>, batch_norm<batch_norm_options{.momentum = 0.5, .epsilon = 0.25}>>;
    naive::network<quick> net({1}, 8);
    auto const labels = naive::cyclic_labels(8, 4);
    auto const x = naive::random(8, 4, 5);
    CHECK(naive::distance(naive::forward<mode::train>(net, x), normalised(x, moments_of(x), naive::matrix(1, 4, 1.0),
                                                                          naive::matrix(1, 4, 0.0), 0.25)) < 1e-14);
    training run(net, loss::cross_entropy{}, optimizer::sgd{.learning_rate = 0.0});
    run.step({x.view(), naive::tags_of(8, &labels), {}});
    auto const half = naive::map(moments_of(x).mean, [](double m) { return 0.5 * m; });
    CHECK(naive::distance(naive::tensor(net, "1.running_mean"), half) < 1e-15);
}
