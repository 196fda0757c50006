// SPDX-License-Identifier: Apache-2.0
// Gates over the same eight small experts, on 8x8 handwritten digits.
#include "frame/frame.hpp"
#include "frame/measure.hpp"

#include <espalier/activation/relu.hpp>
#include <espalier/device/cpu/cpu.hpp>
#include <espalier/gate/comet.hpp>
#include <espalier/gate/dselect_k.hpp>
#include <espalier/gate/hash.hpp>
#include <espalier/gate/importance.hpp>
#include <espalier/gate/learned_noise.hpp>
#include <espalier/gate/softmax.hpp>
#include <espalier/gate/top_k.hpp>
#include <espalier/layer/dense.hpp>
#include <espalier/layer/elementwise.hpp>
#include <espalier/layer/input.hpp>
#include <espalier/layer/moe.hpp>
#include <espalier/layer/parallel.hpp>
#include <espalier/layer/sequence.hpp>
#include <espalier/loss/cross_entropy.hpp>
#include <espalier/optimizer/adam.hpp>
#include <espalier/schedule/runtime.hpp>
#include <espalier/train/fit.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

namespace {

namespace esp = espalier;
using namespace esp::literals;
using methods::options;
using methods::row;

inline constexpr int experts = 8;
inline constexpr esp::index_t rows_of_file = 1797, train_rows = 1200;

template <class Stack> using model_of = esp::network<Stack, esp::device::cpu, float>;

template <class Gate>
using routed = esp::sequence<esp::input<64>, esp::moe<Gate, esp::dense<6, esp::activation::relu>>, esp::dense<10>>;

/// A row's key is its place in the file of digits: a random table knows nothing of what it shows.
using random_hash = esp::gate::hash<experts, rows_of_file>;

/// Of one gate, a number a seed.
struct outcome {
    std::vector<double> accuracy; ///< of the test rows
    std::vector<double> live;     ///< experts that a test row has, on average
};

/// Squared coefficient of variation of the experts' weights over all rows, of top-2 without its noise.
template <class Network> double variation_of_top_2(Network& net, esp::data_set const& data) {
    std::span<float const> const kernel = methods::tensor(net, "1.gate.kernel"),
                                 bias = methods::tensor(net, "1.gate.bias");
    std::size_t const columns = bias.size();
    std::vector<double> importance(experts);
    for (esp::index_t r = 0; r < data.count; ++r) {
        std::vector<double> z(bias.begin(), bias.begin() + experts);
        for (std::size_t i = 0; i < 64; ++i)
            for (std::size_t e = 0; e < experts; ++e)
                z[e] += static_cast<double>(data.features[static_cast<std::size_t>(r) * 64 + i]) *
                        static_cast<double>(kernel[i * columns + e]);
        auto const first = std::max_element(z.begin(), z.end());
        double const largest = std::exchange(*first, -1e30);
        auto const second = std::max_element(z.begin(), z.end());
        double const share = 1.0 / (1.0 + std::exp(*second - largest));
        importance[static_cast<std::size_t>(first - z.begin())] += share;
        importance[static_cast<std::size_t>(second - z.begin())] += 1.0 - share;
    }
    double const mean = methods::mean(importance);
    double variance = 0.0;
    for (double const v : importance)
        variance += (v - mean) * (v - mean) / experts;
    return variance / (mean * mean);
}

/// `values`: what the stack's run-time numbers are. `prepare` is called with the new network, `look` with the trained
/// one.
template <class Stack, class Prepare, class Look>
outcome train(options const& given, esp::data_set const& train, esp::data_set const& test,
              std::vector<esp::named_value> const& values, Prepare const& prepare, Look const& look) {
    outcome out;
    for (int seed = 1; seed <= given.seeds; ++seed) {
        model_of<Stack> net{esp::seed{static_cast<std::uint64_t>(seed)}, train_rows};
        prepare(net);
        esp::loss::cross_entropy const loss{};
        esp::optimizer::adam const optimizer{.learning_rate = 3e-3};
        esp::fit(net, loss, optimizer, train, {.epochs = 60, .batch = 64, .values = values, .progress = false});
        look(net);
        esp::training run{net, loss, optimizer};
        out.accuracy.push_back(methods::evaluate(run, test).accuracy);
        out.live.push_back(run.measures()[0]);
    }
    return out;
}

// One stack for both values of a number: other numbers would be other types.
inline constexpr esp::schedule::runtime lambda{.name = "lambda"_name, .initial = 0.1};
inline constexpr esp::schedule::runtime balance{.name = "balance"_name, .initial = 0.0};
using trees_gate = esp::gate::comet<experts, 2, lambda, 1.0>;
using noisy_gate = esp::gate::top_k<experts, 2, esp::gate::learned_noise, esp::gate::importance<balance>>;

/// An expert of two layers for a row's key, and the same size in two segments: each of two tables chooses half of the
/// columns of both layers (Roller et al. 2021, MultiHash).
using one_table =
    esp::sequence<esp::input<64>,
                  esp::moe<random_hash, esp::sequence<esp::dense<6, esp::activation::relu>, esp::dense<10>>>>;
template <int Width> using segment = esp::moe<random_hash, esp::dense<Width>>;
using two_tables = esp::sequence<esp::input<64>, esp::parallel<esp::merge::concatenate, segment<3>, segment<3>>,
                                 esp::elementwise<esp::activation::relu>,
                                 esp::parallel<esp::merge::concatenate, segment<5>, segment<5>>>;

constexpr auto as_it_is = [](auto&) {};
/// Both layers of a segment look into one table.
constexpr auto with_equal_tables = [](auto& net) {
    for (std::string const of : {"0", "1"})
        std::ranges::copy(methods::tensor(net, "1." + of + ".gate.table"),
                          methods::tensor(net, "3." + of + ".gate.table").begin());
};

std::vector<row> all_rows(options const& given) {
    auto [train_set, test_set] = methods::read_digits(given, train_rows);
    for (esp::index_t r = 0; r < train_set.count; ++r)
        train_set.keys.push_back(static_cast<std::uint64_t>(r));
    for (esp::index_t r = 0; r < test_set.count; ++r)
        test_set.keys.push_back(static_cast<std::uint64_t>(train_set.count + r));

    auto const of = [&]<class Gate>(std::type_identity<Gate>, std::vector<esp::named_value> const& values = {}) {
        return train<routed<Gate>>(given, train_set, test_set, values, as_it_is, as_it_is);
    };
    using std::type_identity;
    outcome const all = of(type_identity<esp::gate::softmax<experts>>{});
    outcome const top = of(type_identity<esp::gate::top_k<experts, 2>>{});
    outcome const random = of(type_identity<random_hash>{});
    outcome const trees = of(type_identity<trees_gate>{});
    outcome const open_trees = of(type_identity<trees_gate>{}, {{lambda.name, 0.01}});
    outcome const selectors = of(type_identity<esp::gate::dselect_k<experts, 2, 0.1, 1.0>>{});
    auto const noisy_top = [&](double weight, std::vector<double>& variation) {
        return train<routed<noisy_gate>>(given, train_set, test_set, {{balance.name, weight}}, as_it_is,
                                         [&](auto& net) { variation.push_back(variation_of_top_2(net, train_set)); });
    };
    std::vector<double> uneven, even;
    outcome const noisy = noisy_top(0.0, uneven);
    noisy_top(0.1, even);
    outcome const whole = train<one_table>(given, train_set, test_set, {}, as_it_is, as_it_is);
    outcome const segments = train<two_tables>(given, train_set, test_set, {}, with_equal_tables, as_it_is);

    std::vector<row> rows;
    auto const accuracy = [&](char const* card, std::string const& what, outcome const& baseline, outcome const& ours,
                              methods::line line, double floor) {
        rows.push_back({card, "test accuracy, " + what + "; digits", methods::mean(baseline.accuracy),
                        methods::mean(ours.accuracy), std::move(line),
                        methods::every_above(ours.accuracy, floor, "test accuracy")});
    };
    auto const live = [&](char const* card, std::string const& what, outcome const& baseline, outcome const& ours,
                          methods::line line) {
        rows.push_back({card, "experts of a row, " + what + "; digits", methods::mean(baseline.live),
                        methods::mean(ours.live), std::move(line),
                        methods::every_below(ours.live, 4.0, "experts of a row")});
    };
    auto const margin = methods::above_baseline_by(0.08);
    live("40 comet", "COMET with lambda 0.1 instead of softmax", all, trees, methods::at_most(2.05));
    accuracy("40 comet", "COMET instead of a random hash", random, trees, margin, 0.85);
    accuracy("40 comet", "COMET instead of softmax", all, trees, methods::above_baseline_by(-0.04), 0.85);
    live("40 comet", "COMET with lambda 0.1 instead of 0.01", open_trees, trees, methods::below_baseline());
    accuracy("40 gates", "softmax instead of a random hash", random, all, margin, 0.85);
    accuracy("40 gates", "top-2 instead of a random hash", random, top, margin, 0.85);
    accuracy("40 gates", "noisy top-2 instead of a random hash", random, noisy, margin, 0.85);
    accuracy("40 gates", "DSelect-2 instead of a random hash", random, selectors, margin, 0.8);
    live("40 gates", "top-2 instead of softmax", all, top, methods::at_most(2.0));
    live("40 gates", "DSelect-2 instead of softmax", all, selectors, methods::at_most(2.0));
    rows.push_back({"40 gates", "CV^2 of importance, noisy top-2 with w = 0.1 instead of 0; digits",
                    methods::mean(uneven), methods::mean(even), methods::ratio_at_most(0.5),
                    methods::every_below(even, 1.0, "CV^2")});
    accuracy("40 gates", "two random tables for half of the columns each instead of one", whole, segments,
             methods::no_line(), 0.4);
    return rows;
}

} // namespace

int main(int argc, char** argv) {
    return methods::run(argc, argv,
                        {.name = "digits_gates",
                         .purpose = "Gates over the same eight small experts, on handwritten digits.",
                         .seeds = 3,
                         .rows = all_rows});
}
