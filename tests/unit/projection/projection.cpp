// SPDX-License-Identifier: Apache-2.0
// Projections: by hand, inside training against a step without them followed by the formula, and whole tensors as
// groups of penalties.
#include "../io/temporary_folder.hpp"

#include <support/catch.hpp>

#include <espalier/activation/tanh.hpp>
#include <espalier/core/update.hpp>
#include <espalier/device/cpu/cpu.hpp>
#include <espalier/io/checkpoint.hpp>
#include <espalier/layer/batch_norm.hpp>
#include <espalier/layer/dense.hpp>
#include <espalier/layer/everywhere.hpp>
#include <espalier/layer/input.hpp>
#include <espalier/layer/sequence.hpp>
#include <espalier/loss/mean_squared_error.hpp>
#include <espalier/network/describe.hpp>
#include <espalier/network/network.hpp>
#include <espalier/optimizer/adamw.hpp>
#include <espalier/optimizer/sgd.hpp>
#include <espalier/penalty/group_lasso.hpp>
#include <espalier/penalty/l1.hpp>
#include <espalier/penalty/proximal.hpp>
#include <espalier/projection/box.hpp>
#include <espalier/projection/max_norm.hpp>
#include <espalier/projection/non_negative.hpp>
#include <espalier/schedule/linear.hpp>
#include <espalier/schedule/runtime.hpp>
#include <espalier/train/training.hpp>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <string>
#include <type_traits>
#include <vector>

using namespace espalier;
using namespace espalier::literals;

namespace {

using projection::box, projection::max_norm, projection::non_negative;

struct data {
    std::vector<double> x = std::vector<double>(8 * 5);
    std::vector<double> t = std::vector<double>(8 * 3);
    batch_view<double> batch;
    explicit data(double turn = 0.0) {
        for (std::size_t i = 0; i < x.size(); ++i)
            x[i] = std::sin(1.0 + 0.7 * static_cast<double>(i) + turn);
        for (std::size_t i = 0; i < t.size(); ++i)
            t[i] = std::cos(static_cast<double>(i) + turn);
        batch.inputs = {x.data(), 8, 5, 5};
        batch.targets = {t.data(), 8, 3, 3};
        batch.tags.count = 8;
    }
    data(data const&) = delete;
};

template <class A, class B> bool same_weights(A& a, B& b) {
    auto const& of_a = a.values().weights();
    auto const& of_b = b.values().weights();
    return of_a.size() == of_b.size() &&
           std::memcmp(of_a.data(), of_b.data(), static_cast<std::size_t>(of_a.size()) * sizeof(double)) == 0;
}

// The policies on both layers.
template <class... Ps>
using net_of = network<sequence<input<5>, dense<6, activation::tanh, Ps...>, dense<3, Ps...>>, device::cpu, double>;

/// Every step is one of the free network from the same weights, then `expected` by hand; 1e-13 apart at most.
template <class... Ps, class Expected>
void compare_steps(int steps, Expected const& expected, std::vector<rate_rule> const& rates = {}) {
    net_of<Ps...> with{seed{3}, 8};
    net_of<> free{seed{3}, 8};
    data const d;
    training a{with, loss::mean_squared_error{}, optimizer::adamw{.learning_rate = 0.05}, 0, rates};
    training b{free, loss::mean_squared_error{}, optimizer::adamw{.learning_rate = 0.05}, 0, rates};
    for (int step = 0; step < steps; ++step) {
        a.step(d.batch);
        b.step(d.batch);
        expected(free);
        for (index_t i = 0; i < with.values().weights().size(); ++i) {
            INFO("step " << step << " weight " << i);
            REQUIRE(with.values().weights()[i] == Approx(free.values().weights()[i]).epsilon(1e-13).margin(1e-15));
        }
        std::copy_n(with.values().weights().data(), with.values().weights().size(), free.values().weights().data());
        free.refresh();
    }
}

template <class F> void each(matrix_view<double> w, F const& f) {
    for (index_t r = 0; r < w.rows; ++r)
        for (index_t c = 0; c < w.columns; ++c)
            f(r, c, w(r, c));
}

/// w min(1, bound / norm) over the columns of a tensor; how many were above it.
int bound_columns(matrix_view<double> w, double bound) {
    int above = 0;
    for (index_t c = 0; c < w.columns; ++c) {
        double square = 0.0;
        for (index_t r = 0; r < w.rows; ++r)
            square += w(r, c) * w(r, c);
        double const norm = std::sqrt(square);
        above += norm > bound;
        for (index_t r = 0; r < w.rows; ++r)
            w(r, c) *= std::min(1.0, bound / norm);
    }
    return above;
}
double square_of(matrix_view<double> w) {
    double square = 0.0;
    each(w, [&](index_t, index_t, double& v) { square += v * v; });
    return square;
}

} // namespace

TEST_CASE("projections: formulas by hand", "[projection]") {
    projection::non_negative_op const half{};
    CHECK(half.apply(-0.5) == 0.0);
    CHECK(half.apply(0.25f) == 0.25f);
    CHECK(std::isnan(half.apply(std::nan(""))));
    auto const cut = op_at<box<-0.5, 2>>(espalier::clock{});
    CHECK(cut.apply(-0.75) == -0.5);
    CHECK(cut.apply(0.125) == 0.125);
    CHECK(cut.apply(3.0) == 2.0);
    CHECK(std::isnan(cut.apply(std::nan(""))));
    auto const ball = op_at<max_norm<2.0, over::columns>>(espalier::clock{});
    CHECK(ball.apply(3.0, element_about<double>{.squared_norm = 25.0}) == Approx(1.2).epsilon(1e-15)); // (3, 4) -> 2
    CHECK(ball.apply(1.0, element_about<double>{.squared_norm = 4.0}) == 1.0);
    CHECK(ball.apply(0.0, element_about<double>{}) == 0.0);
    CHECK(
        op_at<max_norm<0.0, over::tensor>>(espalier::clock{}).apply(3.0, element_about<double>{.squared_norm = 9.0}) ==
        0.0);
    CHECK(ball.apply(1e20f, element_about<float>{.squared_norm = std::numeric_limits<float>::infinity()}) == 0.0f);
    CHECK(std::isnan(ball.apply(std::nan(""), element_about<double>{.squared_norm = std::nan("")})));
}

TEST_CASE("projections: numbers follow their schedule and are checked", "[projection]") {
    constexpr schedule::linear falling{.from = 1.0, .to = 0.0, .steps = 4};
    CHECK(op_at<max_norm<falling, over::rows>>(espalier::clock{.step = 2}).maximum == 0.5);
    using closing = box<0.25, falling>;
    CHECK(op_at<closing>(espalier::clock{.step = 3}).high == 0.25);
    CHECK_THROWS_AS(op_at<closing>(espalier::clock{.step = 4}), data_error);
    CHECK_THROWS_WITH(op_at<closing>(espalier::clock{.step = 4}),
                      contains_text("projection box: its lower bound is 0.25 at step 4 and above its upper one, which "
                                    "is 0"));
}

TEST_CASE("projections: the rule of a tensor", "[projection]") {
    // A tensor without one has the rule that it had.
    using plain = detail::tensor_kind<role::kernel, initial::he_normal, penalty::l1<0.1>>;
    CHECK(std::is_same_v<plain::rule, tensor_rule<op_of<weight::identity>, flat_tuple<penalty::l1_op>, flat_tuple<>>>);
    using free_bias = detail::tensor_kind<role::bias, initial::zeros, non_negative, max_norm<1.0, over::rows>>;
    CHECK(std::is_same_v<free_bias::rule, tensor_rule<op_of<weight::identity>, flat_tuple<>, flat_tuple<>>>);
    using bound_bias = detail::tensor_kind<role::bias, initial::zeros, on<role::bias, non_negative>>;
    CHECK(std::is_same_v<
          bound_bias::rule,
          tensor_rule<op_of<weight::identity>, flat_tuple<projection::detail::projected<projection::non_negative_op>>,
                      flat_tuple<>>>);
    CHECK(std::is_empty_v<bound_bias::rule>);
    CHECK(bound_bias::rule::penalty_count == 0);
}

TEST_CASE("projections: a step stores what they leave of it, behind the prox", "[projection]") {
    int below = 0, above = 0;
    compare_steps<non_negative>(10, [&](auto& net) {
        for (char const* name : {"1.kernel", "2.kernel"})
            each(net.tensor(name), [&](index_t, index_t, double& w) {
                below += w < 0.0;
                w = std::max(0.0, w);
            });
    });
    CHECK(below > 0);
    compare_steps<on<role::bias, box<0.01, 0.1>>>(10, [&](auto& net) {
        for (char const* name : {"1.bias", "2.bias"})
            each(net.tensor(name), [&](index_t, index_t, double& w) {
                above += w > 0.1;
                w = std::max(0.01, std::min(0.1, w));
            });
    });
    CHECK(above > 0);
    // max(0.3, prox(w)): the other order would leave 0.3 less the threshold
    compare_steps<penalty::proximal<penalty::l1<2.0>>, box<0.3, 1.0>>(4, [&](auto& net) {
        for (char const* name : {"1.kernel", "2.kernel"})
            each(net.tensor(name), [&](index_t, index_t, double& w) {
                double const shrunk = std::copysign(std::max(0.0, std::fabs(w) - 0.05 * 2.0), w);
                w = std::max(0.3, std::min(1.0, shrunk));
            });
    });
}

TEST_CASE("projections: max_norm bounds the stepped columns, rows and tensors", "[projection]") {
    int bounded = 0;
    compare_steps<max_norm<0.9, over::columns>>(10, [&](auto& net) {
        bounded += bound_columns(net.tensor("1.kernel"), 0.9) + bound_columns(net.tensor("2.kernel"), 0.9);
    });
    CHECK(bounded > 0);
    CHECK(bounded < 10 * 9);
    compare_steps<max_norm<1.5, over::tensor>>(10, [&](auto& net) {
        for (char const* name : {"1.kernel", "2.kernel"}) {
            double const factor = std::min(1.0, 1.5 / std::sqrt(square_of(net.tensor(name))));
            each(net.tensor(name), [&](index_t, index_t, double& w) { w *= factor; });
        }
    });
    // several tensors as one group, signs first
    compare_steps<non_negative, max_norm<1.5, over::tensor, "all"_name>>(10, [&](auto& net) {
        for (char const* name : {"1.kernel", "2.kernel"})
            each(net.tensor(name), [&](index_t, index_t, double& w) { w = std::max(0.0, w); });
        double const square = square_of(net.tensor("1.kernel")) + square_of(net.tensor("2.kernel"));
        double const factor = std::min(1.0, 1.5 / std::sqrt(square));
        for (char const* name : {"1.kernel", "2.kernel"})
            each(net.tensor(name), [&](index_t, index_t, double& w) { w *= factor; });
    });
}

TEST_CASE("projections: frozen tensors and those that a program sets keep their weights until a step", "[projection]") {
    net_of<non_negative, max_norm<0.5, over::columns>> net{seed{3}, 8};
    data const d;
    auto const kernel = net.tensor("1.kernel");
    CHECK(std::any_of(kernel.data, kernel.data + 30, [](double w) { return w < 0.0; })); // as it was initialised
    std::vector<double> const before(kernel.data, kernel.data + 30);
    net.refresh();
    CHECK(std::equal(before.begin(), before.end(), kernel.data));
    training run{
        net, loss::mean_squared_error{}, optimizer::sgd{.learning_rate = 0.1}, 0, {{.path = "1.", .frozen = true}}};
    run.step(d.batch);
    CHECK(std::equal(before.begin(), before.end(), kernel.data));
    each(net.tensor("2.kernel"), [&](index_t, index_t, double& w) { CHECK(w >= 0.0); });
    CHECK(bound_columns(net.tensor("2.kernel"), 0.5 * (1.0 + 1e-15)) == 0);
    training all{net, loss::mean_squared_error{}, optimizer::sgd{.learning_rate = 0.1}};
    all.step(d.batch);
    each(kernel, [&](index_t, index_t, double& w) { CHECK(w >= 0.0); });
    CHECK(bound_columns(kernel, 0.5 * (1.0 + 1e-15)) == 0);
}

TEST_CASE("projections: a training goes on bit for bit from its checkpoint", "[projection]") {
    using net_type =
        net_of<box<-0.4, 0.6>, max_norm<0.7, over::rows>, penalty::group_lasso<0.1, over::tensor, "all"_name>>;
    espalier_test::temporary_folder const folder;
    auto const file = folder / "stopped.safetensors";
    data const d, e(1.3);
    net_type unbroken{seed{3}, 8}, resumed{seed{3}, 8};
    training run{unbroken, loss::mean_squared_error{}, optimizer::adamw{.learning_rate = 0.02}};
    for (int i = 0; i < 5; ++i)
        run.step(i % 2 ? d.batch : e.batch);
    save_training(run, file);
    training again{resumed, loss::mean_squared_error{}, optimizer::adamw{.learning_rate = 0.02}};
    load_training(again, file);
    for (int i = 0; i < 5; ++i) {
        auto const one = run.step(i % 2 ? d.batch : e.batch), other = again.step(i % 2 ? d.batch : e.batch);
        CHECK(one.total == other.total);
        CHECK(run.terms() == again.terms());
        CHECK(same_weights(unbroken, resumed));
    }
}

TEST_CASE("projections: what describe says of them", "[projection]") {
    using stack = sequence<input<5>, dense<6, box<-0.5, 2.0>, max_norm<3.0, over::columns>>, batch_norm<>,
                           dense<3, non_negative>>;
    CHECK(summarise<stack>().update_passes == 2);
    CHECK(summarise<sequence<input<5>, dense<3, non_negative>>>().update_passes == 1);
    CHECK(summarise<stack>().terms == 0);
    CHECK(report_of<stack>().tensors.at(0).passes == 2);
    CHECK_THAT(describe<stack>(), contains_text("projection box(low -0.5, high 2)"));
    CHECK_THAT(describe<stack>(), contains_text("projection max_norm(maximum 3)"));
    using scales =
        sequence<input<5>, dense<6>, batch_norm<batch_norm_options{}, on<role::scale, max_norm<1.0, over::tensor>>>>;
    CHECK(summarise<scales>().update_passes == 2);
    using everywhere_bound =
        everywhere<sequence<input<5>, dense<6>, batch_norm<>, dense<3>>, max_norm<3.0, over::columns>>;
    CHECK(summarise<everywhere_bound>().update_passes == 2);
}

TEST_CASE("a tensor as one group of group lasso: its term, its gradient, its prox", "[penalty]") {
    auto const c = 0.7, rate = 0.05;
    using named = penalty::group_lasso<0.7, over::tensor, "both"_name>;
    // C sqrt(|A|^2 + |B|^2), counted once
    net_of<named> with{seed{3}, 8};
    net_of<> free{seed{3}, 8};
    data const d;
    training a{with, loss::mean_squared_error{}, optimizer::sgd{.learning_rate = rate}};
    training b{free, loss::mean_squared_error{}, optimizer::sgd{.learning_rate = rate}};
    for (int step = 0; step < 5; ++step) {
        double const norm = std::sqrt(square_of(with.tensor("1.kernel")) + square_of(with.tensor("2.kernel")));
        std::vector<double> const before(with.values().weights().data(),
                                         with.values().weights().data() + with.values().weights().size());
        auto const one = a.step(d.batch), other = b.step(d.batch);
        CHECK(one.total - one.loss == Approx(c * norm).epsilon(1e-12));
        CHECK(one.loss == other.loss);
        for (char const* name : {"1.kernel", "2.kernel"}) {
            auto const w = free.tensor(name);
            double const* const old = before.data() + (w.data - free.values().weights().data());
            each(w, [&](index_t r, index_t col, double& v) { v -= rate * c * old[r * w.columns + col] / norm; });
        }
        for (index_t i = 0; i < with.values().weights().size(); ++i)
            REQUIRE(with.values().weights()[i] == Approx(free.values().weights()[i]).epsilon(1e-12).margin(1e-15));
        std::copy_n(with.values().weights().data(), with.values().weights().size(), free.values().weights().data());
        free.refresh();
    }
    int gone = 0;
    compare_steps<penalty::proximal<penalty::group_lasso<8.0, over::tensor>>>(8, [&](auto& net) {
        for (char const* name : {"1.kernel", "2.kernel"}) {
            double const norm = std::sqrt(square_of(net.tensor(name)));
            double const factor = norm > 0.0 ? std::max(0.0, 1.0 - 0.05 * 8.0 / norm) : 0.0;
            gone += factor == 0.0;
            each(net.tensor(name), [&](index_t, index_t, double& w) { w *= factor; });
        }
    });
    CHECK(gone > 0);
}
