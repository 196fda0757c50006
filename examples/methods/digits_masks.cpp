// SPDX-License-Identifier: Apache-2.0
// A frozen network learns another task by which of its weights take part: 8x8 handwritten digits, then the same ones
// shifted by a pixel, of which there are few.
#include "frame/frame.hpp"
#include "frame/measure.hpp"

#include <espalier/activation/relu.hpp>
#include <espalier/device/cpu/cpu.hpp>
#include <espalier/layer/dense.hpp>
#include <espalier/layer/input.hpp>
#include <espalier/layer/sequence.hpp>
#include <espalier/loss/cross_entropy.hpp>
#include <espalier/loss/distillation.hpp>
#include <espalier/network/base.hpp>
#include <espalier/optimizer/adam.hpp>
#include <espalier/penalty/group_lasso.hpp>
#include <espalier/schedule/runtime.hpp>
#include <espalier/train/batches.hpp>
#include <espalier/train/training.hpp>
#include <espalier/transform/agreement.hpp>
#include <espalier/weight/score_mask.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace {

namespace esp = espalier;
using namespace esp::literals;
using methods::options;
using methods::row;

// ---- card 04: regularized mask tuning

/// The same three layers with other policies.
template <class... Policies>
using stack = esp::sequence<esp::input<64>, esp::dense<256, esp::activation::relu, Policies...>,
                            esp::dense<256, esp::activation::relu, Policies...>, esp::dense<10, Policies...>>;
template <class... Policies> using net_of = esp::network<stack<Policies...>, esp::device::cpu, float>;

/// Share of a gradient that is dropped where the reference disagrees: with 0 nothing is.
inline constexpr esp::schedule::runtime strength{.name = "strength"_name, .initial = 0.0};
using plain = net_of<>;
using masked = net_of<esp::weight::score_mask<>,
                      esp::on<esp::role::score, esp::penalty::group_lasso<1e-4, esp::penalty::over::tensor>>,
                      esp::on<esp::role::score, esp::transform::agreement<strength>>>;

constexpr esp::index_t train_rows = 1297, test_rows = 500;

/// Every row of pixels moved to the right by one, the last one first.
esp::data_set shifted(esp::data_set data) {
    for (auto at = data.features.begin(); at != data.features.end(); at += 8)
        std::rotate(at, at + 7, at + 8);
    return data;
}

/// The first rows of each class.
esp::data_set few_of_each(esp::data_set const& all, int most) {
    esp::data_set some;
    some.width = all.width;
    int taken[10] = {};
    for (esp::index_t r = 0; r < all.count; ++r) {
        int const label = all.labels[static_cast<std::size_t>(r)];
        if (taken[label]++ >= most) continue;
        auto const from = all.features.begin() + r * all.width;
        some.features.insert(some.features.end(), from, from + all.width);
        some.labels.push_back(label);
        ++some.count;
    }
    return some;
}

struct tasks {
    esp::data_set train, few, old_test, new_test;
};

/// What one way of masking leaves: one number a seed.
struct findings {
    std::vector<double> old_task, new_task, moved;
};

/// Trains the scores alone, 40 epochs of batches of 32.
void mask(plain& base, tasks const& data, double rate, double dropped, findings& found) {
    masked net{base.random_seed(), test_rows};
    esp::load_base(net, base);
    esp::training run{net,
                      esp::loss::cross_entropy{},
                      esp::optimizer::adam{.learning_rate = rate},
                      0,
                      {{.tensor_role = esp::role::bias, .frozen = true}}};
    run.set_value("strength"_name, dropped);

    // The reference is what the network said of these rows without masks.
    esp::data_set known = data.few;
    known.labels.clear();
    known.target_width = 10;
    known.targets.resize(static_cast<std::size_t>(known.count * 10));
    base.predict(esp::contiguous_view<float const>(known.features.data(), known.count, 64),
                 esp::contiguous_view(known.targets.data(), known.count, 10));
    esp::batches<float> rows(data.few, 32, net.random_seed()), same_rows(known, 32, net.random_seed());
    for (std::uint64_t epoch = 0; epoch < 40; ++epoch) {
        rows.begin_epoch(epoch);
        same_rows.begin_epoch(epoch);
        for (esp::index_t i = 0; i < rows.count(); ++i)
            run.step(rows[i], same_rows[i], esp::loss::distillation{});
    }

    double moved = 0.0;
    for (esp::tensor_info const& t : plain::tensors()) {
        auto const before = methods::tensor(base, t.name), after = methods::tensor(net, t.name);
        for (std::size_t i = 0; i < before.size(); ++i)
            moved += before[i] != after[i];
    }
    found.moved.push_back(moved);
    found.old_task.push_back(methods::evaluate(run, data.old_test).accuracy);
    found.new_task.push_back(methods::evaluate(run, data.new_test).accuracy);
}

std::vector<row> all_rows(options const& given) {
    auto const [train, test] = methods::read_digits(given, train_rows);
    tasks const data{train, shifted(few_of_each(train, 16)), test, shifted(test)};
    constexpr double rates[] = {3e-4, 1e-4};
    findings frozen, without[2], with[2];
    methods::for_each_seed(given, [&](std::uint64_t seed) {
        plain base{esp::seed{seed}, test_rows};
        esp::training run{base, esp::loss::cross_entropy{}, esp::optimizer::adam{.learning_rate = 1e-3}};
        esp::batches<float> rows(data.train, 64, esp::seed{seed});
        for (std::uint64_t epoch = 0; epoch < 40; ++epoch) {
            rows.begin_epoch(epoch);
            for (esp::index_t i = 0; i < rows.count(); ++i)
                run.step(rows[i]);
        }
        frozen.new_task.push_back(methods::evaluate(run, data.new_test).accuracy);
        for (int r = 0; r < 2; ++r) {
            mask(base, data, rates[r], 0.0, without[r]);
            mask(base, data, rates[r], 1.0, with[r]);
        }
        return 0;
    });
    std::vector<row> rows;
    for (int r = 0; r < 2; ++r) {
        auto const metric = [&](std::string_view what) {
            return std::string(what) + ", learning rate " + (r == 0 ? "3e-4" : "1e-4") +
                   "; digits, then 16 of each class shifted";
        };
        std::vector<double> kept, lost, moved = without[r].moved;
        moved.insert(moved.end(), with[r].moved.begin(), with[r].moved.end());
        for (std::size_t s = 0; s < with[r].old_task.size(); ++s) {
            kept.push_back(with[r].old_task[s] - without[r].old_task[s]);
            lost.push_back(without[r].new_task[s] - with[r].new_task[s]);
        }
        rows.push_back({"04", metric("accuracy on shifted digits, trained masks instead of none"),
                        methods::mean(frozen.new_task), methods::mean(without[r].new_task), methods::at_least(0.8),
                        methods::every_above(without[r].new_task, 0.7, "the accuracy on shifted digits")});
        rows.push_back({"04", metric("accuracy on digits as they were, gradient dropout of strength 1 on masks"),
                        methods::mean(without[r].old_task), methods::mean(with[r].old_task),
                        methods::above_baseline_by(0.02),
                        methods::every_above(kept, -0.03, "what gradient dropout saves")});
        rows.push_back({"04", metric("accuracy on shifted digits, gradient dropout of strength 1 on masks"),
                        methods::mean(without[r].new_task), methods::mean(with[r].new_task),
                        methods::above_baseline_by(-0.05),
                        methods::every_below(lost, 0.1, "what gradient dropout costs")});
        rows.push_back({"04", metric("weights and biases that have moved"), 0.0, methods::mean(moved),
                        methods::at_most(0.0),
                        methods::every_below(moved, 0.5, "the number of weights that have moved")});
    }
    return rows;
}

} // namespace

int main(int argc, char** argv) {
    return methods::run(argc, argv,
                        {.name = "digits_masks",
                         .purpose = "A frozen network learns shifted digits by which of its weights take part.",
                         .seeds = 3,
                         .rows = all_rows});
}
