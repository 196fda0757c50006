// SPDX-License-Identifier: Apache-2.0
// Group lasso inside training: groups within one tensor, and groups that span two layers.
#include <support/catch.hpp>

#include <espalier/activation/tanh.hpp>
#include <espalier/device/cpu/cpu.hpp>
#include <espalier/layer/dense.hpp>
#include <espalier/layer/input.hpp>
#include <espalier/layer/sequence.hpp>
#include <espalier/loss/mean_squared_error.hpp>
#include <espalier/network/network.hpp>
#include <espalier/optimizer/sgd.hpp>
#include <espalier/penalty/group_lasso.hpp>
#include <espalier/penalty/proximal.hpp>
#include <espalier/train/training.hpp>

#include <cmath>
#include <type_traits>
#include <vector>

using namespace espalier;
using namespace espalier::literals;

namespace {

constexpr double strength = 0.3;
constexpr double rate = 0.1;

/// One step of a stack with and without the penalty on equal data; returns weights before, plain and penalised.
template <class Stack, class Plain> struct both {
    network<Stack, device::cpu, double> with{seed{3}, 8};
    network<Plain, device::cpu, double> without{seed{3}, 8};
    std::vector<double> terms;
    std::vector<double> before;

    both() {
        std::vector<double> x(8 * 5);
        std::vector<double> t(8 * 3);
        for (std::size_t i = 0; i < x.size(); ++i)
            x[i] = std::sin(1.0 + 0.7 * static_cast<double>(i));
        for (std::size_t i = 0; i < t.size(); ++i)
            t[i] = std::cos(static_cast<double>(i));
        before.assign(with.values().weights().data(), with.values().weights().data() + with.values().weights().size());
        batch_view<double> batch;
        batch.inputs = {x.data(), 8, 5, 5};
        batch.targets = {t.data(), 8, 3, 3};
        batch.tags.count = 8;
        training a{with, loss::mean_squared_error{}, optimizer::sgd{.learning_rate = rate}};
        training b{without, loss::mean_squared_error{}, optimizer::sgd{.learning_rate = rate}};
        a.step(batch);
        b.step(batch);
        terms = a.terms();
    }
};

} // namespace

TEST_CASE("group lasso over columns adds w / norm of its column to the gradient, and the norms to the loss") {
    using stack = sequence<input<5>, dense<3, penalty::group_lasso<strength, penalty::over::columns>>>;
    both<stack, sequence<input<5>, dense<3>>> run;
    auto const w = run.with.tensor("1.kernel"), plain = run.without.tensor("1.kernel");
    double total = 0.0;
    for (index_t c = 0; c < 3; ++c) {
        double norm = 0.0;
        for (index_t r = 0; r < 5; ++r)
            norm += run.before[static_cast<std::size_t>(r * 3 + c)] * run.before[static_cast<std::size_t>(r * 3 + c)];
        norm = std::sqrt(norm);
        total += strength * norm;
        for (index_t r = 0; r < 5; ++r)
            CHECK(w(r, c) ==
                  Approx(plain(r, c) - rate * strength * run.before[static_cast<std::size_t>(r * 3 + c)] / norm)
                      .epsilon(1e-12));
    }
    CHECK(run.terms.at(1) == Approx(total).epsilon(1e-12));
}

TEST_CASE("a named group spans the columns of one layer and the rows of the next") {
    using stack =
        sequence<input<5>,
                 dense<4, activation::tanh, penalty::group_lasso<strength, penalty::over::columns, "unit"_name>>,
                 dense<3, penalty::group_lasso<strength, penalty::over::rows, "unit"_name>>>;
    both<stack, sequence<input<5>, dense<4, activation::tanh>, dense<3>>> run;
    auto const first = run.with.tensor("1.kernel"), second = run.with.tensor("2.kernel");
    auto const plain_first = run.without.tensor("1.kernel"), plain_second = run.without.tensor("2.kernel");
    auto const at = [&](char const* name, index_t r, index_t c) {
        tensor_info const& t = run.with.values().find(name);
        return run.before[static_cast<std::size_t>(t.offset + r * t.columns + c)];
    };
    double total = 0.0;
    for (index_t unit = 0; unit < 4; ++unit) {
        double square = 0.0;
        for (index_t r = 0; r < 5; ++r)
            square += at("1.kernel", r, unit) * at("1.kernel", r, unit);
        for (index_t c = 0; c < 3; ++c)
            square += at("2.kernel", unit, c) * at("2.kernel", unit, c);
        double const norm = std::sqrt(square);
        total += strength * norm;
        for (index_t r = 0; r < 5; ++r)
            CHECK(first(r, unit) ==
                  Approx(plain_first(r, unit) - rate * strength * at("1.kernel", r, unit) / norm).epsilon(1e-12));
        for (index_t c = 0; c < 3; ++c)
            CHECK(second(unit, c) ==
                  Approx(plain_second(unit, c) - rate * strength * at("2.kernel", unit, c) / norm).epsilon(1e-12));
    }
    CHECK(run.terms.at(1) == Approx(total).epsilon(1e-12));
    CHECK(run.terms.at(2) == 0.0); // the same groups count once
}

TEST_CASE("a group of zeros has gradient 0, and one whose unit is dead stays 0") {
    using lasso = penalty::group_lasso<strength, penalty::over::columns>;
    auto const check = []<class Penalty>(std::type_identity<Penalty>, bool shrinks) {
        using stack = sequence<input<5>, dense<4, activation::tanh, Penalty>, dense<3>>;
        using without = sequence<input<5>, dense<4, activation::tanh>, dense<3>>;
        network<stack, device::cpu, double> with{seed{3}, 8};
        network<without, device::cpu, double> plain{seed{3}, 8};
        std::vector<double> x(8 * 5);
        std::vector<double> t(8 * 3);
        for (std::size_t i = 0; i < x.size(); ++i)
            x[i] = std::sin(1.0 + 0.7 * static_cast<double>(i));
        for (std::size_t i = 0; i < t.size(); ++i)
            t[i] = std::cos(static_cast<double>(i));
        batch_view<double> batch;
        batch.inputs = {x.data(), 8, 5, 5};
        batch.targets = {t.data(), 8, 3, 3};
        batch.tags.count = 8;
        // Unit 1 has no weights in front of it, unit 2 none behind it either: nothing moves that one.
        auto const clear = [](auto& net) {
            for (index_t r = 0; r < 5; ++r)
                net.tensor("1.kernel")(r, 1) = net.tensor("1.kernel")(r, 2) = 0.0;
            for (index_t c = 0; c < 3; ++c)
                net.tensor("2.kernel")(2, c) = 0.0;
            net.refresh();
        };
        clear(with);
        clear(plain);
        training a{with, loss::mean_squared_error{}, optimizer::sgd{.learning_rate = rate}};
        training b{plain, loss::mean_squared_error{}, optimizer::sgd{.learning_rate = rate}};
        for (int step = 0; step < 3; ++step) {
            CHECK(std::isfinite(a.step(batch).total));
            b.step(batch);
            for (index_t r = 0; r < 5; ++r) {
                INFO("step " << step << " row " << r);
                if (step == 0 && !shrinks) CHECK(with.tensor("1.kernel")(r, 1) == plain.tensor("1.kernel")(r, 1));
                CHECK(std::isfinite(with.tensor("1.kernel")(r, 1)));
                CHECK(with.tensor("1.kernel")(r, 2) == 0.0);
            }
        }
    };
    check(std::type_identity<lasso>{}, false);
    check(std::type_identity<penalty::proximal<lasso>>{}, true);
}

TEST_CASE("a named group of two sizes is refused when the network is made") {
    using stack = sequence<input<5>, dense<4, penalty::group_lasso<strength, penalty::over::columns, "unit"_name>>,
                           dense<3, penalty::group_lasso<strength, penalty::over::columns, "unit"_name>>>;
    CHECK_THROWS_AS((network<stack, device::cpu, double>{}), shape_error);
}
