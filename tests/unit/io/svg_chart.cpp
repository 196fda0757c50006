// SPDX-License-Identifier: Apache-2.0
// Charts: every value drawn where it belongs, gaps where there is none, text that cannot break the file.
#include <espalier/io/detail/chart_parts.hpp>
#include <espalier/io/svg_chart.hpp>

#include "temporary_folder.hpp"
#include <support/catch.hpp>

#include <cmath>
#include <limits>
#include <sstream>

using namespace espalier_test;
using espalier::bar_chart;
using espalier::line_chart;
using espalier::to_svg;

namespace {

int count_of(std::string const& text, std::string const& part) {
    int count = 0;
    for (auto at = text.find(part); at != std::string::npos; at = text.find(part, at + part.size())) {
        ++count;
    }
    return count;
}

/// The numbers in an attribute's value: every `name="..."` of elements that start with `element`.
std::vector<double> numbers_of(std::string const& svg, std::string const& element, std::string const& name) {
    std::vector<double> result;
    for (auto at = svg.find(element); at != std::string::npos; at = svg.find(element, at + 1)) {
        auto const start = svg.find(" " + name + "=\"", at) + name.size() + 3;
        std::string value = svg.substr(start, svg.find('"', start) - start);
        std::replace(value.begin(), value.end(), ',', ' ');
        std::istringstream in(value);
        for (double number = 0; in >> number;) {
            result.push_back(number);
        }
    }
    return result;
}

/// Tags are balanced, nothing that needs escaping stands in text or attributes, and no number is "nan" or "inf".
void check_well_formed(std::string const& svg) {
    std::vector<std::string> open;
    std::size_t at = 0;
    while (at < svg.size()) {
        if (svg[at] == '&') {
            auto const entity = svg.substr(at, svg.find(';', at) - at + 1);
            REQUIRE(
                (entity == "&amp;" || entity == "&lt;" || entity == "&gt;" || entity == "&quot;" || entity == "&#39;"));
        }
        REQUIRE((static_cast<unsigned char>(svg[at]) >= 32 || svg[at] == '\n' || svg[at] == '\t'));
        REQUIRE(svg[at] != '>');
        if (svg[at] != '<') {
            ++at;
            continue;
        }
        auto const end = svg.find('>', at);
        REQUIRE(end != std::string::npos);
        std::string const tag = svg.substr(at + 1, end - at - 1);
        REQUIRE(tag.find('<') == std::string::npos);
        REQUIRE(count_of(tag, "\"") % 2 == 0);
        REQUIRE(tag.find("nan") == std::string::npos);
        REQUIRE(tag.find("inf") == std::string::npos);
        if (tag[0] == '/') {
            REQUIRE_FALSE(open.empty());
            REQUIRE(open.back() == tag.substr(1));
            open.pop_back();
        } else if (tag.back() != '/') {
            open.push_back(tag.substr(0, tag.find(' ')));
        }
        at = end + 1;
    }
    REQUIRE(open.empty());
}

} // namespace

TEST_CASE("a line chart draws every point at its place") {
    line_chart const chart{.title = "Loss",
                           .x_label = "epoch",
                           .y_label = "nats",
                           .series = {{"a", {0, 5, 10}}, {"b", {10, 0}, {0, 2}}},
                           .y_from = 0,
                           .y_to = 10};
    std::string const svg = to_svg(chart);
    check_well_formed(svg);
    REQUIRE(count_of(svg, "<polyline") == 2);
    auto const points = numbers_of(svg, "<polyline", "points");
    REQUIRE(points.size() == 10);
    CHECK(points[2] == Approx((points[0] + points[4]) / 2).margin(0.11)); // evenly spaced
    CHECK(points[3] == Approx((points[1] + points[5]) / 2).margin(0.11));
    CHECK(points[1] > points[5]); // larger values are higher
    CHECK(points[6] == points[0]);
    CHECK(points[7] == points[5]);
    CHECK(points[8] == points[4]);
    CHECK(points[9] == points[1]);
    CHECK(count_of(svg, ">epoch<") == 1);
    CHECK(count_of(svg, ">nats<") == 1);
    CHECK(count_of(svg, ">a<") == 1);
    CHECK(count_of(svg, "stroke=\"#0072b2\"") == 2); // legend and line
    CHECK(count_of(svg, ">1.5<") == 0);              // whole epochs only
}

TEST_CASE("points without a value leave a gap, single ones a dot") {
    double const nan = std::numeric_limits<double>::quiet_NaN();
    line_chart chart{.title = "", .x_label = "", .y_label = "", .series = {{"s", {1, 2, nan, 3, INFINITY, 4, 5, 6}}}};
    std::string const svg = to_svg(chart);
    check_well_formed(svg);
    CHECK(count_of(svg, "<polyline") == 2);
    CHECK(numbers_of(svg, "<polyline", "points").size() == 10);
    CHECK(count_of(svg, "<circle") == 1);
    chart.series = {{"s", {10, 0, 100, 1000, -1}}};
    chart.log_y = true;
    std::string const log = to_svg(chart);
    check_well_formed(log);
    CHECK(count_of(log, "<polyline") == 1);
    CHECK(count_of(log, "<circle") == 1);
    auto const points = numbers_of(log, "<polyline", "points");
    auto const dot = numbers_of(log, "<circle", "cy");
    CHECK(dot[0] - points[1] == Approx(points[1] - points[3]).margin(0.11)); // decades are equally high
}

TEST_CASE("axis ticks are round and inside the range") {
    auto const texts = [](espalier::detail::chart_axis const& axis, int wanted) {
        std::string all;
        for (auto const& tick : axis.ticks(wanted)) {
            REQUIRE(tick.at >= axis.low - 1e-9 * std::abs(axis.high));
            REQUIRE(tick.at <= axis.high + 1e-9 * std::abs(axis.high));
            all += (all.empty() ? "" : " ") + (tick.text.empty() ? "." : tick.text);
        }
        return all;
    };
    CHECK(texts({0, 1}, 5) == "0.0 0.2 0.4 0.6 0.8 1.0");
    CHECK(texts({-3, 7}, 5) == "\xe2\x88\x92"
                               "2 0 2 4 6");
    CHECK(texts({0.13, 0.29}, 5) == "0.15 0.20 0.25");
    CHECK(texts({0, 30000}, 3) == "0 10\xe2\x80\x89"
                                  "000 20\xe2\x80\x89"
                                  "000 30\xe2\x80\x89"
                                  "000");
    CHECK(texts({0, 3e6}, 3) == "0 10\xe2\x81\xb6 2\xc2\xb7"
                                "10\xe2\x81\xb6 3\xc2\xb7"
                                "10\xe2\x81\xb6");
    CHECK(texts({0.05, 3, true}, 5) == "0.05 0.1 0.2 0.5 1 2");
    CHECK(texts({1, 1000, true}, 5) == "1 . . 10 . . 100 . . 1000");
    CHECK(texts({1e-8, 1e-2, true}, 3) == "10\xe2\x81\xbb\xe2\x81\xb8 . 10\xe2\x81\xbb\xe2\x81\xb6 . "
                                          "10\xe2\x81\xbb\xe2\x81\xb4 . 10\xe2\x81\xbb\xc2\xb2");
}

TEST_CASE("text in a chart cannot break the file") {
    CHECK(espalier::detail::xml_text("a<b>&\"c\"'d'") == "a&lt;b&gt;&amp;&quot;c&quot;&#39;d&#39;");
    CHECK(espalier::detail::xml_text("\xc3\xa9\xe2\x86\x92\xf0\x9f\x8c\xb3\ttab") ==
          "\xc3\xa9\xe2\x86\x92\xf0\x9f\x8c\xb3\ttab");
    std::string const bad = "\xef\xbf\xbd";
    CHECK(espalier::detail::xml_text(std::string("\0\x1b", 2)) == bad + bad);
    CHECK(espalier::detail::xml_text("\xff"
                                     "a\xc3") == bad + "a" + bad);
    CHECK(espalier::detail::xml_text("\xc0\xaf") == bad + bad);           // an overlong "/"
    CHECK(espalier::detail::xml_text("\xed\xa0\x80") == bad + bad + bad); // half of a surrogate pair
    CHECK(espalier::detail::xml_text("\xf4\x90\x80\x80") == bad + bad + bad + bad);
    std::string const rude = "</text><script>&\"'\x01\xff";
    check_well_formed(to_svg(line_chart{.title = rude, .x_label = rude, .y_label = rude, .series = {{rude, {1, 2}}}}));
    check_well_formed(to_svg(bar_chart{
        .title = rude, .x_label = rude, .categories = {rude}, .series = {{rude, {1}}, {rude, {2}}}, .unit = rude}));
    CHECK(count_of(to_svg(line_chart{.title = rude, .x_label = "", .y_label = "", .series = {}}), "<script") == 0);
}

TEST_CASE("bars are as long as their values say") {
    bar_chart const chart{.title = "Accuracy",
                          .x_label = "%",
                          .categories = {"one", "two", "three"},
                          .series = {{"accuracy", {25, 100, std::numeric_limits<double>::quiet_NaN()}}},
                          .decimals = 1,
                          .unit = " %",
                          .reference = 50};
    std::string const svg = to_svg(chart);
    check_well_formed(svg);
    auto const widths = numbers_of(svg, "<rect class=\"bar\"", "width");
    REQUIRE(widths.size() == 2);
    CHECK(widths[0] * 4 == Approx(widths[1]).margin(0.5));
    CHECK(count_of(svg, ">25.0 %<") == 1);
    CHECK(count_of(svg, ">100.0 %<") == 1);
    CHECK(count_of(svg, ">n/a<") == 1);
    CHECK(count_of(svg, "class=\"reference\"") == 1);
    CHECK(count_of(svg, "class=\"key\"") == 0); // one set of bars needs no legend

    bar_chart const grouped{.title = "",
                            .x_label = "",
                            .categories = {"a", "b"},
                            .series = {{"x", {1, 100}}, {"y", {10, -1}}},
                            .log_x = true};
    std::string const log = to_svg(grouped);
    check_well_formed(log);
    auto const lengths = numbers_of(log, "<rect class=\"bar\"", "width"); // by category: 1, 10, 100
    REQUIRE(lengths.size() == 3);
    CHECK(lengths[1] - lengths[0] == Approx(lengths[2] - lengths[1]).margin(0.2));
    CHECK(count_of(log, "class=\"key\"") == 2);

    auto const two = numbers_of(
        to_svg(bar_chart{.title = "", .x_label = "", .categories = {"down", "up"}, .series = {{"x", {-1, 2}}}}),
        "<rect class=\"bar\"", "width");
    REQUIRE(two.size() == 2);
    CHECK(two[0] * 2 == Approx(two[1]).margin(0.3));
}

TEST_CASE("charts of nothing, of one value and of extreme values are still charts") {
    double const huge = std::numeric_limits<double>::max();
    double const tiny = std::numeric_limits<double>::denorm_min();
    for (bool const log : {false, true}) {
        for (auto const& values : std::vector<std::vector<double>>{{},
                                                                   {0},
                                                                   {7},
                                                                   {-huge, huge},
                                                                   {tiny, huge},
                                                                   {tiny},
                                                                   {huge},
                                                                   {1, 1 + 1e-15},
                                                                   {NAN, NAN},
                                                                   {-1, -2},
                                                                   {1e-9, 3e-9}}) {
            check_well_formed(to_svg(line_chart{.title = "t",
                                                .x_label = "x",
                                                .y_label = "y",
                                                .series = {{"s", values}, {"r", values, values}},
                                                .log_x = log,
                                                .log_y = log,
                                                .y_from = 1.0,
                                                .y_to = 1.0 + 1e-15}));
            bar_chart bars{.title = "t", .x_label = "x", .categories = {}, .series = {{"s", values}}, .log_x = log};
            bars.categories.resize(values.size(), "c");
            bars.from = values.empty() ? NAN : values[0];
            check_well_formed(to_svg(bars));
        }
    }
    line_chart many{.title = "many", .x_label = "", .y_label = "", .series = {}, .width = 200, .height = 150};
    for (int i = 0; i < 40; ++i) {
        many.series.push_back({"series number " + std::to_string(i), {1, 2}});
    }
    std::string const svg = to_svg(many);
    check_well_formed(svg);
    auto const points = numbers_of(svg, "<polyline", "points");
    CHECK(points[1] - points[3] > 50); // the legend does not eat the plot
    check_well_formed(to_svg(bar_chart{.title = std::string(500, 'w'),
                                       .x_label = std::string(500, 'x'),
                                       .categories = {std::string(500, 'c')},
                                       .series = {{"", {1}}},
                                       .width = 200}));
}

TEST_CASE("charts that make no sense are refused, the others written") {
    temporary_folder folder;
    CHECK(message_of<espalier::data_error>([] {
              (void)to_svg(line_chart{.title = "t", .x_label = "", .y_label = "", .series = {{"s", {1, 2}, {1}}}});
          }) == "line_chart 't': series 's' has 1 x values for 2 y values");
    CHECK(message_of<espalier::data_error>([] {
              (void)to_svg(bar_chart{.title = "t", .x_label = "", .categories = {"a"}, .series = {{"s", {1, 2}}}});
          }) == "bar_chart 't': 's' has 2 values for 1 categories");
    line_chart chart{.title = "t", .x_label = "", .y_label = "", .series = {{"s", {1, 2}}}, .width = 10};
    CHECK_THROWS_AS(to_svg(chart), espalier::data_error);
    chart.width = 400;
    write_svg(folder / "t.svg", chart);
    CHECK(content_of(folder / "t.svg") == to_svg(chart));
    CHECK_THROWS_AS(write_svg(folder / "no/such/t.svg", chart), espalier::file_error);
}
