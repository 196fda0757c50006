// SPDX-License-Identifier: Apache-2.0
// The weight compander: its golden numbers, and a map that is made of trained numbers of its tensor.
#include "../io/temporary_folder.hpp"

#include <espalier/activation/tanh.hpp>
#include <espalier/core/pack.hpp>
#include <espalier/core/policy.hpp>
#include <espalier/device/cpu/cpu.hpp>
#include <espalier/io/checkpoint.hpp>
#include <espalier/layer/dense.hpp>
#include <espalier/layer/input.hpp>
#include <espalier/layer/sequence.hpp>
#include <espalier/loss/cross_entropy.hpp>
#include <espalier/network/network.hpp>
#include <espalier/optimizer/adamw.hpp>
#include <espalier/optimizer/by_group.hpp>
#include <espalier/optimizer/sgd.hpp>
#include <espalier/penalty/group_lasso.hpp>
#include <espalier/penalty/proximal.hpp>
#include <espalier/prune/by_magnitude.hpp>
#include <espalier/prune/hard.hpp>
#include <espalier/prune/per_layer.hpp>
#include <espalier/prune/policy.hpp>
#include <espalier/train/training.hpp>
#include <espalier/weight/bake.hpp>
#include <espalier/weight/compander.hpp>
#include <espalier/weight/composed.hpp>
#include <espalier/weight/fixed_mask.hpp>
#include <espalier/weight/warm_start.hpp>

#include <support/catch.hpp>
#include <support/message_of.hpp>

#include <array>
#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

namespace esp = espalier;
namespace weight = espalier::weight;
using Catch::Matchers::WithinAbs;
using Catch::Matchers::WithinRel;
using espalier_test::temporary_folder;

namespace {

using fixed_map = weight::compander<weight::arctan, 0.8, 0.5>;
using learned_map = weight::compander<weight::arctan, 0.8, 0.5, weight::learned<0.25>>;

static_assert(weight::element_map<esp::op_of<fixed_map>> && weight::element_map<esp::op_of<learned_map>>);
static_assert(weight::detail::map_scalars<esp::op_of<fixed_map>>() == 0);
static_assert(weight::detail::map_scalars<esp::op_of<learned_map>>() == 2);

std::array<double, 6> const v{-1.5, -0.2, 0.0, 0.05, 0.4, 3.0};

} // namespace

TEST_CASE("compander: golden values of the map, its slope and the gradients of a and b", "[weight]") {
    std::array<double, 6> const w{-0.999236618, -0.304405102, 0.0, 0.079734922, 0.539792754, 1.12451812};
    std::array<double, 6> const slope{0.16, 1.379310345, 1.6, 1.584158416, 0.975609756, 0.043243243};
    std::array<double, 6> const gw{0.05, 0.55, -0.8, 0.1, -0.4, 0.9};
    std::array<double, 6> const gv{0.008, 0.75862069, -1.28, 0.158415842, -0.390243902, 0.038918919};
    auto const constant = esp::op_at<fixed_map>(esp::clock{});
    auto const start = esp::op_at<learned_map>(esp::clock{});
    auto const map = start.with(start.start());
    double ga = 0.0, gb = 0.0;
    for (std::size_t i = 0; i < v.size(); ++i) {
        esp::element_about<double> const about{.weight = v[i]};
        CHECK_THAT(constant.effective(v[i]), WithinAbs(w[i], 1e-9));
        CHECK_THAT(map.effective(v[i]), WithinAbs(w[i], 1e-9));
        CHECK_THAT(constant.pull(1.0, about), WithinAbs(slope[i], 1e-9));
        CHECK_THAT(map.pull(gw[i], about), WithinAbs(gv[i], 1e-9));
        auto const of_scalars = map.scalar_gradients(gw[i], about);
        ga += of_scalars.first / 0.8; // of a from that of log a
        gb += of_scalars.second / 0.5;
        CHECK_THAT(constant.raw(constant.effective(v[i])), WithinAbs(v[i], 1e-12));
    }
    CHECK_THAT(ga, WithinAbs(0.733422577, 1e-8));
    CHECK_THAT(gb, WithinAbs(0.3902883, 1e-8));
    CHECK_THAT(constant.raw(-0.9), WithinAbs(-1.046285638, 1e-9));
    CHECK_THAT(constant.raw(0.1), WithinAbs(0.062827568, 1e-9));
    CHECK_THAT(constant.raw(1.0), WithinAbs(1.504784837, 1e-9));
    CHECK(std::isnan(constant.raw(1.256637062)));
    CHECK(std::isfinite(constant.raw(1.256637061)));
}

TEST_CASE("composed: one map behind another, with one mask and one map of trained numbers", "[weight]") {
    using inner = weight::compander<weight::tanh, 1.5, 0.9>;
    using both = weight::composed<inner, learned_map>;
    using masked = weight::composed<both, weight::fixed_mask>;
    static_assert(weight::detail::map_scalars<esp::op_of<masked>>() == 2 && masked::scalar_rate == 0.25);
    static_assert(esp::op_of<masked>::scalar_names[1] == "log_b" && esp::op_of<masked>::uses_mask);
    static_assert(!weight::detail::counts_scalars<esp::op_of<weight::composed<inner, weight::fixed_mask>>>);
    auto const first = esp::op_at<inner>(esp::clock{});
    auto const second = esp::op_at<learned_map>(esp::clock{});
    auto const map = esp::op_at<both>(esp::clock{});
    auto const of_mask = esp::op_at<masked>(esp::clock{});
    for (double const w : v) {
        esp::element_about<double> const about{.weight = w}, dropped{.weight = w, .keep = false};
        double const between = first.effective(w);
        esp::element_about<double> const behind{.weight = between};
        CHECK(map.effective(w, about) == second.effective(between));
        CHECK(map.pull(0.7, about) == first.pull(second.pull(0.7, behind), about));
        CHECK(map.scalar_gradients(0.7, about).first == second.scalar_gradients(0.7, behind).first);
        CHECK(map.scalar_gradients(0.7, about).second == second.scalar_gradients(0.7, behind).second);
        CHECK_THAT(map.raw(map.effective(w, about)), WithinAbs(w, 1e-9));
        CHECK(of_mask.effective(w, about) == map.effective(w, about));
        CHECK(of_mask.effective(w, dropped) == 0.0);
        CHECK(of_mask.pull(0.7, dropped) == 0.0);
        CHECK(of_mask.store(w, dropped) == 0.0);
        CHECK(of_mask.scalar_gradients(0.7, dropped).first == 0.0);
        CHECK(of_mask.scalar_gradients(0.7, about).second == map.scalar_gradients(0.7, about).second);
    }
    // The numbers of the inner map have the gradient that the outer one lets through.
    using learned_first = weight::composed<learned_map, inner>;
    auto const turned = esp::op_at<learned_first>(esp::clock{});
    esp::element_about<double> const about{.weight = 0.4}, behind{.weight = second.effective(0.4)};
    CHECK(turned.scalar_gradients(0.7, about).first == second.scalar_gradients(first.pull(0.7, behind), about).first);
    CHECK(turned.with(turned.start()).effective(0.4, about) == turned.effective(0.4, about));
}

TEMPLATE_TEST_CASE("compander: every function is odd, bounded, has the slope it says and is inverted", "[weight]",
                   weight::arctan, weight::tanh, weight::softsign) {
    using F = TestType;
    CHECK(F::value(0.0) == 0.0);
    CHECK(F::derivative(0.0) == 1.0);
    for (double const u : {0.01, 0.3, 1.0, 2.5, 7.0}) {
        CHECK(F::value(-u) == -F::value(u));
        CHECK(F::value(u) < F::bound);
        CHECK_THAT(F::derivative(u), WithinRel((F::value(u + 1e-5) - F::value(u - 1e-5)) / 2e-5, 1e-4));
        CHECK_THAT(F::inverse(F::value(u)), WithinRel(u, 1e-9));
    }
    using P = esp::pack<float, 8>;
    P const x = P::iota(-3.5f);
    for (int i = 0; i < 8; ++i) {
        CHECK(F::value(x)[i] == F::value(x[i]));
        CHECK(F::derivative(x)[i] == F::derivative(x[i]));
    }
}

namespace {

// 5 x 7 and 7 x 3: no multiples of any pack.
template <class... Ps>
using stack_of = esp::sequence<esp::input<5>, esp::dense<7, esp::activation::tanh, Ps...>, esp::dense<3>>;
using learned_stack = stack_of<learned_map>;
// A mask behind the map, and groups, some of which are shrunk in a further pass.
using pruned_stack = esp::sequence<
    esp::input<5>,
    esp::dense<7, esp::activation::tanh, weight::compander<weight::softsign, 1.5, 0.5, weight::learned<0.25>>,
               esp::prune::policy<esp::prune::by_magnitude, esp::prune::per_layer, 0.5, esp::prune::hard>,
               esp::penalty::group_lasso<0.1, esp::penalty::over::columns>>,
    esp::dense<3, esp::penalty::proximal<esp::penalty::group_lasso<0.1, esp::penalty::over::rows>>,
               weight::compander<weight::tanh, 1.5, 0.5, weight::learned<0.25>>>>;

template <class T> struct data {
    std::vector<T> x = std::vector<T>(8 * 5);
    std::vector<std::int32_t> y = {0, 1, 2, 0, 2, 1, 1, 0};
    esp::batch_view<T> batch;
    data() {
        for (std::size_t i = 0; i < x.size(); ++i)
            x[i] = static_cast<T>(std::sin(1.0 + 0.7 * static_cast<double>(i)));
        batch.inputs = {x.data(), 8, 5, 5};
        batch.tags.count = 8;
        batch.tags.label = y.data();
    }
    data(data const&) = delete;
};

constexpr esp::optimizer::sgd<> sgd{.learning_rate = 0.1};

/// Central difference of the objective in one trained number.
template <class Training, class T> double slope(Training& run, esp::batch_view<T> const& batch, T& x) {
    T const old = x;
    auto const at = [&](double step) {
        x = old + step;
        run.net().refresh();
        double const value = run.objective(batch);
        x = old;
        return value;
    };
    double const h = 1e-5, wide = (at(h) - at(-h)) / (2 * h), narrow = (at(h / 2) - at(-h / 2)) / h;
    run.net().refresh();
    return (4.0 * narrow - wide) / 3.0;
}

/// What products read of the kernel of a layer.
template <class Net> std::vector<typename Net::wide> baked(Net const& net, std::string const& layer) {
    esp::tensor_info const& t = net.values().find(layer + ".kernel");
    std::vector<typename Net::wide> w(static_cast<std::size_t>(t.size()));
    weight::bake(net, layer, {w.data(), t.rows, t.columns, t.columns});
    return w;
}

} // namespace

TEST_CASE("compander: a step moves weights, a and b along central differences of the loss", "[weight]") {
    esp::network<learned_stack, esp::device::cpu, double> net{esp::seed{3}, 8};
    data<double> const d;
    esp::training run{net, esp::loss::cross_entropy{}, sgd};
    CHECK_THAT(net.tensor("1.kernel.log_a").data[0], WithinRel(std::log(0.8), 1e-15));
    CHECK_THAT(net.tensor("1.kernel.log_b").data[0], WithinRel(std::log(0.5), 1e-15));
    for (int step = 0; step < 3; ++step) {
        std::vector<double> before, expected;
        std::vector<double*> at;
        for (esp::tensor_info const& t : net.tensors())
            for (esp::index_t i = 0; i < t.size(); ++i) {
                double* const x = net.values().view(t).data + i;
                double const rate = 0.1 * (t.tensor_role == esp::role::scalar ? 0.25 : 1.0);
                at.push_back(x);
                expected.push_back(*x - rate * slope(run, d.batch, *x));
            }
        for (double const* x : at)
            before.push_back(*x);
        run.step(d.batch);
        for (std::size_t i = 0; i < at.size(); ++i) {
            INFO("step " << step << " number " << i);
            CHECK_THAT(*at[i], WithinAbs(expected[i], 1e-9 + 1e-8 * std::fabs(expected[i] - before[i])));
            CHECK(*at[i] != before[i]);
        }
        // Products of the next step read the map that the new numbers make.
        double const a = std::exp(net.tensor("1.kernel.log_a").data[0]);
        double const b = std::exp(net.tensor("1.kernel.log_b").data[0]);
        auto const w = baked(net, "1");
        for (std::size_t i = 0; i < w.size(); ++i)
            CHECK_THAT(w[i], WithinRel(a * std::atan(net.tensor("1.kernel").data[i] / b), 1e-13));
        // What the update found is there until the next backward pass, and no part of what is before it.
        CHECK(run.gradient("1.kernel.log_a").data[0] != 0.0);
        run.gradients_of(d.batch);
        CHECK(run.gradient("1.kernel.log_a").data[0] == 0.0);
    }
}

TEST_CASE("compander: with masks, groups and further passes its numbers move as far", "[weight]") {
    esp::network<pruned_stack, esp::device::cpu, double> net{esp::seed{3}, 8};
    data<double> const d;
    esp::training run{net, esp::loss::cross_entropy{}, sgd};
    run.step(d.batch); // selects
    for (std::string const layer : {"1", "2"})
        for (std::string const number : {".kernel.log_a", ".kernel.log_b"}) {
            double& x = net.tensor(layer + number).data[0];
            double const expected = x - 0.1 * 0.25 * slope(run, d.batch, x);
            auto copy = net;
            esp::training other{copy, esp::loss::cross_entropy{}, sgd};
            other.step(d.batch);
            INFO(layer << number);
            CHECK_THAT(copy.tensor(layer + number).data[0], WithinAbs(expected, 1e-9));
            CHECK(copy.tensor(layer + number).data[0] != x);
        }
    run.step(d.batch);
    int dropped = 0;
    auto const w = baked(net, "1");
    double const a = std::exp(net.tensor("1.kernel.log_a").data[0]), b = std::exp(net.tensor("1.kernel.log_b").data[0]);
    for (std::size_t i = 0; i < w.size(); ++i) {
        double const u = net.tensor("1.kernel").data[i] / b, mapped = a * u / (1.0 + std::fabs(u));
        dropped += w[i] == 0.0;
        CHECK((w[i] == 0.0 || std::fabs(w[i] / mapped - 1.0) < 1e-13));
    }
    CHECK(dropped == 18); // half of 35, by |w|, which grows with |v|
    double const a2 = std::exp(net.tensor("2.kernel.log_a").data[0]),
                 b2 = std::exp(net.tensor("2.kernel.log_b").data[0]);
    auto const w2 = baked(net, "2");
    for (std::size_t i = 0; i < w2.size(); ++i)
        CHECK_THAT(w2[i], WithinRel(a2 * std::tanh(net.tensor("2.kernel").data[i] / b2), 1e-13));
    // The norms that the next step begins with are those of the raw weights, however many passes there were.
    auto copy = net;
    copy.refresh();
    esp::training again{copy, esp::loss::cross_entropy{}, sgd};
    again.step(d.batch);
    run.step(d.batch);
    CHECK_THAT(copy.tensor("1.kernel").data[3], WithinRel(net.tensor("1.kernel").data[3], 1e-12));
}

TEST_CASE("compander: names, rates, decay, freezing and files of its numbers", "[weight]") {
    using net_type = esp::network<learned_stack, esp::device::cpu>;
    net_type net{esp::seed{3}, 8};
    data<float> const d;
    std::string names;
    for (esp::tensor_info const& t : net.tensors())
        names += t.name + " ";
    CHECK(names == "1.kernel 1.kernel.log_a 1.kernel.log_b 1.bias 2.kernel 2.bias ");
    CHECK(net.tensors()[0].passes == 2);
    CHECK(net.parameter_count() == 5 * 7 + 2 + 7 + 7 * 3 + 3);
    CHECK(net.layers()[1].parameters == 5 * 7 + 2 + 7);
    CHECK(net.layers()[1].text().find("weight compander(a 0.8, b 0.5, arctan, learned(rate 0.25))") !=
          std::string::npos);
    using fixed_net = esp::network<stack_of<fixed_map>, esp::device::cpu>;
    CHECK(fixed_net::tensors().size() == 4);
    CHECK(fixed_net::tensors()[0].passes == 1);
    CHECK(fixed_net::layers()[1].text().find("weight compander(a 0.8, b 0.5, arctan)") != std::string::npos);

    auto const moved = [&](std::vector<esp::rate_rule> const& rules, auto optimizer) {
        net_type copy = net;
        esp::training run{copy, esp::loss::cross_entropy{}, optimizer, 0, rules};
        run.step(d.batch);
        return static_cast<double>(copy.tensor("1.kernel.log_a").data[0]) -
               static_cast<double>(net.tensor("1.kernel.log_a").data[0]);
    };
    double const usual = moved({}, sgd);
    CHECK(usual != 0.0);
    CHECK_THAT(moved({{.tensor_role = esp::role::scalar, .learning_rate = 4.0}}, sgd), WithinRel(4.0 * usual, 1e-4));
    CHECK_THAT(moved({{.tensor_role = esp::role::kernel, .learning_rate = 4.0}}, sgd), WithinRel(usual, 1e-12));
    CHECK(moved({{.tensor_role = esp::role::kernel, .frozen = true}}, sgd) == 0.0);
    CHECK(moved({{.tensor_role = esp::role::scalar, .frozen = true}}, sgd) == 0.0);
    CHECK(moved({}, esp::optimizer::sgd<>{.learning_rate = 0.1, .weight_decay = 0.5}) == usual);
    // They have an optimizer by their role.
    CHECK(moved({}, esp::optimizer::by_group{esp::optimizer::of<esp::role::scalar>(sgd),
                                             esp::optimizer::rest(esp::optimizer::adamw<>{})}) == usual);

    temporary_folder const folder;
    esp::training run{net, esp::loss::cross_entropy{}, esp::optimizer::adamw<>{}};
    run.step(d.batch);
    esp::save(net, folder / "net.safetensors");
    net_type loaded{esp::seed{9}, 8};
    esp::load(loaded, folder / "net.safetensors");
    CHECK(loaded.tensor("1.kernel.log_b").data[0] == net.tensor("1.kernel.log_b").data[0]);
    CHECK(baked(loaded, "1") == baked(net, "1"));
}

TEST_CASE("compander: a warm start gives products the weights that it is given", "[weight]") {
    using net_type = esp::network<learned_stack, esp::device::cpu, double>;
    net_type net{esp::seed{3}, 8};
    esp::network<stack_of<>, esp::device::cpu, double> plain{esp::seed{5}, 8};
    for (esp::index_t i = 0; i < 35; ++i)
        plain.tensor("1.kernel").data[i] *= 0.3;
    auto const given = plain.tensor("1.kernel");
    weight::warm_start(net, "1.kernel", given);
    auto const w = baked(net, "1");
    for (std::size_t i = 0; i < w.size(); ++i)
        CHECK_THAT(w[i], WithinAbs(given.data[i], 1e-14));

    given(4, 2) = -1.256637062;
    CHECK(
        message_of<esp::data_error>([&] { weight::warm_start(net, "1.kernel", given); }) ==
        "warm_start: row 4, column 2 for tensor 1.kernel is -1.256637062, which the map of the layer gives for no raw "
        "weight");
    CHECK(baked(net, "1") == w);
    CHECK_THROWS_AS(weight::warm_start(net, "2.kernel", plain.tensor("2.kernel")), esp::data_error);
    CHECK_THROWS_AS(weight::warm_start(net, "1.kernel", plain.tensor("2.kernel")), esp::shape_error);
    CHECK(message_of<esp::data_error>([&] {
              weight::bake(net, "2", plain.tensor("2.kernel"));
          }).find("layers with one: 1") != std::string::npos);
}
