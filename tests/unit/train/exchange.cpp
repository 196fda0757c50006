// SPDX-License-Identifier: Apache-2.0
// Masks that are selected by what a step's gradients say: weights that go and others that come back.
#include "../io/temporary_folder.hpp"
#include "../layer/naive.hpp"

#include <espalier/activation/tanh.hpp>
#include <espalier/io/checkpoint.hpp>
#include <espalier/layer/dense.hpp>
#include <espalier/layer/input.hpp>
#include <espalier/layer/sequence.hpp>
#include <espalier/loss/cross_entropy.hpp>
#include <espalier/network/set_mask.hpp>
#include <espalier/optimizer/adam.hpp>
#include <espalier/optimizer/sgd.hpp>
#include <espalier/prune/by_magnitude.hpp>
#include <espalier/prune/by_moment.hpp>
#include <espalier/prune/by_sensitivity.hpp>
#include <espalier/prune/constant.hpp>
#include <espalier/prune/exchange.hpp>
#include <espalier/prune/global.hpp>
#include <espalier/prune/hard.hpp>
#include <espalier/prune/n_m.hpp>
#include <espalier/prune/policy.hpp>
#include <espalier/prune/straight_through.hpp>
#include <espalier/schedule/linear.hpp>
#include <espalier/schedule/runtime.hpp>
#include <espalier/train/training.hpp>

#include <support/catch.hpp>

#include <numeric>

using namespace espalier;
using namespace espalier::literals;

namespace {

constexpr index_t row_count = 16;
std::vector<std::int32_t> const labels = naive::cyclic_labels(row_count, 4);

batch_view<double> batch_of(naive::matrix const& x) {
    return {x.view(), naive::tags_of(row_count, &labels), {}};
}

double kept(std::vector<double> const& mask) {
    return std::accumulate(mask.begin(), mask.end(), 0.0);
}

/// Adds to `mask` the weights of largest worth among those that `from` has and the mask does not, until they are count.
void fill(std::vector<double>& mask, std::vector<double> const& from, std::vector<double> const& worth, double count) {
    while (kept(mask) < count) {
        std::size_t best = mask.size();
        for (std::size_t i = 0; i < mask.size(); ++i)
            if (mask[i] == 0.0 && from[i] == 1.0 && (best == mask.size() || std::abs(worth[i]) > std::abs(worth[best])))
                best = i;
        REQUIRE(best < mask.size());
        mask[best] = 1.0;
    }
}

} // namespace

TEST_CASE("exchange: the smallest weights go and those of largest gradient come, at 0", "[train][prune]") {
    constexpr schedule::linear falling{.from = 0.5, .to = 0.0, .steps = 12};
    using policy = prune::policy<prune::by_magnitude, prune::exchange<falling>,
                                 prune::constant{.sparsity = 0.6, .every = 3}, prune::hard>;
    using stack = sequence<input<9>, dense<7, activation::tanh, policy>, dense<4>>;
    naive::network<stack> net({4}, 16);
    training run(net, loss::cross_entropy{}, optimizer::sgd{.learning_rate = 0.3, .momentum = 0.9});
    std::vector<double> const all(63, 1.0);
    std::vector<double> mask = all;
    double const stays[] = {25, 16, 19, 22}; // 25 - round(25 share), share 0.375, 0.25, 0.125
    espalier_test::temporary_folder const folder;
    std::vector<naive::matrix> seen;
    for (std::uint64_t step = 0; step < 12; ++step) {
        INFO("step " << step);
        if (step == 8) save_training(run, folder / "at_8.safetensors");
        auto const batch = naive::random(row_count, 9, step);
        auto const before = naive::tensor(net, "1.kernel");
        run.gradients_of(batch_of(batch));
        auto const gradient = naive::copy(run.gradient("1.kernel")).values;
        run.step(batch_of(batch));
        auto const after = naive::tensor(net, "1.kernel").values;
        seen.push_back(naive::tensor(net, "1.kernel"));
        auto const old = mask;
        if (step % 3 == 0) {
            std::vector<double> next(63, 0.0);
            fill(next, mask, before.values, stays[step / 3]);
            fill(next, all, gradient, 25);
            if (step > 0) CHECK(next != mask); // else this test would see nothing
            mask = next;
        }
        CHECK(naive::mask_in(net, "1.kernel").values == mask);
        for (std::size_t i = 0; i < 63; ++i) {
            CHECK((after[i] != 0.0) == (mask[i] == 1.0));
            if (mask[i] > old[i]) CHECK(before.values[i] == 0.0); // what comes back begins there
        }
    }
    // Stopped before one and resumed, the exchange is the same.
    naive::network<stack> again({4}, 16);
    training rest(again, loss::cross_entropy{}, optimizer::sgd{.learning_rate = 0.3, .momentum = 0.9});
    load_training(rest, folder / "at_8.safetensors");
    for (std::uint64_t step = 8; step < 12; ++step) {
        rest.step(batch_of(naive::random(row_count, 9, step)));
        CHECK(naive::tensor(again, "1.kernel").values == seen[step].values);
    }
    CHECK(naive::mask_in(again, "1.kernel").values == mask);
    // With masks that keep fewer than the schedule says, none comes by chance: gradients fill up.
    std::vector<std::uint8_t> few(63, 0);
    few[5] = few[60] = 1;
    set_mask(again, "1.kernel", few);
    auto const x = naive::random(row_count, 9, 12);
    rest.gradients_of(batch_of(x));
    auto const gradient = naive::copy(rest.gradient("1.kernel")).values;
    rest.step(batch_of(x));
    std::vector<double> next(few.begin(), few.end());
    fill(next, all, gradient, 25);
    CHECK(naive::mask_in(again, "1.kernel").values == next);
}

TEST_CASE("prune: weights are compared over layers by w dL/dw of the first batch", "[train][prune]") {
    auto const check = [&]<class Rule>(Rule) {
        using half = prune::policy<prune::by_sensitivity, prune::global, 0.5, Rule>;
        naive::network<sequence<input<9>, dense<7, activation::tanh, half>, dense<4, half>>> net({4}, 16);
        training run(net, loss::cross_entropy{}, optimizer::sgd{.learning_rate = 0.3});
        auto const batch = naive::random(row_count, 9, 1);
        std::vector<double> worth;
        run.gradients_of(batch_of(batch));
        for (std::string const name : {"1.kernel", "2.kernel"}) {
            auto const w = naive::tensor(net, name), g = naive::copy(run.gradient(name));
            for (std::size_t i = 0; i < w.values.size(); ++i)
                worth.push_back(w.values[i] * g.values[i]);
        }
        std::vector<double> next(91, 0.0);
        fill(next, std::vector<double>(91, 1.0), worth, 45); // 91 - round(45.5)
        run.step(batch_of(batch));
        auto mask = naive::mask_in(net, "1.kernel").values, rest = naive::mask_in(net, "2.kernel").values;
        mask.insert(mask.end(), rest.begin(), rest.end());
        CHECK(mask == next);
        // The update has left what products read.
        auto const outputs = naive::forward<mode::evaluate>(net, batch);
        net.refresh();
        CHECK(naive::forward<mode::evaluate>(net, batch).values == outputs.values);
        run.step(batch_of(batch)); // decided once
        CHECK(naive::mask_in(net, "1.kernel").values == std::vector<double>(mask.begin(), mask.begin() + 63));
    };
    check(prune::hard{});
    check(prune::straight_through{});
}

TEST_CASE("prune: selections by what an optimizer keeps, and of one kind over the network", "[train][prune]") {
    using by_moment = prune::policy<prune::by_moment, prune::n_m<1, 3>, prune::constant{.sparsity = 1.0, .start = 2},
                                    prune::straight_through>;
    using stack = sequence<input<9>, dense<4, by_moment>>;
    naive::network<stack> net({4}, 16);
    training run(net, loss::cross_entropy{}, optimizer::adam{.learning_rate = 0.05});
    for (std::uint64_t step = 0; step < 3; ++step) {
        std::vector<double> const moments(run.moment_values().data(), run.moment_values().data() + 36);
        run.step(batch_of(naive::random(row_count, 9, step)));
        auto const mask = naive::mask_in(net, "1.kernel").values;
        REQUIRE(kept(mask) == (step < 2 ? 36 : 12));
        for (std::size_t i = 0; step == 2 && i < 36; ++i)
            for (std::size_t j = 0; j < 3; ++j)
                if (std::size_t const other = (i / 12 * 3 + j) * 4 + i % 4; mask[i] == 1.0)
                    CHECK(std::abs(moments[i]) >= std::abs(moments[other]));
    }
    CHECK_THROWS_WITH(training(net, loss::cross_entropy{}, optimizer::sgd{.learning_rate = 0.1}),
                      "training: the masks of tensor 1.kernel are selected by what the optimizer keeps of each weight "
                      "(prune::by_moment), and this one keeps nothing");

    using by_weight = prune::policy<prune::by_magnitude, prune::global, 0.5, prune::hard>;
    using by_both = prune::policy<prune::by_sensitivity, prune::global, 0.5, prune::hard>;
    naive::network<sequence<input<9>, dense<7, by_weight>, dense<4, by_both>>> two({4}, 16);
    training of_two(two, loss::cross_entropy{}, optimizer::sgd{.learning_rate = 0.1});
    auto const before = naive::tensor(two, "1.kernel");
    CHECK_THROWS_AS(of_two.step(batch_of(naive::random(row_count, 9, 1))), data_error);
    CHECK(naive::tensor(two, "1.kernel").values == before.values);
}

TEST_CASE("exchange: a schedule that leaves [0, 1] stops before anything is changed", "[train][prune]") {
    using policy = prune::policy<prune::by_magnitude, prune::exchange<schedule::runtime{"share"_name, 0.5}>,
                                 prune::constant{.sparsity = 0.5, .every = 1}, prune::hard>;
    naive::network<sequence<input<9>, dense<4, policy>>> net({4}, 16);
    training run(net, loss::cross_entropy{}, optimizer::sgd{.learning_rate = 0.3});
    auto const batch = naive::random(row_count, 9, 1);
    run.step(batch_of(batch));
    run.step(batch_of(batch));
    auto const before = naive::tensor(net, "1.kernel");
    auto const mask = naive::mask_in(net, "1.kernel").values;
    net.set_value("share"_name, 1.5);
    CHECK_THROWS_AS(run.step(batch_of(batch)), data_error);
    CHECK(naive::tensor(net, "1.kernel").values == before.values);
    CHECK(naive::mask_in(net, "1.kernel").values == mask);
    CHECK(run.time().step == 2);
}
