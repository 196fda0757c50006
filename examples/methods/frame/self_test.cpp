// SPDX-License-Identifier: Apache-2.0
// The lines that rows are held against: words and verdicts, at the limit, on both sides of it, and for what is no
// number.
#include "frame.hpp"

#include <cstdio>
#include <limits>
#include <string>
#include <vector>

namespace {

int wrong = 0;

void expect(bool right, std::string const& what) {
    if (right) return;
    std::printf("wrong: %s\n", what.c_str());
    ++wrong;
}

struct example {
    methods::line line;
    std::string text;
    double baseline;
    std::vector<double> holds, fails; ///< values of ours
};

} // namespace

int main() {
    using namespace methods;
    example const examples[] = {
        {at_least(0.5), "ours >= 0.5", 9.0, {0.5, 0.75}, {0.25}},
        {at_most(0.5), "ours <= 0.5", 9.0, {0.5, 0.25}, {0.75}},
        {above_baseline_by(0.25), "ours >= baseline + 0.25", 0.5, {0.75, 0.875}, {0.5, 0.625}},
        {above_baseline_by(-0.25), "ours >= baseline - 0.25", 0.5, {0.25, 0.5}, {0.125}},
        {below_baseline(), "ours < baseline", 0.5, {0.25}, {0.5, 0.75}},
        {differs_at_most(0.25), "within 0.25 of baseline", 0.5, {0.25, 0.5, 0.75}, {0.125, 0.875}},
        {ratio_at_most(0.5), "ours / baseline <= 0.5", 4.0, {1.0, 2.0}, {2.5, 4.0}},
        {ratio_at_least(2.0), "ours / baseline >= 2", 4.0, {8.0, 9.0}, {4.0, 7.5}},
        {ratio_within(0.5, 2.0), "ours / baseline from 0.5 to 2", 4.0, {2.0, 4.0, 8.0}, {1.5, 8.5}},
    };
    for (example const& e : examples) {
        expect(e.line.text == e.text, "the words '" + e.line.text + "'");
        for (double const ours : e.holds)
            expect(e.line.holds(e.baseline, ours), e.text + " for " + std::to_string(ours));
        for (double const ours : e.fails)
            expect(!e.line.holds(e.baseline, ours), e.text + " for " + std::to_string(ours));
        expect(!e.line.holds(e.baseline, std::numeric_limits<double>::quiet_NaN()), e.text + " for no number");
    }
    row const open{"01", "a number", 1.0, 2.0, no_line(), {"true", true}};
    expect(!open.holds() && !open.wanted.holds, "a row without a line");
    row const held{"01", "a number", 1.0, 2.0, at_least(2.0), {"true", true}};
    expect(held.holds(), "a row with a line");

    std::vector<double> const values{0.5, 0.25, 0.75};
    expect(mean(values) == 0.5 && least(values) == 0.25, "mean and least");
    expect(every_above(values, 0.2, "x").holds && !every_above(values, 0.25, "x").holds, "every one above");
    expect(every_below(values, 0.8, "x").holds && !every_below(values, 0.75, "x").holds, "every one below");
    std::vector<double> const spoiled{0.5, std::numeric_limits<double>::quiet_NaN()};
    expect(!every_above(spoiled, 0.2, "x").holds && !every_below(spoiled, 0.8, "x").holds, "every one a number");
    expect(every_above(values, 0.2, "x").text == "x above 0.2" && every_below(values, 0.2, "x").text == "x below 0.2",
           "the words of a condition");
    return wrong == 0 ? 0 : 1;
}
