// SPDX-License-Identifier: Apache-2.0
// Updates from gradients that a program has: those of a step, changed ones, sums of several batches, its own.
#include "../layer/naive.hpp"
#include "snapshot.hpp"

#include <espalier/activation/relu.hpp>
#include <espalier/activation/tanh.hpp>
#include <espalier/device/cpu/cpu.hpp>
#include <espalier/dropout/bernoulli.hpp>
#include <espalier/layer/batch_norm.hpp>
#include <espalier/layer/dense.hpp>
#include <espalier/layer/input.hpp>
#include <espalier/layer/sequence.hpp>
#include <espalier/layer/tap.hpp>
#include <espalier/loss/cross_entropy.hpp>
#include <espalier/optimizer/adamw.hpp>
#include <espalier/optimizer/sgd.hpp>
#include <espalier/penalty/l1.hpp>
#include <espalier/prune/by_magnitude.hpp>
#include <espalier/prune/constant.hpp>
#include <espalier/prune/hard.hpp>
#include <espalier/prune/per_layer.hpp>
#include <espalier/prune/policy.hpp>
#include <espalier/schedule/linear.hpp>
#include <espalier/train/accumulation.hpp>
#include <espalier/train/training.hpp>
#include <espalier/transform/clip_global_norm.hpp>

#include <support/catch.hpp>
#include <support/message_of.hpp>

#include <algorithm>
#include <cmath>
#include <limits>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

using namespace espalier;
using namespace espalier::literals;
using espalier_test::snapshot;

namespace {

constexpr prune::constant half{.sparsity = 0.5};
using pruned = prune::policy<prune::by_magnitude, prune::per_layer, half, prune::hard>;
constexpr index_t count = 30, width = 6, classes = 3;

struct weighted {
    naive::matrix x = naive::random(count, width, 1);
    std::vector<std::int32_t> labels;
    std::vector<float> weights;
    weighted() {
        for (index_t i = 0; i < count; ++i) {
            labels.push_back(static_cast<std::int32_t>(i % classes));
            weights.push_back(0.5f + static_cast<float>(i % 5));
        }
    }
    batch_view<double> view() const {
        batch_view<double> b;
        b.inputs = x.view();
        b.tags.count = count;
        b.tags.label = labels.data();
        b.tags.weight = weights.data();
        return b;
    }
    batch_view<double> part(index_t from, index_t n) const {
        batch_view<double> b = view();
        b.inputs = b.inputs.middle_rows(from, n);
        b.tags = b.tags.slice(from, n);
        return b;
    }
};

using stack = sequence<input<width>, dense<8, activation::tanh, dropout::bernoulli<0.25>, penalty::l1<0.01>>,
                       tap<"hidden"_name>, dense<classes, transform::clip_global_norm<0.05>>>;
using net_of = network<stack, device::cpu, double>;
using optimizer_of = optimizer::adamw<schedule::linear>;

struct run {
    net_of net{seed{7}, count};
    training<net_of, loss::cross_entropy, optimizer_of> train{
        net, {}, {.learning_rate = {.from = 0.1, .to = 0.01, .steps = 12}}};
};

} // namespace

TEST_CASE("gradients_of and update are a step") {
    weighted const data;
    run whole, apart;
    for (int i = 0; i < 6; ++i) {
        step_result const a = whole.train.step(data.view());
        double const loss = apart.train.gradients_of(data.view());
        step_result const b = apart.train.update();
        REQUIRE(a.loss == loss);
        REQUIRE(a.loss == b.loss);
        REQUIRE(a.total == b.total);
        REQUIRE(whole.train.terms() == apart.train.terms());
        REQUIRE(snapshot(whole.train) == snapshot(apart.train));
    }
}

TEST_CASE("an update takes running statistics and masks along") {
    weighted const data;
    using normed = sequence<input<width>, dense<8, pruned>, batch_norm<>, dense<classes>>;
    network<normed, device::cpu, double> net{seed{7}, count}, other{seed{7}, count};
    training whole{net, loss::cross_entropy{}, optimizer::sgd{}};
    training apart{other, loss::cross_entropy{}, optimizer::sgd{}};
    for (int i = 0; i < 3; ++i) {
        whole.step(data.view());
        if (i == 0)
            apart.step(data.view()); // selects the mask before the batch goes forward
        else {
            apart.gradients_of(data.view());
            apart.update();
        }
        REQUIRE(snapshot(whole) == snapshot(apart));
    }
}

TEST_CASE("an accumulation of parts is the step on the whole batch") {
    weighted const data;
    run whole, apart;
    accumulation sum(apart.train);
    for (int i = 0; i < 5; ++i) {
        step_result const a = whole.train.step(data.view());
        double worst = 0.0;
        if (i == 3) { // a beginning that is given up
            sum.add(data.part(0, 4));
            sum.forget();
        }
        for (auto const& [from, n] : {std::pair<index_t, index_t>{0, 13}, {13, 1}, {14, 16}})
            sum.add(data.part(from, n));
        step_result const b = sum.update();
        REQUIRE(std::abs(a.loss - b.loss) < 1e-14);
        for (index_t k = 0; k < whole.net.values().weights().size(); ++k)
            worst = std::max(worst, std::abs(whole.net.values().weights()[k] - apart.net.values().weights()[k]));
        CAPTURE(i, worst);
        REQUIRE(worst < 1e-13);
    }
    snapshot const before(apart.train);
    CHECK_THROWS_AS(sum.update(), data_error);
    CHECK(snapshot(apart.train) == before);
}

TEST_CASE("a function between gradients and update") {
    weighted const data;
    network<sequence<input<width>, dense<8, activation::relu>, dense<classes>>, device::cpu, double> net{seed{7},
                                                                                                         count},
        other{seed{7}, count};
    training twice{net, loss::cross_entropy{}, optimizer::sgd{.learning_rate = 0.5}};
    training single{other, loss::cross_entropy{}, optimizer::sgd{.learning_rate = 0.25}};
    for (int i = 0; i < 3; ++i) {
        single.step(data.view(), before_update{[](auto& gradients) {
                        for (index_t k = 0; k < gradients.size(); ++k)
                            gradients.data()[k] *= 2.0;
                    }});
        twice.step(data.view());
        REQUIRE(std::equal(net.values().weights().data(), net.values().weights().data() + net.size.parameters,
                           other.values().weights().data()));
    }
    snapshot const before(single);
    CHECK_THROWS_AS(single.step(data.view(), before_update{[](auto&) { throw std::runtime_error("no"); }}),
                    std::runtime_error);
    CHECK(snapshot(single) == before);
    for (char const* const name : {"1.kernel", "1.bias", "2.kernel", "2.bias"}) {
        CAPTURE(name);
        before_update const spoil{
            [&](auto& gradients) { gradients.tensor(name)(0, 1) = std::numeric_limits<double>::infinity(); }};
        auto const text = message_of<numerical_error>([&] { single.step(data.view(), spoil); });
        CHECK_THAT(text, contains_text(name));
        CHECK_THAT(text, contains_text("unless the function before the update left it so"));
        CHECK(snapshot(single) == before);
    }
    CHECK_THROWS_AS(single.step(data.view(), before_update{[](auto& g) { g.tensor("1.none"); }}), data_error);
    CHECK(snapshot(single) == before);
}

TEST_CASE("a function at the taps and one before the update") {
    weighted const data;
    run whole, both;
    double seen = 0.0;
    auto const pull = [](auto& taps) {
        auto const gradient = taps.gradient("hidden");
        gradient(0, 0) = 1.0;
        *taps.term("hidden") = 2.0;
    };
    whole.train.step(data.view(), pull);
    both.train.step(data.view(), pull,
                    before_update{[&](auto& gradients) { seen = gradients.tensor("1.kernel")(0, 0); }});
    CHECK(snapshot(whole.train) == snapshot(both.train));
    CHECK(seen == whole.train.gradient("1.kernel")(0, 0));
}

TEST_CASE("gradients of a program's own") {
    network<sequence<input<width>, dense<2>, batch_norm<>, dense<classes>>, device::cpu, double> net{seed{7}, count};
    training train{
        net, loss::cross_entropy{}, optimizer::sgd{.learning_rate = 0.5}, 0, {{.path = "3.", .frozen = true}}};
    auto const kernel = train.gradient("1.kernel");
    REQUIRE(kernel.rows == width);
    REQUIRE(kernel.columns == 2);
    double const before_first = net.tensor("1.kernel")(3, 1), before_head = net.tensor("3.kernel")(0, 0);
    kernel(3, 1) = 0.25;
    train.gradient("3.kernel")(0, 0) = 1.0; // frozen
    std::uint64_t const step = net.time().step;
    train.update();
    CHECK(net.tensor("1.kernel")(3, 1) == before_first - 0.125);
    CHECK(net.tensor("3.kernel")(0, 0) == before_head);
    CHECK(net.time().step == step + 1);
    kernel(0, 0) = std::numeric_limits<double>::quiet_NaN();
    snapshot const before(train);
    CHECK_THROWS_AS(train.update(), numerical_error);
    CHECK(snapshot(train) == before);
    weighted const data;
    train.gradients_of(data.view()); // its products say that all is finite, which does not hold any more
    kernel(0, 0) = std::numeric_limits<double>::quiet_NaN();
    CHECK_THROWS_AS(train.update(), numerical_error);
    CHECK(snapshot(train) == before);
    CHECK_THROWS_AS(train.gradient("2.running_mean"), data_error);
    CHECK_THROWS_AS(train.gradient("4.kernel"), data_error);
}

TEST_CASE("gradients_of throws where a step throws") {
    weighted data;
    network<sequence<input<width>, dense<8, activation::relu>, dense<classes>>, device::cpu, double> net{seed{7},
                                                                                                         count};
    training train{net, loss::cross_entropy{}, optimizer::sgd{}};
    data.x.values[4] = -std::numeric_limits<double>::infinity(); // a relu may hide it
    data.weights[0] = 1.0f;
    CHECK_THROWS_AS(train.gradients_of(data.part(0, 1)), numerical_error);
    CHECK_THROWS_AS(train.gradients_of(data.view()), numerical_error);
}
