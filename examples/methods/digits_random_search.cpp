// SPDX-License-Identifier: Apache-2.0
// Random search for the units of an over-wide network before it is trained, on 8x8 handwritten digits.
#include "frame/frame.hpp"
#include "frame/measure.hpp"

#include <espalier/activation/relu.hpp>
#include <espalier/device/cpu/cpu.hpp>
#include <espalier/layer/dense.hpp>
#include <espalier/layer/input.hpp>
#include <espalier/layer/sequence.hpp>
#include <espalier/loss/cross_entropy.hpp>
#include <espalier/network/compact.hpp>
#include <espalier/network/network.hpp>
#include <espalier/optimizer/adam.hpp>
#include <espalier/search/units.hpp>
#include <espalier/train/batches.hpp>
#include <espalier/train/training.hpp>
#include <espalier/units/fixed_mask.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace {

namespace esp = espalier;
using methods::options;
using methods::row;

inline constexpr esp::index_t train_rows = 1200;
inline constexpr std::uint64_t epochs = 30, many = 200;

template <int K, class... Masks>
using stack = esp::sequence<esp::input<64>, esp::dense<K, esp::activation::relu, Masks...>,
                            esp::dense<K, esp::activation::relu, Masks...>, esp::dense<10>>;
template <class Stack> using model_of = esp::network<Stack, esp::device::cpu, float>;
template <class Model> using training_of = esp::training<Model, esp::loss::cross_entropy, esp::optimizer::adam<>>;
using parent = model_of<stack<128, esp::units::fixed_mask>>;

template <class Model> training_of<Model> training(Model& net) {
    return {net, esp::loss::cross_entropy{}, esp::optimizer::adam<>{.learning_rate = 3e-3}};
}
/// All training rows in one batch.
esp::batch_view<float> whole(esp::data_set const& data) {
    esp::batch_view<float> batch;
    batch.inputs = data.view().features;
    batch.tags.count = data.count;
    batch.tags.label = data.labels.data();
    return batch;
}

template <class Model> double accuracy_of(Model& net, esp::data_set const& train, esp::data_set const& test) {
    auto run = training(net);
    esp::batches<float> rows(train.view(), 64, net.random_seed());
    for (std::uint64_t epoch = 0; epoch < epochs; ++epoch) {
        rows.begin_epoch(epoch);
        for (esp::index_t i = 0; i < rows.count(); ++i)
            run.step(rows[i]);
    }
    return methods::evaluate(run, test).accuracy;
}

/// One arm of the comparison, a number for each seed.
struct arm {
    std::vector<double> loss;     ///< before the first step
    std::vector<double> accuracy; ///< after the last
};
struct arms {
    arm one, best;            ///< the mask of R = 1 and of R = 200
    double largest_gap = 0.0; ///< between the losses of the masked network and of the compacted one
};

template <int K> arms search(options const& given, esp::data_set const& train, esp::data_set const& test) {
    arms result;
    for (int s = 1; s <= given.seeds; ++s) {
        auto const seed = static_cast<std::uint64_t>(s);
        parent net{esp::seed{seed}, train.count};
        auto run = training(net);
        std::vector<esp::search::masked_layers> const groups = {{{"1"}, K}, {{"2"}, K}};
        for (auto const& [budget, out] : {std::pair{std::uint64_t{1}, &result.one}, {many, &result.best}}) {
            auto const found = esp::search::units(net, groups, {.budget = budget, .seed = seed},
                                                  [&] { return run.judge(whole(train)); });
            model_of<stack<K>> small{esp::seed{seed}, train.count};
            esp::compact(net, small);
            out->loss.push_back(found.score);
            result.largest_gap =
                std::max(result.largest_gap, std::abs(training(small).judge(whole(train)) - found.score));
            out->accuracy.push_back(accuracy_of(small, train, test));
        }
    }
    return result;
}

std::vector<double> dense_accuracy(options const& given, esp::data_set const& train, esp::data_set const& test) {
    return methods::for_each_seed(given, [&](std::uint64_t seed) {
        parent net{esp::seed{seed}, train.count};
        return accuracy_of(net, train, test);
    });
}

std::vector<row> all_rows(options const& given) {
    auto const [train, test] = methods::read_digits(given, train_rows);
    std::vector<double> const dense = dense_accuracy(given, train, test);
    arms const of[] = {search<32>(given, train, test), search<13>(given, train, test), search<6>(given, train, test)};
    char const* const width[] = {"32", "13", "6"};

    std::vector<row> rows;
    auto const add = [&](std::string const& metric, double baseline, double ours, methods::line wanted,
                         methods::condition certain) {
        rows.push_back({"19", metric, baseline, ours, std::move(wanted), std::move(certain)});
    };
    for (int k = 0; k < 3; ++k) {
        std::string const kept = std::string(width[k]) + " of 128 units a layer";
        arm const &one = of[k].one, &best = of[k].best;
        double lower = 0.0;
        for (std::size_t s = 0; s < one.loss.size(); ++s)
            lower += best.loss[s] < one.loss[s];
        add("loss before training, the best of 200 random masks instead of one; " + kept + "; digits",
            methods::mean(one.loss), methods::mean(best.loss), methods::below_baseline(),
            {"the masked and the compacted network differ by less than 1e-5", of[k].largest_gap < 1e-5});
        add("share of the seeds whose best mask of 200 has a lower loss before training; " + kept + "; digits", 0.0,
            lower / static_cast<double>(one.loss.size()), methods::at_least(0.875),
            {"the best of 200 masks is never worse than the first of them",
             std::ranges::equal(best.loss, one.loss, std::ranges::less_equal{})});
    }
    for (int k = 0; k < 2; ++k)
        add(std::string("test accuracy, the best of 200 random masks instead of one; ") + width[k] +
                " of 128 units a layer; digits",
            methods::mean(of[k].one.accuracy), methods::mean(of[k].best.accuracy), methods::differs_at_most(0.01),
            methods::every_above(of[k].best.accuracy, 0.85, "test accuracy"));
    std::vector<double> const* before = &dense;
    char const* name = "128";
    for (int k = 0; k < 3; ++k) {
        add(std::string("test accuracy, ") + width[k] + " random units a layer instead of " + name + "; digits",
            methods::mean(*before), methods::mean(of[k].one.accuracy), methods::below_baseline(),
            methods::every_above(of[k].one.accuracy, 0.5, "test accuracy"));
        before = &of[k].one.accuracy;
        name = width[k];
    }
    return rows;
}

} // namespace

int main(int argc, char** argv) {
    return methods::run(argc, argv,
                        {.name = "digits_random_search",
                         .purpose = "Random search for the units of an over-wide network before it is trained.",
                         .seeds = 8,
                         .rows = all_rows});
}
