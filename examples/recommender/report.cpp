// SPDX-License-Identifier: Apache-2.0
#include "report.hpp"

#include "data.hpp"

#include <espalier/io/atomic_file.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <functional>
#include <utility>

namespace recommender {

namespace {

using of_run = std::function<double(trained const&)>;

struct mean_and_deviation {
    double mean = 0.0;
    double deviation = 0.0; ///< of the seeds, with n - 1; 0 for one
};

mean_and_deviation over_seeds(outcome const& out, of_run const& value) {
    mean_and_deviation r;
    auto const n = static_cast<double>(out.runs.size());
    for (trained const& run : out.runs)
        r.mean += value(run) / n;
    for (trained const& run : out.runs)
        r.deviation += (value(run) - r.mean) * (value(run) - r.mean);
    r.deviation = out.runs.size() > 1 ? std::sqrt(r.deviation / (n - 1.0)) : 0.0;
    return r;
}

std::string shown(mean_and_deviation const& m, int decimals) {
    return fmt::format("{:.{}f} ± {:.{}f}", m.mean, decimals, m.deviation, decimals);
}

/// Characters, not bytes: of UTF-8 all that do not continue another one.
std::size_t width_of(std::string const& text) {
    return static_cast<std::size_t>(
        std::count_if(text.begin(), text.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xc0) != 0x80; }));
}

std::string lines_of(std::vector<std::vector<std::string>> const& rows) {
    std::vector<std::size_t> width;
    for (auto const& row : rows) {
        width.resize(std::max(width.size(), row.size()));
        for (std::size_t c = 0; c < row.size(); ++c)
            width[c] = std::max(width[c], width_of(row[c]));
    }
    std::string out;
    for (std::size_t r = 0; r < rows.size(); ++r) {
        std::string line;
        for (std::size_t c = 0; c < rows[r].size(); ++c) {
            std::string const blanks(width[c] - width_of(rows[r][c]), ' ');
            line += c == 0 ? rows[r][c] + blanks : "  " + blanks + rows[r][c];
        }
        out += line + "\n";
        if (r == 0) out += std::string(width_of(line), '-') + "\n";
    }
    return out;
}

/// Larger by more than the spread, smaller by more than the spread, or neither.
std::string verdict(double difference, double spread, bool spread_known) {
    if (!spread_known) return "one seed: no spread to compare with";
    if (difference > spread) return "holds";
    return difference < -spread ? "the opposite holds" : "undecided: within the spread";
}

struct measured {
    char const* name;
    of_run value;
    double sign; ///< 1: more is better
    int decimals;
};

std::vector<measured> measured_of(problem const& p) {
    if (p.what == kind::ratings)
        return {{"AUC", [](trained const& r) { return r.test.auc; }, 1.0, 4},
                {"squared error", [](trained const& r) { return r.test.squared_error; }, -1.0, 4}};
    return {{"accuracy", [](trained const& r) { return r.test.accuracy; }, 1.0, 4}};
}

} // namespace

std::string table_of(problem const& p, std::vector<outcome> const& all) {
    bool const rates = p.what == kind::ratings;
    std::vector<std::vector<std::string>> rows;
    rows.push_back(rates ? std::vector<std::string>{p.name, "AUC watched", "squared error", "its root"}
                         : std::vector<std::string>{p.name, "accuracy"});
    for (char const* title : {"epoch", "experts/row", "step us, first epoch", "last epoch"})
        rows[0].push_back(title);
    if (rates) {
        score const popular = popularity_baseline(p);
        rows.push_back({"popularity, mean", fmt::format("{:.4f}", popular.auc),
                        fmt::format("{:.4f}", popular.squared_error),
                        fmt::format("{:.4f}", std::sqrt(popular.squared_error)), "", "", "", ""});
    }
    for (outcome const& out : all) {
        std::vector<std::string> row{out.gate};
        for (measured const& m : measured_of(p))
            row.push_back(shown(over_seeds(out, m.value), m.decimals));
        if (rates)
            row.push_back(shown(over_seeds(out, [](trained const& r) { return std::sqrt(r.test.squared_error); }), 4));
        row.push_back(
            fmt::format("{:.1f}", over_seeds(out, [](trained const& r) { return static_cast<double>(r.epoch); }).mean));
        row.push_back(shown(over_seeds(out, [](trained const& r) { return r.experts_per_row; }), 2));
        row.push_back(fmt::format("{:.0f}", over_seeds(out, [](trained const& r) { return r.first_step_us; }).mean));
        row.push_back(fmt::format("{:.0f}", over_seeds(out, [](trained const& r) { return r.last_step_us; }).mean));
        rows.push_back(std::move(row));
    }
    std::string text = lines_of(rows);
    text +=
        fmt::format("\nTest part, after the one of {} epochs whose validation loss is least; mean ± standard deviation "
                    "of {} seed{}.\n",
                    p.epochs, p.seeds.size(), p.seeds.size() == 1 ? "" : "s");
    text += rates ? "experts/row: that run for a row of the test part, whichever of the two gates asked for them.\n"
                  : "experts/row: that run for a row of the test part.\n";
    text +=
        fmt::format("step: median, {} rows, one core; a local search ends after {} steps.\n\n", p.batch, search_steps);
    for (outcome const& out : all)
        text += fmt::format("{:<9} {}\n", out.gate, out.policy);
    return text;
}

std::string orderings_of(problem const& p, std::vector<outcome> const& all) {
    // Better first. That COMET+ is better than hash, top-k and DSelect-k, and that search helps hash and top-k, is what
    // the paper's abstract says; the others are the order in which it builds up to that. Dense softmax is not part.
    static std::vector<std::pair<char const*, char const*>> const claims{
        {"COMET+", "COMET"},    {"COMET+", "DSelect-k"}, {"COMET+", "top-k"}, {"COMET+", "hash"},
        {"COMET", "DSelect-k"}, {"COMET", "top-k"},      {"COMET", "hash"},   {"DSelect-k", "top-k"},
        {"DSelect-k", "hash"},  {"top-k", "hash"},       {"top-k+", "top-k"}, {"hash+", "hash"},
    };
    auto const find = [&](char const* name) {
        return std::find_if(all.begin(), all.end(), [&](outcome const& out) { return out.gate == name; });
    };
    std::string text;
    for (measured const& m : measured_of(p)) {
        std::vector<std::vector<std::string>> rows{{fmt::format("better in {}?", m.name), "by", "spread", "verdict"}};
        int holds = 0, opposite = 0, open = 0;
        for (auto const& [better, worse] : claims) {
            auto const a = find(better), b = find(worse);
            if (a == all.end() || b == all.end()) continue;
            auto const x = over_seeds(*a, m.value), y = over_seeds(*b, m.value);
            double const difference = m.sign * (x.mean - y.mean);
            double const spread = std::sqrt(x.deviation * x.deviation + y.deviation * y.deviation);
            bool const known = p.seeds.size() > 1;
            holds += known && difference > spread;
            opposite += known && difference < -spread;
            open += !known || std::abs(difference) <= spread;
            rows.push_back({fmt::format("{} than {}", better, worse), fmt::format("{:+.{}f}", difference, m.decimals),
                            fmt::format("{:.{}f}", spread, m.decimals), verdict(difference, spread, known)});
        }
        if (rows.size() == 1) continue;
        text += lines_of(rows);
        text += fmt::format("Of the paper's {} orderings in {}: {} hold here, in {} the opposite holds, {} are "
                            "undecided.\n\n",
                            rows.size() - 1, m.name, holds, opposite, open);
    }
    if (!text.empty())
        text += "by: how much better on average (negative: worse). spread: the standard deviation that the difference "
                "of\ntwo single runs has. One data set, one size and one set of hyper-parameters for all gates: the "
                "paper tunes\neach gate on its own.\n";
    return text;
}

void write_curves(std::filesystem::path const& folder, problem const& p, std::vector<outcome> const& all) {
    std::string csv = "gate,seed,epoch,training_loss,loss,auc,squared_error,accuracy\n";
    std::string loads = "gate,seed,epoch,experts_per_row,expert,load\n";
    for (outcome const& out : all)
        for (trained const& run : out.runs) {
            for (std::size_t e = 0; e < run.loss.size(); ++e)
                csv +=
                    fmt::format("{},{},{},{},{},{},{},{}\n", out.gate, run.seed, e + 1, run.loss[e], run.curve[e].loss,
                                run.curve[e].auc, run.curve[e].squared_error, run.curve[e].accuracy);
            for (std::size_t i = 0; i < run.epoch_of.size(); ++i)
                for (std::size_t e = 0; e < run.loads.size(); ++e)
                    loads += fmt::format("{},{},{},{},{},{}\n", out.gate, run.seed, run.epoch_of[i], run.experts[i], e,
                                         run.loads[e][i]);
        }
    esp::write_text_file(folder / (p.name + "_curves.csv"), csv);
    esp::write_text_file(folder / (p.name + "_loads.csv"), loads);
}

} // namespace recommender
