// SPDX-License-Identifier: Apache-2.0
// What the programs of this folder share: options, the rows they print, and what a row is held against.
//
// A program trains published mechanisms on real data. Each thing that a mechanism's paper, or a small version of it
// that somebody has measured, says must come out is a row: a number without the mechanism, the same number with it, and
// a line that both must keep to. Lines are fixed before a program is run; a row that does not keep to its line is
// printed as not holding.
//
// With `--quick` a program trains one seed. A line about a mean over seeds may then fail by chance, so what a program
// answers for with its exit status is something else: a row's `certain` condition, true of each seed by itself.
#pragma once

#include <espalier/data/table.hpp>

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#ifndef ESPALIER_EXAMPLE_DATA
#define ESPALIER_EXAMPLE_DATA "examples/data"
#endif

namespace methods {

namespace esp = espalier;

/// What the command line says.
struct options {
    bool quick = false;
    int seeds = 1; ///< trainings of everything, with seeds 1, 2, ...
    std::string digits = ESPALIER_EXAMPLE_DATA "/digits.csv.gz";
    std::string json; ///< file for the rows; empty: none
};

/// What a row is held against: words and the verdict, made of the same numbers.
struct line {
    std::string text;
    std::function<bool(double baseline, double ours)> holds;
};

line at_least(double limit);                ///< ours >= limit
line at_most(double limit);                 ///< ours <= limit
line above_baseline_by(double margin);      ///< ours >= baseline + margin
line below_baseline();                      ///< ours < baseline
line differs_at_most(double margin);        ///< |ours - baseline| <= margin
line ratio_at_most(double limit);           ///< ours / baseline <= limit
line ratio_at_least(double limit);          ///< ours / baseline >= limit
line ratio_within(double low, double high); ///< low <= ours / baseline <= high
line no_line();                             ///< none is known: the numbers are shown, and nothing is claimed

/// What holds of every seed, in a quick run too.
struct condition {
    std::string text;
    bool holds = false;
};

condition every_above(std::vector<double> const& values, double limit, std::string_view what);
condition every_below(std::vector<double> const& values, double limit, std::string_view what);

/// One finding.
struct row {
    std::string card;   ///< two digits and, where a mechanism has parts, their name: "01", "40 comet"
    std::string metric; ///< what both numbers are, and on which data
    double baseline = 0.0;
    double ours = 0.0;
    line wanted;
    condition certain;

    bool holds() const { return wanted.holds && wanted.holds(baseline, ours); }
};

/// A program: its rows, made from the options.
struct program {
    std::string_view name;
    std::string_view purpose;
    int seeds; ///< without --seeds and --quick
    std::vector<row> (*rows)(options const&);
};

/// Reads the arguments, makes the rows, prints them and writes them where --json says. 0 when every row's certain
/// condition holds, whether or not the rows keep to their lines.
int run(int argc, char** argv, program const& what);

/// The 8x8 digits, pixels / 16, in an order that is shuffled once and for all (the file has one writer after the
/// other): the first `train_rows` rows and the others. Throws data_error as `read_csv` does.
std::pair<esp::data_set, esp::data_set> read_digits(options const& given, esp::index_t train_rows);

/// Of one number a seed.
double mean(std::vector<double> const& values);
double least(std::vector<double> const& values);

/// Calls `f(seed)` for every seed and returns what it gave.
template <class F> auto for_each_seed(options const& given, F const& f) {
    std::vector<decltype(f(std::uint64_t{1}))> results;
    for (int s = 1; s <= given.seeds; ++s)
        results.push_back(f(static_cast<std::uint64_t>(s)));
    return results;
}

} // namespace methods
