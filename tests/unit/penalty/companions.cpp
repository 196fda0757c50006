// SPDX-License-Identifier: Apache-2.0
// Companions of tensors: what the update makes of them against a step without them followed by the formula, how they
// get their numbers, and what happens before they have any.
#include "../io/temporary_folder.hpp"

#include <support/catch.hpp>
#include <support/message_of.hpp>

#include <espalier/activation/tanh.hpp>
#include <espalier/core/pack.hpp>
#include <espalier/device/cpu/cpu.hpp>
#include <espalier/dropout/bernoulli.hpp>
#include <espalier/gate/top_k.hpp>
#include <espalier/io/checkpoint.hpp>
#include <espalier/layer/batch_norm.hpp>
#include <espalier/layer/dense.hpp>
#include <espalier/layer/input.hpp>
#include <espalier/layer/moe.hpp>
#include <espalier/layer/sequence.hpp>
#include <espalier/loss/cross_entropy.hpp>
#include <espalier/network/network.hpp>
#include <espalier/network/remember.hpp>
#include <espalier/optimizer/adamw.hpp>
#include <espalier/optimizer/sgd.hpp>
#include <espalier/penalty/anchor.hpp>
#include <espalier/penalty/elastic_weight_consolidation.hpp>
#include <espalier/penalty/l2.hpp>
#include <espalier/penalty/proximal.hpp>
#include <espalier/schedule/linear.hpp>
#include <espalier/train/importance.hpp>
#include <espalier/train/teacher.hpp>
#include <espalier/train/training.hpp>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

using namespace espalier;
using espalier_test::temporary_folder;

namespace {

template <auto C> using ewc = penalty::elastic_weight_consolidation<C>;

// 5 x 7 and 7: no multiples of any pack. The batch_norm has state of its own.
constexpr schedule::linear growing{.from = 1.0, .to = 3.0, .steps = 2};
using anchored =
    sequence<input<5>, dense<7, activation::tanh, penalty::anchor<0.5>, ewc<0.25>>,
             batch_norm<batch_norm_options{}, on<role::scale, penalty::anchor<2.0>>>,
             moe<gate::top_k<3, 2>, dense<6, penalty::anchor<growing>>>, dense<3, penalty::proximal<ewc<4.0>>>>;
using plain = sequence<input<5>, dense<7, activation::tanh>, batch_norm<>, moe<gate::top_k<3, 2>, dense<6>>, dense<3>>;

template <class T> struct data {
    std::vector<T> x = std::vector<T>(8 * 5);
    std::vector<std::int32_t> y = {0, 1, 2, 0, 2, 1, 1, 0};
    batch_view<T> batch;
    data() {
        for (std::size_t i = 0; i < x.size(); ++i)
            x[i] = static_cast<T>(std::sin(1.0 + 0.7 * static_cast<double>(i)));
        batch.inputs = {x.data(), 8, 5, 5};
        batch.tags.count = 8;
        batch.tags.label = y.data();
    }
    data(data const&) = delete;
};

/// Importances that differ from weight to weight, for every tensor that wants some.
template <class Net> void set_importances(Net& net) {
    using wide = typename Net::wide;
    for (tensor_info const& t : net.tensors()) {
        if (t.companion != "importance") continue;
        std::vector<wide> f(static_cast<std::size_t>(t.size()));
        for (std::size_t i = 0; i < f.size(); ++i)
            f[i] = static_cast<wide>(0.25 * static_cast<double>(i % 5));
        set_companion(net, t.name, matrix_view<wide const>{f.data(), t.rows, t.columns, t.columns});
    }
}

template <class A, class B> bool same_weights(A& a, B& b) {
    auto const &x = a.values().weights(), &y = b.values().weights();
    return std::memcmp(x.data(), y.data(), x.bytes()) == 0;
}

constexpr optimizer::sgd<> sgd{.learning_rate = 0.1};

} // namespace

TEST_CASE("companions: values, gradients and proxes by hand", "[penalty]") {
    // With c = 2 the term is the sum of squares without a half.
    double const w[] = {0.5, -1.0, 0.2, 0.0}, a[] = {0.4, -0.8, 0.25, 0.1},
                 f[] = {0.0466666667, 0.07, 0.0041666667, 0.0166666667};
    double const slope[] = {0.009333333, -0.028, -0.000416667, -0.003333333};
    double const stepped[] = {0.5 - 0.1 * 0.3, -1.0 + 0.1 * 0.1, 0.2, -0.1 * 0.2},
                 shrunk[] = {0.435, -0.895, 0.225, 0.04};
    penalty::anchor_op const twice{2.0}, ten{10.0};
    penalty::elastic_weight_consolidation_op const weighted{2.0};
    double squares = 0.0, weighted_squares = 0.0;
    for (int i = 0; i < 4; ++i) {
        element_about<double> const about{.rate = 0.1, .companion = {a[i], f[i]}};
        squares += twice.value(w[i], about);
        weighted_squares += weighted.value(w[i], about);
        CHECK(twice.gradient(w[i], about) == Approx(2.0 * (w[i] - a[i])));
        CHECK(weighted.gradient(w[i], about) == Approx(slope[i]).margin(1e-9));
        CHECK(ten.prox(stepped[i], about) == Approx(shrunk[i])); // rate c = 1: half the way
        CHECK(weighted.prox(w[i], about) == Approx((w[i] + 0.2 * f[i] * a[i]) / (1.0 + 0.2 * f[i])));
        CHECK(ten.prox(w[i], {.rate = 0.0, .companion = {a[i], f[i]}}) == w[i]);
    }
    CHECK(squares == Approx(0.0625));
    CHECK(weighted_squares == Approx(0.00344375));
}

TEMPLATE_TEST_CASE("companions: a step is one without them and the pull of each penalty", "[penalty]", float, double) {
    using T = TestType;
    network<anchored, device::cpu, T> net{seed{3}, 8};
    network<plain, device::cpu, T> other{seed{3}, 8};
    data<T> const d;
    training a{net, loss::cross_entropy{}, sgd};
    training b{other, loss::cross_entropy{}, sgd};
    remember(net, "anchor");
    set_importances(net);
    REQUIRE(same_weights(net, other));
    struct pull {
        char const* tensor;
        double anchor, ewc;
        bool proximal;
    };
    double const room = sizeof(T) == 4 ? 3e-6 : 1e-13;
    for (int step = 0; step < 4; ++step) {
        double const now = step < 2 ? 1.0 + step : 3.0;
        pull const pulls[] = {{"1.kernel", 0.5, 0.25, false},         {"2.scale", 2.0, 0.0, false},
                              {"3.expert.0.kernel", now, 0.0, false}, {"3.expert.1.kernel", now, 0.0, false},
                              {"3.expert.2.kernel", now, 0.0, false}, {"4.kernel", 0.0, 4.0, true}};
        std::vector<T> const before(net.values().weights().data(), net.values().weights().data() + net.size.parameters);
        std::copy(before.begin(), before.end(), other.values().weights().data());
        other.refresh();
        a.step(d.batch);
        b.step(d.batch);
        double sum = 0.0;
        for (tensor_info const& t : net.tensors()) {
            if (!t.trained) continue;
            pull p{};
            for (pull const& one : pulls)
                if (t.name == one.tensor) p = one;
            auto const got = net.tensor(t.name), wanted = other.tensor(t.name);
            bool right = true;
            for (index_t i = 0; i < t.size(); ++i) {
                double const w = static_cast<double>(before[static_cast<std::size_t>(t.offset + i)]);
                double expected = static_cast<double>(wanted.data[i]);
                if (p.tensor) {
                    double const anchor = static_cast<double>(net.tensor(t.name + ".anchor").data[i]);
                    double const c = p.anchor + (p.ewc > 0.0 ? p.ewc * 0.25 * static_cast<double>(i % 5) : 0.0);
                    sum += 0.5 * c * (w - anchor) * (w - anchor);
                    if (p.proximal)
                        expected = (expected + 0.1 * c * anchor) / (1.0 + 0.1 * c);
                    else
                        expected -= 0.1 * c * (w - anchor);
                }
                right &= std::abs(static_cast<double>(got.data[i]) - expected) <= room;
            }
            INFO("step " << step << " tensor " << t.name);
            CHECK(right);
        }
        double terms = 0.0;
        for (std::size_t i = 1; i < a.terms().size(); ++i)
            if (std::string const name = a.term_names()[i];
                name.find("anchor") != std::string::npos || name.find("elastic") != std::string::npos)
                terms += a.terms()[i];
        CHECK(terms == Approx(sum).epsilon(sizeof(T) == 4 ? 1e-4 : 1e-12).margin(1e-15));
        CHECK((step == 0) == (sum == 0.0));
        // State that is not theirs is that of the network without them.
        REQUIRE(std::memcmp(net.tensor("2.running_mean").data, other.tensor("2.running_mean").data, 7 * sizeof(T)) ==
                0);
        REQUIRE(net.tensor("2.largest_batch").data[0] == T(8));
    }
}

TEST_CASE("companions: tensors of a network, each name once", "[penalty]") {
    std::string names;
    for (tensor_info const& t : network<anchored, device::cpu>::tensors())
        if (!t.companion.empty()) {
            names += t.name + " ";
            CHECK_FALSE(t.trained);
            CHECK(t.offset >= network<anchored, device::cpu>::size.state);
        }
    // Two penalties of the first kernel read one anchor.
    CHECK(names == "1.kernel.anchor 1.kernel.importance 2.scale.anchor 3.expert.0.kernel.anchor "
                   "3.expert.1.kernel.anchor 3.expert.2.kernel.anchor 4.kernel.anchor 4.kernel.importance ");
    CHECK(network<plain, device::cpu>::size.fixed == 0);
    CHECK(network<anchored, device::cpu>::size.state == network<plain, device::cpu>::size.state);
}

TEST_CASE("companions: a step refuses one that was never set, and changes nothing", "[penalty]") {
    network<anchored, device::cpu> net{seed{3}, 8}, untouched{seed{3}, 8};
    data<float> const d;
    training run{net, loss::cross_entropy{}, sgd};
    auto const step = [&] { return message_of<data_error>([&] { run.step(d.batch); }); };
    std::string const first = step();
    CHECK_THAT(first, contains_text("companion \"anchor\" of tensor 1.kernel was never set"));
    CHECK_THAT(first, contains_text("remember(network, \"anchor\")"));
    CHECK_THAT(first, contains_text("set_companion(network, \"1.kernel.anchor\", values)"));
    CHECK(same_weights(net, untouched));
    CHECK(net.time().step == 0);
    run.gradients_of(d.batch); // penalties are no part of it
    CHECK_THROWS_AS(run.update(), data_error);
    remember(net, "anchor");
    CHECK_THAT(step(), contains_text("companion \"importance\" of tensor 1.kernel was never set"));
    set_importances(net);
    run.step(d.batch);
    CHECK_FALSE(same_weights(net, untouched));

    auto const unknown = message_of<data_error>([&] { remember(net, "anker"); });
    CHECK_THAT(unknown, contains_text("no tensor has a companion \"anker\"; this network has 1.kernel.anchor, "));
    network<plain, device::cpu> without{seed{3}, 8};
    CHECK_THAT(message_of<data_error>([&] { remember(without, "anchor"); }),
               contains_text("no policy of this network reads any"));
    float const two[] = {1.0f, 2.0f}, bad[] = {0.f, 0.f, 0.f, NAN, 0.f, 0.f, 0.f};
    auto const wrong = [&](char const* name, float const* values, index_t n) {
        set_companion(net, name, matrix_view<float const>{values, 1, n, n});
    };
    std::vector<float> const scales(net.tensor("2.scale.anchor").data, net.tensor("2.scale.anchor").data + 7);
    CHECK_THROWS_AS(wrong("2.scale", two, 2), data_error);
    CHECK_THROWS_AS(wrong("2.running_mean", bad, 7), data_error);
    CHECK_THROWS_AS(wrong("2.scale.anchor", two, 2), shape_error);
    CHECK_THAT(message_of<data_error>([&] { wrong("2.scale.anchor", bad, 7); }),
               contains_text("column 3 for 2.scale.anchor"));
    CHECK(std::memcmp(scales.data(), net.tensor("2.scale.anchor").data, 7 * sizeof(float)) == 0);
}

TEST_CASE("companions: files have those that were set, and a teacher those of its student", "[penalty][io]") {
    temporary_folder const folder;
    data<float> const d;
    using net_type = network<anchored, device::cpu>;
    net_type net{seed{3}, 8};
    auto const adamw = optimizer::adamw<>{.learning_rate = 0.01};
    save(net, folder / "new.safetensors");
    CHECK_THAT(espalier_test::content_of(folder / "new.safetensors"), !contains_text("1.kernel.anchor"));
    remember(net, "anchor");
    set_importances(net);
    training run{net, loss::cross_entropy{}, adamw};
    ema_teacher teacher{net_type{seed{4}, 8}, 0.5, ema_start::cold};
    run.step(d.batch);
    teacher.update(net);
    index_t const own = net_type::size.state, theirs = net_type::size.fixed;
    CHECK(std::memcmp(teacher.values().state().data() + own, net.values().state().data() + own,
                      static_cast<std::size_t>(theirs) * sizeof(float)) == 0);
    CHECK(teacher.values().given() == net.values().given());
    save(net, folder / "net.safetensors");
    save_training(run, folder / "run.safetensors");

    // On as if unbroken; a training from the file is one from the network.
    net_type resumed{seed{3}, 8}, loaded{seed{5}, 8};
    training go_on{resumed, loss::cross_entropy{}, adamw}, afresh{loaded, loss::cross_entropy{}, adamw};
    load_training(go_on, folder / "run.safetensors");
    load(loaded, folder / "net.safetensors");
    net_type copy = net;
    training from_copy{copy, loss::cross_entropy{}, adamw};
    afresh.step(d.batch);
    from_copy.step(d.batch);
    for (int step = 0; step < 3; ++step) {
        run.step(d.batch);
        go_on.step(d.batch);
    }
    CHECK(same_weights(resumed, net));
    // Another seed draws other dropouts, and there are none here.
    CHECK(same_weights(loaded, copy));

    // Weights of a network that has none: the companions are not those of these weights, and count as never set.
    network<plain, device::cpu> before{seed{6}, 8};
    save(before, folder / "plain.safetensors");
    load(net, folder / "plain.safetensors");
    CHECK(same_weights(net, before));
    CHECK_THROWS_AS(run.step(d.batch), data_error);
    load(net, folder / "new.safetensors");
    CHECK_THROWS_AS(run.step(d.batch), data_error);
    // And the other way round they are tensors of other names.
    load(before, folder / "net.safetensors");
}

TEST_CASE("companions: importances are means of squared gradients, row by row", "[penalty][train]") {
    using linear = sequence<input<2>, dense<3, no_bias, ewc<1.0>>>;
    network<linear, device::cpu, double> net{seed{3}, 8};
    data_set set;
    set.width = 2;
    set.count = 5;
    set.features = {1.0f, -2.0f, 0.5f, 3.0f, -1.5f, 0.25f, 7.0f, 7.0f, 9.0f, 9.0f};
    set.labels = {2, 0, 1, 0, 1};
    set.weights = {1.0f, 2.0f, 0.5f, 0.0f, 0.0f};
    std::vector<double> expected(6);
    auto const w = net.tensor("1.kernel");
    for (std::size_t n = 0; n < 3; ++n) {
        double p[3], total = 0.0;
        double const x[] = {static_cast<double>(set.features[2 * n]), static_cast<double>(set.features[2 * n + 1])};
        for (index_t c = 0; c < 3; ++c)
            total += p[c] = std::exp(x[0] * w(0, c) + x[1] * w(1, c));
        for (std::size_t i = 0; i < 6; ++i) {
            double const g = x[i / 3] * (p[i % 3] / total - (set.labels[n] == static_cast<int>(i % 3) ? 1.0 : 0.0));
            expected[i] += static_cast<double>(set.weights[n]) * g * g / 3.5;
        }
    }
    std::vector<double> const kept(w.data, w.data + 6);
    estimate_importance(net, loss::cross_entropy{}, set);
    for (std::size_t i = 0; i < 6; ++i)
        CHECK(net.tensor("1.kernel.importance").data[i] == Approx(expected[i]).epsilon(1e-12));
    CHECK(std::equal(kept.begin(), kept.end(), w.data));
    CHECK(net.time().step == 0);
    CHECK(net.values().given() == std::vector<bool>{false, false, true}); // the kernel, its anchor, its importance

    set.weights.assign(5, 0.0f);
    CHECK_THROWS_AS(estimate_importance(net, loss::cross_entropy{}, set), data_error);
    CHECK(net.tensor("1.kernel.importance").data[0] == Approx(expected[0]));
    CHECK_THROWS_AS(estimate_importance(net, loss::cross_entropy{}, set, "weight"), data_error);

    // With dropout every row has factors of its own: rows that are equal count alike only without it.
    using dropped = sequence<input<2>, dense<16, activation::tanh, dropout::bernoulli<0.5>>, dense<3, ewc<1.0>>>;
    network<dropped, device::cpu, double> noisy{seed{3}, 8};
    data_set same;
    same.width = 2;
    same.count = 2;
    same.features = {1.0f, -2.0f, 1.0f, -2.0f};
    same.labels = {2, 2};
    auto const importance = [&](std::vector<float> weights) {
        same.weights = std::move(weights);
        estimate_importance(noisy, loss::cross_entropy{}, same);
        auto const f = noisy.tensor("2.kernel.importance");
        return std::vector<double>(f.data, f.data + 48);
    };
    CHECK(importance({1.0f, 0.0f}) != importance({0.0f, 1.0f}));
}
