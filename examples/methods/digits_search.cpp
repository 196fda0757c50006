// SPDX-License-Identifier: Apache-2.0
// Local search over experts that are trained already and named wrongly, on 8x8 handwritten digits.
#include "frame/frame.hpp"
#include "frame/measure.hpp"

#include <espalier/activation/relu.hpp>
#include <espalier/core/random.hpp>
#include <espalier/device/cpu/cpu.hpp>
#include <espalier/gate/hash.hpp>
#include <espalier/gate/local_search.hpp>
#include <espalier/layer/dense.hpp>
#include <espalier/layer/input.hpp>
#include <espalier/layer/moe.hpp>
#include <espalier/layer/sequence.hpp>
#include <espalier/loss/cross_entropy.hpp>
#include <espalier/network/set_table.hpp>
#include <espalier/optimizer/adam.hpp>
#include <espalier/train/fit.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <numeric>
#include <vector>

namespace {

namespace esp = espalier;
using methods::options;
using methods::row;

inline constexpr int experts = 5;
inline constexpr esp::index_t train_rows = 1200, batch = 128, epochs = 20;
/// All steps of the search: those of its epochs.
inline constexpr std::int64_t steps = epochs * ((train_rows + batch - 1) / batch);

template <class Gate>
using routed =
    esp::sequence<esp::input<64>, esp::moe<Gate, esp::sequence<esp::dense<16, esp::activation::relu>, esp::dense<10>>>>;
template <class Gate> using model_of = esp::network<routed<Gate>, esp::device::cpu, float>;

/// A row's key is one of five pairs of classes: 0 and 1, 2 and 3, ...
using by_pair = esp::gate::hash<experts, experts>;
using soft_start = esp::gate::local_search<by_pair, esp::gate::search{.steps = steps}>;
using published = esp::gate::local_search<by_pair, esp::gate::published_search(steps)>;

using table = std::vector<std::int32_t>;
char const* const table_name = "1.gate.table";

/// Expert e knows the classes 2 e and 2 e + 1 and no others.
model_of<by_pair> specialists(esp::data_set const& train, std::uint64_t seed) {
    model_of<by_pair> net{esp::seed{seed}, train_rows};
    table own(experts);
    std::iota(own.begin(), own.end(), 0);
    esp::set_table(net, table_name, own, experts);
    esp::fit(net, esp::loss::cross_entropy{}, esp::optimizer::adam{.learning_rate = 1e-2}, train,
             {.epochs = epochs, .batch = batch, .progress = false});
    return net;
}

/// No pair of classes goes to its own expert.
table wrong_table(std::uint64_t seed) {
    table wrong(experts);
    auto const has_own = [&] {
        for (std::int32_t e = 0; e < experts; ++e)
            if (wrong[static_cast<std::size_t>(e)] == e) return true;
        return false;
    };
    for (std::uint64_t draw = 0; draw == 0 || has_own(); ++draw)
        esp::random_permutation(esp::make_site(seed, draw), esp::array_view<std::int32_t>{wrong.data(), experts});
    return wrong;
}

struct outcome {
    double accuracy = 0.0;
    bool recovered = false; ///< every pair of classes is back with its expert
    bool same_bits = false; ///< and what the network gives is what the table of found experts gives
};

template <class Gate>
outcome search(model_of<by_pair>& known, esp::data_set const& train, esp::data_set const& test, table const& wrong,
               std::uint64_t seed) {
    model_of<Gate> net{esp::seed{seed}, train_rows};
    for (esp::tensor_info const& t : model_of<by_pair>::tensors())
        std::ranges::copy(methods::tensor(known, t.name), methods::tensor(net, t.name).begin());
    esp::set_table(net, table_name, wrong, experts);
    esp::loss::cross_entropy const loss{};
    esp::optimizer::adam const optimizer{.learning_rate = 1e-2};
    esp::fit(net, loss, optimizer, train,
             {.epochs = epochs, .batch = batch, .rates = {{.path = "1.expert.", .frozen = true}}, .progress = false});

    outcome out;
    esp::training run{net, loss, optimizer};
    out.accuracy = methods::evaluate(run, test).accuracy;
    auto const permutation = methods::tensor(net, "1.gate.permutation");
    table found;
    for (std::int32_t const named : wrong) {
        auto const line = permutation.subspan(static_cast<std::size_t>(named) * experts, experts);
        found.push_back(static_cast<std::int32_t>(std::ranges::find(line, 1.0f) - line.begin()));
    }
    out.recovered = std::ranges::is_sorted(found);
    esp::set_table(known, table_name, found, experts);
    out.same_bits = esp::predict(net, test.view()) == esp::predict(known, test.view());
    return out;
}

std::vector<row> all_rows(options const& given) {
    auto [train, test] = methods::read_digits(given, train_rows);
    for (esp::data_set* data : {&train, &test})
        for (std::int32_t const label : data->labels)
            data->keys.push_back(static_cast<std::uint64_t>(label / 2));

    std::vector<double> unsearched, soft, hard, recovered;
    bool same_bits = true;
    for (int s = 1; s <= given.seeds; ++s) {
        auto const seed = static_cast<std::uint64_t>(s);
        model_of<by_pair> known = specialists(train, seed);
        table const wrong = wrong_table(seed);
        esp::set_table(known, table_name, wrong, experts);
        esp::training run{known, esp::loss::cross_entropy{}, esp::optimizer::adam{}};
        unsearched.push_back(methods::evaluate(run, test).accuracy);
        outcome const found = search<soft_start>(known, train, test, wrong, seed);
        outcome const by_authors = search<published>(known, train, test, wrong, seed);
        soft.push_back(found.accuracy);
        hard.push_back(by_authors.accuracy);
        recovered.push_back(found.recovered);
        same_bits = same_bits && found.same_bits && by_authors.same_bits;
    }
    methods::condition const bits{"the permutation that was found and the table of it give the same bits", same_bits};
    return {{"40 search", "test accuracy, experts searched for instead of named wrongly; digits",
             methods::mean(unsearched), methods::mean(soft), methods::at_least(0.98),
             methods::every_above(soft, 0.5, "test accuracy")},
            {"40 search", "share of the seeds that find every expert, searched for instead of named wrongly; digits",
             0.0, methods::mean(recovered), methods::at_least(0.83), bits},
            {"40 search",
             "test accuracy, search from temperature 0.1 to 1e-3 instead of the published 1e-3 to 1e-7; digits",
             methods::mean(hard), methods::mean(soft), methods::no_line(), bits}};
}

} // namespace

int main(int argc, char** argv) {
    return methods::run(argc, argv,
                        {.name = "digits_search",
                         .purpose = "Local search over experts that are trained already and named wrongly.",
                         .seeds = 6,
                         .rows = all_rows});
}
