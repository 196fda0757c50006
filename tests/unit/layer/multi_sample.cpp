// SPDX-License-Identifier: Apache-2.0
// Multi-sample dropout against arithmetic in double, which itself is held against published-style golden numbers.
#include "naive.hpp"

#include <espalier/activation/tanh.hpp>
#include <espalier/core/context.hpp>
#include <espalier/core/random.hpp>
#include <espalier/device/cpu/routing.hpp>
#include <espalier/dropout/bernoulli.hpp>
#include <espalier/gate/hash.hpp>
#include <espalier/gate/local_search.hpp>
#include <espalier/gate/softmax.hpp>
#include <espalier/layer/batch_norm.hpp>
#include <espalier/layer/by_sample.hpp>
#include <espalier/layer/dense.hpp>
#include <espalier/layer/elementwise.hpp>
#include <espalier/layer/input.hpp>
#include <espalier/layer/moe.hpp>
#include <espalier/layer/multi_sample.hpp>
#include <espalier/layer/parallel.hpp>
#include <espalier/layer/sequence.hpp>
#include <espalier/loss/cross_entropy.hpp>
#include <espalier/loss/early_learning.hpp>
#include <espalier/optimizer/sgd.hpp>
#include <espalier/train/training.hpp>

#include <support/catch.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <set>
#include <string>
#include <vector>

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

template <class Drop> void check_against_reference() {
    constexpr index_t n = 13;
    using head = multi_sample<3, Drop, dense<5>>;
    using drawing = sequence<input<9>, multi_sample<3, Drop, dense<9, no_bias>>>;
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

naive::matrix from(index_t rows, index_t columns, std::vector<double> values) {
    naive::matrix m(rows, columns);
    m.values = std::move(values);
    return m;
}

/// Two networks of input<9> and five classes have the same weights after three steps, and the same outputs in training.
template <class A, class B> void check_that_they_train_alike(A& a, B& b) {
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

    // as the network is used
    naive::network<sequence<input<4>, multi_sample<2, elementwise<dropout::bernoulli<0.5>>, dense<3>>>> net({2}, 2);
    naive::set_tensor(net, "1.1.kernel", w);
    naive::set_tensor(net, "1.1.bias", b);
    CHECK(naive::distance(naive::forward<mode::evaluate>(net, h),
                          from(2, 3, {-0.75, -0.425, 0.8125, 1.425, -0.125, 0.275})) < 1e-14);
    std::vector<std::int32_t> const labels{2, 0};
    training run(net, loss::cross_entropy{}, optimizer::sgd{});
    CHECK(run.evaluate({h.view(), naive::tags_of(2, &labels), {}}) == Approx(0.414908474).margin(5e-10));
}

TEST_CASE("multi_sample: loss, gradients of the head and of its input", "[layer]") {
    check_against_reference<elementwise<dropout::bernoulli<0.5>>>();
}

TEST_CASE("by_sample: every sample has its own rate", "[layer]") {
    using mixed = by_sample<elementwise<dropout::bernoulli<0.2>>, elementwise<dropout::bernoulli<0.5>>,
                            elementwise<dropout::bernoulli<0.75>>>;
    check_against_reference<mixed>();

    constexpr index_t n = 200, width = 16;
    naive::network<sequence<input<width>, multi_sample<3, mixed>>> net({2}, n);
    auto const factors = naive::forward<mode::train>(net, naive::matrix(n, width, 1.0));
    double const kept[] = {1.0 - quantise(0.2).threshold / 65536.0, 0.5, 0.25};
    for (index_t s = 0; s < 3; ++s) {
        auto const its = naive::middle_rows(factors, s * n, n);
        auto const zeros = std::count(its.values.begin(), its.values.end(), 0.0);
        CHECK(std::count(its.values.begin(), its.values.end(), 1.0 / kept[s]) + zeros == n * width);
        CHECK(std::abs(static_cast<double>(zeros) / (n * width) - (1.0 - kept[s])) < 0.04);
    }
    CHECK(naive::forward<mode::evaluate>(net, naive::matrix(n, width, 1.0)).values ==
          naive::matrix(n, width, 1.0).values);
}

TEST_CASE("by_sample: of equal layers it is the layer, in further samples and passes too", "[layer]") {
    using drop = elementwise<activation::tanh, dropout::bernoulli<0.5>>;
    naive::network<sequence<input<9>, multi_sample<4, by_sample<drop, drop>, dense<5>>>> a({2}, 16);
    naive::network<sequence<input<9>, multi_sample<4, drop, dense<5>>>> b({2}, 16);
    check_that_they_train_alike(a, b);
    CHECK(naive::network<sequence<input<9>, multi_sample<4, by_sample<drop, drop>, dense<5>>>>::size ==
          naive::network<sequence<input<9>, multi_sample<4, drop, dense<5>>>>::size);
}

TEST_CASE("multi_sample: samples of samples are as many samples", "[layer]") {
    using weak = elementwise<dropout::bernoulli<0.2>>;
    using strong = elementwise<dropout::bernoulli<0.75>>;
    naive::network<sequence<input<9>, multi_sample<2, multi_sample<3, by_sample<weak, strong>>, dense<5>>>> nested({2},
                                                                                                                   16);
    // which of them runs is said by the number within the three
    naive::network<sequence<input<9>, multi_sample<6, by_sample<weak, strong, weak>, dense<5>>>> flat({2}, 16);
    auto const x = naive::random(11, 9, 4);
    auto const labels = naive::cyclic_labels(11, 5);
    auto const y = naive::forward<mode::train>(nested, x);
    REQUIRE(y.rows == 6 * 11);
    CHECK(y.values == naive::forward<mode::train>(flat, x).values);
    training run_nested(nested, loss::cross_entropy{}, optimizer::sgd{.learning_rate = 0.1});
    training run_flat(flat, loss::cross_entropy{}, optimizer::sgd{.learning_rate = 0.1});
    naive::matrix dx(11, 9), expected(11, 9);
    run_nested.input_gradients_of({x.view(), naive::tags_of(11, &labels), {}}, dx.view());
    run_flat.input_gradients_of({x.view(), naive::tags_of(11, &labels), {}}, expected.view());
    CHECK(naive::distance(dx, expected) < 1e-15);
    for (int i = 0; i < 2; ++i)
        CHECK(run_nested.step({x.view(), naive::tags_of(11, &labels), {}}).loss ==
              Approx(run_flat.step({x.view(), naive::tags_of(11, &labels), {}}).loss).epsilon(1e-14));
    CHECK(naive::distance(naive::tensor(nested, "1.1.kernel"), naive::tensor(flat, "1.1.kernel")) < 1e-14);
}

TEST_CASE("multi_sample: one sample is the plain tail, bit for bit", "[layer]") {
    using tail = elementwise<dropout::bernoulli<0.5>>;
    naive::network<sequence<input<9>, multi_sample<1, tail, dense<5>>>> a({2}, 16);
    naive::network<sequence<input<9>, sequence<tail, dense<5>>>> b({2}, 16);
    check_that_they_train_alike(a, b);
}

TEST_CASE("multi_sample: running statistics are of the rows of all samples", "[layer]") {
    constexpr index_t n = 11, width = 5;
    constexpr int samples = 3;
    using drop = elementwise<dropout::bernoulli<0.5>>;
    using stack = sequence<input<width>, multi_sample<samples, drop, batch_norm<>, dense<4>>>;
    naive::network<stack> net({2}, 16); // with room for more rows than there are
    naive::network<sequence<input<width>, multi_sample<samples, drop>>> dropped({2}, n);
    auto const labels = naive::cyclic_labels(n, 4);
    training run(net, loss::cross_entropy{}, optimizer::sgd{.learning_rate = 0.1});
    naive::matrix mean(1, width), variance(1, width, 1.0);
    for (std::uint64_t step = 0; step < 3; ++step) {
        auto const x = naive::random(n, width, step);
        run.step({x.view(), naive::tags_of(n, &labels), {}});
        auto const seen = naive::forward<mode::train>(dropped, x, step);
        REQUIRE(seen.rows == samples * n);
        for (index_t c = 0; c < width; ++c) {
            double sum = 0.0, squares = 0.0;
            for (index_t r = 0; r < seen.rows; ++r)
                sum += seen(r, c);
            double const m = sum / static_cast<double>(seen.rows);
            for (index_t r = 0; r < seen.rows; ++r)
                squares += (seen(r, c) - m) * (seen(r, c) - m);
            mean(0, c) = 0.9 * mean(0, c) + 0.1 * m;
            variance(0, c) = 0.9 * variance(0, c) + 0.1 * squares / static_cast<double>(seen.rows - 1);
        }
        CHECK(naive::distance(naive::tensor(net, "1.1.running_mean"), mean) < 1e-14);
        CHECK(naive::distance(naive::tensor(net, "1.1.running_variance"), variance) < 1e-14);
    }
}

TEST_CASE("multi_sample: a loss remembers the mean over the samples, once a step", "[layer][loss]") {
    constexpr index_t n = 9, classes = 4;
    constexpr int samples = 3;
    using stack = sequence<input<6>, multi_sample<samples, elementwise<dropout::bernoulli<0.5>>, dense<classes>>>;
    naive::network<stack> net({2}, n);
    auto const labels = naive::cyclic_labels(n, static_cast<int>(classes));
    std::vector<std::int64_t> ids;
    for (index_t i = 0; i < n; ++i)
        ids.push_back(n - i);
    rows tags = naive::tags_of(n, &labels);
    tags.sample = ids.data();
    loss::early_learning const l{.beta = 0.7, .lambda = 1.0};
    training run(net, l, optimizer::sgd{.learning_rate = 0.1}, n + 2);
    naive::matrix memory(n + 2, classes);
    for (std::uint64_t step = 0; step < 3; ++step) {
        auto const x = naive::random(n, 6, step);
        auto const p = naive::softmax(naive::forward<mode::train>(net, x, step));
        run.step({x.view(), tags, {}});
        for (index_t i = 0; i < n; ++i) {
            double q[classes] = {}, total = 0.0;
            for (index_t c = 0; c < classes; ++c) {
                for (int k = 0; k < samples; ++k)
                    q[c] += p(k * n + i, c) / samples;
                q[c] = std::min(1.0 - l.clip, std::max(l.clip, q[c]));
                total += q[c];
            }
            for (index_t c = 0; c < classes; ++c)
                memory(n - i, c) = 0.7 * memory(n - i, c) + 0.3 * q[c] / total;
        }
        CHECK(naive::distance(naive::copy(contiguous_view<double const>(run.loss_state().data(), n + 2, classes)),
                              memory) < 1e-13);
    }
}

TEST_CASE("multi_sample: a search finds the permutation nearest to the mean of the samples'", "[layer][gate]") {
    constexpr int experts = 5, samples = 3;
    constexpr gate::search noisy{.steps = 1000, .noise = 1.0};
    using stack = sequence<input<4>, multi_sample<samples, elementwise<dropout::bernoulli<0.5>>,
                                                  moe<gate::local_search<gate::softmax<experts>, noisy>, dense<3>>>>;
    naive::network<stack> net({2}, 8);
    auto const labels = naive::cyclic_labels(8, 3);
    training run(net, loss::cross_entropy{}, optimizer::sgd{.learning_rate = 0.0});
    int differ = 0;
    for (std::uint64_t step = 0; step < 8; ++step) {
        auto const x = naive::random(8, 4, step);
        run.step({x.view(), naive::tags_of(8, &labels), {}});
        // The gate's op at this step; streams: the dropout's, the gate's kernel and bias, its scores.
        auto const op = gate::local_search<gate::softmax<experts>, noisy>::at({.step = step});
        auto const scores = naive::tensor(net, "1.1.gate.scores");
        std::vector<double> sum(experts * experts), noise(sum.size()), soft(sum.size()), one(sum.size());
        std::vector<double> potentials(1000), found(sum.size()), alone(sum.size());
        for (std::uint32_t k = 0; k < samples; ++k) {
            random_site const site = make_site(2, 3 * purposes + static_cast<std::uint32_t>(purpose::gate), step, k);
            cpu::soft_permutation(op, experts, scores.values.data(), site, noise.data(), potentials.data(), soft.data(),
                                  one.data(), nullptr);
            for (std::size_t i = 0; i < sum.size(); ++i)
                sum[i] += soft[i];
            if (k == 0) cpu::round_permutation(experts, soft.data(), potentials.data(), alone.data());
        }
        cpu::round_permutation(experts, sum.data(), potentials.data(), found.data());
        CHECK(naive::tensor(net, "1.1.gate.permutation").values == found);
        differ += found != alone;
    }
    CHECK(differ > 0);
}

TEST_CASE("multi_sample: a layer behind it looks the rows of all samples up", "[layer][gate]") {
    constexpr index_t n = 11;
    using drop = elementwise<dropout::bernoulli<0.5>>;
    using by_key = moe<gate::hash<4, 50>, dense<5>>;
    using by_group = moe<gate::hash<3, 7, gate::from_group>, dense<4>>;
    using sum = parallel<merge::add, dense<8>, dense<8>>; // writes into its work space in forward
    // Behind samples, and behind samples of samples; inside, a layer sees the batch itself.
    naive::network<sequence<input<6>, multi_sample<3, drop>, by_key, multi_sample<2, drop>, sum, by_group>> behind({2},
                                                                                                                   32);
    naive::network<sequence<input<6>, multi_sample<3, drop, by_key>, multi_sample<2, drop>, sum, by_group>> inside({2},
                                                                                                                   32);
    auto const labels = naive::cyclic_labels(n, 4);
    std::vector<std::uint64_t> keys;
    std::vector<std::int32_t> groups;
    std::vector<double> weights;
    for (index_t i = 0; i < n; ++i) {
        keys.push_back(static_cast<std::uint64_t>(7 * i % 50));
        groups.push_back(static_cast<std::int32_t>(3 * i % 7));
        weights.push_back(1.0 + 0.1 * static_cast<double>(i));
    }
    rows tags = naive::tags_of(n, &labels);
    tags.key = keys.data();
    tags.group = groups.data();
    tags.weight = weights.data();
    auto const x = naive::random(n, 6, 3);
    auto const first_keys = naive::tensor(behind, "2.gate.table").values;
    auto const second_keys = naive::tensor(behind, "5.gate.table").values;
    auto const train = [&](auto& net) {
        training run(net, loss::cross_entropy{}, optimizer::sgd{.learning_rate = 0.1});
        double total = 0.0;
        for (int i = 0; i < 3; ++i)
            total += run.step({x.view(), tags, {}}).loss;
        return total;
    };
    CHECK(std::set<double>(first_keys.begin(), first_keys.end()).size() == 4);
    CHECK(std::set<double>(second_keys.begin(), second_keys.end()).size() == 3);
    double const loss_behind = train(behind), loss_inside = train(inside);
    CHECK(loss_behind == Approx(loss_inside).epsilon(1e-13));
    for (int e = 0; e < 4; ++e)
        CHECK(naive::distance(naive::tensor(behind, "2.expert." + std::to_string(e) + ".kernel"),
                              naive::tensor(inside, "1.1.expert." + std::to_string(e) + ".kernel")) < 1e-13);
}
