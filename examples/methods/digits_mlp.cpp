// SPDX-License-Identifier: Apache-2.0
// Mechanisms inside a small dense stack, on 8x8 handwritten digits.
#include "frame/frame.hpp"

#include <espalier/activation/relu.hpp>
#include <espalier/device/cpu/cpu.hpp>
#include <espalier/dropout/bernoulli.hpp>
#include <espalier/layer/dense.hpp>
#include <espalier/layer/elementwise.hpp>
#include <espalier/layer/input.hpp>
#include <espalier/layer/multi_sample.hpp>
#include <espalier/layer/sequence.hpp>
#include <espalier/loss/cross_entropy.hpp>
#include <espalier/optimizer/sgd.hpp>
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
    esp::training run{net, esp::loss::cross_entropy{}, esp::optimizer::sgd{}};
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

template <int Samples>
esp::evaluation train_sampled(esp::data_set const& train, esp::data_set const& test, std::uint64_t seed,
                              double& training_loss) {
    model_of<sampled_head<Samples>> net{esp::seed{seed}, 50};
    esp::loss::cross_entropy const loss{};
    esp::fit(net, loss, esp::optimizer::sgd{.learning_rate = 0.05, .momentum = 0.9}, train,
             {.epochs = 15, .batch = 50});
    training_loss = esp::evaluate(net, loss, train).loss;
    return esp::evaluate(net, loss, test);
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

    std::vector<double> plain, sampled;
    bool learned = true;
    methods::for_each_seed(given, [&](std::uint64_t seed) {
        double loss = 0.0;
        learned = train_sampled<1>(train, test, seed, loss).accuracy > 0.93 && learned;
        plain.push_back(loss);
        learned = train_sampled<8>(train, test, seed, loss).accuracy > 0.93 && learned;
        sampled.push_back(loss);
        return 0;
    });
    rows.push_back({"01",
                    "training loss as the network is used, 15 epochs, 8 samples instead of 1; digits",
                    methods::mean(plain),
                    methods::mean(sampled),
                    methods::ratio_at_most(0.9),
                    {"both get more than 93 % of the test rows right", learned}});
}

std::vector<row> all_rows(options const& given) {
    std::vector<row> rows;
    multi_sample(given, rows);
    return rows;
}

} // namespace

int main(int argc, char** argv) {
    return methods::run(argc, argv,
                        {.name = "digits_mlp",
                         .purpose = "Mechanisms inside a small dense stack, on handwritten digits.",
                         .seeds = 5,
                         .rows = all_rows});
}
