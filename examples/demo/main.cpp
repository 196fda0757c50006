// SPDX-License-Identifier: Apache-2.0
// The demo: stacks that differ in one policy, trained on real data. Prints a table and writes it as numbers, with every
// run's curves and the stacks' graphs; scripts/charts.sh draws them.
#include "stack.hpp"

#include <espalier/core/error.hpp>
#include <espalier/data/csv.hpp>
#include <espalier/data/idx.hpp>
#include <espalier/io/atomic_file.hpp>
#include <espalier/io/history.hpp>

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <exception>
#include <filesystem>
#include <map>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#ifndef ESPALIER_EXAMPLE_DATA
#define ESPALIER_EXAMPLE_DATA "examples/data"
#endif

namespace {

namespace esp = espalier;
namespace fs = std::filesystem;

struct arguments {
    std::vector<std::string> data{"digits", "mnist"};
    std::string digits = ESPALIER_EXAMPLE_DATA "/digits.csv.gz";
    double digits_scale = 16.0;
    std::vector<std::string> mnist{ESPALIER_EXAMPLE_DATA "/mnist8k-train-images-idx3-ubyte.gz",
                                   ESPALIER_EXAMPLE_DATA "/mnist8k-train-labels-idx1-ubyte.gz",
                                   ESPALIER_EXAMPLE_DATA "/mnist8k-test-images-idx3-ubyte.gz",
                                   ESPALIER_EXAMPLE_DATA "/mnist8k-test-labels-idx1-ubyte.gz"};
    esp::index_t epochs = 0; ///< 0: that of the data set
    esp::index_t seeds = 3;
    std::uint64_t seed = 1;
    std::string output = "out/demo";
    std::vector<std::string> stacks{"plain", "l2", "dropout", "n_m", "moe"};
    bool quick = false;
};

std::map<std::string, demo::stack_runner> const runners{{"plain", demo::run_plain},
                                                        {"l2", demo::run_l2},
                                                        {"dropout", demo::run_dropout},
                                                        {"n_m", demo::run_n_m},
                                                        {"moe", demo::run_moe}};

void add_options(CLI::App& app, arguments& a) {
    app.add_option("--data", a.data, "Data sets to train on: digits, mnist")
        ->check(CLI::IsMember({"digits", "mnist"}))
        ->delimiter(',')
        ->capture_default_str();
    app.add_option("--digits", a.digits,
                   "CSV file with 64 features and the label (0 to 9) in the last column; may be .gz")
        ->capture_default_str();
    app.add_option("--digits-scale", a.digits_scale, "Its features are divided by this number")
        ->check(CLI::PositiveNumber)
        ->capture_default_str();
    app.add_option("--mnist", a.mnist,
                   "Four IDX files, may be .gz: training images, training labels, test images, test labels")
        ->expected(4);
    app.add_option("--stacks", a.stacks, "Stacks to train: plain, l2, dropout, n_m, moe")
        ->check(CLI::IsMember({"plain", "l2", "dropout", "n_m", "moe"}))
        ->delimiter(',')
        ->capture_default_str();
    app.add_option("--epochs", a.epochs, "Passes over the training set; 0: 60 for digits, 25 for mnist")
        ->check(CLI::Range(0, 100000))
        ->capture_default_str();
    app.add_option("--seeds", a.seeds, "Trainings of each stack, with seeds SEED, SEED + 1, ...")
        ->check(CLI::Range(1, 1000))
        ->capture_default_str();
    app.add_option("--seed", a.seed, "First seed")->capture_default_str();
    app.add_option("--output", a.output, "Folder for tables and curves")
        ->multi_option_policy(CLI::MultiOptionPolicy::TakeLast)
        ->capture_default_str();
    app.add_flag("--quick", a.quick, "2 epochs and one seed, to see that everything works");
}

void print_run(demo::task const& task, demo::outcome const& out, demo::trained const& run) {
    fmt::print("  {:<7} {:<11} seed {:<3} test accuracy {:.4f}  {:5.1f} s\n", task.name, out.stack, run.seed,
               run.accuracy.empty() ? 0.0 : run.accuracy.back(), run.seconds);
    std::fflush(stdout);
}

std::string spread_of(demo::outcome const& out) {
    double low = 1.0, high = 0.0;
    for (demo::trained const& run : out.runs) {
        double const a = run.accuracy.empty() ? 0.0 : run.accuracy.back();
        low = std::min(low, a);
        high = std::max(high, a);
    }
    return fmt::format("{:.4f} to {:.4f}", low, high);
}

struct table {
    std::vector<std::vector<std::string>> rows;

    std::string text() const {
        std::vector<std::size_t> width(rows[0].size());
        for (auto const& row : rows)
            for (std::size_t c = 0; c < row.size(); ++c)
                width[c] = std::max(width[c], row[c].size());
        std::string out;
        for (std::size_t r = 0; r < rows.size(); ++r) {
            std::string line;
            for (std::size_t c = 0; c < rows[r].size(); ++c)
                line += c == 0 ? fmt::format("{:<{}}", rows[r][c], width[c])
                               : fmt::format("  {:>{}}", rows[r][c], width[c]);
            out += line + "\n";
            if (r == 0) out += std::string(line.size(), '-') + "\n";
        }
        return out;
    }
};

std::string grouped(long n) { // 203530 -> 203,530
    std::string text = std::to_string(n);
    for (auto i = static_cast<long>(text.size()) - 3; i > 0; i -= 3)
        text.insert(static_cast<std::size_t>(i), ",");
    return text;
}

std::string table_of(demo::task const& task, std::vector<demo::outcome> const& all) {
    table t;
    t.rows.push_back({task.name, "test accuracy", "of the seeds", "parameters", "not 0", "step us", "layers",
                      "policies", "loops", "passes", "kFLOP/row", "tape B/row"});
    for (demo::outcome const& out : all)
        t.rows.push_back({out.stack, fmt::format("{:.4f}", out.mean_accuracy()), spread_of(out),
                          grouped(out.parameters), grouped(out.non_zeros), fmt::format("{:.0f}", out.step_us),
                          std::to_string(out.layers), std::to_string(out.policies), std::to_string(out.loops),
                          std::to_string(out.passes), fmt::format("{:.0f}", out.kflop), grouped(out.tape_bytes)});
    return t.text();
}

/// The stacks' numbers and every run's curves as CSV, and the stacks' pictures as Graphviz files.
void write_files(fs::path const& folder, demo::task const& task, std::vector<demo::outcome> const& all) {
    std::string csv = "stack,seed,epoch,training_loss,test_accuracy\n";
    std::string stacks = "stack,test_accuracy,step_us,batch,parameters,non_zeros,tape_bytes_per_row\n";
    for (demo::outcome const& out : all) {
        stacks += fmt::format("{},{},{},{},{},{},{}\n", out.stack, out.mean_accuracy(), out.step_us, task.batch,
                              out.parameters, out.non_zeros, out.tape_bytes);
        for (demo::trained const& run : out.runs)
            for (std::size_t e = 0; e < run.loss.size(); ++e)
                csv += fmt::format("{},{},{},{},{}\n", out.stack, run.seed, e + 1, run.loss[e], run.accuracy[e]);
        std::string name = out.stack;
        std::replace_if(
            name.begin(), name.end(), [](char c) { return c == ' ' || c == ':'; }, '_');
        if (!out.dot.empty()) esp::write_text_file(folder / fmt::format("{}_{}.dot", task.name, name), out.dot);
    }
    esp::write_text_file(folder / (task.name + "_curves.csv"), csv);
    esp::write_text_file(folder / (task.name + "_stacks.csv"), stacks);
}

demo::task make_task(std::string const& name, arguments const& a, esp::data_set& train, esp::data_set& test) {
    demo::task task;
    task.name = name;
    if (name == "digits") {
        esp::data_set all = esp::read_csv(a.digits);
        esp::scale(all, 1.0 / a.digits_scale);
        std::tie(train, test) = esp::split(all, all.count * 3 / 4);
        task.batch = 64;
        task.epochs = 60;
    } else {
        train = esp::read_mnist(a.mnist[0], a.mnist[1]);
        test = esp::read_mnist(a.mnist[2], a.mnist[3]);
        task.batch = 128;
        task.epochs = 25;
    }
    task.train = train;
    task.test = test;
    if (a.epochs > 0) task.epochs = a.epochs;
    if (a.quick) task.epochs = 2;
    for (esp::index_t s = 0; s < (a.quick ? 1 : a.seeds); ++s)
        task.seeds.push_back(a.seed + static_cast<std::uint64_t>(s));
    return task;
}

int run(arguments const& a) {
    auto const start = std::chrono::steady_clock::now();
    fs::path const folder = a.output;
    fs::create_directories(folder);
    std::string report;
    for (std::string const& name : a.data) {
        esp::data_set train, test;
        demo::task const task = make_task(name, a, train, test);
        fmt::print(
            "{}: {} rows to train on, {} to test, {} features; {} epochs of batches of {}, adamw, learning rate {}\n",
            name, train.count, test.count, train.width, task.epochs, task.batch, task.learning_rate);
        std::vector<demo::outcome> all;
        for (std::string const& stack : a.stacks)
            all.push_back(runners.at(stack)(
                task, [&](demo::outcome const& out, demo::trained const& done) { print_run(task, out, done); }));
        std::string text = table_of(task, all) + "\n";
        for (demo::outcome const& out : all)
            text += fmt::format("{:<11} {}\n", out.stack, out.policy);
        text +=
            "\nnot 0: weights that products read; step: median of 60 on one batch, one core;\n"
            "loops: distinct compositions of policies that code was made for; passes: over the weights in an update;\n"
            "kFLOP: products of one row, forward; tape: what one row keeps for backward\n";
        fmt::print("\n{}\n", text);
        report += text + "\n";
        for (demo::outcome const& out : all)
            if (!out.description.empty()) report += out.stack + "\n" + out.description + "\n";
        write_files(folder, task, all);
    }
    esp::write_text_file(folder / "table.txt", report);
    fmt::print("Curves and this table are in {} ({:.0f} s); scripts/charts.sh {} draws them\n", folder.string(),
               std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count(), folder.string());
    return 0;
}

} // namespace

int main(int argc, char** argv) {
    arguments given;
    CLI::App app{
        "Trains stacks that differ in one policy on handwritten digits, prints a table and writes the curves."};
    add_options(app, given);
    CLI11_PARSE(app, argc, argv);
    try {
        return run(given);
    } catch (std::exception const& problem) {
        fmt::print(stderr, "espalier_demo: {}\n", problem.what());
        return 1;
    }
}
