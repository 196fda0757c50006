// SPDX-License-Identifier: Apache-2.0
// Weights of rows and classes in a data set, and its batches in a loop of one's own.
#include "../layer/naive.hpp"
#include "fit_data.hpp"

#include <espalier/activation/tanh.hpp>
#include <espalier/batch/mixup.hpp>
#include <espalier/dropout/bernoulli.hpp>
#include <espalier/layer/dense.hpp>
#include <espalier/layer/input.hpp>
#include <espalier/layer/sequence.hpp>
#include <espalier/loss/by_column.hpp>
#include <espalier/loss/cross_entropy.hpp>
#include <espalier/loss/mean_squared_error.hpp>
#include <espalier/optimizer/adam.hpp>
#include <espalier/train/batches.hpp>
#include <espalier/train/fit.hpp>

#include <support/catch.hpp>
#include <support/message_of.hpp>

#include <cmath>
#include <cstring>
#include <limits>
#include <string>
#include <vector>

using namespace espalier;
using espalier_test::clusters;
using espalier_test::quiet;

namespace {

using stack = sequence<input<6>, dense<8, activation::tanh, dropout::bernoulli<0.25>>, dense<3>>;
using net_type = network<stack, device::cpu, float>;
constexpr optimizer::adam<> adam{.learning_rate = 0.01};

bool same_weights(net_type& a, net_type& b) {
    auto const &x = a.values().weights(), &y = b.values().weights();
    return x.size() == y.size() && std::memcmp(x.data(), y.data(), x.bytes()) == 0;
}

} // namespace

TEST_CASE("weights: fit takes those of the rows, and 0 leaves a row out", "[train]") {
    data_set data = clusters(48, 6, 1);
    for (index_t i = 0; i < 48; ++i)
        data.weights.push_back(i % 5 == 0 ? 0.0f : 0.5f + static_cast<float>(i % 3));
    net_type net({1}, 16), by_hand({1}, 16), plain({1}, 16);
    fit(net, loss::cross_entropy{}, adam, data, quiet(2));

    training train{by_hand, loss::cross_entropy{}, adam};
    batches<float> rows(data, 16, by_hand.random_seed());
    REQUIRE(rows.count() == 3);
    for (std::uint64_t epoch = 0; epoch < 2; ++epoch) {
        rows.begin_epoch(epoch);
        for (index_t i = 0; i < rows.count(); ++i) {
            auto const batch = rows[i];
            for (index_t r = 0; r < batch.tags.count; ++r) {
                auto const from = batch.tags.sample[r];
                REQUIRE(batch.tags.weight[r] == data.weights[static_cast<std::size_t>(from)]);
                REQUIRE(batch.tags.label[r] == data.labels[static_cast<std::size_t>(from)]);
                REQUIRE(batch.inputs(r, 4) == data.features[static_cast<std::size_t>(from * 6 + 4)]);
            }
            train.step(batch);
        }
    }
    CHECK(same_weights(net, by_hand)); // a loop of one's own with the same order is fit, bit for bit

    data.weights.clear();
    fit(plain, loss::cross_entropy{}, adam, data, quiet(2));
    CHECK_FALSE(same_weights(net, plain));
}

TEST_CASE("weights: evaluation counts a row as often as its weight says", "[train]") {
    data_set const data = clusters(50, 6, 1);
    data_set weighted = data, repeated = data;
    weighted.weights.assign(50, 1.0f);
    for (index_t const row : {3, 17, 40}) {
        weighted.weights[static_cast<std::size_t>(row)] = 3.0f;
        for (int copy = 0; copy < 2; ++copy) {
            repeated.labels.push_back(data.labels[static_cast<std::size_t>(row)]);
            repeated.features.insert(repeated.features.end(), data.features.begin() + row * 6,
                                     data.features.begin() + row * 6 + 6);
            ++repeated.count;
        }
    }
    net_type net({1}, 16);
    fit(net, loss::cross_entropy{}, adam, data, quiet(1));
    evaluation const a = evaluate(net, loss::cross_entropy{}, weighted),
                     b = evaluate(net, loss::cross_entropy{}, repeated);
    CHECK(a.accuracy == Approx(b.accuracy).epsilon(1e-12));
    CHECK(a.loss * 50.0 == Approx(b.loss * 56.0).epsilon(1e-6));

    // Rows of weight 0 are as if they were not there, a whole batch of them included.
    data_set part = data;
    part.weights.assign(50, 1.0f);
    for (std::size_t i = 14; i < 50; ++i)
        part.weights[i] = 0.0f;
    evaluation const of_part = evaluate(net, loss::cross_entropy{}, part),
                     of_first = evaluate(net, loss::cross_entropy{}, split(data.view(), 14).first);
    CHECK(of_part.accuracy == of_first.accuracy);
    CHECK(of_part.loss == Approx(of_first.loss).epsilon(1e-6));
}

TEST_CASE("weights: balanced classes", "[train]") {
    data_set data = clusters(7, 6, 1);
    data.labels = {0, 0, 0, 0, 2, 2, 0};
    auto const by_class = balanced_class_weights(data);
    REQUIRE(by_class.size() == 3);
    CHECK(by_class[0] == Approx(7.0 / (3 * 5)));
    CHECK(by_class[1] == 0.0);
    CHECK(by_class[2] == Approx(7.0 / (3 * 2)));
    weigh_classes(data, {1.0, 2.0, 3.0});
    CHECK(data.weights == std::vector<float>{1, 1, 1, 1, 3, 3, 1});
    weigh_classes(data, {2.0, 2.0, 0.5});
    CHECK(data.weights == std::vector<float>{2, 2, 2, 2, 1.5, 1.5, 2});
    auto const before = data.weights;
    CHECK_THROWS_AS(weigh_classes(data, {1.0, 1.0}), data_error);
    CHECK_THROWS_WITH(weigh_classes(data, {1.0, -1e-9, 1.0}), "class weights: -1e-09 is negative or not finite");
    CHECK_THROWS_AS(weigh_classes(data, {1.0, std::numeric_limits<double>::quiet_NaN(), 1.0}), data_error);
    CHECK(data.weights == before);
    data.weights.pop_back();
    CHECK_THROWS_AS(weigh_classes(data, {1.0, 1.0, 1.0}), data_error);
    data.labels.clear();
    CHECK_THROWS_AS(balanced_class_weights(data), data_error);
    CHECK_THROWS_AS(weigh_classes(data, {1.0, 1.0, 1.0}), data_error);
}

TEST_CASE("weights: what makes no sense is refused before anything changes", "[train]") {
    data_set data = clusters(48, 6, 1);
    net_type net({1}, 16), before({1}, 16);
    auto const refused = [&](char const* words) {
        CHECK_THAT(message_of<data_error>([&] { fit(net, loss::cross_entropy{}, adam, data, quiet(1)); }),
                   contains_text(words));
        CHECK(same_weights(net, before));
    };
    data.weights.assign(47, 1.0f);
    refused("47 weights for 48 rows");
    for (float const bad : {-1.0f, std::numeric_limits<float>::infinity(), std::numeric_limits<float>::quiet_NaN()}) {
        data.weights.assign(48, 1.0f);
        data.weights[5] = bad;
        refused("row 5 has weight");
    }
    data.weights.assign(48, 1.0f);
    CHECK_THROWS_AS(fit(net, loss::cross_entropy{}, adam, data, quiet(1), batch::mixup<>{}), data_error);
    CHECK(same_weights(net, before));
    data.weights.clear();
    CHECK_THROWS_AS(batches<float>(data, 0, {1}), data_error);
    batches<float> rows(data, 20, {1});
    CHECK(rows[2].tags.count == 8);
    CHECK_THROWS_AS(rows[3], data_error);
    CHECK_THROWS_AS(rows[-1], data_error);
}

TEST_CASE("a target that is not finite is named", "[train]") {
    network<sequence<input<6>, dense<3>>, device::cpu, double> net({1}, 4);
    auto const x = naive::random(4, 6, 1);
    auto targets = naive::random(4, 3, 2);
    rows tags;
    tags.count = 4;
    auto const says = [&](auto const& loss, char const* words) {
        training train{net, loss, adam};
        CHECK_THAT(message_of<numerical_error>([&] {
                       train.step({x.view(), tags, targets.view()});
                   }),
                   contains_text(words));
    };
    targets(2, 1) = std::numeric_limits<double>::quiet_NaN();
    says(loss::mean_squared_error{}, "(the targets are not finite: row 2, column 1)");
    targets(3, 0) = std::numeric_limits<double>::infinity();
    says(loss::columns(loss::column::squared{}, loss::column::squared{}, loss::column::squared{}),
         "(the targets are not finite: row 3, column 0)"); // a NaN is a task that the row does not have
}
