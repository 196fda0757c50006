// SPDX-License-Identifier: Apache-2.0
// A whole step of training against a second implementation, written without the library: forward, backward, penalties,
// clipping by the global norm, AdamW with rates by tensor.
#include "../layer/naive.hpp"

#include <espalier/activation/tanh.hpp>
#include <espalier/activation_penalty/l1.hpp>
#include <espalier/dropout/bernoulli.hpp>
#include <espalier/layer/dense.hpp>
#include <espalier/layer/input.hpp>
#include <espalier/layer/sequence.hpp>
#include <espalier/loss/cross_entropy.hpp>
#include <espalier/optimizer/adamw.hpp>
#include <espalier/optimizer/sgd.hpp>
#include <espalier/penalty/l1.hpp>
#include <espalier/penalty/l2.hpp>
#include <espalier/penalty/proximal.hpp>
#include <espalier/train/training.hpp>
#include <espalier/transform/clip_global_norm.hpp>
#include <espalier/transform/clip_value.hpp>

#include <support/catch.hpp>

#include <map>
#include <string>

using namespace espalier;

namespace {

using clip = transform::clip_global_norm<0.05>;
using stack = sequence<input<7>,
                       dense<9, clip, penalty::l2<0.01>, activation::tanh, dropout::bernoulli<0.25>, penalty::l1<0.02>,
                             activation_penalty::l1<0.1>>,
                       dense<4, clip, on<role::bias, penalty::l2<0.03>>>>;
using reordered = sequence<input<7>,
                           dense<9, activation_penalty::l1<0.1>, penalty::l1<0.02>, dropout::bernoulli<0.25>,
                                 penalty::l2<0.01>, activation::tanh, clip>,
                           dense<4, on<role::bias, penalty::l2<0.03>>, clip>>;
using drawing = sequence<input<7>, dense<9, dropout::bernoulli<0.25>>>;

constexpr index_t row_count = 12;

/// Random factors of the first layer at a step.
naive::matrix factors(std::uint64_t step) {
    naive::network<drawing> net({5}, row_count);
    naive::set_tensor(net, "1.kernel", naive::matrix(7, 9, 0.0));
    naive::set_tensor(net, "1.bias", naive::matrix(1, 9, 1.0));
    return naive::forward<mode::train>(net, naive::matrix(row_count, 7), step);
}

double sign(double x) {
    return x > 0.0 ? 1.0 : x < 0.0 ? -1.0 : 0.0;
}

/// The tensors, the moments and one step of all of them.
struct reference {
    std::map<std::string, naive::matrix> w, m, v;
    double loss = 0.0, output_l1 = 0.0, l1 = 0.0, l2 = 0.0, bias_l2 = 0.0;

    void step(naive::matrix const& x, std::vector<std::int32_t> const& labels, int number) {
        auto const mask = factors(static_cast<std::uint64_t>(number - 1));
        auto const a = naive::map(naive::affine(x, w["1.kernel"], w["1.bias"]), [](double z) { return std::tanh(z); });
        auto const h = naive::times(a, mask);
        auto const l = naive::cross_entropy(naive::affine(h, w["2.kernel"], w["2.bias"]), labels);
        loss = l.loss;
        output_l1 = l1 = l2 = bias_l2 = 0.0;
        for (double const e : h.values)
            output_l1 += 0.1 / static_cast<double>(row_count) * std::abs(e);
        for (double const e : w["1.kernel"].values) {
            l1 += 0.02 * std::abs(e);
            l2 += 0.005 * e * e;
        }
        for (double const e : w["2.bias"].values)
            bias_l2 += 0.015 * e * e;

        std::map<std::string, naive::matrix> g;
        g["2.kernel"] = naive::product(naive::transposed(h), l.gradient);
        g["2.bias"] = naive::column_sums(l.gradient);
        auto dh = naive::product(l.gradient, naive::transposed(w["2.kernel"]));
        dh = naive::zip(dh, h, [](double d, double e) { return d + 0.1 / static_cast<double>(row_count) * sign(e); });
        auto const dz = naive::zip(naive::times(dh, mask), a, [](double d, double t) { return d * (1.0 - t * t); });
        g["1.kernel"] = naive::product(naive::transposed(x), dz);
        g["1.bias"] = naive::column_sums(dz);
        double squares = 0.0;
        for (auto const& [name, values] : g)
            for (double const e : values.values)
                squares += e * e;
        double const shrink = std::min(1.0, 0.05 / (std::sqrt(squares) + 1e-6));

        for (auto& [name, weights] : w)
            for (std::size_t i = 0; i < weights.values.size(); ++i) {
                double& weight = weights.values[i];
                double gradient = g[name].values[i];
                if (name == "1.kernel") gradient += 0.02 * sign(weight) + 0.01 * weight;
                if (name == "2.bias") gradient += 0.03 * weight;
                gradient *= shrink;
                double const rate = name.ends_with("bias") ? 0.002 : 0.001, decay = name.starts_with("2.") ? 0.0 : 0.1;
                double &first = m[name].values[i], &second = v[name].values[i];
                first = 0.9 * first + 0.1 * gradient;
                second = 0.999 * second + 0.001 * gradient * gradient;
                weight -= rate * decay * weight;
                weight -= rate * (first / (1.0 - std::pow(0.9, number))) /
                          (std::sqrt(second / (1.0 - std::pow(0.999, number))) + 1e-8);
            }
    }
};

std::vector<rate_rule> const rules{{.path = "2.", .decay = 0.0},
                                   {.path = "1.bias", .learning_rate = 2.0},
                                   {.path = "2.bias", .learning_rate = 2.0, .decay = 0.0}};

} // namespace

TEST_CASE("step: forward, backward, penalties, clipping and AdamW as written out", "[train]") {
    naive::network<stack> net({5}, row_count);
    auto const labels = naive::cyclic_labels(row_count, 4);
    training run(net, loss::cross_entropy{}, optimizer::adamw{.learning_rate = 1e-3, .weight_decay = 0.1}, 0, rules);
    reference expected;
    for (tensor_info const& t : net.tensors()) {
        expected.w[t.name] = naive::tensor(net, t.name);
        expected.m[t.name] = expected.v[t.name] = naive::matrix(t.rows, t.columns);
    }
    REQUIRE(run.term_names() ==
            std::vector<std::string>{"loss", "1.kernel.l1", "1.kernel.l2", "1.output.l1", "2.bias.l2"});
    for (int number = 1; number <= 6; ++number) {
        auto const x = naive::random(row_count, 7, static_cast<std::uint64_t>(number), 2.0);
        auto const result = run.step({x.view(), naive::tags_of(row_count, &labels), {}});
        expected.step(x, labels, number);
        CHECK(result.loss == Approx(expected.loss).epsilon(1e-12));
        CHECK(run.terms()[1] == Approx(expected.l1).epsilon(1e-12));
        CHECK(run.terms()[2] == Approx(expected.l2).epsilon(1e-12));
        CHECK(run.terms()[3] == Approx(expected.output_l1).epsilon(1e-12));
        CHECK(run.terms()[4] == Approx(expected.bias_l2).epsilon(1e-12).margin(1e-300));
        CHECK(result.total ==
              Approx(expected.loss + expected.l1 + expected.l2 + expected.output_l1 + expected.bias_l2).epsilon(1e-12));
        for (auto const& [name, weights] : expected.w) {
            INFO(name << " after step " << number);
            CHECK(naive::distance(naive::tensor(net, name), weights) < 1e-12);
        }
    }
}

TEST_CASE("step: the order of a layer's list does not change a bit", "[train]") {
    naive::network<stack> a({5}, row_count);
    naive::network<reordered> b({5}, row_count);
    auto const labels = naive::cyclic_labels(row_count, 4);
    training run_a(a, loss::cross_entropy{}, optimizer::adamw{});
    training run_b(b, loss::cross_entropy{}, optimizer::adamw{});
    CHECK(run_a.term_names() == run_b.term_names());
    for (int number = 0; number < 4; ++number) {
        auto const x = naive::random(row_count, 7, static_cast<std::uint64_t>(number), 2.0);
        CHECK(run_a.step({x.view(), naive::tags_of(row_count, &labels), {}}).total ==
              run_b.step({x.view(), naive::tags_of(row_count, &labels), {}}).total);
    }
    for (tensor_info const& t : a.tensors())
        CHECK(naive::tensor(a, t.name).values == naive::tensor(b, t.name).values);
}

TEST_CASE("step: a prox comes after the optimizer, with the rate of the tensor", "[train]") {
    naive::network<sequence<input<5>, dense<4, penalty::proximal<penalty::l1<0.5>>, transform::clip_value<0.125>>>> net(
        {5}, 8);
    auto const labels = naive::cyclic_labels(8, 4);
    auto const x = naive::random(8, 5, 3, 2.0);
    training run(net, loss::cross_entropy{}, optimizer::sgd{.learning_rate = 0.2}, 0,
                 {{.path = "1.kernel", .learning_rate = 0.5}});
    auto const w = naive::tensor(net, "1.kernel");
    auto const l = naive::cross_entropy(naive::affine(x, w, naive::tensor(net, "1.bias")), labels);
    auto const g = naive::product(naive::transposed(x), l.gradient);
    run.step({x.view(), naive::tags_of(8, &labels), {}});
    auto const expected = naive::zip(w, g, [](double weight, double gradient) {
        double const moved = weight - 0.1 * std::clamp(gradient, -0.125, 0.125);
        return sign(moved) * std::max(0.0, std::abs(moved) - 0.1 * 0.5);
    });
    CHECK(naive::distance(naive::tensor(net, "1.kernel"), expected) < 1e-15);
}
