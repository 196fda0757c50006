// SPDX-License-Identifier: Apache-2.0
// A trained network learns more without forgetting all that it knew, on 8x8 handwritten digits: five classes first,
// then the other five alone.
#include "frame/frame.hpp"
#include "frame/measure.hpp"

#include <espalier/activation/relu.hpp>
#include <espalier/device/cpu/cpu.hpp>
#include <espalier/initial/uniform.hpp>
#include <espalier/layer/dense.hpp>
#include <espalier/layer/input.hpp>
#include <espalier/layer/sequence.hpp>
#include <espalier/loss/cross_entropy.hpp>
#include <espalier/math/svd.hpp>
#include <espalier/optimizer/adamw.hpp>
#include <espalier/prune/below.hpp>
#include <espalier/prune/by_magnitude.hpp>
#include <espalier/prune/frozen.hpp>
#include <espalier/prune/policy.hpp>
#include <espalier/train/batches.hpp>
#include <espalier/train/nuclear_norm.hpp>
#include <espalier/train/training.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace {

namespace esp = espalier;
using methods::options;
using methods::row;

// ---- card 18: SaRA

/// Kernels begin between the bounds 1 / sqrt(inputs). A policy on the biases is that on the kernels.
template <class... Policies>
using stack =
    esp::sequence<esp::input<64>,
                  esp::dense<128, esp::activation::relu, esp::initial::uniform<-0.125, 0.125>, Policies...>,
                  esp::dense<128, esp::activation::relu, esp::initial::uniform<-0.088388, 0.088388>, Policies...>,
                  esp::dense<10, esp::initial::uniform<-0.088388, 0.088388>, Policies...>>;
template <class Stack> using net_of = esp::network<Stack, esp::device::cpu, float>;
using small_ones = esp::prune::policy<esp::prune::by_magnitude, esp::prune::below<0.02>, 1.0, esp::prune::frozen>;
using plain = net_of<stack<>>;
using adapted = net_of<stack<small_ones, esp::on<esp::role::bias, small_ones>>>;

/// The rows of the classes first ... first + 4.
esp::data_set classes_from(esp::data_set const& all, int first) {
    esp::data_set some;
    some.width = all.width;
    for (esp::index_t r = 0; r < all.count; ++r) {
        int const label = all.labels[static_cast<std::size_t>(r)];
        if (label < first || label >= first + 5) continue;
        auto const from = all.features.begin() + r * all.width;
        some.features.insert(some.features.end(), from, from + all.width);
        some.labels.push_back(label);
        ++some.count;
    }
    return some;
}

/// Share of rows whose class has the largest output of those five.
template <class Training> double accuracy(Training& run, esp::data_set const& data, int first) {
    methods::evaluate(run, data);
    auto const outputs = run.outputs(data.count);
    double right = 0.0;
    for (esp::index_t r = 0; r < data.count; ++r) {
        auto const* const five = outputs.row(r) + first;
        right += first + (std::max_element(five, five + 5) - five) == data.labels[static_cast<std::size_t>(r)];
    }
    return right / static_cast<double>(data.count);
}

/// Epochs of batches of 64; `between` is called before every update.
template <class Training, class Between>
void train(Training& run, esp::data_set const& data, std::uint64_t epochs, Between const& between) {
    esp::batches<float> rows(data, 64, run.net().random_seed());
    for (std::uint64_t epoch = 0; epoch < epochs; ++epoch) {
        rows.begin_epoch(epoch);
        for (esp::index_t i = 0; i < rows.count(); ++i)
            run.step(rows[i], esp::before_update{between});
    }
}

struct tasks {
    esp::data_set old_train, new_train, old_test, new_test;
};

/// One number a seed.
struct findings {
    std::vector<double> old_classes, new_classes, norm, moved;
};

/// Fine-tunes the smallest weights of a network that knows the old classes.
void adapt(plain& known, tasks const& data, double coefficient, findings& found) {
    adapted net{known.random_seed(), known.capacity()};
    for (esp::tensor_info const& t : plain::tensors()) {
        auto const from = methods::tensor(known, t.name);
        std::copy(from.begin(), from.end(), methods::tensor(net, t.name).begin());
    }
    net.refresh();
    esp::training run(net, esp::loss::cross_entropy{}, esp::optimizer::adamw{.learning_rate = 5e-3});
    esp::nuclear_norm rank(net, {.coefficient = coefficient,
                                 .visits = esp::visited_matrices::one_at_random}); // the middle one is large enough
    train(run, data.new_train, 60, [&](auto& gradients) { rank.add_to(gradients); });

    double moved = 0.0;
    for (esp::tensor_info const& t : adapted::tensors()) {
        auto const before = methods::tensor(known, t.name), after = methods::tensor(net, t.name);
        std::uint32_t const* const mask = net.values().masks().data() + t.mask_offset;
        for (std::size_t i = 0; i < before.size(); ++i)
            moved += (mask[i / 32] >> i % 32 & 1u) == 0 && before[i] != after[i];
    }
    found.moved.push_back(moved);
    found.old_classes.push_back(accuracy(run, data.old_test, 0));
    found.new_classes.push_back(accuracy(run, data.new_test, 5));
    found.norm.push_back(esp::nuclear_norm(net, {.coefficient = 1.0}).value());
}

std::vector<row> all_rows(options const& given) {
    auto const [train_rows, test_rows] = methods::read_digits(given, 1200);
    tasks const data{classes_from(train_rows, 0), classes_from(train_rows, 5), classes_from(test_rows, 0),
                     classes_from(test_rows, 5)};
    findings without, with;
    methods::for_each_seed(given, [&](std::uint64_t seed) {
        plain net{esp::seed{seed}, 600};
        esp::training run(net, esp::loss::cross_entropy{}, esp::optimizer::adamw{.learning_rate = 2e-3});
        train(run, data.old_train, 30, [](auto&) {});
        adapt(net, data, 0.0, without);
        adapt(net, data, 5e-3, with);
        return 0;
    });
    std::vector<double> better, smaller;
    for (std::size_t s = 0; s < with.norm.size(); ++s) {
        better.push_back(with.old_classes[s] - without.old_classes[s]);
        smaller.push_back(with.norm[s] / without.norm[s]);
    }
    return {
        {"18", "accuracy on old classes, coefficient 0.005 of the nuclear norm; digits 0-4, then 5-9",
         methods::mean(without.old_classes), methods::mean(with.old_classes), methods::above_baseline_by(0.08),
         methods::every_above(better, 0.0, "what the nuclear norm saves")},
        {"18", "accuracy on new classes, coefficient 0.005 of the nuclear norm; digits 0-4, then 5-9",
         methods::mean(without.new_classes), methods::mean(with.new_classes), methods::differs_at_most(0.01),
         methods::every_above(with.new_classes, 0.9, "the accuracy on new classes")},
        {"18", "nuclear norm of what is trained of the middle matrix, coefficient 0.005; digits 0-4, then 5-9",
         methods::mean(without.norm), methods::mean(with.norm), methods::ratio_at_most(0.5),
         methods::every_below(smaller, 0.7, "the ratio of the nuclear norms")},
        {"18", "frozen weights that have moved, coefficient 0.005; digits 0-4, then 5-9", methods::mean(without.moved),
         methods::mean(with.moved), methods::at_most(0.0),
         methods::every_below(with.moved, 0.5, "the number of frozen weights that have moved")},
    };
}

} // namespace

int main(int argc, char** argv) {
    return methods::run(argc, argv,
                        {.name = "digits_adapting",
                         .purpose = "A trained network learns five more classes by its smallest weights.",
                         .seeds = 4,
                         .rows = all_rows});
}
