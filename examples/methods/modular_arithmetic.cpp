// SPDX-License-Identifier: Apache-2.0
// What a network makes of wrong labels, where one rule gives all others: addition modulo a prime. The data are the
// table itself, as in the paper.
#include "frame/frame.hpp"
#include "frame/measure.hpp"

#include <espalier/activation/power.hpp>
#include <espalier/data/modular_table.hpp>
#include <espalier/device/cpu/cpu.hpp>
#include <espalier/initial/normal.hpp>
#include <espalier/layer/dense.hpp>
#include <espalier/layer/elementwise.hpp>
#include <espalier/layer/embedding.hpp>
#include <espalier/layer/input.hpp>
#include <espalier/layer/parallel.hpp>
#include <espalier/layer/sequence.hpp>
#include <espalier/layer/slice.hpp>
#include <espalier/loss/one_hot_squared_error.hpp>
#include <espalier/network/network.hpp>
#include <espalier/network/set_units.hpp>
#include <espalier/optimizer/adamw.hpp>
#include <espalier/prune/inverse_participation.hpp>
#include <espalier/prune/keep_flags.hpp>
#include <espalier/prune/unit_scores.hpp>
#include <espalier/train/training.hpp>
#include <espalier/units/fixed_mask.hpp>

#include <cstddef>
#include <cstdint>
#include <numeric>
#include <string>
#include <utility>
#include <vector>

namespace {

namespace esp = espalier;
using methods::options;
using methods::row;

// ---- card 10: the inverse participation ratio

inline constexpr esp::index_t modulus = 59, units = 256;
using first_values = esp::initial::normal<0.0625>; // 0.5 / (2 units)^(1/3)

template <int Which>
using numbered = esp::sequence<esp::slice<Which, 1>, esp::embedding<esp::vocabulary<modulus>, units, first_values>>;
using stack = esp::sequence<esp::input<2>, esp::parallel<esp::merge::add, numbered<0>, numbered<1>>,
                            esp::elementwise<esp::activation::power<2>, esp::units::fixed_mask>,
                            esp::dense<modulus, esp::no_bias, first_values>>;
using model = esp::network<stack, esp::device::cpu, float>;

std::vector<esp::prune::unit_tensor> const weights_of_units{
    {"1.0.1.table", esp::over::columns}, {"1.1.1.table", esp::over::columns}, {"3.kernel", esp::over::rows}};

/// The table of a seed, and what is asked of it.
struct problem {
    esp::data_set train, test;
    esp::data_set wrong; ///< the training rows whose label was drawn, with that label
    esp::data_set all;   ///< every pair, with its true label

    explicit problem(std::uint64_t seed) {
        esp::modular_tables tables =
            esp::modular_table({.modulus = modulus, .train_share = 0.6, .corrupted_share = 0.3, .seed = seed});
        esp::index_t const drawn = std::accumulate(tables.corrupted.begin(), tables.corrupted.end(), esp::index_t{0});
        wrong = esp::split(tables.train, drawn).first;
        all = tables.train;
        all.labels = tables.true_labels;
        all.features.insert(all.features.end(), tables.test.features.begin(), tables.test.features.end());
        all.labels.insert(all.labels.end(), tables.test.labels.begin(), tables.test.labels.end());
        all.count += tables.test.count;
        train = std::move(tables.train);
        test = std::move(tables.test);
    }
};

/// Accuracies of one way of training, for each seed.
struct outcome {
    std::vector<double> train, test;
    std::vector<double> wrong;    ///< drawn labels that the network gives
    std::vector<double> right;    ///< true labels of all pairs
    std::vector<double> spectrum; ///< mean inverse participation ratio of the units
};

template <class Training> void measure(outcome& out, Training& run, problem const& data) {
    out.train.push_back(methods::evaluate(run, data.train).accuracy);
    out.test.push_back(methods::evaluate(run, data.test).accuracy);
    out.wrong.push_back(methods::evaluate(run, data.wrong).accuracy);
    out.right.push_back(methods::evaluate(run, data.all).accuracy);
    auto const scores = esp::prune::unit_scores(run.net(), weights_of_units, esp::prune::inverse_participation{});
    out.spectrum.push_back(methods::mean(scores));
}

/// 500 steps over the whole of the training rows.
template <class Training> void train(Training& run, problem const& data) {
    esp::rows tags;
    tags.count = data.train.count;
    tags.label = data.train.labels.data();
    for (int step = 0; step < 500; ++step)
        run.step({data.train.view().features, tags, {}});
}

std::vector<row> all_rows(options const& given) {
    outcome free, some, strong;        // weight decay 0, 5 and 15
    outcome without_low, without_high; // the first of them, half of its units left out
    for (int s = 1; s <= given.seeds; ++s) {
        auto const seed = static_cast<std::uint64_t>(s);
        problem const data(seed);
        for (double const decay : {0.0, 5.0, 15.0}) {
            model net{esp::seed{seed}, data.all.count};
            esp::training run{net, esp::loss::one_hot_squared_error{},
                              esp::optimizer::adamw<>{.learning_rate = 1e-2, .beta2 = 0.98, .weight_decay = decay}};
            train(run, data);
            measure(decay == 0.0 ? free : decay == 5.0 ? some : strong, run, data);
            if (decay != 0.0) continue;
            auto const scores = esp::prune::unit_scores(net, weights_of_units, esp::prune::inverse_participation{});
            esp::set_units(net, "2", esp::prune::keep_highest(scores, units / 2));
            measure(without_low, run, data);
            esp::set_units(net, "2", esp::prune::keep_lowest(scores, units / 2));
            measure(without_high, run, data);
        }
    }
    using methods::mean;
    std::string const table = "; addition modulo 59, 30 % of the training labels drawn anew";
    std::string const low = "half of the units left out, of lowest inverse participation ratio" + table;
    methods::condition const learned = methods::every_above(strong.test, 0.95, "test accuracy with decay 15");
    methods::condition const better =
        methods::every_above(without_low.right, 0.8, "accuracy against true labels without the lowest half");
    methods::line const apart{"ours <= 0.05, baseline >= 0.95",
                              [](double baseline, double ours) { return ours <= 0.05 && baseline >= 0.95; }};
    return {{"10", "test accuracy, weight decay 15 instead of 0" + table, mean(free.test), mean(strong.test),
             methods::at_least(0.99), learned},
            {"10", "drawn labels that the network gives, weight decay 15 instead of 0" + table, mean(free.wrong),
             mean(strong.wrong), apart, learned},
            {"10", "drawn labels that the network gives, weight decay 5 instead of 0" + table, mean(free.wrong),
             mean(some.wrong), methods::no_line(), learned},
            {"10", "mean inverse participation ratio of the units, weight decay 15 instead of 0" + table,
             mean(free.spectrum), mean(strong.spectrum), methods::no_line(), learned},
            {"10", "accuracy against true labels of all pairs, " + low, mean(free.right), mean(without_low.right),
             methods::above_baseline_by(0.1), better},
            {"10", "drawn labels that the network gives, " + low, mean(free.wrong), mean(without_low.wrong),
             methods::at_most(0.25), better},
            {"10",
             "accuracy against true labels of all pairs, half of the units left out, of highest inverse participation "
             "ratio" +
                 table,
             mean(free.right), mean(without_high.right), methods::at_most(0.25), better}};
}

} // namespace

int main(int argc, char** argv) {
    return methods::run(argc, argv,
                        {.name = "modular_arithmetic",
                         .purpose = "Wrong labels in a table of modular addition: decay, and units judged by their "
                                    "spectrum.",
                         .seeds = 3,
                         .rows = all_rows});
}
