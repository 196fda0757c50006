// SPDX-License-Identifier: Apache-2.0
// Taps: what they show, what their penalties and the losses given to them do to values and gradients.
#include <espalier/activation/tanh.hpp>
#include <espalier/activation_penalty/flops.hpp>
#include <espalier/activation_penalty/l1.hpp>
#include <espalier/device/cpu/cpu.hpp>
#include <espalier/dropout/bernoulli.hpp>
#include <espalier/gate/softmax.hpp>
#include <espalier/gate/top_k.hpp>
#include <espalier/layer/dense.hpp>
#include <espalier/layer/input.hpp>
#include <espalier/layer/moe.hpp>
#include <espalier/layer/multi_gate.hpp>
#include <espalier/layer/multi_sample.hpp>
#include <espalier/layer/parallel.hpp>
#include <espalier/layer/residual.hpp>
#include <espalier/layer/sequence.hpp>
#include <espalier/layer/tap.hpp>
#include <espalier/loss/cross_entropy.hpp>
#include <espalier/loss/early_learning.hpp>
#include <espalier/loss/mean_squared_error.hpp>
#include <espalier/network/describe.hpp>
#include <espalier/network/network.hpp>
#include <espalier/optimizer/sgd.hpp>
#include <espalier/train/training.hpp>

#include <support/allocations.hpp>
#include <support/catch.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <stdexcept>
#include <string>
#include <vector>

using namespace espalier;
using namespace espalier::literals;

namespace {

constexpr index_t count = 9, width = 5;

struct data {
    std::vector<double> x = std::vector<double>(count * width);
    std::vector<std::int32_t> labels = std::vector<std::int32_t>(count);
    std::vector<double> targets = std::vector<double>(count * 6);
    batch_view<double> batch;
    data() {
        fill_normal(make_site(2, 2), 0.0, 1.0, array_view<double>{x.data(), count * width});
        fill_normal(make_site(2, 3), 0.0, 1.0, array_view<double>{targets.data(), count * 6});
        for (index_t i = 0; i < count; ++i)
            labels[static_cast<std::size_t>(i)] = static_cast<std::int32_t>(i % 3);
        batch.inputs = contiguous_view<double const>(x.data(), count, width);
        batch.tags.count = count;
        batch.tags.label = labels.data();
    }
    data(data const&) = delete;
    matrix_view<double const> features() const { return contiguous_view<double const>(targets.data(), count, 6); }
};

using head = dense<3>;
using first = dense<6, activation::tanh>;
using plain = sequence<input<width>, first, head>;
using tapped = sequence<input<width>, first, tap<"hidden"_name>, head>;

/// Central differences of `objective` in every weight and input against what backward gives.
template <class Stack, class AtTaps> void check_gradients_with(AtTaps const& at_taps) {
    data d;
    network<Stack, device::cpu, double> net{seed{4}, count};
    training run{net, loss::cross_entropy{}, optimizer::sgd{.learning_rate = 0.1}};
    std::vector<double> dx(count * width);
    run.input_gradients_of(d.batch, contiguous_view(dx.data(), count, width), at_taps);
    run.gradients_of(d.batch, at_taps);
    double const step = 1e-5;
    auto const difference = [&](double& value) {
        double const before = value;
        value = before + step;
        double const above = run.objective(d.batch, at_taps);
        value = before - step;
        double const below = run.objective(d.batch, at_taps);
        value = before;
        return (above - below) / (2.0 * step);
    };
    for (tensor_info const& t : net.tensors())
        for (index_t i = 0; i < t.size(); ++i) {
            INFO(t.name << " element " << i);
            double& weight = net.values().weights()[t.offset + i];
            REQUIRE(run.gradients()[t.offset + i] == Approx(difference(weight)).epsilon(1e-6).margin(1e-8));
        }
    for (std::size_t i = 0; i < dx.size(); ++i) {
        INFO("input " << i);
        REQUIRE(dx[i] == Approx(difference(d.x[i])).epsilon(1e-6).margin(1e-8));
    }
}

} // namespace

TEST_CASE("a tap shows the rows that passed and changes nothing", "[layer]") {
    data const d;
    network<plain, device::cpu, double> without{seed{4}, count};
    network<tapped, device::cpu, double> with{seed{4}, count};
    CHECK_THROWS_AS(with.tap("hidden"), data_error);
    training a{without, loss::cross_entropy{}, optimizer::sgd{.learning_rate = 0.1}};
    training b{with, loss::cross_entropy{}, optimizer::sgd{.learning_rate = 0.1}};
    auto const hidden = [&](matrix_view<double const> seen) {
        auto const kernel = with.tensor("1.kernel"), bias = with.tensor("1.bias");
        REQUIRE(seen.rows == count);
        REQUIRE(seen.columns == 6);
        for (index_t r = 0; r < count; ++r)
            for (index_t c = 0; c < 6; ++c) {
                double z = bias(0, c);
                for (index_t k = 0; k < width; ++k)
                    z += d.batch.inputs(r, k) * kernel(k, c);
                REQUIRE(seen(r, c) == Approx(std::tanh(z)).epsilon(1e-12));
            }
    };
    std::vector<double> y(count * 3);
    for (int i = 0; i < 3; ++i) {
        with.predict(d.batch.inputs, contiguous_view(y.data(), count, 3));
        hidden(with.tap("2.hidden"));
        CHECK(a.step(d.batch).total == b.step(d.batch).total);
        CHECK(b.terms()[1] == 0.0);
    }
    for (index_t i = 0; i < without.values().weights().size(); ++i)
        REQUIRE(without.values().weights()[i] == with.values().weights()[i]);
    CHECK(b.term_names() == std::vector<std::string>{"loss", "2.hidden"});
    CHECK_THAT(describe<tapped>(), contains_text("tap hidden"));
    CHECK_THROWS_WITH(with.tap("hiden"), contains_text("there is no tap \"hiden\""));
}

TEST_CASE("taps show their rows wherever they stand", "[layer]") {
    // At the end of a residual the input is added to the rows; at the end of the stack the loss leaves its gradient.
    using inner = residual<dense<6, activation::tanh>, tap<"inside"_name>>;
    using branches = parallel<merge::add, sequence<dense<3>, tap<"left"_name>>, sequence<dense<3>, tap<"right"_name>>>;
    using stack = sequence<input<width>, tap<"inputs"_name>, first, inner, tap<"after"_name>,
                           sequence<tap<"nested"_name>>, branches, tap<"end"_name>>;
    data const d;
    network<stack, device::cpu, double> net{seed{4}, count};
    training run{net, loss::cross_entropy{}, optimizer::sgd{.learning_rate = 0.0}};
    std::vector<double> y(count * 3);
    net.predict(d.batch.inputs, contiguous_view(y.data(), count, 3));
    run.step(d.batch);
    auto const same = [](matrix_view<double const> a, auto const& expected) {
        for (index_t r = 0; r < a.rows; ++r)
            for (index_t c = 0; c < a.columns; ++c)
                REQUIRE(a(r, c) == Approx(expected(r, c)).epsilon(1e-12).margin(1e-14));
    };
    same(net.tap("inputs"), [&](index_t r, index_t c) { return d.batch.inputs(r, c); });
    same(net.tap("end"), [&](index_t r, index_t c) { return y[static_cast<std::size_t>(r * 3 + c)]; });
    same(net.tap("nested"), [&](index_t r, index_t c) { return net.tap("after")(r, c); });
    auto const left = net.tap("left"), right = net.tap("right"), after = net.tap("after");
    same(net.tap("end"), [&](index_t r, index_t c) { return left(r, c) + right(r, c); });
    auto const kernel = net.tensor("6.0.0.kernel");
    same(left, [&](index_t r, index_t c) {
        double z = 0.0;
        for (index_t k = 0; k < 6; ++k)
            z += after(r, k) * kernel(k, c);
        return z;
    });
    auto const inside = net.tap("inside");
    for (index_t i = 0; i < count * 6; ++i)
        CHECK(std::fabs(inside.data[i]) < 1.0); // tanh alone, nothing added
}

TEST_CASE("penalties of a tap are those of the layer before", "[layer]") {
    using in_layer =
        sequence<input<width>, dense<6, activation::tanh, activation_penalty::l1<0.1>, activation_penalty::flops<0.2>>,
                 head>;
    using at_tap = sequence<input<width>, first,
                            tap<"hidden"_name, activation_penalty::flops<0.2>, activation_penalty::l1<0.1>>, head>;
    data const d;
    network<in_layer, device::cpu, double> a{seed{4}, count};
    network<at_tap, device::cpu, double> b{seed{4}, count};
    training run_a{a, loss::cross_entropy{}, optimizer::sgd{.learning_rate = 0.1}};
    training run_b{b, loss::cross_entropy{}, optimizer::sgd{.learning_rate = 0.1}};
    for (int i = 0; i < 4; ++i)
        CHECK(run_a.step(d.batch).total == Approx(run_b.step(d.batch).total).epsilon(1e-13));
    for (index_t i = 0; i < a.values().weights().size(); ++i)
        REQUIRE(a.values().weights()[i] == Approx(b.values().weights()[i]).epsilon(1e-12).margin(1e-14));
    CHECK(run_b.term_names() == std::vector<std::string>{"loss", "2.output.flops", "2.output.l1", "2.hidden"});
}

TEST_CASE("losses and gradients given to taps go backward", "[layer]") {
    data const d;
    check_gradients_with<tapped>(
        [&](auto& taps) { taps.template loss<"hidden"_name>(loss::mean_squared_error{}, d.features()); });
    using deep = sequence<input<width>, tap<"inputs"_name>, dense<6, activation::tanh, dropout::bernoulli<0.25>>,
                          residual<dense<6, activation::tanh>, tap<"inside"_name, activation_penalty::l1<0.3>>>,
                          parallel<merge::concatenate, sequence<dense<3>, tap<"branch"_name>>, dense<2>>, dense<3>,
                          sequence<tap<"end"_name>>>;
    check_gradients_with<deep>([&](auto& taps) {
        taps.template loss<"inside"_name>(loss::mean_squared_error{}, d.features());
        taps.template loss<"branch"_name>(loss::cross_entropy{.smoothing = 0.1}); // labels of the batch
        // By hand: 0.5 |inputs|^2 at the one end, the sum of the outputs at the other.
        auto const x = taps.values("inputs"), y = taps.values("end");
        auto const dx = taps.gradient("inputs"), dy = taps.gradient("end");
        for (index_t r = 0; r < count; ++r) {
            for (index_t c = 0; c < x.columns; ++c) {
                *taps.term("inputs") += 0.5 * x(r, c) * x(r, c);
                dx(r, c) += x(r, c);
            }
            for (index_t c = 0; c < y.columns; ++c) {
                *taps.term("end") += y(r, c);
                dy(r, c) += 1.0;
            }
        }
    });
}

TEST_CASE("what was given to a tap counts for that step only, and an exception leaves all as it was", "[layer]") {
    data const d;
    network<tapped, device::cpu, double> net{seed{4}, count}, other{seed{4}, count};
    training run{net, loss::cross_entropy{}, optimizer::sgd{.learning_rate = 0.1}};
    training calm{other, loss::cross_entropy{}, optimizer::sgd{.learning_rate = 0.1}};
    auto const at_taps = [&](auto& taps) {
        taps.template loss<"hidden"_name>(loss::mean_squared_error{}, d.features());
    };
    CHECK_THROWS_AS(run.step(d.batch, [](auto&) { throw std::runtime_error("no"); }), std::runtime_error);
    CHECK_THROWS_AS(run.step(d.batch, [](auto& taps) { taps.gradient("nowhere"); }), data_error);
    CHECK_THROWS_AS(run.step(d.batch,
                             [&](auto& taps) {
                                 taps.template loss<"hidden"_name>(loss::mean_squared_error{},
                                                                   d.features().middle_rows(0, 3));
                             }),
                    shape_error);
    CHECK_THROWS_AS(run.step(d.batch, [](auto& taps) { *taps.term("hidden") = std::nan(""); }), numerical_error);
    CHECK(run.time().step == 0);
    double const first = run.step(d.batch, at_taps).total;
    CHECK(run.terms()[1] > 0.0);
    CHECK(first == Approx(run.terms()[0] + run.terms()[1]).epsilon(1e-14));
    CHECK(calm.step(d.batch, at_taps).total == first);
    CHECK(run.step(d.batch).total == calm.step(d.batch).total); // without: nothing is left of it
    CHECK(run.terms()[1] == 0.0);
    for (index_t i = 0; i < net.values().weights().size(); ++i)
        REQUIRE(net.values().weights()[i] == other.values().weights()[i]);
}

TEST_CASE("a function at taps that throws leaves the memory of a loss as it was", "[layer]") {
    data d;
    std::vector<std::int64_t> samples(count);
    for (index_t i = 0; i < count; ++i)
        samples[static_cast<std::size_t>(i)] = i;
    d.batch.tags.sample = samples.data();
    network<tapped, device::cpu, double> net{seed{4}, count};
    training run{net, loss::early_learning{}, optimizer::sgd{.learning_rate = 0.1}, count};
    std::vector<double> dx(count * width);
    auto const throws = [](auto&) { throw std::runtime_error("no"); };
    auto const remembered = [&] {
        double sum = 0.0;
        for (index_t i = 0; i < run.loss_state().size(); ++i)
            sum += std::fabs(run.loss_state()[i]);
        return sum;
    };
    CHECK_THROWS_AS(run.gradients_of(d.batch, throws), std::runtime_error);
    CHECK_THROWS_AS(run.input_gradients_of(d.batch, contiguous_view(dx.data(), count, width), throws),
                    std::runtime_error);
    CHECK_THROWS_AS(run.step(d.batch, throws), std::runtime_error);
    CHECK(remembered() == 0.0);
    run.step(d.batch);
    CHECK(remembered() > 0.0);
}

TEST_CASE("behind a multi_sample a tap has the rows of all samples", "[layer]") {
    using stack = sequence<input<width>, multi_sample<3, dense<6, dropout::bernoulli<0.5>>>, tap<"samples"_name>, head>;
    data const d;
    network<stack, device::cpu, double> net{seed{4}, count};
    training run{net, loss::cross_entropy{}, optimizer::sgd{.learning_rate = 0.1}};
    run.step(d.batch);
    auto const seen = net.tap("samples");
    REQUIRE(seen.rows == 3 * count);
    bool differs = false;
    for (index_t c = 0; c < 6; ++c)
        differs = differs || seen(0, c) != seen(count, c);
    CHECK(differs);
    CHECK_THROWS_WITH(run.step(d.batch, [](auto& taps) { taps.template loss<"samples"_name>(loss::cross_entropy{}); }),
                      contains_text("27 rows passed the tap samples and the tags describe 9"));
}

TEST_CASE("taps of one name are told apart by their paths", "[layer]") {
    using stack = sequence<input<width>, first, tap<"here"_name>, first, tap<"here"_name>, head>;
    data const d;
    network<stack, device::cpu, double> net{seed{4}, count};
    std::vector<double> y(count * 3);
    net.predict(d.batch.inputs, contiguous_view(y.data(), count, 3));
    CHECK_THROWS_WITH(net.tap("here"), contains_text("2.here and 4.here"));
    CHECK(net.tap("2.here")(0, 0) != net.tap("4.here")(0, 0));
}

TEST_CASE("the weights that gates gave can be read", "[layer]") {
    using two = gates<gate::softmax<4>, gate::top_k<4, 2>>;
    using stack = sequence<input<width>, moe<gate::top_k<4, 2>, dense<6>>, multi_gate<two, dense<6>>, head>;
    data const d;
    network<stack, device::cpu, double> net{seed{4}, count};
    CHECK_THROWS_AS(net.gate("1.gate"), data_error);
    std::vector<double> y(count * 3);
    net.predict(d.batch.inputs, contiguous_view(y.data(), count, 3));
    CHECK_THROWS_WITH(net.gate("2.gate"), contains_text("there is no gate \"2.gate\""));
    auto const kernel = net.tensor("1.gate.kernel"), bias = net.tensor("1.gate.bias");
    auto const given = net.gate("1.gate");
    REQUIRE(given.weights.rows == count);
    REQUIRE(given.weights.columns == 2);
    for (index_t r = 0; r < count; ++r) {
        double z[4];
        for (index_t e = 0; e < 4; ++e) {
            z[e] = bias(0, e);
            for (index_t k = 0; k < width; ++k)
                z[e] += d.batch.inputs(r, k) * kernel(k, e);
        }
        auto const a = given.experts(r, 0), b = given.experts(r, 1);
        REQUIRE(a != b);
        CHECK(given.weights(r, 0) == Approx(1.0 / (1.0 + std::exp(z[b] - z[a]))).epsilon(1e-12));
        CHECK(given.weights(r, 1) == Approx(1.0 / (1.0 + std::exp(z[a] - z[b]))).epsilon(1e-12));
        for (index_t e = 0; e < 4; ++e)
            CHECK((e == a || e == b || z[e] <= std::min(z[a], z[b])));
        auto const all = net.gate("2.gate.0"), some = net.gate("2.gate.1");
        CHECK(all.experts(r, 3) == 3); // gates that share experts all say which
        CHECK(all.weights(r, 0) + all.weights(r, 1) + all.weights(r, 2) + all.weights(r, 3) == Approx(1.0));
        CHECK(some.weights.columns == 2);
    }
}

#if defined(ESPALIER_TEST_COUNTS_MALLOC)
TEST_CASE("taps: nothing is allocated by a step with a loss at one", "[layer]") {
    data const d;
    network<tapped, device::cpu, double> net{seed{4}, count};
    training run{net, loss::cross_entropy{}, optimizer::sgd{.learning_rate = 0.1}};
    auto const at_taps = [&](auto& taps) {
        taps.template loss<"hidden"_name>(loss::mean_squared_error{}, d.features());
    };
    run.step(d.batch, at_taps);
    std::size_t const start = counted_allocations;
    std::free(std::malloc(100000)); // the counter counts
    REQUIRE(counted_allocations > start);
    std::size_t const before = counted_allocations;
    run.step(d.batch, at_taps);
    CHECK(counted_allocations == before);
}
#endif
