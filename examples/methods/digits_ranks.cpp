// SPDX-License-Identifier: Apache-2.0
// Kernels as products of two factors whose ranks are put in order while training, on 8x8 handwritten digits.
#include "frame/frame.hpp"
#include "frame/measure.hpp"

#include <espalier/activation/relu.hpp>
#include <espalier/data/csv.hpp>
#include <espalier/device/cpu/cpu.hpp>
#include <espalier/layer/dense.hpp>
#include <espalier/layer/input.hpp>
#include <espalier/layer/sequence.hpp>
#include <espalier/loss/cross_entropy.hpp>
#include <espalier/loss/mean_squared_error.hpp>
#include <espalier/math/svd.hpp>
#include <espalier/optimizer/adam.hpp>
#include <espalier/optimizer/sgd.hpp>
#include <espalier/penalty/nested_group_lasso.hpp>
#include <espalier/schedule/cosine.hpp>
#include <espalier/schedule/runtime.hpp>
#include <espalier/train/batches.hpp>
#include <espalier/train/fit.hpp>
#include <espalier/weight/low_rank.hpp>
#include <espalier/weight/ordered_ranks.hpp>
#include <espalier/weight/ranks.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace {

namespace esp = espalier;
using namespace espalier::literals;
using methods::options;
using methods::row;

/// The method begins with the factors of a kernel, here of one that initial::he_normal could have given.
template <class Network> void decompose(Network& net, std::string const& layer) {
    for (esp::weight::layer_rank const& of : esp::weight::ranks(net)) {
        if (of.layer != layer) continue;
        std::vector<float> kernel(static_cast<std::size_t>(of.inputs * of.outputs));
        esp::fill_normal(esp::make_site(net.random_seed().value, static_cast<std::uint64_t>(of.inputs)), 0.0,
                         std::sqrt(2.0 / static_cast<double>(of.inputs)),
                         esp::array_view<float>{kernel.data(), of.inputs * of.outputs});
        esp::weight::factorise(net, layer, esp::contiguous_view(kernel.data(), of.inputs, of.outputs));
    }
}

// ---- card 50: ordered low rank, of Maestro. A linear autoencoder finds the principal components

constexpr esp::schedule::runtime rank{.name = "rank"_name, .initial = 16.0};
using autoencoder = esp::sequence<esp::input<64>, esp::dense<64, esp::weight::low_rank<16, rank>, esp::no_bias>>;
constexpr esp::index_t looked_at[] = {1, 2, 4, 8, 16};

/// All digits around their mean, and what the first k principal components leave of them.
struct centred {
    esp::data_set set;
    std::vector<double> left_by_components; ///< as many as `looked_at`
};
centred read_centred(options const& given) {
    centred result;
    esp::data_set& set = result.set;
    set = esp::read_csv(given.digits);
    esp::scale(set, 1.0 / 16);
    std::vector<double> numbers(set.features.begin(), set.features.end());
    for (esp::index_t c = 0; c < 64; ++c) {
        double mean = 0.0;
        for (esp::index_t r = 0; r < set.count; ++r)
            mean += numbers[static_cast<std::size_t>(r * 64 + c)];
        mean /= static_cast<double>(set.count);
        for (esp::index_t r = 0; r < set.count; ++r)
            numbers[static_cast<std::size_t>(r * 64 + c)] -= mean;
    }
    set.features.assign(numbers.begin(), numbers.end());
    set.targets = set.features;
    set.target_width = 64;
    esp::math::thin_svd const svd({numbers.data(), set.count, 64, 64});
    for (esp::index_t const k : looked_at) {
        double left = 0.0;
        for (std::size_t j = static_cast<std::size_t>(k); j < 64; ++j)
            left += svd.values()[j] * svd.values()[j];
        result.left_by_components.push_back(left);
    }
    return result;
}

/// What the first k ranks leave, divided by what as many components leave.
std::vector<double> errors(centred const& data, std::uint64_t seed, bool ordered) {
    constexpr std::uint64_t steps = 6000;
    esp::network<autoencoder, esp::device::cpu, float> net{esp::seed{seed}, data.set.count};
    decompose(net, "1");
    esp::training run{net, esp::loss::mean_squared_error{},
                      esp::optimizer::adam{.learning_rate = esp::schedule::cosine{.from = 2e-3, .steps = steps}}};
    if (ordered) run.decide_with(esp::weight::ordered_ranks(net));
    esp::batches<float> rows(data.set.view(), 128, net.random_seed());
    for (std::uint64_t epoch = 0; run.time().step < steps; ++epoch) {
        rows.begin_epoch(epoch);
        for (esp::index_t i = 0; i + 1 < rows.count() && run.time().step < steps; ++i) // without the few of the last
            run.step(rows[i]);
    }
    std::vector<double> result;
    std::vector<float> seen(data.set.features.size());
    for (std::size_t i = 0; i < std::size(looked_at); ++i) {
        esp::weight::set_rank(net, "1", looked_at[i]);
        net.predict(esp::contiguous_view(data.set.features.data(), data.set.count, 64),
                    esp::contiguous_view(seen.data(), data.set.count, 64));
        double left = 0.0;
        for (std::size_t n = 0; n < seen.size(); ++n) {
            double const difference = static_cast<double>(data.set.features[n]) - static_cast<double>(seen[n]);
            left += difference * difference;
        }
        result.push_back(left / data.left_by_components[i]);
    }
    return result;
}

void add_components(options const& given, std::vector<row>& rows) {
    centred const data = read_centred(given);
    auto const plain = methods::for_each_seed(given, [&](std::uint64_t seed) { return errors(data, seed, false); });
    auto const ordered = methods::for_each_seed(given, [&](std::uint64_t seed) { return errors(data, seed, true); });
    for (std::size_t i = 0; i < std::size(looked_at); ++i) {
        std::vector<double> without, with;
        for (std::size_t s = 0; s < plain.size(); ++s) {
            without.push_back(plain[s][i]);
            with.push_back(ordered[s][i]);
        }
        bool const between = looked_at[i] == 4 || looked_at[i] == 8;
        methods::line const order{
            between ? "ours <= 1.03, baseline >= 1.2" : "ours <= 1.03",
            [=](double baseline, double ours) { return ours <= 1.03 && (!between || baseline >= 1.2); }};
        rows.push_back({"50",
                        "error of the first " + std::to_string(looked_at[i]) +
                            " of 16 ranks of a linear autoencoder, divided by that of as many principal components, "
                            "ranks drawn instead of none; digits",
                        methods::mean(without), methods::mean(with), order,
                        methods::every_below(with, 1.05, "the error of ordered ranks")});
    }
}

// ---- the same with a nested group lasso and shrinking

constexpr esp::schedule::runtime first_rank{.name = "first rank"_name, .initial = 64.0};
constexpr esp::schedule::runtime second_rank{.name = "second rank"_name, .initial = 128.0};
constexpr esp::schedule::runtime strength{.name = "strength"_name, .initial = 0.0};
using lasso = esp::on<esp::role::factor, esp::penalty::nested_group_lasso<strength, esp::over::ranks>>;
using mlp =
    esp::sequence<esp::input<64>, esp::dense<128, esp::activation::relu, esp::weight::low_rank<64, first_rank>, lasso>,
                  esp::dense<128, esp::activation::relu, esp::weight::low_rank<128, second_rank>, lasso>,
                  esp::dense<10>>;

/// One number a seed.
struct findings {
    std::vector<double> accuracy, ranks;
};

findings train_mlp(options const& given, bool shrinks) {
    auto const [train, test] = methods::read_digits(given, 1200);
    findings found;
    for (int s = 1; s <= given.seeds; ++s) {
        esp::network<mlp, esp::device::cpu, float> net{esp::seed{static_cast<std::uint64_t>(s)}, test.count};
        decompose(net, "1");
        decompose(net, "2");
        esp::loss::cross_entropy const loss{};
        esp::optimizer::sgd<double, double> const optimizer{.learning_rate = 0.05, .momentum = 0.9};
        esp::fit_options options{.epochs = 40, .batch = 64, .progress = false};
        if (shrinks) {
            options.values = {{"strength"_name, 3e-4}};
            options.decide = esp::weight::ordered_ranks(net);
            options.on_epoch = [&](esp::history const&, std::vector<esp::named_value>&) {
                esp::weight::shrink_ranks(net, 1e-3);
                return true;
            };
        }
        esp::fit(net, loss, optimizer, train, options);
        double ranks = 0.0;
        for (esp::weight::layer_rank const& layer : esp::weight::ranks(net))
            ranks += static_cast<double>(layer.rank);
        found.ranks.push_back(ranks);
        esp::training run{net, loss, optimizer};
        found.accuracy.push_back(methods::evaluate(run, test).accuracy);
    }
    return found;
}

std::vector<row> all_rows(options const& given) {
    std::vector<row> rows;
    add_components(given, rows);
    findings const plain = train_mlp(given, false), ours = train_mlp(given, true);
    std::string const numbers = "nested group lasso 3e-4, threshold 1e-3, ranks drawn, 40 epochs; digits";
    rows.push_back({"50", "accuracy, " + numbers, methods::mean(plain.accuracy), methods::mean(ours.accuracy),
                    methods::at_least(0.93), methods::every_above(ours.accuracy, 0.85, "the accuracy")});
    rows.push_back({"50", "ranks of two layers that are left of 64 + 128, " + numbers, methods::mean(plain.ranks),
                    methods::mean(ours.ranks), methods::ratio_at_most(0.75),
                    methods::every_below(ours.ranks, 192.0, "the ranks")});
    return rows;
}

} // namespace

int main(int argc, char** argv) {
    return methods::run(argc, argv,
                        {.name = "digits_ranks",
                         .purpose = "Kernels of ordered low rank, on handwritten digits.",
                         .seeds = 4,
                         .rows = all_rows});
}
