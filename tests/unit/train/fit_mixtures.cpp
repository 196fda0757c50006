// SPDX-License-Identifier: Apache-2.0
// fit with what mixtures of experts need: keys and groups of the rows, measures in the history, tasks without a target
// in some rows, checkpoints with tables and permutations.
#include "../io/temporary_folder.hpp"
#include "../layer/naive.hpp"

#include <espalier/activation/relu.hpp>
#include <espalier/gate/enforced.hpp>
#include <espalier/gate/hash.hpp>
#include <espalier/gate/local_search.hpp>
#include <espalier/gate/top_k.hpp>
#include <espalier/layer/dense.hpp>
#include <espalier/layer/input.hpp>
#include <espalier/layer/moe.hpp>
#include <espalier/layer/multi_gate.hpp>
#include <espalier/layer/parallel.hpp>
#include <espalier/layer/sequence.hpp>
#include <espalier/layer/slice.hpp>
#include <espalier/loss/by_column.hpp>
#include <espalier/loss/column.hpp>
#include <espalier/loss/cross_entropy.hpp>
#include <espalier/loss/mean_squared_error.hpp>
#include <espalier/network/set_table.hpp>
#include <espalier/optimizer/adam.hpp>
#include <espalier/train/fit.hpp>

#include <support/catch.hpp>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

using namespace espalier;
using espalier_test::temporary_folder;

namespace {

/// The class is a function of the key alone; the features are noise.
data_set keyed(index_t count) {
    data_set data;
    data.count = count;
    data.width = 4;
    auto const noise = naive::random(count, 4, 11);
    for (index_t r = 0; r < count; ++r) {
        auto const key = static_cast<std::uint64_t>(r * 7 % 12);
        data.keys.push_back(key);
        data.groups.push_back(static_cast<std::int32_t>(key % 3));
        data.labels.push_back(static_cast<std::int32_t>(key % 3));
        for (index_t c = 0; c < 4; ++c)
            data.features.push_back(static_cast<float>(noise(r, c)));
    }
    return data;
}

} // namespace

TEST_CASE("fit: keys and groups of a data set reach the gates, shuffled and in validation", "[train][fit]") {
    data_set const train = keyed(240), test = keyed(60);
    auto const accuracy = [&]<class Gate>(Gate*) {
        network<sequence<input<4>, moe<Gate, dense<3>>>, device::cpu, float> net({3}, 32);
        if constexpr (gate_policy<Gate> && Gate::experts == 4) {
            std::vector<std::int32_t> table;
            for (std::int32_t k = 0; k < 12; ++k)
                table.push_back(k % 3);
            set_table(net, "1.gate.table", table, 4);
        }
        history const record = fit(net, loss::cross_entropy{}, optimizer::adam{.learning_rate = 0.05}, train,
                                   {.epochs = 20, .batch = 32, .validation = test, .progress = false});
        CHECK(record.last("1.experts_per_row") == 1.0);
        CHECK(record.last("1.dropped") == 0.0);
        CHECK(record.last("1.load.1") == Approx(1.0 / 3.0).epsilon(0.02));
        CHECK(record.last("1.load_entropy") == Approx(std::log(3.0)).epsilon(0.05));
        CHECK(evaluate(net, loss::cross_entropy{}, test).accuracy == record.last("validation_accuracy"));
        // The same from the outputs, row by row.
        std::vector<float> const outputs = predict(net, test);
        REQUIRE(outputs.size() == 180);
        int right = 0;
        for (std::size_t r = 0; r < 60; ++r)
            right += std::max_element(&outputs[3 * r], &outputs[3 * r] + 3) - &outputs[3 * r] == test.labels[r];
        CHECK(right / 60.0 == record.last("validation_accuracy"));
        return record.last("validation_accuracy");
    };
    CHECK(accuracy(static_cast<gate::hash<4, 12>*>(nullptr)) == 1.0);
    CHECK(accuracy(static_cast<gate::enforced<3>*>(nullptr)) == 1.0);
}

TEST_CASE("fit: data without the tags of its validation data, or with too few, is refused", "[train][fit]") {
    data_set const train = keyed(24);
    data_set test = keyed(12);
    network<sequence<input<4>, moe<gate::hash<4, 12>, dense<3>>>, device::cpu, float> net({3}, 32);
    test.keys.clear();
    CHECK_THROWS_WITH(fit(net, loss::cross_entropy{}, optimizer::adam{}, train, {.validation = test}),
                      contains_text("must both have keys"));
    data_set short_one = keyed(24);
    short_one.groups.pop_back();
    CHECK_THROWS_WITH(fit(net, loss::cross_entropy{}, optimizer::adam{}, short_one), contains_text("23 groups for 24"));
    auto const [first, second] = split(train, 10);
    CHECK(second.keys.front() == train.keys[10]);
    CHECK(train.view().middle_rows(10, 5).groups[0] == train.groups[10]);
    static_cast<void>(first);
}

TEST_CASE("fit: a task may have no target in some rows", "[train][fit]") {
    data_set train = keyed(120);
    train.labels.clear();
    train.target_width = 2;
    for (index_t r = 0; r < 120; ++r) {
        train.targets.push_back(static_cast<float>(train.groups[static_cast<std::size_t>(r)] == 1));
        train.targets.push_back(r % 2 ? std::numeric_limits<float>::quiet_NaN()
                                      : static_cast<float>(train.groups[static_cast<std::size_t>(r)]));
    }
    using two = multi_gate<gates<gate::top_k<3, 1>, gate::enforced<3>>, dense<4, activation::relu>>;
    using towers = parallel<merge::concatenate, sequence<slice<0, 4>, dense<1>>, sequence<slice<4, 4>, dense<1>>>;
    network<sequence<input<4>, two, towers>, device::cpu, float> net({3}, 32);
    auto const two_tasks = loss::columns(loss::column::binary{}, loss::column::squared{});
    history const record = fit(net, two_tasks, optimizer::adam{.learning_rate = 0.02}, train,
                               {.epochs = 30, .batch = 30, .progress = false});
    CHECK(record.last("loss") < 0.5 * record.at(0, "loss"));
    // The same targets with a loss that takes every target for a number are refused.
    network<sequence<input<4>, dense<2>>, device::cpu, float> plain({3}, 32);
    CHECK_THROWS_AS(fit(plain, loss::mean_squared_error{}, optimizer::adam{}, train), data_error);
}

TEST_CASE("fit: tables and permutations are resumed bit for bit", "[train][fit]") {
    using searching = gate::local_search<gate::hash<4, 12>, gate::search{.epochs = 3}>;
    using net_type = network<sequence<input<4>, moe<searching, dense<3>>>, device::cpu, float>;
    data_set const train = keyed(240);
    temporary_folder const folder;
    fit_options options{.epochs = 6, .batch = 24, .progress = false};
    net_type whole({3}, 32), halves({3}, 32);
    fit(whole, loss::cross_entropy{}, optimizer::adam{.learning_rate = 0.05}, train, options);
    options.checkpoints = folder.path();
    options.epochs = 2; // the search is not over
    fit(halves, loss::cross_entropy{}, optimizer::adam{.learning_rate = 0.05}, train, options);
    net_type resumed({99}, 32);
    resumed = net_type({3}, 32);
    options.epochs = 6;
    options.resume = true;
    fit(resumed, loss::cross_entropy{}, optimizer::adam{.learning_rate = 0.05}, train, options);
    for (tensor_info const& t : net_type::tensors()) {
        auto const a = whole.tensor(t.name), b = resumed.tensor(t.name);
        CAPTURE(t.name);
        CHECK(std::memcmp(a.data, b.data, static_cast<std::size_t>(t.size()) * sizeof(float)) == 0);
    }
}
