// SPDX-License-Identifier: Apache-2.0
// fit: repeatable, resumable, and with an error for every data set that makes no sense.
#include "../io/temporary_folder.hpp"
#include "../layer/naive.hpp"
#include "fit_data.hpp"

#include <espalier/activation/tanh.hpp>
#include <espalier/dropout/bernoulli.hpp>
#include <espalier/layer/batch_norm.hpp>
#include <espalier/layer/dense.hpp>
#include <espalier/layer/input.hpp>
#include <espalier/layer/sequence.hpp>
#include <espalier/loss/cross_entropy.hpp>
#include <espalier/loss/early_learning.hpp>
#include <espalier/optimizer/adam.hpp>
#include <espalier/optimizer/sgd.hpp>
#include <espalier/penalty/l2.hpp>
#include <espalier/prune/by_magnitude.hpp>
#include <espalier/prune/gradual.hpp>
#include <espalier/prune/per_layer.hpp>
#include <espalier/prune/policy.hpp>
#include <espalier/prune/straight_through.hpp>
#include <espalier/schedule/runtime.hpp>
#include <espalier/train/fit.hpp>

#include <support/catch.hpp>
#include <support/message_of.hpp>

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

using pruned =
    prune::policy<prune::by_magnitude, prune::per_layer,
                  prune::gradual{.from = 0.0, .to = 0.5, .start = 3, .steps = 20, .every = 2}, prune::straight_through>;
using stack = sequence<input<6>, dense<32, activation::tanh, dropout::bernoulli<0.25>, pruned, penalty::l2<1e-3>>,
                       batch_norm<>, dense<3>>;
using net_type = network<stack, device::cpu, float>;

data_set clusters(index_t count, std::uint64_t seed_value) {
    return espalier_test::clusters(count, 6, seed_value);
}

bool same_bits(net_type const& a, net_type const& b) {
    auto const same = [](auto const& x, auto const& y) {
        return x.size() == y.size() && std::memcmp(x.data(), y.data(), x.bytes()) == 0;
    };
    return same(a.values().weights(), b.values().weights()) && same(a.values().state(), b.values().state()) &&
           same(a.values().masks(), b.values().masks());
}

} // namespace

TEST_CASE("fit: learns, and names everything in its history", "[train][fit]") {
    auto const train = clusters(90, 1), test = clusters(60, 2);
    net_type net({1}, 16);
    auto options = quiet(12);
    options.validation = test.view();
    auto const record = fit(net, loss::cross_entropy{}, optimizer::adam{.learning_rate = 1e-2}, train, options);
    CHECK(record.rows() == 12);
    CHECK(record.columns() == std::vector<std::string>{"epoch", "step", "loss", "1.kernel.l2", "total",
                                                       "validation_loss", "validation_accuracy", "seconds"});
    CHECK(record.last("epoch") == 12.0);
    CHECK(record.last("step") == 12.0 * 6.0); // 90 rows in batches of 16: five full ones and one of 10
    CHECK(record.last("total") == Approx(record.last("loss") + record.last("1.kernel.l2")));
    CHECK(record.last("loss") < 0.5 * record.at(0, "loss"));
    CHECK(record.last("validation_accuracy") > 0.8);
    auto const again = evaluate(net, loss::cross_entropy{}, test.view());
    CHECK(again.loss == record.last("validation_loss"));
    CHECK(again.accuracy == record.last("validation_accuracy"));
}

TEST_CASE("fit: evaluation is the mean over rows, whatever the room for a batch", "[train][fit]") {
    auto const train = clusters(90, 1);
    auto test = clusters(33, 2); // the last batch has one row, which is unlike the others
    for (index_t c = 0; c < 6; ++c)
        test.features[static_cast<std::size_t>(32 * 6 + c)] = c % 3 == 1 ? 40.0f : -3.0f;
    net_type net({1}, 16);
    fit(net, loss::cross_entropy{}, optimizer::adam{.learning_rate = 1e-2}, train, quiet(3));
    auto const logits = predict(net, test.view());
    double loss = 0.0;
    int right = 0;
    for (std::size_t r = 0; r < 33; ++r) {
        float const* const z = logits.data() + 3 * r;
        double total = 0.0;
        for (int c = 0; c < 3; ++c)
            total += std::exp(static_cast<double>(z[c]));
        auto const label = static_cast<std::size_t>(test.labels[r]);
        loss += std::log(total) - static_cast<double>(z[label]);
        right += std::max_element(z, z + 3) == z + label;
    }
    REQUIRE(right < 33);
    for (index_t const capacity : {1, 7, 16, 33, 64}) {
        net_type other({1}, capacity);
        other.values() = net.values();
        other.refresh();
        auto const result = evaluate(other, loss::cross_entropy{}, test.view());
        INFO("room for " << capacity);
        CHECK(result.loss == Approx(loss / 33.0).epsilon(1e-5));
        CHECK(result.accuracy == right / 33.0);
    }
}

TEST_CASE("fit: two runs with one seed are bitwise equal, another seed is not", "[train][fit]") {
    auto const train = clusters(90, 1);
    net_type a({1}, 16), b({1}, 16), c({2}, 16);
    for (net_type* net : {&a, &b, &c})
        fit(*net, loss::early_learning{}, optimizer::adam{}, train, quiet(3));
    CHECK(same_bits(a, b));
    CHECK_FALSE(same_bits(a, c));
}

TEST_CASE("fit: a resumed run is bitwise equal to an unbroken one", "[train][fit]") {
    // With everything that has a memory: dropout, moments, samples, masks, running statistics.
    temporary_folder folder;
    auto const train = clusters(90, 1), test = clusters(60, 2);
    auto options = quiet(5);
    options.validation = test.view();
    net_type unbroken({1}, 16);
    auto const whole = fit(unbroken, loss::early_learning{}, optimizer::adam{}, train, options);

    options.checkpoints = folder / "run";
    options.resume = true;
    options.epochs = 2;
    net_type first({1}, 16);
    fit(first, loss::early_learning{}, optimizer::adam{}, train, options);
    CHECK_FALSE(same_bits(first, unbroken));
    options.epochs = 5;
    net_type second({1}, 16);
    auto const resumed = fit(second, loss::early_learning{}, optimizer::adam{}, train, options);
    CHECK(same_bits(second, unbroken));
    REQUIRE(resumed.rows() == whole.rows());
    for (auto const& column : {"loss", "1.kernel.l2", "total", "validation_loss", "validation_accuracy"})
        CHECK(resumed.column(column) == whole.column(column));
    // nothing is left to do
    net_type third({1}, 16);
    fit(third, loss::early_learning{}, optimizer::adam{}, train, options);
    CHECK(same_bits(third, unbroken));
    // another seed would not go on as it was
    net_type other({9}, 16);
    net_type const untouched = other;
    CHECK_THROWS_AS(fit(other, loss::early_learning{}, optimizer::adam{}, train, options), file_error);
    CHECK(same_bits(other, untouched));
}

TEST_CASE("fit: bad data sets are refused before anything changes", "[train][fit]") {
    auto const good = clusters(30, 1);
    net_type net({1}, 16);
    net_type const untouched = net;
    auto const refused = [&](data_set const& data) {
        auto const text =
            message_of<error>([&] { fit(net, loss::cross_entropy{}, optimizer::adam{}, data, quiet(2)); });
        CHECK(same_bits(net, untouched));
        return text;
    };
    data_set data;
    data.width = 6;
    CHECK(refused(data).find("fit: training data") == 0);
    CHECK_THAT(refused(data), !contains_text("no exception"));
    data = good;
    data.features[6 * 4 + 2] = std::numeric_limits<float>::quiet_NaN();
    CHECK_THAT(refused(data), contains_text("row 4, column 2 is not a number"));
    data = good;
    data.labels[7] = 3; // more classes than outputs
    CHECK_THAT(refused(data), contains_text("label 3"));
    data = good;
    data.labels[7] = -5;
    CHECK_THAT(refused(data), contains_text("label -5"));
    data = good;
    data.labels.clear();
    CHECK_THAT(refused(data), contains_text("needs labels"));
    data = good;
    data.width = 5;
    data.count = 36;
    data.labels.resize(36);
    CHECK_THAT(refused(data), contains_text("5 features, the network takes 6"));
    // and so is bad validation data, and a number that makes no sense
    data = good;
    data.labels[3] = 17;
    auto options = quiet(2);
    options.validation = data.view();
    CHECK_THAT(message_of<data_error>([&] { fit(net, loss::cross_entropy{}, optimizer::adam{}, good, options); }),
               contains_text("validation data"));
    options = quiet(2);
    options.batch = 0;
    CHECK_THROWS_AS(fit(net, loss::cross_entropy{}, optimizer::adam{}, good, options), data_error);
    CHECK(same_bits(net, untouched));
}

TEST_CASE("fit: a loss that is not finite stops, names the step and keeps the last checkpoint", "[train][fit]") {
    temporary_folder folder;
    auto const train = clusters(64, 1);
    using small = network<sequence<input<6>, dense<3>>, device::cpu, float>;
    small net({1}, 16);
    small kept = net;
    auto options = quiet(30);
    options.checkpoints = folder.path();
    options.on_step = [&](espalier::clock const& now) {
        if (now.step == 12) kept = net; // the last one of the third epoch
        if (now.step == 13) net.tensor("1.kernel")(2, 1) = std::numeric_limits<float>::infinity();
    };
    auto const text = message_of<numerical_error>(
        [&] { fit(net, loss::cross_entropy{}, optimizer::sgd{.learning_rate = 0.1}, train, options); });
    INFO(text);
    CHECK_THAT(text, contains_text("at step 13 (tensor 1.kernel is not finite)"));
    CHECK_THAT(text, contains_text("(epoch 4)"));
    CHECK_THAT(text, contains_text("last.safetensors"));
    small loaded({2}, 16);
    load(loaded, folder / "last.safetensors");
    CHECK(std::memcmp(loaded.values().weights().data(), kept.values().weights().data(),
                      kept.values().weights().bytes()) == 0);
}

TEST_CASE("fit: a checkpoint is good even if on_epoch spoils the network", "[train][fit]") {
    temporary_folder folder;
    auto const train = clusters(64, 1);
    net_type net({1}, 16), kept({1}, 16), loaded({1}, 16);
    auto options = quiet(5);
    options.checkpoints = folder.path();
    options.on_epoch = [&](history const& record, std::vector<named_value>&) {
        if (record.rows() == 2) kept = net;
        if (record.rows() == 3) net.tensor("3.bias")(0, 1) = std::numeric_limits<float>::quiet_NaN();
        return true;
    };
    auto const text =
        message_of<numerical_error>([&] { fit(net, loss::cross_entropy{}, optimizer::adam{}, train, options); });
    INFO(text);
    CHECK(text.find("tensor 3.bias is not finite after step 12 (epoch 3); the last checkpoint is ") == 10);
    load(loaded, folder / "last.safetensors");
    CHECK(same_bits(loaded, kept));
}

TEST_CASE("fit: weights that are not finite never become a checkpoint", "[train][fit]") {
    temporary_folder folder;
    auto train = clusters(16, 1); // one batch: the weights overflow in the only step of the epoch
    for (float& feature : train.features)
        feature = 0.0f;
    network<sequence<input<6>, dense<3, penalty::l2<1e3>>>, device::cpu, float> net({1}, 16);
    for (index_t i = 0; i < 18; ++i)
        net.tensor("1.kernel").data[i] = 1e37f;
    auto options = quiet(1);
    options.checkpoints = folder.path();
    auto const text = message_of<numerical_error>(
        [&] { fit(net, loss::cross_entropy{}, optimizer::sgd{.learning_rate = 1.0}, train, options); });
    INFO(text);
    CHECK_THAT(text, contains_text("tensor 1.kernel is not finite after step 1"));
    CHECK_THAT(text, contains_text("there is no checkpoint"));
    CHECK_FALSE(std::filesystem::exists(folder / "last.safetensors"));
}

TEST_CASE("fit: rates by role and path, and frozen tensors", "[train][fit]") {
    auto const train = clusters(48, 1);
    net_type net({1}, 16);
    net_type const before = net;
    auto options = quiet(2);
    options.rates = {{.tensor_role = role::bias, .frozen = true},
                     {.path = "3.", .learning_rate = 0.0},
                     {.path = "3.kernel", .learning_rate = 1.0}}; // times 0
    fit(net, loss::cross_entropy{}, optimizer::sgd{.learning_rate = 0.1}, train, options);
    for (tensor_info const& t : net.tensors()) {
        auto const now = std::as_const(net).values().view(t), old = before.values().view(t);
        bool const equal = std::memcmp(now.data, old.data, static_cast<std::size_t>(t.size()) * sizeof(float)) == 0;
        INFO(t.name);
        CHECK(equal == (t.name == "1.bias" || t.name.starts_with("3.")));
    }
}

TEST_CASE("fit: stops early, and when it is told to", "[train][fit]") {
    auto const train = clusters(48, 1), test = clusters(30, 2);
    {
        net_type net({1}, 16);
        auto options = quiet(50);
        options.validation = test.view();
        options.patience = 2;
        // nothing is learnt: the first epoch only is better than none (statistics of batch_norm settle meanwhile)
        options.rates = {{.frozen = true}};
        auto const record = fit(net, loss::cross_entropy{}, optimizer::sgd{.learning_rate = 0.1}, train, options);
        CHECK(record.rows() < 50);
        auto const& losses = record.column("validation_loss");
        index_t best = 0;
        for (index_t i = 1; i < record.rows(); ++i)
            if (losses[static_cast<std::size_t>(i)] < losses[static_cast<std::size_t>(best)]) best = i;
        CHECK(record.rows() == best + 3);
    }
    {
        net_type net({1}, 16);
        auto options = quiet(50);
        options.on_epoch = [](history const& record, std::vector<named_value>&) { return record.rows() < 4; };
        CHECK(fit(net, loss::cross_entropy{}, optimizer::adam{}, train, options).rows() == 4);
    }
}

TEST_CASE("fit: a number set in on_epoch acts from the next epoch on", "[train][fit]") {
    using tunable = sequence<input<6>, dense<3, penalty::l2<schedule::runtime{.name = "decay"_name, .initial = 0.5}>>>;
    auto const train = clusters(48, 1);
    network<tunable, device::cpu, double> net({1}, 16);
    auto options = quiet(4);
    options.values = {{"decay"_name, 0.25}};
    options.on_epoch = [](history const& record, std::vector<named_value>& values) {
        if (record.rows() == 2) values[0].value = 0.0;
        return true;
    };
    auto const record = fit(net, loss::cross_entropy{}, optimizer::sgd{.learning_rate = 0.0}, train, options);
    double squares = 0.0;
    for (index_t i = 0; i < 18; ++i)
        squares += net.tensor("1.kernel").data[i] * net.tensor("1.kernel").data[i];
    CHECK(record.at(0, "1.kernel.l2") == Approx(0.125 * squares).epsilon(1e-12));
    CHECK(record.at(1, "1.kernel.l2") == Approx(0.125 * squares).epsilon(1e-12));
    CHECK(record.at(2, "1.kernel.l2") == 0.0);
    CHECK(record.at(3, "1.kernel.l2") == 0.0);
}

TEST_CASE("fit: epochs are judged by any column, a program's own included", "[train][fit]") {
    auto const train = clusters(48, 1), test = clusters(30, 2);
    temporary_folder folder;
    auto options = quiet(6);
    options.validation = test.view();
    options.checkpoints = folder.path();
    // 1, 4, 9, 8, NaN, 5: the third epoch is the best one, the fourth, fifth and sixth are not better
    double const given[] = {1.0, 4.0, 9.0, 8.0, std::numeric_limits<double>::quiet_NaN(), 5.0};
    int calls = 0;
    options.measures = {{"own", [&] { return given[calls++]; }}, {"calls", [&] { return 1.0 * calls; }}};
    options.judge = {"own", true};
    options.patience = 3;
    net_type net({1}, 16), third({1}, 16);
    auto const record = fit(net, loss::cross_entropy{}, optimizer::adam{}, train, options);
    REQUIRE(record.rows() == 6);
    for (std::size_t i = 0; i < 6; ++i) {
        double const own = record.column("own")[i];
        CHECK((own == given[i] || (std::isnan(own) && std::isnan(given[i]))));
        CHECK(record.column("calls")[i] == static_cast<double>(i + 1));
    }
    fit(third, loss::cross_entropy{}, optimizer::adam{}, train, quiet(3));
    net_type best({2}, 16);
    load(best, folder.path() / "best.safetensors");
    CHECK(same_bits(best, third));

    // The least, of a column that is there anyway; the first epoch has the fewest steps.
    calls = 0;
    options.judge = {"step"};
    options.patience = 2;
    net_type other({1}, 16);
    CHECK(fit(other, loss::cross_entropy{}, optimizer::adam{}, train, options).rows() == 3);
}

TEST_CASE("fit: a judge or a measure that makes no sense is refused before anything changes", "[train][fit]") {
    auto const train = clusters(48, 1);
    net_type net({1}, 16), before({1}, 16);
    auto const says = [&](fit_options const& options, char const* words) {
        auto const text =
            message_of<data_error>([&] { fit(net, loss::cross_entropy{}, optimizer::adam{}, train, options); });
        CHECK_THAT(text, contains_text(words));
        CHECK(same_bits(net, before));
    };
    auto options = quiet(2);
    options.judge.name = "validation_loss"; // without validation
    says(options, "its columns are epoch, step, total, seconds, loss");
    options.judge.name = "";
    for (char const* const taken : {"loss", "total", "seconds", ""}) {
        options.measures = {{taken, [] { return 0.0; }}};
        says(options, "without the measure of that name");
    }
    options.measures = {{"one", [] { return 0.0; }}, {"one", [] { return 0.0; }}};
    says(options, "has a column 'one'");
    options.measures = {{"one", {}}};
    says(options, "the measure one has no function");

    temporary_folder folder;
    options.measures.clear();
    options.checkpoints = folder.path();
    fit(net, loss::cross_entropy{}, optimizer::adam{}, train, options);
    before = net;
    options.resume = true;
    options.epochs = 4;
    options.judge = {"loss", true};
    says(options, "judged by the validation loss, and this one's are by the greatest loss");
    options.judge = {};
    CHECK(fit(net, loss::cross_entropy{}, optimizer::adam{}, train, options).rows() == 4);
}
