// SPDX-License-Identifier: Apache-2.0
// Time goes on: over calls of fit, over a stop, and over the numbers that a program sets on the way.
#include "../io/temporary_folder.hpp"
#include "../layer/naive.hpp"
#include "fit_data.hpp"

#include <espalier/activation/tanh.hpp>
#include <espalier/dropout/bernoulli.hpp>
#include <espalier/layer/dense.hpp>
#include <espalier/layer/input.hpp>
#include <espalier/layer/sequence.hpp>
#include <espalier/loss/cross_entropy.hpp>
#include <espalier/optimizer/adam.hpp>
#include <espalier/optimizer/sgd.hpp>
#include <espalier/schedule/linear.hpp>
#include <espalier/schedule/runtime.hpp>
#include <espalier/train/fit.hpp>

#include <support/catch.hpp>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <limits>

using namespace espalier;
using namespace espalier::literals;
using espalier_test::quiet;
using espalier_test::temporary_folder;

namespace {

using stack =
    sequence<input<4>, dense<8, activation::tanh, dropout::bernoulli<schedule::runtime{"rate"_name, 0.25}>>, dense<3>>;
using net_type = network<stack, device::cpu, float>;

data_set clusters(index_t count) {
    return espalier_test::clusters(count, 4, 5);
}

bool same_weights(net_type const& a, net_type const& b) {
    return std::memcmp(a.values().weights().data(), b.values().weights().data(), a.values().weights().bytes()) == 0;
}

constexpr loss::cross_entropy loss_of_tests{};
constexpr optimizer::sgd<> plain{.learning_rate = 0.1};

} // namespace

TEST_CASE("resume: three calls of one epoch are one call of three", "[train][fit]") {
    auto const data = clusters(60);
    net_type whole({1}, 16), parts({1}, 16), again({1}, 16);
    auto const record = fit(whole, loss_of_tests, plain, data, quiet(3));
    std::vector<double> losses, epochs, steps;
    for (int i = 0; i < 3; ++i) {
        auto const part = fit(parts, loss_of_tests, plain, data, quiet(1));
        REQUIRE(part.rows() == 1);
        losses.push_back(part.last("loss"));
        epochs.push_back(part.last("epoch"));
        steps.push_back(part.last("step"));
    }
    CHECK(losses == record.column("loss"));
    CHECK(epochs == record.column("epoch"));
    CHECK(steps == record.column("step"));
    CHECK(same_weights(whole, parts));
    CHECK(whole.time().step == 12);
    CHECK(whole.time().epoch == 3);

    // Told to start over, a run draws what the first one drew.
    net_type const start({1}, 16);
    std::memcpy(whole.values().weights().data(), start.values().weights().data(), start.values().weights().bytes());
    whole.refresh();
    auto options = quiet(3);
    options.start_over = true;
    CHECK(fit(whole, loss_of_tests, plain, data, options).column("loss") == record.column("loss"));
    CHECK(same_weights(whole, parts));
}

TEST_CASE("resume: the optimizer of a further run begins anew, with its schedules", "[train][fit]") {
    auto const data = clusters(60);
    auto const falling = optimizer::sgd{.learning_rate = schedule::linear{.from = 0.1, .to = 0.0, .steps = 4}};
    net_type net({1}, 16);
    fit(net, loss_of_tests, falling, data, quiet(2)); // the rate is 0 in the second epoch
    net_type const before = net;
    fit(net, loss_of_tests, falling, data, quiet(1));
    CHECK_FALSE(same_weights(net, before));
    net_type steady = net;
    // A checkpoint knows how far the rate had come.
    temporary_folder folder;
    auto options = quiet(1);
    options.checkpoints = folder.path();
    fit(net, loss_of_tests, falling, data, options);
    options.epochs = 3;
    options.resume = true;
    net_type resumed({1}, 16);
    fit(resumed, loss_of_tests, falling, data, options);
    CHECK(same_weights(resumed, net));
    CHECK(resumed.time().epoch == 6);
    fit(steady, loss_of_tests, falling, data, quiet(3));
    CHECK(same_weights(resumed, steady));
}

TEST_CASE("resume: a run that patience or on_epoch ended stays at its end", "[train][fit]") {
    auto const data = clusters(60);
    for (bool const by_patience : {true, false}) {
        temporary_folder folder;
        auto options = quiet(50);
        options.checkpoints = folder.path();
        options.resume = true;
        if (by_patience) {
            options.patience = 2;
            options.rates = {{.frozen = true}};
            options.values = {{"rate"_name, 0.0}};
            options.validation = data.view();
        } else {
            options.on_epoch = [](history const& record, std::vector<named_value>&) { return record.rows() < 4; };
        }
        net_type net({1}, 16);
        auto const record = fit(net, loss_of_tests, plain, data, options);
        REQUIRE(record.rows() == (by_patience ? 3 : 4));
        for (int i = 0; i < 3; ++i) {
            net_type further({1}, 16);
            auto const same = fit(further, loss_of_tests, plain, data, options);
            CHECK(same.column("loss") == record.column("loss"));
            CHECK(same_weights(further, net));
        }
        if (!by_patience) continue;
        options.patience = 4; // more of it goes on
        net_type further({1}, 16);
        CHECK(fit(further, loss_of_tests, plain, data, options).rows() == 5);
    }
}

TEST_CASE("resume: patience goes on counting wherever a run was stopped", "[train][fit]") {
    auto const data = clusters(60);
    auto test = clusters(45);
    for (std::size_t i = 0; i < test.labels.size(); i += 6)
        test.labels[i] = (test.labels[i] + 1) % 3; // what is learnt too well is wrong there
    constexpr optimizer::sgd<> fast{.learning_rate = 0.3};
    auto const options_in = [&](temporary_folder const& folder, index_t epochs) {
        auto options = quiet(epochs);
        options.validation = test.view();
        options.patience = 3;
        options.checkpoints = folder.path();
        options.resume = true;
        return options;
    };
    temporary_folder folder;
    net_type whole({1}, 16);
    auto const record = fit(whole, loss_of_tests, fast, data, options_in(folder, 60));
    auto const best = espalier_test::content_of(folder / "best.safetensors");
    auto const& losses = record.column("validation_loss");
    auto const lowest = std::min_element(losses.begin(), losses.end()) - losses.begin();
    REQUIRE(record.rows() == lowest + 4);
    REQUIRE(lowest > 0);
    for (index_t stop = 1; stop < record.rows(); ++stop) {
        temporary_folder parts;
        net_type first({1}, 16), second({1}, 16);
        REQUIRE(fit(first, loss_of_tests, fast, data, options_in(parts, stop)).rows() == stop);
        INFO("stopped after " << stop << " of " << record.rows() << " epochs");
        CHECK(fit(second, loss_of_tests, fast, data, options_in(parts, 60)).column("validation_loss") == losses);
        CHECK(same_weights(second, whole));
        CHECK(espalier_test::content_of(parts / "best.safetensors") == best);
    }
}

TEST_CASE("resume: a validation loss that is no number is never the best one", "[train][fit]") {
    // Nothing is learnt. With the weights `large` the training rows have finite logits, and those of the validation
    // rows overflow; with weights of 0 both have a loss of log 3.
    using linear = network<sequence<input<4>, dense<3>>, device::cpu, float>;
    auto const data = clusters(30);
    auto test = clusters(9);
    for (float& v : test.features)
        v = 1e3f;
    auto const set = [](linear& net, bool large) {
        auto const w = net.tensor("1.kernel");
        for (index_t r = 0; r < 4; ++r)
            for (index_t c = 0; c < 3; ++c)
                w(r, c) = large ? 1e37f * static_cast<float>(1 - c) : 0.0f;
        net.refresh();
    };
    auto const options_in = [&](temporary_folder const& folder, linear& net, index_t epochs, index_t patience) {
        auto options = quiet(epochs);
        options.validation = test.view();
        options.patience = patience;
        options.checkpoints = folder.path();
        options.resume = true;
        options.rates = {{.frozen = true}};
        options.on_epoch = [&net, set](history const& seen, std::vector<named_value>&) {
            set(net, seen.rows() != 2); // the third epoch is the good one
            return true;
        };
        return options;
    };
    auto const run = [&](temporary_folder const& folder, index_t epochs, index_t patience) {
        linear net({1}, 16);
        set(net, true);
        return fit(net, loss_of_tests, plain, data, options_in(folder, net, epochs, patience))
            .column("validation_loss");
    };
    auto const same = [](std::vector<double> const& seen, std::vector<bool> const& numbers) {
        if (seen.size() != numbers.size()) return false;
        for (std::size_t i = 0; i < seen.size(); ++i)
            if (numbers[i] ? seen[i] != Approx(std::log(3.0)) : !std::isnan(seen[i])) return false;
        return true;
    };
    {
        temporary_folder folder; // two epochs of patience, none of them with a number
        CHECK(same(run(folder, 20, 2), {false, false}));
        CHECK_FALSE(std::filesystem::exists(folder / "best.safetensors"));
        CHECK_FALSE(std::filesystem::exists(folder / "best.safetensors.new"));
        CHECK(std::filesystem::exists(folder / "last.safetensors"));
        CHECK(same(run(folder, 20, 2), {false, false}));
    }
    std::vector<bool> const expected{false, false, true, false, false, false, false};
    temporary_folder folder;
    CHECK(same(run(folder, 20, 4), expected));
    auto const best = read_safetensors(folder / "best.safetensors");
    CHECK(best.metadata().at("best_epoch") == "3");
    for (float const v : best.at("1.kernel").values<float>())
        CHECK(v == 0.0f);
    for (index_t stop = 1; stop < 7; ++stop) {
        temporary_folder parts;
        std::vector<bool> const begun(expected.begin(), expected.begin() + stop);
        INFO("stopped after " << stop);
        CHECK(same(run(parts, stop, 4), begun));
        CHECK(std::filesystem::exists(parts / "best.safetensors") == (stop >= 3));
        CHECK(same(run(parts, 20, 4), expected));
        CHECK(espalier_test::content_of(parts / "best.safetensors") ==
              espalier_test::content_of(folder / "best.safetensors"));
        CHECK(same(history::read_json(parts / "history.json").column("validation_loss"), expected));
    }
}

TEST_CASE("resume: run-time values are part of a checkpoint", "[train][fit]") {
    auto const data = clusters(60);
    auto const with_values = [&](index_t epochs) {
        auto options = quiet(epochs);
        options.values = {{"rate"_name, 0.5}};
        options.on_epoch = [](history const&, std::vector<named_value>& values) {
            values[0].value *= 0.5;
            return true;
        };
        return options;
    };
    net_type whole({1}, 16);
    auto const record = fit(whole, loss_of_tests, plain, data, with_values(6));
    REQUIRE(whole.time().values.size == 1);
    CHECK(whole.time().values[0].value == 0.0078125);
    for (index_t stop = 1; stop < 6; ++stop) {
        temporary_folder folder;
        auto options = with_values(stop);
        options.checkpoints = folder.path();
        options.resume = true;
        net_type first({1}, 16), second({1}, 16);
        fit(first, loss_of_tests, plain, data, options);
        options.epochs = 6;
        CHECK(fit(second, loss_of_tests, plain, data, options).column("loss") == record.column("loss"));
        CHECK(same_weights(second, whole));
        net_type loaded({9}, 16);
        load(loaded, folder / "last.safetensors");
        CHECK(loaded.time().values[0].value == 0.0078125);
    }
}

TEST_CASE("resume: files of an epoch that never was complete do not count", "[train][fit]") {
    auto const data = clusters(60);
    temporary_folder folder;
    auto options = quiet(3);
    options.checkpoints = folder.path();
    options.resume = true;
    net_type net({1}, 16);
    auto const record = fit(net, loss_of_tests, optimizer::adam{}, data, options);
    auto const best = espalier_test::content_of(folder / "best.safetensors");
    // A best network whose checkpoint is there, and the history is not; one without; parts of a dead writer.
    std::filesystem::rename(folder / "best.safetensors", folder / "best.safetensors.new");
    std::filesystem::remove(folder / "history.json");
    folder.put("last.safetensors.part-1-0", "dead");
    folder.put("history.json.part-7-3", "dead");
    folder.put("notes.part-1-0", "somebody else's");
    net_type again({1}, 16);
    CHECK(fit(again, loss_of_tests, optimizer::adam{}, data, options).column("loss") == record.column("loss"));
    CHECK(espalier_test::content_of(folder / "best.safetensors") == best);
    CHECK(history::read_json(folder / "history.json").column("loss") == record.column("loss"));
    CHECK(folder.entries() == 4); // best, last, history, and what is not ours
    save(net, folder / "best.safetensors.new", {{"best_epoch", "4"}});
    fit(again, loss_of_tests, optimizer::adam{}, data, options);
    CHECK(espalier_test::content_of(folder / "best.safetensors") == best);
    CHECK(folder.entries() == 4);
    // A new run in the folder has nothing of the old one once its first epoch is kept.
    options.resume = false;
    options.epochs = 1;
    net_type other({2}, 16);
    auto rest = data;
    fit(other, loss_of_tests, optimizer::adam{}, rest, options);
    CHECK(history::read_json(folder / "history.json").rows() == 1);
    net_type loaded({1}, 16);
    load(loaded, folder / "best.safetensors");
    CHECK(same_weights(loaded, other));
}

TEST_CASE("resume: metadata that are not numbers are refused, with nothing changed", "[train][fit]") {
    auto const data = clusters(60);
    temporary_folder folder;
    net_type net({1}, 16);
    training run{net, loss_of_tests, plain};
    for (auto const* key : {"best", "since_best", "stopped", "best_epoch"}) {
        save_training(run, folder / "last.safetensors", {{key, "soon"}, {"history", "{}"}});
        auto options = quiet(1);
        options.checkpoints = folder.path();
        options.resume = true;
        net_type other({1}, 16);
        CHECK_THROWS_AS(fit(other, loss_of_tests, plain, data, options), file_error);
    }
}
