// SPDX-License-Identifier: Apache-2.0
// Batches that make no sense: each is a documented error, and nothing has changed afterwards.
#include "../layer/naive.hpp"
#include "snapshot.hpp"

#include <espalier/activation/relu.hpp>
#include <espalier/dropout/bernoulli.hpp>
#include <espalier/layer/batch_norm.hpp>
#include <espalier/layer/dense.hpp>
#include <espalier/layer/input.hpp>
#include <espalier/layer/sequence.hpp>
#include <espalier/loss/early_learning.hpp>
#include <espalier/optimizer/adam.hpp>
#include <espalier/prune/by_magnitude.hpp>
#include <espalier/prune/constant.hpp>
#include <espalier/prune/hard.hpp>
#include <espalier/prune/per_layer.hpp>
#include <espalier/prune/policy.hpp>
#include <espalier/train/training.hpp>

#include <support/catch.hpp>
#include <support/message_of.hpp>

#include <limits>

using namespace espalier;
using espalier_test::snapshot;

namespace {

// Everything that a step can change: weights, masks, running statistics, moments, memory of the loss, clock.
using pruned =
    prune::policy<prune::by_magnitude, prune::per_layer, prune::constant{.sparsity = 0.5, .start = 1}, prune::hard>;
using stack = sequence<input<6>, dense<32, activation::relu, dropout::bernoulli<0.25>, pruned>, batch_norm<>, dense<5>>;
using run_type = training<naive::network<stack>, loss::early_learning, optimizer::adam<>>;
constexpr index_t capacity = 32, samples = 100;

/// A training after one step, so that masks are due at the next; and a batch to spoil.
struct problem {
    naive::network<stack> net{seed{3}, capacity};
    run_type run{net, {}, {}, samples};
    naive::matrix x = naive::random(capacity + 1, 6, 1);
    std::vector<std::int32_t> labels = naive::cyclic_labels(capacity + 1, 5);
    std::vector<std::int64_t> ids;

    problem() {
        for (index_t i = 0; i <= capacity; ++i)
            ids.push_back(i);
        run.step(batch(capacity));
    }
    batch_view<double> batch(index_t rows_given) const {
        rows tags = naive::tags_of(rows_given, &labels);
        tags.sample = ids.data();
        return {x.view().middle_rows(0, rows_given), tags, {}};
    }
    template <class Error> void refuses(batch_view<double> const& given, std::string const& part) {
        snapshot const before(run);
        CHECK_THAT(message_of<Error>([&] { run.step(given); }), contains_text(part));
        CHECK(snapshot(run) == before);
        // and training goes on
        CHECK_NOTHROW(run.step(batch(capacity)));
    }
};

} // namespace

TEST_CASE("bad input: a batch larger than the capacity", "[train]") {
    problem p;
    p.refuses<shape_error>(p.batch(capacity + 1), "a batch of 33 rows exceeds the capacity of 32");
}

TEST_CASE("bad input: a batch larger than the network had room for when training began", "[train]") {
    problem p;
    p.net.reserve(64);
    p.refuses<shape_error>(p.batch(capacity + 1), "33 rows");
}

TEST_CASE("bad input: rows of another width, tags of another count", "[train]") {
    problem p;
    auto given = p.batch(4);
    given.inputs = given.inputs.middle_columns(0, 5);
    p.refuses<shape_error>(given, "rows have 5 features, the input layer takes 6");
    given = p.batch(4);
    given.tags.count = 3;
    p.refuses<shape_error>(given, "the inputs have 4 rows and their tags describe 3");
}

TEST_CASE("bad input: a label out of range", "[train]") {
    for (std::int32_t const label : {5, -2, std::numeric_limits<std::int32_t>::max()}) {
        problem p;
        auto const labels = p.labels;
        auto bad = p.labels;
        bad[7] = label;
        auto given = p.batch(capacity);
        given.tags.label = bad.data();
        p.refuses<data_error>(given, "label " + std::to_string(label) + " in row 7");
    }
}

TEST_CASE("bad input: no labels, no sample ids, a sample that does not exist", "[train]") {
    problem p;
    auto given = p.batch(4);
    given.tags.label = nullptr;
    p.refuses<data_error>(given, "needs labels");
    given = p.batch(4);
    given.tags.sample = nullptr;
    p.refuses<data_error>(given, "needs the samples' ids");
    auto ids = p.ids;
    ids[2] = samples;
    given = p.batch(4);
    given.tags.sample = ids.data();
    p.refuses<data_error>(given, "sample 100 in row 2");
}

TEST_CASE("bad input: a number that is not finite stops training at its step", "[train]") {
    for (double const bad : {std::numeric_limits<double>::quiet_NaN(), std::numeric_limits<double>::infinity()}) {
        problem p;
        auto spoiled = p.x;
        spoiled(3, 2) = bad;
        auto given = p.batch(capacity);
        given.inputs = spoiled.view().middle_rows(0, capacity);
        p.refuses<numerical_error>(given, "at step 1 (the inputs are not finite: row 3, column 2)");
    }
}

TEST_CASE("bad input: weights that are not finite are named", "[train]") {
    problem p;
    auto const kernel = p.net.tensor("3.kernel");
    double const good = kernel(1, 1);
    kernel(1, 1) = std::numeric_limits<double>::quiet_NaN();
    CHECK_THAT(message_of<numerical_error>([&] { p.run.step(p.batch(4)); }),
               contains_text("the loss is nan at step 1 (tensor 3.kernel is not finite)"));
    kernel(1, 1) = good;
    CHECK_NOTHROW(p.run.step(p.batch(4)));
}

TEST_CASE("bad input: gradients are asked for without a trace", "[train]") {
    problem p;
    snapshot const before(p.run);
    naive::matrix dx(capacity, 6);
    p.run.gradients_of(p.batch(capacity));
    p.run.input_gradients_of(p.batch(capacity), dx.view());
    p.run.objective(p.batch(capacity));
    p.run.evaluate(p.batch(capacity));
    CHECK(snapshot(p.run) == before);
}

TEST_CASE("bad input: batches of no row and of one", "[train]") {
    problem p;
    // No rows: the loss is 0, and so are its gradients; the step counts, as a batch whose labels all do not count does.
    auto const result = p.run.step(p.batch(0));
    CHECK(result.loss == 0.0);
    CHECK(p.run.time().step == 2);
    for (index_t i = 0; i < p.run.gradients().size(); ++i)
        REQUIRE(p.run.gradients()[i] == 0.0);
    auto const running = naive::tensor(p.net, "2.running_mean");
    CHECK(std::isfinite(p.run.step(p.batch(1)).loss));
    CHECK(naive::tensor(p.net, "2.running_mean").values != running.values);
    for (index_t i = 0; i < p.net.values().weights().size(); ++i)
        REQUIRE(std::isfinite(p.net.values().weights()[i]));
    // the running variance of one row stays what it is made from: not negative, finite
    for (double const v : naive::tensor(p.net, "2.running_variance").values)
        CHECK(v >= 0.0);
    naive::matrix y(0, 5);
    CHECK_NOTHROW(p.net.predict(naive::matrix(0, 6).view(), y.view()));
}

TEST_CASE("bad input: numbers of the loss and the optimizer", "[train]") {
    naive::network<stack> net({3}, capacity);
    CHECK_THROWS_AS((run_type(net, {}, {.learning_rate = -1.0}, samples)), data_error);
    run_type run(net, {.beta = 1.5}, {}, samples);
    auto const x = naive::random(4, 6, 1);
    auto const labels = naive::cyclic_labels(4, 5);
    std::vector<std::int64_t> const ids{0, 1, 2, 3};
    rows tags = naive::tags_of(4, &labels);
    tags.sample = ids.data();
    snapshot const before(run);
    CHECK_THROWS_AS(run.step({x.view(), tags, {}}), data_error);
    CHECK(snapshot(run) == before);
}
