// SPDX-License-Identifier: Apache-2.0
// The recommender comparison of the COMET paper (Ibrahim et al. 2023) in miniature: one multi-gate mixture of experts,
// eight gates, MovieLens as two tasks (watched, rating). The same gates as classifiers of letters and digits. Prints
// tables, says which of the paper's orderings this run shows, and writes learning curves and the experts' loads.
#include "data.hpp"
#include "report.hpp"

#include <espalier/core/error.hpp>
#include <espalier/io/atomic_file.hpp>

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#ifndef ESPALIER_EXAMPLE_DATA
#define ESPALIER_EXAMPLE_DATA "examples/data"
#endif

namespace {

using namespace recommender;
namespace fs = std::filesystem;

struct arguments {
    std::vector<std::string> data{"movielens"};
    std::vector<std::string> gates;
    std::string movielens = ESPALIER_EXAMPLE_DATA "/movielens.csv.gz";
    std::string letters = ESPALIER_EXAMPLE_DATA "/letter.csv.gz";
    std::string digits = ESPALIER_EXAMPLE_DATA "/digits.csv.gz";
    esp::index_t epochs = 0; ///< 0: that of the data set
    esp::index_t batch = 0;
    double learning_rate = 0.0;
    double weight_decay = -1.0;
    esp::index_t seeds = 3;
    std::uint64_t seed = 1;
    int negatives = 1;
    std::uint64_t data_seed = 2023;
    std::string output = "out/recommender";
    bool quick = false;
};

// Names for the command line, in the order of the table.
std::vector<std::pair<std::string, gate_runner>> const runners{
    {"softmax", run_softmax}, {"hash", run_hash},           {"hash+", run_hash_search},
    {"top_k", run_top_k},     {"top_k+", run_top_k_search}, {"dselect_k", run_dselect_k},
    {"comet", run_comet},     {"comet+", run_comet_search},
};

void add_options(CLI::App& app, arguments& a) {
    std::vector<std::string> names;
    for (auto const& [name, runner] : runners)
        names.push_back(name);
    a.gates = names;
    app.add_option("--data", a.data, "Data sets: movielens, letters, digits")
        ->check(CLI::IsMember({"movielens", "letters", "digits"}))
        ->delimiter(',')
        ->capture_default_str();
    app.add_option("--gate", a.gates, "Gates to train; + is with local search, so comet+ is the paper's COMET+")
        ->check(CLI::IsMember(names))
        ->delimiter(',')
        ->capture_default_str();
    app.add_option("--movielens", a.movielens, "CSV file with a header; user, film and rating come first")
        ->capture_default_str();
    app.add_option("--letters", a.letters, "CSV file of the letters")->capture_default_str();
    app.add_option("--digits", a.digits, "CSV file of the digits")->capture_default_str();
    app.add_option("--epochs", a.epochs, "Passes over the training part; 0: 8 for movielens, 80 letters, 60 digits")
        ->check(CLI::Range(0, 100000))
        ->capture_default_str();
    app.add_option("--batch", a.batch, "Rows of a step; 0: 512 for movielens, 128 letters, 64 digits")
        ->check(CLI::Range(0, 65536))
        ->capture_default_str();
    app.add_option("--learning-rate", a.learning_rate, "Of adamw; 0: that of the data set")
        ->check(CLI::NonNegativeNumber)
        ->capture_default_str();
    app.add_option("--weight-decay", a.weight_decay, "Of adamw; below 0: that of the data set")->capture_default_str();
    app.add_option("--seeds", a.seeds, "Trainings of each gate, with seeds SEED, SEED + 1, ...")
        ->check(CLI::Range(1, 1000))
        ->capture_default_str();
    app.add_option("--seed", a.seed, "First seed")->capture_default_str();
    app.add_option("--negatives", a.negatives, "Films not rated by the user, drawn for each rating")
        ->check(CLI::Range(1, 20))
        ->capture_default_str();
    app.add_option("--data-seed", a.data_seed, "Seed of the split and of the negatives; the same for all trainings")
        ->capture_default_str();
    app.add_option("--output", a.output, "Folder for tables and curves")
        ->multi_option_policy(CLI::MultiOptionPolicy::TakeLast)
        ->capture_default_str();
    app.add_flag("--quick", a.quick,
                 "A few epochs and one seed, to see that everything works; fails when a gate learned nothing");
}

problem make_problem(std::string const& name, arguments const& a) {
    problem p;
    if (name == "movielens") {
        p = read_ratings(a.movielens, a.negatives, a.data_seed);
        p.epochs = 8;
        p.batch = 512;
        p.learning_rate = 3e-3;
        p.weight_decay = 0.1;
    } else if (name == "letters") {
        p = read_letters(a.letters);
        p.epochs = 80;
        p.batch = 128;
        p.learning_rate = 2e-2;
        p.weight_decay = 1e-2;
    } else {
        p = read_digits(a.digits);
        p.epochs = 60;
        p.batch = 64;
        p.learning_rate = 2e-2;
        p.weight_decay = 1e-2;
    }
    if (a.epochs > 0) p.epochs = a.epochs;
    if (a.batch > 0) p.batch = a.batch;
    if (a.learning_rate > 0.0) p.learning_rate = a.learning_rate;
    if (a.weight_decay >= 0.0) p.weight_decay = a.weight_decay;
    if (a.quick) p.epochs = p.what == kind::ratings ? 1 : p.what == kind::letters ? 2 : 10;
    for (esp::index_t s = 0; s < (a.quick ? 1 : a.seeds); ++s)
        p.seeds.push_back(a.seed + static_cast<std::uint64_t>(s));
    return p;
}

void print_run(problem const& p, outcome const& out, trained const& run) {
    if (p.what == kind::ratings)
        fmt::print("  {:<9} seed {:<3} AUC {:.4f}  squared error {:.4f}  {:5.2f} experts a row  {:5.1f} s\n", out.gate,
                   run.seed, run.test.auc, run.test.squared_error, run.experts_per_row, run.seconds);
    else
        fmt::print("  {:<9} seed {:<3} accuracy {:.4f}  {:5.2f} experts a row  {:5.1f} s\n", out.gate, run.seed,
                   run.test.accuracy, run.experts_per_row, run.seconds);
    std::fflush(stdout);
}

/// Chance is 0.5 for the area under the curve and at most 0.1 for the classes.
void require_learning(problem const& p, std::vector<outcome> const& all) {
    for (outcome const& out : all)
        for (trained const& run : out.runs)
            if (double const found = p.what == kind::ratings ? run.test.auc : run.test.accuracy;
                !(found > (p.what == kind::ratings ? 0.6 : 0.2)))
                throw esp::numerical_error(
                    fmt::format("{}: {} learned nothing: {:.4f} on the test part", p.name, out.gate, found));
}

int run(arguments const& a) {
    auto const start = std::chrono::steady_clock::now();
    fs::path const folder = a.output;
    fs::create_directories(folder);
    std::string report;
    for (std::string const& name : a.data) {
        problem const p = make_problem(name, a);
        fmt::print("{}: {} rows to train on, {} to validate, {} to test; {} epochs of batches of {}, adamw, learning "
                   "rate {}, weight decay {}\n",
                   name, p.train.count, p.validation.count, p.test.count, p.epochs, p.batch, p.learning_rate,
                   p.weight_decay);
        std::vector<outcome> all;
        for (auto const& [gate, runner] : runners)
            if (std::find(a.gates.begin(), a.gates.end(), gate) != a.gates.end())
                all.push_back(runner(p, [&](outcome const& out, trained const& done) { print_run(p, out, done); }));
        std::string const text = table_of(p, all) + "\n" + orderings_of(p, all);
        fmt::print("\n{}\n", text);
        if (a.quick) require_learning(p, all);
        report += text + "\n";
        write_curves(folder, p, all);
    }
    esp::write_text_file(folder / "table.txt", report);
    fmt::print("Curves and this table are in {} ({:.0f} s); scripts/charts.sh {} draws them\n", folder.string(),
               std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count(), folder.string());
    return 0;
}

} // namespace

int main(int argc, char** argv) {
    arguments given;
    CLI::App app{"Compares gates of mixtures of experts: a recommender with two tasks on MovieLens, and classifiers."};
    add_options(app, given);
    CLI11_PARSE(app, argc, argv);
    try {
        return run(given);
    } catch (std::exception const& problem) {
        fmt::print(stderr, "espalier_recommender: {}\n", problem.what());
        return 1;
    }
}
