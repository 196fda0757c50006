// SPDX-License-Identifier: Apache-2.0
// Adapters of low rank on a network that is trained and frozen: 8x8 handwritten digits, then their mirror images.
#include "frame/frame.hpp"
#include "frame/measure.hpp"

#include <espalier/activation/relu.hpp>
#include <espalier/core/random.hpp>
#include <espalier/device/cpu/cpu.hpp>
#include <espalier/layer/dense.hpp>
#include <espalier/layer/input.hpp>
#include <espalier/layer/sequence.hpp>
#include <espalier/loss/cross_entropy.hpp>
#include <espalier/network/base.hpp>
#include <espalier/optimizer/adam.hpp>
#include <espalier/optimizer/sgd.hpp>
#include <espalier/train/fit.hpp>
#include <espalier/weight/adaptive_gain.hpp>
#include <espalier/weight/low_rank_adapter.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace {

namespace esp = espalier;
using methods::options;
using methods::row;

inline constexpr esp::index_t train_rows = 1297, batch = 64;
inline constexpr int steps = 30;
inline constexpr double rates[] = {0.03, 0.06, 0.1};

/// The same three layers with other weight policies.
template <class... Weight>
using stack = esp::sequence<esp::input<64>, esp::dense<128, esp::activation::relu, Weight...>,
                            esp::dense<128, esp::activation::relu, Weight...>, esp::dense<10, Weight...>>;
template <class... Weight> using model = esp::network<stack<Weight...>, esp::device::cpu, float>;
using plain = esp::weight::low_rank_adapter<4>;
using with_gain = esp::weight::low_rank_adapter<4, esp::weight::adaptive_gain<2.0>>;

/// Left and right exchanged.
esp::data_set mirrored(esp::data_set data) {
    for (std::size_t at = 0; at < data.features.size(); at += 8)
        std::reverse(data.features.begin() + static_cast<std::ptrdiff_t>(at),
                     data.features.begin() + static_cast<std::ptrdiff_t>(at + 8));
    return data;
}

model<> pretrained(esp::data_set const& train, std::uint64_t seed) {
    model<> net{esp::seed{seed}, train_rows};
    esp::fit(net, esp::loss::cross_entropy{}, esp::optimizer::adam{.learning_rate = 1e-3}, train,
             {.epochs = 30, .batch = batch, .progress = false});
    return net;
}

/// Loss on `test` after a few steps on `train`. Biases are frozen with the kernels.
template <class Weight>
double adapted_loss(model<> const& base, esp::data_set const& train, esp::data_set const& test, std::uint64_t seed,
                    double rate) {
    model<Weight> net{esp::seed{seed + 100}, train_rows};
    esp::load_base(net, base);
    esp::training run{net,
                      esp::loss::cross_entropy{},
                      esp::optimizer::sgd{.learning_rate = rate},
                      0,
                      {{.tensor_role = esp::role::bias, .frozen = true}}};
    std::vector<std::int32_t> order(static_cast<std::size_t>(train.count)), labels(static_cast<std::size_t>(batch));
    std::vector<float> inputs(static_cast<std::size_t>(batch * 64));
    esp::index_t const batches = train.count / batch;
    for (esp::index_t step = 0; step < steps; ++step) {
        if (step % batches == 0)
            esp::random_permutation(esp::make_site(seed, static_cast<std::uint64_t>(step)),
                                    esp::array_view<std::int32_t>{order.data(), train.count});
        for (esp::index_t i = 0; i < batch; ++i) {
            auto const from = static_cast<std::size_t>(order[static_cast<std::size_t>(step % batches * batch + i)]);
            labels[static_cast<std::size_t>(i)] = train.labels[from];
            std::copy_n(train.features.data() + from * 64, 64, inputs.data() + i * 64);
        }
        esp::rows tags;
        tags.count = batch;
        tags.label = labels.data();
        run.step({esp::contiguous_view<float const>(inputs.data(), batch, 64), tags, {}});
    }
    return methods::evaluate(run, test).loss;
}

std::vector<row> all_rows(options const& given) {
    auto const [digits, digits_left] = methods::read_digits(given, train_rows);
    esp::data_set const train = mirrored(digits), test = mirrored(digits_left);
    auto const bases =
        methods::for_each_seed(given, [&, &all = digits](std::uint64_t seed) { return pretrained(all, seed); });
    std::vector<row> rows;
    for (double const rate : rates) {
        auto const losses = [&]<class Weight>() {
            return methods::for_each_seed(given, [&](std::uint64_t seed) {
                return adapted_loss<Weight>(bases[static_cast<std::size_t>(seed - 1)], train, test, seed, rate);
            });
        };
        auto const without = losses.template operator()<plain>();
        auto const with = losses.template operator()<with_gain>();
        std::vector<double> ratios;
        for (std::size_t i = 0; i < with.size(); ++i)
            ratios.push_back(with[i] / without[i]);
        rows.push_back({"08",
                        "test loss on mirrored digits after 30 steps of adapters of rank 4, gain with eta 2 instead of "
                        "none, learning rate " +
                            std::to_string(rate).substr(0, 4),
                        methods::mean(without), methods::mean(with), methods::ratio_at_most(0.85),
                        methods::every_below(ratios, 1.0, "loss with the gain / loss without")});
    }
    return rows;
}

} // namespace

int main(int argc, char** argv) {
    return methods::run(argc, argv,
                        {.name = "digits_adapters",
                         .purpose = "Adapters of low rank on a frozen network, on mirrored handwritten digits.",
                         .seeds = 3,
                         .rows = all_rows});
}
