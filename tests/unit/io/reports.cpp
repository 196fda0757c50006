// SPDX-License-Identifier: Apache-2.0
// What every text has in common that the library makes for people or files.
#include <espalier/activation/relu.hpp>
#include <espalier/io/history.hpp>
#include <espalier/layer/dense.hpp>
#include <espalier/layer/input.hpp>
#include <espalier/layer/sequence.hpp>
#include <espalier/network/describe.hpp>
#include <espalier/penalty/l1.hpp>
#include <espalier/schedule/linear.hpp>
#include <espalier/train/check_gradients.hpp>
#include <espalier/train/policy_check.hpp>

#include <array>
#include <string>
#include <utility>

#include <support/catch.hpp>

namespace {

using stack = espalier::sequence<espalier::input<3>, espalier::dense<2, espalier::activation::relu>>;

TEST_CASE("every report ends with one line end") {
    espalier::history record;
    record.append({{"epoch", 1.0}, {"loss", 0.5}});
    std::array<std::pair<char const*, std::string>, 7> const texts{{
        {"describe", espalier::describe<stack>()},
        {"describe_json", espalier::describe_json<stack>()},
        {"to_dot", espalier::to_dot<stack>()},
        {"policy_report", espalier::check_policy<espalier::activation::relu>().text},
        {"gradient_report", espalier::gradient_report{}.text()},
        {"to_csv", record.to_csv()},
        {"to_json", record.to_json()},
    }};
    for (auto const& [what, text] : texts) {
        INFO(what);
        REQUIRE(text.size() > 2);
        CHECK(text[text.size() - 1] == '\n');
        CHECK(text[text.size() - 2] != '\n');
    }
}

TEST_CASE("what check_policy says begins with the policy and its numbers at that time") {
    using falling = espalier::penalty::l1<espalier::schedule::linear{.from = 0.5, .to = 0.0, .steps = 4}>;
    espalier::clock now;
    CHECK(espalier::check_policy<falling>(now).text.starts_with("l1(coefficient 0.5) on axis penalty\n"));
    now.step = 2;
    CHECK(espalier::check_policy<falling>(now).text.starts_with("l1(coefficient 0.25) on axis penalty\n"));
}

} // namespace
