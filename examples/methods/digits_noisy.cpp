// SPDX-License-Identifier: Apache-2.0
// Training on wrong labels, on 8x8 handwritten digits: two in five labels are drawn anew.
#include "frame/frame.hpp"
#include "frame/measure.hpp"

#include <espalier/activation/relu.hpp>
#include <espalier/core/random.hpp>
#include <espalier/device/cpu/cpu.hpp>
#include <espalier/layer/dense.hpp>
#include <espalier/layer/input.hpp>
#include <espalier/layer/sequence.hpp>
#include <espalier/loss/early_learning.hpp>
#include <espalier/optimizer/sgd.hpp>
#include <espalier/train/fit.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace {

namespace esp = espalier;
using methods::options;
using methods::row;

using stack = esp::sequence<esp::input<64>, esp::dense<256, esp::activation::relu>,
                            esp::dense<256, esp::activation::relu>, esp::dense<10>>;
using model = esp::network<stack, esp::device::cpu, float>;

/// Of every five labels two on average are one of the ten classes, drawn from the seed.
esp::data_set with_wrong_labels(esp::data_set data, std::uint64_t seed) {
    for (std::size_t i = 0; i < data.labels.size(); ++i) {
        esp::bits8 const bits = esp::draw(esp::make_site(seed, 1), static_cast<std::uint32_t>(i), 0);
        if (esp::uniform01(bits.word[0]) < 0.4f)
            data.labels[i] = static_cast<std::int32_t>(esp::below(10, bits.word[1], bits.word[2]));
    }
    return data;
}

struct outcome {
    std::vector<double> accuracy; ///< of the test rows, whose labels are right
    std::vector<double> fitted;   ///< share of the wrong labels that the network gives
};

/// Without a weight of its own, lambda = 0, early learning is cross-entropy.
outcome train(options const& given, esp::data_set const& right, esp::data_set const& test, double lambda) {
    outcome out;
    for (int s = 1; s <= given.seeds; ++s) {
        auto const seed = static_cast<std::uint64_t>(s);
        esp::data_set const noisy = with_wrong_labels(right, seed);
        model net{esp::seed{seed}, right.count};
        esp::loss::early_learning const loss{.beta = 0.7, .lambda = lambda};
        esp::optimizer::sgd const optimizer{.learning_rate = 0.05, .momentum = 0.9, .weight_decay = 1e-4};
        esp::fit(net, loss, optimizer, noisy, {.epochs = 150, .batch = 64, .progress = false});
        esp::training run{net, loss, optimizer, right.count};
        out.accuracy.push_back(methods::evaluate(run, test).accuracy);
        methods::evaluate(run, right);
        auto const outputs = run.outputs(right.count);
        double wrong = 0.0, fitted = 0.0;
        for (esp::index_t r = 0; r < right.count; ++r) {
            auto const i = static_cast<std::size_t>(r);
            if (noisy.labels[i] == right.labels[i]) continue;
            auto const* const z = outputs.row(r);
            wrong += 1.0;
            fitted += std::max_element(z, z + 10) - z == noisy.labels[i];
        }
        out.fitted.push_back(fitted / wrong);
    }
    return out;
}

std::vector<row> all_rows(options const& given) {
    auto const [right, test] = methods::read_digits(given, 1347);
    outcome const plain = train(given, right, test, 0.0), early = train(given, right, test, 3.0);
    return {{"05", "test accuracy, lambda = 3 instead of cross-entropy, two in five labels drawn anew; digits",
             methods::mean(plain.accuracy), methods::mean(early.accuracy), methods::above_baseline_by(0.12),
             methods::every_above(early.accuracy, 0.8, "test accuracy")},
            {"05", "share of the wrong labels that are fitted, lambda = 3 instead of cross-entropy; digits",
             methods::mean(plain.fitted), methods::mean(early.fitted), methods::at_most(0.35),
             methods::every_below(early.fitted, 0.5, "share of the wrong labels")}};
}

} // namespace

int main(int argc, char** argv) {
    return methods::run(argc, argv,
                        {.name = "digits_noisy",
                         .purpose = "Training on wrong labels, on handwritten digits.",
                         .seeds = 3,
                         .rows = all_rows});
}
