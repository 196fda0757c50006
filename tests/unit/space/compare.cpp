// SPDX-License-Identifier: Apache-2.0
// A comparison of specialisations trains what `fit` trains, and goes on where it was stopped.
#include "../io/temporary_folder.hpp"

#include <espalier/activation/relu.hpp>
#include <espalier/layer/dense.hpp>
#include <espalier/layer/input.hpp>
#include <espalier/layer/sequence.hpp>
#include <espalier/loss/cross_entropy.hpp>
#include <espalier/optimizer/adam.hpp>
#include <espalier/space/compare.hpp>

#include <support/catch.hpp>
#include <support/message_of.hpp>

#include <nlohmann/json.hpp>

#include <cmath>
#include <stdexcept>
#include <string>
#include <vector>

using namespace espalier;
using espalier_test::temporary_folder;
namespace hana = boost::hana;

namespace {

constexpr auto widths = space(choices<"width">(hana::tuple_c<int, 4, 6>), choices<"fixed">(hana::tuple_c<int, 1>));
template <class W, class> using stack = sequence<input<3>, dense<W::value, activation::relu>, dense<2>>;

template <class W, class> using deep_stack = sequence<input<3>, dense<W::value, activation::relu>, dense<2>, dense<2>>;

data_set rows_of(index_t count) {
    data_set data;
    data.count = count;
    data.width = 3;
    for (index_t i = 0; i < count; ++i) {
        for (index_t c = 0; c < 3; ++c)
            data.features.push_back(std::sin(static_cast<float>(3 * i + c)));
        data.labels.push_back(data.features[static_cast<std::size_t>(3 * i)] > 0.2F);
    }
    return data;
}

data_set const train = rows_of(40), test = rows_of(12);
optimizer::adam<> const adam{.learning_rate = 0.01};

compare_options options() {
    compare_options out;
    out.fit.epochs = 2;
    out.fit.batch = 8;
    out.fit.validation = test;
    out.fit.progress = false;
    out.seeds = {seed{3}, seed{4}};
    return out;
}

} // namespace

TEST_CASE("a comparison has the results of fit, and sizes of the stacks", "[space]") {
    auto const results = compare<stack>(widths, loss::cross_entropy{}, adam, train, options());
    REQUIRE(results.stacks.size() == 2);
    double loss_sum = 0.0, accuracy = 0.0;
    for (seed const s : options().seeds) {
        network<stack<hana::integral_constant<int, 6>, void>, device::cpu, float> net(s, 8);
        auto const record = fit(net, loss::cross_entropy{}, adam, train, options().fit);
        loss_sum += record.last("loss");
        accuracy += record.last("validation_accuracy");
    }
    compared_stack const& six = results.stacks[1];
    CHECK(six.which.text() == "width=6 fixed=1");
    CHECK(six.loss == loss_sum / 2);
    CHECK(six.validation_accuracy == accuracy / 2);
    CHECK(six.parameters == 3 * 6 + 6 + 6 * 2 + 2);
    CHECK(six.operations == 3.0 * 2.0 * (3 * 6 + 6 * 2) * 8);
    CHECK(six.step_seconds > 0.0);
    CHECK(six.bytes > 10.0 * 4 * static_cast<double>(six.parameters)); // 4 of weights, 2 of gradients, 4 of two moments
    CHECK(six.memory > 4.0 * 4 * static_cast<double>(six.parameters));
    CHECK(six.floor_seconds == 0.0);
    auto bounded = options();
    bounded.roof = {.bytes_per_second = six.bytes, .operations_per_second = six.operations / 2.0};
    CHECK(compare<stack>(widths, loss::cross_entropy{}, adam, train, bounded).stacks[1].floor_seconds == Approx(2.0));

    // an axis with one option is no column
    CHECK(results.text().starts_with("width  parameters"));
    CHECK(results.to_csv().starts_with("width,fixed,parameters,operations"));
    auto const told = nlohmann::json::parse(results.to_json());
    CHECK(told["rows"][1]["choices"]["width"] == "6");
    CHECK(told["rows"][1]["ns"].get<double>() == Approx(1e9 * six.step_seconds));
}

TEST_CASE("a comparison goes on with what its file lacks", "[space]") {
    temporary_folder folder;
    auto kept = options();
    kept.file = folder / "results.json";
    auto const all_of = compare<stack>(widths, loss::cross_entropy{}, adam, train, kept);
    auto const whole = espalier_test::content_of(folder / "results.json");
    CHECK(whole == all_of.to_json());

    // nothing is left: times are those of the file to the last digit
    int told = 0;
    kept.on_result = [&](compared_stack const&) { ++told; };
    auto const again = compare<stack>(widths, loss::cross_entropy{}, adam, train, kept);
    CHECK(told == 2);
    CHECK(again.to_json() == whole);

    // a file that lacks the first: it is trained, the other one is kept
    auto part = nlohmann::ordered_json::parse(whole);
    part["rows"].erase(0);
    part["rows"][0]["loss"] = 0.125;
    folder.put("results.json", part.dump());
    auto const mended = compare<stack>(widths, loss::cross_entropy{}, adam, train, kept);
    CHECK(mended.stacks[0].loss == all_of.stacks[0].loss);
    CHECK(mended.stacks[1].loss == 0.125);
    CHECK(mended.stacks[1].which.index == 1);
    auto const written = nlohmann::json::parse(espalier_test::content_of(folder / "results.json"));
    CHECK(written["rows"].size() == 2);

    auto const refused = [&](compare_options const& given) {
        return message_of<std::exception>([&] { compare<stack>(widths, loss::cross_entropy{}, adam, train, given); });
    };
    auto const into_file = [&](auto const& compare_again) {
        auto const message = message_of<std::exception>(compare_again);
        CHECK_THAT(message, contains_text("results.json"));
        return message;
    };
    CHECK_THAT(
        into_file([&] { compare<stack, device::cpu, double>(widths, loss::cross_entropy{}, adam, train, kept); }),
        contains_text("double on "));
    CHECK_THAT(into_file([&] { compare<deep_stack>(widths, loss::cross_entropy{}, adam, train, kept); }),
               contains_text("width=4 fixed=1 is that of another stack, sequence<input<3"));
    auto longer = kept;
    longer.fit.epochs = 3;
    CHECK_THAT(refused(longer), contains_text("made with other settings"));
    folder.put("results.json", "[]");
    CHECK_THAT(refused(kept), contains_text("this is no comparison"));
    part["axes"]["width"] = {"4", "5"};
    folder.put("results.json", part.dump());
    CHECK_THAT(refused(kept), contains_text("other axes or options"));
    auto resumed = options();
    resumed.fit.resume = true;
    CHECK(refused(resumed).find("compare: resume of a run cannot be given") == 0);
    auto none = options();
    none.seeds.clear();
    CHECK(refused(none) == "compare: there is no seed; give at least one");
}

TEST_CASE("a comparison that is stopped by whoever is told of a result keeps that", "[space]") {
    temporary_folder folder;
    auto kept = options();
    kept.file = folder / "results.json";
    kept.settings = "not UTF-8: \xff";
    kept.on_result = [](compared_stack const&) { throw std::runtime_error("enough"); };
    CHECK(message_of<std::exception>([&] { compare<stack>(widths, loss::cross_entropy{}, adam, train, kept); }) ==
          "enough");
    auto const written = nlohmann::json::parse(espalier_test::content_of(folder / "results.json"));
    CHECK(written["rows"].size() == 1);
    kept.on_result = nullptr;
    auto const results = compare<stack>(widths, loss::cross_entropy{}, adam, train, kept);
    CHECK(results.stacks[0].loss == written["rows"][0]["loss"].get<double>());
    CHECK(results.stacks.size() == 2);
}

TEST_CASE("the table of a comparison tells a number of 0 from none, and rounds to three digits", "[space]") {
    comparison told;
    told.axes = {{"width", {"4", "6"}}};
    compared_stack& row = told.stacks.emplace_back();
    row.which.choices = {{"width", "4"}};
    row.operations = 999999.0;
    row.validation_loss = std::nan("");
    CHECK(told.text() == "width  parameters  accuracy     loss  step us  operations  bytes  memory\n"
                         "4               0    0.0000  0.00000      0.0         1 M      0       0\n");
}
