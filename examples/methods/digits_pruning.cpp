// SPDX-License-Identifier: Apache-2.0
// One of sixteen weights, on 8x8 handwritten digits.
#include "frame/frame.hpp"
#include "frame/measure.hpp"

#include <espalier/activation/relu.hpp>
#include <espalier/device/cpu/cpu.hpp>
#include <espalier/layer/dense.hpp>
#include <espalier/layer/input.hpp>
#include <espalier/layer/sequence.hpp>
#include <espalier/loss/cross_entropy.hpp>
#include <espalier/optimizer/adamw.hpp>
#include <espalier/penalty/l2.hpp>
#include <espalier/penalty/where_pruned.hpp>
#include <espalier/prune/constant.hpp>
#include <espalier/prune/decayed.hpp>
#include <espalier/prune/magnitude.hpp>
#include <espalier/prune/n_m.hpp>
#include <espalier/prune/n_m_stages.hpp>
#include <espalier/prune/straight_through.hpp>
#include <espalier/schedule/exponential.hpp>
#include <espalier/schedule/linear.hpp>
#include <espalier/schedule/piecewise.hpp>
#include <espalier/train/fit.hpp>

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace {

namespace esp = espalier;
using methods::options;
using methods::row;

inline constexpr esp::index_t train_rows = 1216, batch = 64, epochs = 40;
inline constexpr std::uint64_t steps = epochs * train_rows / batch;

/// Groups of inputs, of which some are kept, chosen anew at every step.
template <class Rule, class Selection = esp::prune::n_m<1, 16>>
using pruned = esp::prune::magnitude<esp::prune::constant{.sparsity = 1.0, .every = 1}, Selection, Rule>;
template <class... Policies>
using stack = esp::sequence<esp::input<64>, esp::dense<64, esp::activation::relu, Policies...>,
                            esp::dense<64, esp::activation::relu, Policies...>, esp::dense<10>>;

// What is left of a pruned weight in the products: 0 in the end.
inline constexpr esp::schedule::linear on_a_line{.from = 1.0, .to = 0.0, .steps = steps * 4 / 5};
inline constexpr esp::schedule::piecewise exponentially{
    .steps = steps,
    .first = esp::schedule::exponential{.from = 1.0, .rate = 0.98952888, .every = 1}, // exp(-8 / steps)
    .second = 0.0};

// Patterns on their way to 1:16; groups of 64 are what the inputs hold.
using less_and_less = esp::prune::n_m_stages<esp::prune::stepwise{.kept = 1, .group = 16, .steps = steps}>;
using smaller_groups =
    esp::prune::n_m_stages<esp::prune::geometric{.kept = 1, .group = 16, .steps = steps, .stages = 3}>;

struct outcome {
    std::vector<double> accuracy; ///< of the test rows
    bool exact = true;            ///< one weight of every group is kept
};

template <class Network> bool keeps_one_of_sixteen(Network& net) {
    for (esp::tensor_info const& t : Network::tensors()) {
        if (t.mask_offset < 0) continue;
        std::uint32_t const* const mask = net.values().masks().data() + t.mask_offset;
        for (esp::index_t c = 0; c < t.columns; ++c)
            for (esp::index_t group = 0; group < t.rows; group += 16) {
                int kept = 0;
                for (esp::index_t r = group; r < group + 16; ++r) {
                    esp::index_t const i = r * t.columns + c;
                    kept += mask[i / 32] >> (i % 32) & 1u;
                }
                if (kept != 1) return false;
            }
    }
    return true;
}

template <class... Policies>
outcome train(options const& given, esp::data_set const& train, esp::data_set const& test) {
    outcome out;
    for (int s = 1; s <= given.seeds; ++s) {
        esp::network<stack<Policies...>, esp::device::cpu, float> net{esp::seed{static_cast<std::uint64_t>(s)},
                                                                      train_rows};
        esp::loss::cross_entropy const loss{};
        esp::optimizer::adamw const optimizer{.learning_rate = 3e-3, .weight_decay = 0.01};
        esp::fit(net, loss, optimizer, train, {.epochs = epochs, .batch = batch, .progress = false});
        esp::training run{net, loss, optimizer};
        out.accuracy.push_back(methods::evaluate(run, test).accuracy);
        out.exact = out.exact && keeps_one_of_sixteen(net);
    }
    return out;
}

std::vector<row> all_rows(options const& given) {
    auto const [train_set, test_set] = methods::read_digits(given, train_rows);
    using esp::prune::straight_through;
    outcome const straight = train<pruned<straight_through>>(given, train_set, test_set);
    std::vector<row> rows;
    auto const add = [&](std::string const& how, outcome const& ours) {
        rows.push_back({"25",
                        "test accuracy, 1 of 16 weights, " + how + "; digits",
                        methods::mean(straight.accuracy),
                        methods::mean(ours.accuracy),
                        methods::differs_at_most(0.03),
                        {"one weight of every group is kept", straight.exact && ours.exact}});
    };
    add("the others fading on a line instead of at once",
        train<pruned<esp::prune::decayed<on_a_line>>>(given, train_set, test_set));
    add("the others fading exponentially instead of at once",
        train<pruned<esp::prune::decayed<exponentially>>>(given, train_set, test_set));
    add("from 15 of 16 on in five stages", train<pruned<straight_through, less_and_less>>(given, train_set, test_set));
    add("from 4 of 64 on in three stages", train<pruned<straight_through, smaller_groups>>(given, train_set, test_set));
    add("what is left out decays by 2e-4 (SR-STE)",
        train<pruned<straight_through>, esp::penalty::where_pruned<esp::penalty::l2<2e-4>>>(given, train_set,
                                                                                            test_set));
    return rows;
}

} // namespace

int main(int argc, char** argv) {
    return methods::run(argc, argv,
                        {.name = "digits_pruning",
                         .purpose = "One of sixteen weights, on handwritten digits.",
                         .seeds = 5,
                         .rows = all_rows});
}
