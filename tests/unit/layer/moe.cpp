// SPDX-License-Identifier: Apache-2.0
// Mixtures of experts against arithmetic in double; dense and compacted dispatch against each other.
#include "naive.hpp"

#include <espalier/activation/tanh.hpp>
#include <espalier/dropout/bernoulli.hpp>
#include <espalier/gate/softmax.hpp>
#include <espalier/gate/top_k.hpp>
#include <espalier/layer/batch_norm.hpp>
#include <espalier/layer/dense.hpp>
#include <espalier/layer/input.hpp>
#include <espalier/layer/moe.hpp>
#include <espalier/layer/sequence.hpp>
#include <espalier/loss/cross_entropy.hpp>
#include <espalier/optimizer/sgd.hpp>
#include <espalier/train/training.hpp>

#include <support/catch.hpp>

#include <algorithm>
#include <cmath>

using namespace espalier;

namespace {

using expert = sequence<dense<8, activation::tanh>, dense<3>>;
using dropping = sequence<dense<8, activation::tanh, dropout::bernoulli<0.5>>, dense<3>>;

/// Weights of all experts: softmax over the k largest logits of a row, 0 elsewhere.
naive::matrix top_k(naive::matrix const& logits, int k) {
    naive::matrix g(logits.rows, logits.columns);
    for (index_t r = 0; r < g.rows; ++r) {
        std::vector<index_t> order;
        for (index_t c = 0; c < g.columns; ++c)
            order.push_back(c);
        std::stable_sort(order.begin(), order.end(), [&](index_t a, index_t b) { return logits(r, a) > logits(r, b); });
        double total = 0.0;
        for (int i = 0; i < k; ++i)
            total += std::exp(logits(r, order[static_cast<std::size_t>(i)]));
        for (int i = 0; i < k; ++i)
            g(r, order[static_cast<std::size_t>(i)]) = std::exp(logits(r, order[static_cast<std::size_t>(i)])) / total;
    }
    return g;
}

template <class Net> naive::matrix mixture(Net& net, naive::matrix const& x, int experts, int k) {
    auto const g = top_k(naive::affine(x, naive::tensor(net, "1.gate.kernel"), naive::tensor(net, "1.gate.bias")), k);
    naive::matrix y(x.rows, 3);
    for (int e = 0; e < experts; ++e) {
        std::string const path = "1.expert." + std::to_string(e);
        auto const hidden =
            naive::map(naive::affine(x, naive::tensor(net, path + ".0.kernel"), naive::tensor(net, path + ".0.bias")),
                       [](double v) { return std::tanh(v); });
        auto const out =
            naive::affine(hidden, naive::tensor(net, path + ".1.kernel"), naive::tensor(net, path + ".1.bias"));
        for (index_t r = 0; r < y.rows; ++r)
            for (index_t c = 0; c < 3; ++c)
                y(r, c) += g(r, e) * out(r, c);
    }
    return y;
}

template <class Stack> naive::matrix trained(int steps, naive::matrix& probe) {
    naive::network<Stack> net({6}, 50);
    auto const labels = naive::cyclic_labels(50, 3);
    training run(net, loss::cross_entropy{}, optimizer::sgd{.learning_rate = 0.5});
    for (int i = 0; i < steps; ++i) {
        auto const x = naive::random(50, 5, static_cast<std::uint64_t>(i), 2.0);
        run.step({x.view(), naive::tags_of(50, &labels), {}});
    }
    probe = naive::forward<mode::evaluate>(net, naive::random(33, 5, 99));
    return naive::copy(contiguous_view<double const>(net.values().weights().data(), 1, net.values().weights().size()));
}

template <class Gate, class Dispatch> void check_forward(int experts, int k) {
    naive::network<sequence<input<5>, moe<Gate, expert, Dispatch>>> net({6}, 70);
    naive::set_tensor(net, "1.gate.bias", naive::random(1, experts, 3));
    for (index_t const n : {70, 33, 1}) {
        auto const x = naive::random(n, 5, 7, 2.0);
        CHECK(naive::distance(naive::forward<mode::evaluate>(net, x), mixture(net, x, experts, k)) < 1e-14);
        CHECK(naive::distance(naive::forward<mode::train>(net, x), mixture(net, x, experts, k)) < 1e-14);
    }
}

template <class Gate, class Expert> void check_dispatches() {
    naive::matrix probe_dense, probe_compacted;
    auto const dense_weights = trained<sequence<input<5>, moe<Gate, Expert, dispatch::dense>>>(5, probe_dense);
    auto const compacted_weights =
        trained<sequence<input<5>, moe<Gate, Expert, dispatch::compacted>>>(5, probe_compacted);
    CHECK(naive::distance(dense_weights, compacted_weights) < 1e-13);
    CHECK(naive::distance(probe_dense, probe_compacted) < 1e-13);
}

} // namespace

TEST_CASE("moe: sum of the chosen experts", "[layer]") {
    check_forward<gate::softmax<6>, dispatch::dense>(6, 6);
    check_forward<gate::softmax<6>, dispatch::compacted>(6, 6);
    check_forward<gate::top_k<6, 2>, dispatch::dense>(6, 2);
    check_forward<gate::top_k<6, 2>, dispatch::compacted>(6, 2);
}

TEST_CASE("moe: dense and compacted dispatch train alike, random factors included", "[layer]") {
    check_dispatches<gate::top_k<6, 2>, dropping>();
    check_dispatches<gate::softmax<4>, dropping>();
}

TEST_CASE("moe: an expert without rows keeps its weights, in training with a stateless optimizer", "[layer]") {
    using stack = sequence<input<5>, moe<gate::top_k<4, 1>, expert>>;
    naive::network<stack> net({6}, 20);
    naive::matrix offset(1, 4, 0.0);
    offset(0, 2) = 100.0;
    naive::set_tensor(net, "1.gate.bias", offset);
    auto const before = naive::tensor(net, "1.expert.0.0.kernel");
    auto const chosen = naive::tensor(net, "1.expert.2.0.kernel");
    auto const x = naive::random(20, 5, 7);
    auto const labels = naive::cyclic_labels(20, 3);
    training run(net, loss::cross_entropy{}, optimizer::sgd{.learning_rate = 0.5});
    run.step({x.view(), naive::tags_of(20, &labels), {}});
    CHECK(naive::tensor(net, "1.expert.0.0.kernel").values == before.values);
    CHECK(naive::tensor(net, "1.expert.2.0.kernel").values != chosen.values);
}

namespace {

template <class Dispatch> void check_running_means(double spread) {
    using normalising = sequence<batch_norm<>, dense<3>>;
    naive::network<sequence<input<5>, moe<gate::top_k<3, 1>, normalising, Dispatch>>> net({6}, 40);
    auto const labels = naive::cyclic_labels(40, 3);
    naive::set_tensor(net, "1.gate.bias", naive::random(1, 3, 8, spread));
    training run(net, loss::cross_entropy{}, optimizer::sgd{.learning_rate = 0.0});
    naive::matrix expected(3, 5);
    double largest[3] = {};
    for (index_t const n : {40, 17}) {
        auto const x = naive::random(n, 5, 7);
        auto const g =
            top_k(naive::affine(x, naive::tensor(net, "1.gate.kernel"), naive::tensor(net, "1.gate.bias")), 1);
        run.step({x.view(), naive::tags_of(n, &labels), {}});
        for (int e = 0; e < 3; ++e) {
            naive::matrix sum(1, 5);
            double count = 0.0;
            for (index_t r = 0; r < n; ++r)
                if (g(r, e) > 0.0) {
                    count += 1.0;
                    for (index_t c = 0; c < 5; ++c)
                        sum(0, c) += x(r, c);
                }
            largest[e] = std::max(largest[e], count);
            double const kept = count > 0.0 ? std::pow(0.9, count / largest[e]) : 1.0;
            for (index_t c = 0; count > 0.0 && c < 5; ++c)
                expected(e, c) = kept * expected(e, c) + (1.0 - kept) * sum(0, c) / count;
            CHECK(naive::distance(naive::tensor(net, "1.expert." + std::to_string(e) + ".0.running_mean"),
                                  naive::middle_rows(expected, e, 1)) < 1e-14);
        }
    }
}

} // namespace

TEST_CASE("moe: batch normalisation inside an expert follows the rows that the expert got", "[layer]") {
    check_running_means<dispatch::compacted>(0.1);
    check_running_means<dispatch::compacted>(100.0); // one expert gets all rows
    check_running_means<dispatch::dense>(0.1);       // all rows run there otherwise
    check_running_means<dispatch::automatic<0.0, 0.0>>(0.1);
}
