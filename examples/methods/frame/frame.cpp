// SPDX-License-Identifier: Apache-2.0
#include "frame.hpp"

#include <espalier/core/random.hpp>
#include <espalier/data/csv.hpp>
#include <espalier/io/atomic_file.hpp>

#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <ctime>
#include <exception>

namespace methods {

line at_least(double limit) {
    return {fmt::format("ours >= {}", limit), [=](double, double ours) { return ours >= limit; }};
}
line at_most(double limit) {
    return {fmt::format("ours <= {}", limit), [=](double, double ours) { return ours <= limit; }};
}
line above_baseline_by(double margin) {
    return {fmt::format("ours >= baseline {} {}", margin < 0.0 ? '-' : '+', std::abs(margin)),
            [=](double baseline, double ours) { return ours >= baseline + margin; }};
}
line below_baseline() {
    return {"ours < baseline", [](double baseline, double ours) { return ours < baseline; }};
}
line differs_at_most(double margin) {
    return {fmt::format("within {} of baseline", margin),
            [=](double baseline, double ours) { return std::abs(ours - baseline) <= margin; }};
}
line ratio_at_most(double limit) {
    return {fmt::format("ours / baseline <= {}", limit),
            [=](double baseline, double ours) { return ours <= limit * baseline; }};
}
line ratio_at_least(double limit) {
    return {fmt::format("ours / baseline >= {}", limit),
            [=](double baseline, double ours) { return ours >= limit * baseline; }};
}
line ratio_within(double low, double high) {
    return {fmt::format("ours / baseline from {} to {}", low, high),
            [=](double baseline, double ours) { return ours >= low * baseline && ours <= high * baseline; }};
}
line no_line() {
    return {"none", nullptr};
}

condition every_above(std::vector<double> const& values, double limit, std::string_view what) {
    return {fmt::format("{} above {}", what, limit), std::ranges::all_of(values, [=](double v) { return v > limit; })};
}
condition every_below(std::vector<double> const& values, double limit, std::string_view what) {
    return {fmt::format("{} below {}", what, limit), std::ranges::all_of(values, [=](double v) { return v < limit; })};
}

double mean(std::vector<double> const& values) {
    double sum = 0.0;
    for (double const v : values)
        sum += v;
    return sum / static_cast<double>(values.size());
}

double least(std::vector<double> const& values) {
    return *std::min_element(values.begin(), values.end());
}

std::pair<esp::data_set, esp::data_set> read_digits(options const& given, esp::index_t train_rows) {
    esp::data_set const file = esp::read_csv(given.digits);
    std::vector<std::int64_t> order(static_cast<std::size_t>(file.count));
    esp::random_permutation(esp::make_site(0, 0), esp::array_view<std::int64_t>{order.data(), file.count});
    esp::data_set all;
    all.count = file.count;
    all.width = file.width;
    for (std::int64_t const r : order) {
        auto const row = file.features.begin() + r * file.width;
        all.features.insert(all.features.end(), row, row + file.width);
        all.labels.push_back(file.labels[static_cast<std::size_t>(r)]);
    }
    esp::scale(all, 1.0 / 16);
    return esp::split(all, train_rows);
}

namespace {

char const* verdict(row const& r) {
    if (!r.wanted.holds) return "no line";
    return r.holds() ? "holds" : "DOES NOT HOLD";
}

void write_json(std::string const& file, program const& what, options const& given, std::vector<row> const& rows,
                double seconds) {
    nlohmann::ordered_json document{{"program", what.name}, {"seeds", given.seeds}, {"cpu_seconds", seconds}};
    document["rows"] = nlohmann::ordered_json::array();
    for (row const& r : rows)
        document["rows"].push_back({{"card", r.card},
                                    {"metric", r.metric},
                                    {"baseline", fmt::format("{:.4g}", r.baseline)},
                                    {"ours", fmt::format("{:.4g}", r.ours)},
                                    {"line", r.wanted.text},
                                    {"verdict", r.wanted.holds ? (r.holds() ? "holds" : "does not hold") : "no line"}});
    esp::write_text_file(file, document.dump(2) + "\n");
}

int make_rows(program const& what, options const& given) {
    std::clock_t const begin = std::clock();
    std::vector<row> const rows = what.rows(given);
    double const seconds = static_cast<double>(std::clock() - begin) / CLOCKS_PER_SEC;
    bool certain = true;
    for (row const& r : rows) {
        fmt::print("{}: {}\n    baseline {:.4g}, ours {:.4g}; {}: {}\n", r.card, r.metric, r.baseline, r.ours,
                   r.wanted.text, verdict(r));
        fmt::print("    of every seed: {}: {}\n", r.certain.text, r.certain.holds ? "true" : "FALSE");
        certain = certain && r.certain.holds;
    }
    fmt::print("{} rows, {} {}, {:.1f} s\n", rows.size(), given.seeds, given.seeds == 1 ? "seed" : "seeds", seconds);
    if (!given.json.empty()) write_json(given.json, what, given, rows, std::round(10.0 * seconds) / 10.0);
    return certain ? 0 : 1;
}

} // namespace

int run(int argc, char** argv, program const& what) {
    options given;
    given.seeds = 0;
    CLI::App app{std::string(what.purpose)};
    app.add_flag("--quick", given.quick, "One seed, to see that everything works");
    app.add_option("--seeds", given.seeds, "Trainings of everything, with seeds 1, 2, ...")
        ->check(CLI::Range(1, 1000))
        ->default_str(std::to_string(what.seeds));
    app.add_option("--digits", given.digits,
                   "CSV file with 64 pixels from 0 to 16 and the label (0 to 9) in the last column; may be .gz")
        ->capture_default_str();
    app.add_option("--json", given.json, "File for the rows");
    CLI11_PARSE(app, argc, argv);
    if (given.seeds == 0) given.seeds = given.quick ? 1 : what.seeds;
    try {
        return make_rows(what, given);
    } catch (std::exception const& problem) {
        fmt::print(stderr, "{}: {}\n", what.name, problem.what());
        return 1;
    }
}

} // namespace methods
