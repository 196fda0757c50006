// SPDX-License-Identifier: Apache-2.0
// The prox of group lasso inside training: against a step without it followed by the formula, for groups of one tensor
// and of two, and everything that must see the shrunk weights.
#include "../io/temporary_folder.hpp"

#include <support/catch.hpp>

#include <espalier/activation/tanh.hpp>
#include <espalier/device/cpu/cpu.hpp>
#include <espalier/io/checkpoint.hpp>
#include <espalier/layer/batch_norm.hpp>
#include <espalier/layer/dense.hpp>
#include <espalier/layer/in_group.hpp>
#include <espalier/layer/input.hpp>
#include <espalier/layer/sequence.hpp>
#include <espalier/loss/mean_squared_error.hpp>
#include <espalier/network/describe.hpp>
#include <espalier/network/network.hpp>
#include <espalier/optimizer/adamw.hpp>
#include <espalier/optimizer/by_group.hpp>
#include <espalier/optimizer/sgd.hpp>
#include <espalier/penalty/group_lasso.hpp>
#include <espalier/penalty/l1.hpp>
#include <espalier/penalty/proximal.hpp>
#include <espalier/prune/decayed.hpp>
#include <espalier/prune/magnitude.hpp>
#include <espalier/prune/per_layer.hpp>
#include <espalier/schedule/linear.hpp>
#include <espalier/train/training.hpp>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

using namespace espalier;
using namespace espalier::literals;

namespace {

using penalty::over;
template <auto C, over Over, short_name Name = short_name{}>
using shrink = penalty::proximal<penalty::group_lasso<C, Over, Name>>;

template <class T> struct data {
    std::vector<T> x = std::vector<T>(8 * 5);
    std::vector<T> t = std::vector<T>(8 * 3);
    batch_view<T> batch;
    explicit data(double turn = 0.0) {
        for (std::size_t i = 0; i < x.size(); ++i)
            x[i] = static_cast<T>(std::sin(1.0 + 0.7 * static_cast<double>(i) + turn));
        for (std::size_t i = 0; i < t.size(); ++i)
            t[i] = static_cast<T>(0.3 * std::cos(static_cast<double>(i) + turn));
        batch.inputs = {x.data(), 8, 5, 5};
        batch.targets = {t.data(), 8, 3, 3};
        batch.tags.count = 8;
    }
    data(data const&) = delete;
};

template <class T> bool same_bits(T const* a, T const* b, index_t n) {
    return n == 0 || std::memcmp(a, b, static_cast<std::size_t>(n) * sizeof(T)) == 0;
}
template <class A, class B> bool same_weights(A& a, B& b) {
    return a.values().weights().size() == b.values().weights().size() &&
           same_bits(a.values().weights().data(), b.values().weights().data(), a.values().weights().size());
}

/// One member of the groups: a tensor, by rows or columns, with its threshold.
struct member {
    char const* tensor;
    over by;
    double threshold;
};

/// w max(0, 1 - threshold / norm) over the groups of all members, in plain loops; counts groups that are 0 afterwards.
template <class Net> int shrink_by_hand(Net& net, std::vector<member> const& members) {
    auto const count = [&](member const& m) {
        auto const w = net.tensor(m.tensor);
        return m.by == over::rows ? w.rows : w.columns;
    };
    auto const each = [&](member const& m, index_t g, auto const& body) {
        auto const w = net.tensor(m.tensor);
        for (index_t i = 0; i < (m.by == over::rows ? w.columns : w.rows); ++i)
            body(m.by == over::rows ? w(g, i) : w(i, g));
    };
    int zeros = 0;
    for (index_t g = 0; g < count(members[0]); ++g) {
        double square = 0.0;
        for (member const& m : members)
            each(m, g, [&](auto& w) { square += static_cast<double>(w) * static_cast<double>(w); });
        double const norm = std::sqrt(square);
        for (member const& m : members)
            each(m, g, [&](auto& w) {
                w = static_cast<std::remove_cvref_t<decltype(w)>>(
                    norm > 0 ? static_cast<double>(w) * std::max(0.0, 1.0 - m.threshold / norm) : 0.0);
            });
        zeros += norm <= members[0].threshold;
    }
    return zeros;
}

/// Every step of `Stack` is a step of `Plain` from the same weights, then `expected` by hand.
template <class T, class Stack, class Plain, class Optimizer, class Shrink>
void compare_steps(Optimizer const& optimizer, int steps, Shrink const& expected,
                   std::vector<rate_rule> const& rates = {}) {
    network<Stack, device::cpu, T> with{seed{3}, 8};
    network<Plain, device::cpu, T> plain{seed{3}, 8};
    data<T> const d;
    training a{with, loss::mean_squared_error{}, optimizer, 0, rates};
    training b{plain, loss::mean_squared_error{}, optimizer, 0, rates};
    double const room = sizeof(T) == 4 ? 2e-6 : 1e-14;
    for (int step = 0; step < steps; ++step) {
        a.step(d.batch);
        b.step(d.batch);
        expected(plain, step);
        REQUIRE(with.values().weights().size() == plain.values().weights().size());
        for (index_t i = 0; i < with.values().weights().size(); ++i) {
            T const got = with.values().weights()[i], wanted = plain.values().weights()[i];
            INFO("step " << step << " weight " << i);
            REQUIRE((wanted == T(0)) == (got == T(0)));
            REQUIRE(static_cast<double>(got) == Approx(static_cast<double>(wanted)).epsilon(room).margin(room));
        }
        REQUIRE(same_bits(with.values().state().data(), plain.values().state().data(), with.values().state().size()));
        // the next step begins where this one ended
        std::copy_n(with.values().weights().data(), with.values().weights().size(), plain.values().weights().data());
        plain.refresh();
    }
}

} // namespace

TEMPLATE_TEST_CASE("the prox of group lasso shrinks the columns of the stepped weights", "[penalty]", float, double) {
    using stack = sequence<input<5>, dense<6, activation::tanh, shrink<0.9, over::columns>>, dense<3>>;
    using plain = sequence<input<5>, dense<6, activation::tanh>, dense<3>>;
    int zeros = 0, all = 0;
    compare_steps<TestType, stack, plain>(optimizer::sgd{.learning_rate = 0.1}, 12, [&](auto& net, int) {
        zeros = shrink_by_hand(net, {{"1.kernel", over::columns, 0.1 * 0.9}});
        all = 6;
    });
    CHECK(zeros > 0);
    CHECK(zeros < all);
}

TEMPLATE_TEST_CASE("groups over two layers vanish together, under Adam with a schedule", "[penalty]", float, double) {
    using stack = sequence<input<5>, dense<6, activation::tanh, shrink<4.0, over::columns, "unit"_name>>, batch_norm<>,
                           dense<3, shrink<4.0, over::rows, "unit"_name>>>;
    using plain = sequence<input<5>, dense<6, activation::tanh>, batch_norm<>, dense<3>>;
    auto const optimizer = optimizer::adamw{.learning_rate = schedule::linear{.from = 0.02, .to = 0.04, .steps = 20}};
    auto const run = [&](double factor) {
        int zeros = 0;
        compare_steps<TestType, stack, plain>(
            optimizer, 16,
            [&](auto& net, int step) {
                double const threshold = 4.0 * (0.02 + 0.001 * step);
                zeros = shrink_by_hand(
                    net, {{"1.kernel", over::columns, threshold}, {"3.kernel", over::rows, factor * threshold}});
                auto const in = net.tensor("1.kernel"), out = net.tensor("3.kernel");
                for (index_t unit = 0; factor == 1.0 && unit < 6; ++unit)
                    CHECK((in(0, unit) == TestType(0)) == (out(unit, 0) == TestType(0)));
            },
            {{.path = "3.kernel", .learning_rate = factor}});
        return zeros;
    };
    int const together = run(1.0);
    CHECK(together > 0);
    CHECK(together < 6);
    run(0.5); // each tensor by its own rate
}

TEST_CASE("the groups of a tensor shrink at the rate of its own optimizer", "[penalty]") {
    using slow = in_group<"slow"_name>;
    using stack = sequence<input<5>, dense<6, slow, shrink<0.9, over::columns>>, dense<3, shrink<0.9, over::rows>>>;
    using plain = sequence<input<5>, dense<6, slow>, dense<3>>;
    auto const two = optimizer::by_group{optimizer::of<"slow"_name>(optimizer::sgd{.learning_rate = 0.05}),
                                         optimizer::rest(optimizer::sgd{.learning_rate = 0.1, .momentum = 0.5})};
    compare_steps<double, stack, plain>(two, 6, [&](auto& net, int) {
        shrink_by_hand(net, {{"1.kernel", over::columns, 0.05 * 0.9}});
        shrink_by_hand(net, {{"2.kernel", over::rows, 0.1 * 0.9}});
    });
}

TEST_CASE("soft thresholding of elements comes before that of groups: the sparse group lasso", "[penalty]") {
    using stack = sequence<input<5>, dense<3, penalty::proximal<penalty::l1<0.5>>, shrink<0.7, over::rows>>>;
    int zeros = 0;
    compare_steps<double, stack, sequence<input<5>, dense<3>>>(
        optimizer::sgd{.learning_rate = 0.1}, 10, [&](auto& net, int) {
            auto const w = net.tensor("1.kernel");
            for (index_t i = 0; i < 15; ++i)
                w.data[i] = std::copysign(std::max(0.0, std::fabs(w.data[i]) - 0.05), w.data[i]);
            zeros = shrink_by_hand(net, {{"1.kernel", over::rows, 0.07}});
        });
    CHECK(zeros > 0);
}

TEST_CASE("a frozen tensor keeps its weights, and they count in the norms of its groups", "[penalty]") {
    using stack = sequence<input<5>, dense<6, activation::tanh, shrink<2.0, over::columns, "unit"_name>>,
                           dense<3, shrink<2.0, over::rows, "unit"_name>>>;
    using plain = sequence<input<5>, dense<6, activation::tanh>, dense<3>>;
    compare_steps<double, stack, plain>(
        optimizer::sgd{.learning_rate = 0.1}, 5,
        [&](auto& net, int) {
            shrink_by_hand(net, {{"1.kernel", over::columns, 0.2}, {"2.kernel", over::rows, 0.0}});
        },
        {{.path = "2.kernel", .frozen = true}});
}

TEST_CASE("terms, products and a gradient over other groups see the shrunk weights", "[penalty]") {
    // Products read a second copy; rows are penalised by their gradient, from the norms after the shrinking.
    using pruned = prune::magnitude<0.5, prune::per_layer, prune::decayed<schedule::linear{1.0, 0.0, 6}>>;
    using stack =
        sequence<input<5>,
                 dense<6, activation::tanh, pruned, shrink<0.6, over::columns>, penalty::group_lasso<0.4, over::rows>>,
                 dense<3, penalty::group_lasso<0.3, over::columns>>>;
    network<stack, device::cpu, float> net{seed{3}, 8};
    data<float> const d;
    training run{net, loss::mean_squared_error{}, optimizer::sgd{.learning_rate = 0.05}};
    auto const names = run.term_names();
    auto const index = [&](std::string const& name) {
        return static_cast<std::size_t>(std::find(names.begin(), names.end(), name) - names.begin());
    };
    for (int step = 0; step < 6; ++step) {
        auto const sum_of_norms = [&](char const* name, over by) {
            auto const w = net.tensor(name);
            double sum = 0.0;
            for (index_t g = 0; g < (by == over::rows ? w.rows : w.columns); ++g) {
                double square = 0.0;
                for (index_t i = 0; i < (by == over::rows ? w.columns : w.rows); ++i) {
                    double const v = static_cast<double>(by == over::rows ? w(g, i) : w(i, g));
                    square += v * v;
                }
                sum += std::sqrt(square);
            }
            return sum;
        };
        double const columns = 0.6 * sum_of_norms("1.kernel", over::columns),
                     row_sum = 0.4 * sum_of_norms("1.kernel", over::rows),
                     last = 0.3 * sum_of_norms("2.kernel", over::columns);
        run.step(d.batch);
        CHECK(run.terms()[index("1.kernel.proximal_group_lasso")] == Approx(columns).epsilon(1e-5));
        CHECK(run.terms()[index("1.kernel.group_lasso")] == Approx(row_sum).epsilon(1e-5));
        CHECK(run.terms()[index("2.kernel.group_lasso")] == Approx(last).epsilon(1e-5));

        // A network that is handed these weights and masks makes its operand copies anew: the same outputs.
        auto other = net;
        other.refresh();
        float mine[8 * 3], theirs[8 * 3];
        net.predict(d.batch.inputs, {mine, 8, 3, 3});
        other.predict(d.batch.inputs, {theirs, 8, 3, 3});
        CHECK(same_bits(mine, theirs, 24));
    }
}

TEMPLATE_TEST_CASE("a training with shrunk groups goes on bit for bit from its checkpoint, with one thread or two",
                   "[penalty]", float, double) {
    using stack = sequence<
        input<5>,
        dense<6, activation::tanh, shrink<0.9, over::columns, "unit"_name>, penalty::group_lasso<0.1, over::rows>>,
        dense<3, shrink<0.9, over::rows, "unit"_name>>>;
    auto const optimizer = optimizer::adamw{.learning_rate = 0.02};
    using net_type = network<stack, device::cpu, TestType>;
    espalier_test::temporary_folder const folder;
    auto const file = folder / "stopped.safetensors";
    data<TestType> const d, e(1.3);
    net_type unbroken{seed{3}, 8};
    training run{unbroken, loss::mean_squared_error{}, optimizer};
    for (int i = 0; i < 5; ++i)
        run.step(i % 2 ? d.batch : e.batch);
    save_training(run, file);
    net_type resumed{seed{3}, 8, std::make_unique<device::cpu>(2, 0)};
    training again{resumed, loss::mean_squared_error{}, optimizer};
    load_training(again, file);
    for (int i = 0; i < 5; ++i) {
        auto const one = run.step(i % 2 ? d.batch : e.batch), other = again.step(i % 2 ? d.batch : e.batch);
        CHECK(one.total == other.total);
        CHECK(run.terms() == again.terms());
        CHECK(same_weights(unbroken, resumed));
    }
}

TEST_CASE("a step that is refused leaves groups and norms alone", "[penalty]") {
    using stack = sequence<input<5>, dense<3, shrink<0.9, over::columns>>>;
    network<stack, device::cpu, float> net{seed{3}, 8}, never{seed{3}, 8};
    data<float> const d;
    data<float> bad;
    bad.x[3] = std::nanf("");
    training run{net, loss::mean_squared_error{}, optimizer::sgd{.learning_rate = 0.1}};
    training calm{never, loss::mean_squared_error{}, optimizer::sgd{.learning_rate = 0.1}};
    run.step(d.batch);
    CHECK_THROWS_AS(run.step(bad.batch), numerical_error);
    run.step(d.batch);
    calm.step(d.batch);
    calm.step(d.batch);
    CHECK(same_weights(net, never));
}

TEST_CASE("the further pass is declared, by stacks that have it", "[penalty]") {
    using with = sequence<input<5>, dense<6, shrink<0.9, over::columns>, penalty::group_lasso<0.1, over::rows>>,
                          dense<4>, dense<3, penalty::group_lasso<0.1, over::rows>>>;
    using without = sequence<input<5>, dense<6, penalty::group_lasso<0.1, over::rows>>>;
    CHECK(summarise<with>().update_passes == 2);
    CHECK(summarise<without>().update_passes == 1);
    auto const passes = [](std::string const& name) {
        for (tensor_info const& t : report_of<with>().tensors)
            if (t.name == name) return t.passes;
        return 0;
    };
    CHECK(passes("1.kernel") == 2);
    CHECK(passes("1.bias") == 1);
    CHECK(passes("2.kernel") == 1);
    CHECK(passes("3.kernel") == 2); // its norms are gathered anew
    CHECK(report_of<without>().tensors.at(0).passes == 1);
    CHECK_THAT(describe<with>(), contains_text("update: 2 passes"));
}

TEST_CASE("a named group that is shrunk in one tensor only is refused when the network is made", "[penalty]") {
    using stack = sequence<input<5>, dense<6, shrink<0.9, over::columns, "unit"_name>>,
                           dense<3, penalty::group_lasso<0.9, over::rows, "unit"_name>>>;
    CHECK_THROWS_WITH((network<stack, device::cpu, double>{}), contains_text("a group is shrunk as a whole"));
}
