// SPDX-License-Identifier: Apache-2.0
// Mechanisms inside a small dense stack, on 8x8 handwritten digits.
#include "frame/frame.hpp"
#include "frame/measure.hpp"

#include <espalier/activation/relu.hpp>
#include <espalier/device/cpu/cpu.hpp>
#include <espalier/dropout/bernoulli.hpp>
#include <espalier/dropout/drop_path.hpp>
#include <espalier/initial/uniform.hpp>
#include <espalier/layer/dense.hpp>
#include <espalier/layer/elementwise.hpp>
#include <espalier/layer/input.hpp>
#include <espalier/layer/multi_sample.hpp>
#include <espalier/layer/parallel.hpp>
#include <espalier/layer/residual.hpp>
#include <espalier/layer/sequence.hpp>
#include <espalier/loss/cross_entropy.hpp>
#include <espalier/optimizer/adamw.hpp>
#include <espalier/optimizer/sgd.hpp>
#include <espalier/schedule/drop_path.hpp>
#include <espalier/train/fit.hpp>

#include <algorithm>
#include <cstddef>
#include <vector>

namespace {

namespace esp = espalier;
using methods::options;
using methods::row;

template <class Stack> using model_of = esp::network<Stack, esp::device::cpu, float>;

// ---- card 01: multi-sample dropout

template <int Samples>
using sampled_head =
    esp::sequence<esp::input<64>, esp::dense<128, esp::activation::relu>, esp::dense<128, esp::activation::relu>,
                  esp::multi_sample<Samples, esp::elementwise<esp::dropout::bernoulli<0.5>>, esp::dense<10>>>;

/// Sum over the head's weights of the variance of their gradient over draws of the masks, weights and rows unchanged.
template <int Samples> double variance_over_masks(esp::data_set const& data, int draws) {
    constexpr esp::index_t rows = 50;
    model_of<sampled_head<Samples>> net{esp::seed{1}, rows};
    esp::training run{net, esp::loss::cross_entropy{}, esp::optimizer::sgd{.momentum = 0.9}};
    auto const kernel = run.gradient("3.1.kernel");
    auto const size = static_cast<std::size_t>(kernel.rows * kernel.columns);
    std::vector<double> sum(size), squares(size);
    esp::rows tags;
    tags.count = rows;
    tags.label = data.labels.data();
    for (int d = 0; d < draws; ++d) {
        tags.first = static_cast<std::uint32_t>(d * rows); // random bits belong to rows: others mean other bits
        run.gradients_of({data.view().features.middle_rows(0, rows), tags, {}});
        for (std::size_t i = 0; i < size; ++i) {
            double const g = kernel.data[i];
            sum[i] += g;
            squares[i] += g * g;
        }
    }
    double variance = 0.0;
    for (std::size_t i = 0; i < size; ++i)
        variance += (squares[i] - sum[i] * sum[i] / draws) / (draws - 1);
    return variance;
}

/// Loss on the training rows for every seed; `right` takes the accuracies on the others.
template <int Samples>
std::vector<double> train_sampled(options const& given, esp::data_set const& train, esp::data_set const& test,
                                  std::vector<double>& right) {
    return methods::for_each_seed(given, [&](std::uint64_t seed) {
        model_of<sampled_head<Samples>> net{esp::seed{seed}, train.count};
        esp::loss::cross_entropy const loss{};
        esp::optimizer::sgd const optimizer{.learning_rate = 0.05, .momentum = 0.9};
        esp::fit(net, loss, optimizer, train, {.epochs = 15, .batch = 50, .progress = false});
        esp::training run{net, loss, optimizer};
        right.push_back(methods::evaluate(run, test).accuracy);
        return methods::evaluate(run, train).loss;
    });
}

void multi_sample(options const& given, std::vector<row>& rows) {
    auto const [train, test] = methods::read_digits(given, 1000);
    int const draws = given.quick ? 500 : 2000;
    double const one = variance_over_masks<1>(train, draws), eight = variance_over_masks<8>(train, draws);
    rows.push_back({"01",
                    "variance of the head's gradient over masks, 8 samples instead of 1; digits",
                    one,
                    eight,
                    methods::ratio_within(0.115, 0.135),
                    // that 500 draws are off by as much as this has not been seen
                    {"eight samples leave 0.1 to 0.15 of the variance", eight > 0.1 * one && eight < 0.15 * one}});

    std::vector<double> right;
    std::vector<double> const plain = train_sampled<1>(given, train, test, right);
    std::vector<double> const sampled = train_sampled<8>(given, train, test, right);
    rows.push_back({"01", "training loss as the network is used, 15 epochs, 8 samples instead of 1; digits",
                    methods::mean(plain), methods::mean(sampled), methods::ratio_at_most(0.9),
                    methods::every_above(right, 0.93, "test accuracy")});
}

// ---- card 17: ScheduledDropPath

inline constexpr std::uint64_t path_cells = 6;
inline constexpr esp::index_t path_rows = 300, path_batch = 50, path_epochs = 60;
inline constexpr std::uint64_t path_steps = path_epochs * path_rows / path_batch;

// Rates of the paths of a cell.
constexpr auto no_drop = [](std::uint64_t) { return 0.0; };
constexpr auto constant_drop = [](std::uint64_t) { return 0.4; };
constexpr auto deeper_drop = [](std::uint64_t cell) {
    return esp::schedule::drop_path{.keep = 0.6, .cell = cell, .cells = path_cells};
};
constexpr auto scheduled_drop = [](std::uint64_t cell) {
    return esp::schedule::drop_path{.keep = 0.6, .cell = cell, .cells = path_cells, .steps = path_steps};
};

/// Three paths and the identity, added. The paths begin at a sixth of the variance that keeps a row's size: six cells
/// of four addends each would let it grow without bound.
inline constexpr double path_bound = 0.144337567297; // 1 / sqrt(48)
template <auto Rate>
using path = esp::dense<48, esp::activation::relu, esp::dropout::drop_path<Rate>,
                        esp::initial::uniform<-path_bound, path_bound>>;
template <auto Rate> using cell = esp::residual<esp::parallel<esp::merge::add, path<Rate>, path<Rate>, path<Rate>>>;
template <auto RateOf>
using cells = esp::sequence<esp::input<64>, esp::dense<48, esp::activation::relu>, cell<RateOf(0)>, cell<RateOf(1)>,
                            cell<RateOf(2)>, cell<RateOf(3)>, cell<RateOf(4)>, cell<RateOf(5)>, esp::dense<10>>;

template <auto RateOf>
std::vector<double> path_accuracy(options const& given, esp::data_set const& train, esp::data_set const& test) {
    return methods::for_each_seed(given, [&](std::uint64_t seed) {
        model_of<cells<RateOf>> net{esp::seed{seed}, test.count};
        esp::loss::cross_entropy const loss{};
        esp::optimizer::adamw const optimizer{.learning_rate = 2e-3};
        esp::fit(net, loss, optimizer, train, {.epochs = path_epochs, .batch = path_batch, .progress = false});
        esp::training run{net, loss, optimizer};
        return methods::evaluate(run, test).accuracy;
    });
}

void scheduled_drop_path(options const& given, std::vector<row>& rows) {
    auto const [train, test] = methods::read_digits(given, path_rows);
    std::vector<double> const none = path_accuracy<no_drop>(given, train, test);
    auto const add = [&](std::string const& rate, std::vector<double> const& accuracy) {
        rows.push_back(
            {"17",
             "test accuracy, paths of 6 cells dropped at " + rate + "; 300 digits",
             methods::mean(none),
             methods::mean(accuracy),
             methods::differs_at_most(0.02),
             {"both get more than 85 % right", methods::least(none) > 0.85 && methods::least(accuracy) > 0.85}});
    };
    add("the constant rate 0.4", path_accuracy<constant_drop>(given, train, test));
    add("a rate that grows with depth", path_accuracy<deeper_drop>(given, train, test));
    add("a rate that grows with depth and time", path_accuracy<scheduled_drop>(given, train, test));
}

std::vector<row> all_rows(options const& given) {
    std::vector<row> rows;
    multi_sample(given, rows);
    scheduled_drop_path(given, rows);
    return rows;
}

} // namespace

int main(int argc, char** argv) {
    return methods::run(argc, argv,
                        {.name = "digits_mlp",
                         .purpose = "Mechanisms inside a small dense stack, on handwritten digits.",
                         .seeds = 6,
                         .rows = all_rows});
}
