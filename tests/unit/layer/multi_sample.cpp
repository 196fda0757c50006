// SPDX-License-Identifier: Apache-2.0
// Multi-sample dropout against arithmetic in double, which itself is held against published-style golden numbers.
#include "naive.hpp"

#include <espalier/dropout/bernoulli.hpp>
#include <espalier/layer/dense.hpp>
#include <espalier/layer/elementwise.hpp>
#include <espalier/layer/input.hpp>
#include <espalier/layer/multi_sample.hpp>
#include <espalier/layer/sequence.hpp>
#include <espalier/loss/cross_entropy.hpp>
#include <espalier/optimizer/sgd.hpp>
#include <espalier/train/training.hpp>

#include <support/catch.hpp>

using namespace espalier;

namespace {

/// Loss and gradients of a linear tail behind given factors: the mean over samples of the mean over rows.
struct reference {
    double loss = 0.0;
    naive::matrix kernel, bias, input;
};

reference multi_sample_reference(naive::matrix const& h, std::vector<naive::matrix> const& factors,
                                 naive::matrix const& w, naive::matrix const& b,
                                 std::vector<std::int32_t> const& labels) {
    reference sum{0.0, naive::matrix(w.rows, w.columns), naive::matrix(1, w.columns), naive::matrix(h.rows, h.columns)};
    double const share = 1.0 / static_cast<double>(factors.size());
    for (auto const& factor : factors) {
        auto const kept = naive::times(h, factor);
        auto const l = naive::cross_entropy(naive::affine(kept, w, b), labels);
        auto const g = naive::map(l.gradient, [=](double v) { return share * v; });
        sum.loss += share * l.loss;
        sum.kernel = naive::plus(sum.kernel, naive::product(naive::transposed(kept), g));
        sum.bias = naive::plus(sum.bias, naive::column_sums(g));
        sum.input = naive::plus(sum.input, naive::times(naive::product(g, naive::transposed(w)), factor));
    }
    return sum;
}

naive::matrix from(index_t rows, index_t columns, std::vector<double> values) {
    naive::matrix m(rows, columns);
    m.values = std::move(values);
    return m;
}

} // namespace

TEST_CASE("multi_sample: the reference of this test gives the golden numbers", "[layer]") {
    auto const h = from(2, 4, {0.5, -1.0, 2.0, 0.25, 1.5, 0.75, -0.5, 1.0});
    auto const w = from(4, 3, {0.2, -0.1, 0.4, 0.3, 0.5, -0.2, -0.4, 0.1, 0.25, 0.6, -0.3, 0.05});
    auto const b = from(1, 3, {0.1, 0.0, -0.1});
    auto const r = multi_sample_reference(
        h, {from(2, 4, {2, 0, 2, 2, 0, 2, 2, 0}), from(2, 4, {0, 2, 2, 0, 2, 2, 0, 2})}, w, b, {2, 0});
    CHECK(r.loss == Approx(0.362090656).margin(5e-10));
    CHECK(naive::distance(
              r.kernel, from(4, 3,
                             {-0.162995456, 0.101645078, 0.061350377, -0.286264606, 0.103159212, 0.183105393,
                              0.219043665, 0.250654566, -0.469698231, -0.111560198, 0.058615486, 0.052944712})) < 1e-9);
    CHECK(naive::distance(r.bias, from(1, 3, {-0.157006647, 0.197415612, -0.040408966})) < 1e-9);
    CHECK(naive::distance(r.input, from(2, 4,
                                        {-0.061839144, 0.051306269, -0.057711166, -0.019303873, 0.008464083,
                                         -0.026152781, 0.129108468, -0.077047561})) < 1e-9);
}

TEST_CASE("multi_sample: loss, gradients of the head and of its input", "[layer]") {
    constexpr index_t n = 13;
    using head = multi_sample<3, elementwise<dropout::bernoulli<0.5>>, dense<5>>;
    using drawing = sequence<input<9>, multi_sample<3, elementwise<dropout::bernoulli<0.5>>, dense<9, no_bias>>>;
    naive::network<sequence<input<9>, head>> net({2}, n);
    naive::network<drawing> draws({2}, n);
    // ones through a unit matrix: the outputs are the factors, one block of rows a sample
    naive::matrix unit(9, 9);
    for (index_t i = 0; i < 9; ++i)
        unit(i, i) = 1.0;
    naive::set_tensor(draws, "1.1.kernel", unit);
    auto const all = naive::forward<mode::train>(draws, naive::matrix(n, 9, 1.0));
    REQUIRE(all.rows == 3 * n);
    std::vector<naive::matrix> factors;
    for (index_t s = 0; s < 3; ++s)
        factors.push_back(naive::middle_rows(all, s * n, n));
    CHECK(factors[0].values != factors[1].values);
    CHECK(factors[0].values != factors[2].values);
    CHECK(factors[1].values != factors[2].values);

    auto const x = naive::random(n, 9, 4);
    auto const labels = naive::cyclic_labels(n, 5);
    naive::set_tensor(net, "1.1.bias", naive::random(1, 5, 5));
    auto const w = naive::tensor(net, "1.1.kernel"), b = naive::tensor(net, "1.1.bias");
    auto const expected = multi_sample_reference(x, factors, w, b, labels);

    training run(net, loss::cross_entropy{}, optimizer::sgd{.learning_rate = 1.0});
    batch_view<double> const batch{x.view(), naive::tags_of(n, &labels), {}};
    naive::matrix dx(n, 9);
    CHECK(run.input_gradients_of(batch, dx.view()) == Approx(expected.loss).epsilon(1e-14));
    CHECK(naive::distance(dx, expected.input) < 1e-15);
    CHECK(run.step(batch).loss == Approx(expected.loss).epsilon(1e-14));
    // a step of rate 1 without decay subtracts the gradient
    CHECK(naive::distance(naive::tensor(net, "1.1.kernel"),
                          naive::zip(w, expected.kernel, [](double a, double g) { return a - g; })) < 1e-14);
    CHECK(naive::distance(naive::tensor(net, "1.1.bias"),
                          naive::zip(b, expected.bias, [](double a, double g) { return a - g; })) < 1e-14);
    // evaluation runs the tail once, without factors
    auto const y = naive::forward<mode::evaluate>(net, x);
    CHECK(naive::distance(y, naive::affine(x, naive::tensor(net, "1.1.kernel"), naive::tensor(net, "1.1.bias"))) <
          1e-14);
}

TEST_CASE("multi_sample: one sample is the plain tail, bit for bit", "[layer]") {
    using tail = elementwise<dropout::bernoulli<0.5>>;
    naive::network<sequence<input<9>, multi_sample<1, tail, dense<5>>>> a({2}, 16);
    naive::network<sequence<input<9>, sequence<tail, dense<5>>>> b({2}, 16);
    auto const x = naive::random(16, 9, 4);
    auto const labels = naive::cyclic_labels(16, 5);
    training run_a(a, loss::cross_entropy{}, optimizer::sgd{.learning_rate = 0.1});
    training run_b(b, loss::cross_entropy{}, optimizer::sgd{.learning_rate = 0.1});
    for (int i = 0; i < 3; ++i) {
        run_a.step({x.view(), naive::tags_of(16, &labels), {}});
        run_b.step({x.view(), naive::tags_of(16, &labels), {}});
    }
    CHECK(naive::tensor(a, "1.1.kernel").values == naive::tensor(b, "1.1.kernel").values);
    CHECK(naive::forward<mode::train>(a, x, 9).values == naive::forward<mode::train>(b, x, 9).values);
}
