// SPDX-License-Identifier: Apache-2.0
// Made-up batches, and the training of a stack on them whose results are hashed.
#pragma once

#include <bits/table.hpp>

#include <espalier/core/rows.hpp>
#include <espalier/core/view.hpp>
#include <espalier/device/cpu/cpu.hpp>
#include <espalier/io/checkpoint.hpp>
#include <espalier/layer/dense.hpp>
#include <espalier/layer/input.hpp>
#include <espalier/layer/sequence.hpp>
#include <espalier/loss/cross_entropy.hpp>
#include <espalier/network/describe.hpp>
#include <espalier/network/network.hpp>
#include <espalier/optimizer/sgd.hpp>
#include <espalier/train/training.hpp>

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <limits>
#include <memory>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

namespace bits {

using namespace espalier;

inline constexpr std::uint32_t steps = 20;
inline constexpr int width = 12;
inline constexpr int classes = 5;
inline constexpr index_t batch_rows = 33;
inline constexpr index_t samples = 64;
inline constexpr loss::cross_entropy entropy{};
inline constexpr optimizer::sgd<> plain{.learning_rate = 0.1};

/// What a batch holds beside the inputs, labels, groups, keys and samples of all of them.
struct batch_kind {
    bool tagged = false; ///< partner labels and shares, weights, signs and origins
    bool gaps = false;   ///< rows without a label or of weight 0
    bool whole = false;  ///< inputs are whole numbers from 0 to 6
    int targets = 0;     ///< columns of target rows
    bool holes = false;  ///< some targets are missing
};

/// Batches that are functions of their number.
template <class T> class made_up {
public:
    explicit made_up(batch_kind kind) : kind_(kind) {}

    /// Good until the next one.
    batch_view<T> batch(std::uint32_t number, index_t count = batch_rows) {
        state_ = number;
        inputs_.clear(), targets_.clear(), sample_.clear(), label_.clear(), partner_.clear(), group_.clear();
        key_.clear(), origin_.clear(), mixing_.clear(), weight_.clear(), sign_.clear();
        for (index_t i = 0; i < count * width; ++i)
            inputs_.push_back(static_cast<T>(kind_.whole ? below(7) : below(4096) / 1024.0f - 2.0f));
        for (index_t i = 0; i < count * kind_.targets; ++i)
            targets_.push_back(kind_.holes && i % 6 == 4 ? std::numeric_limits<T>::quiet_NaN()
                                                         : static_cast<T>(below(1024) / 1024.0f));
        for (index_t i = 0; i < count; ++i) {
            sample_.push_back((i * 5 + number) % samples);
            label_.push_back(kind_.gaps && i % 7 == 3 ? -1 : static_cast<std::int32_t>(below(classes)));
            partner_.push_back(static_cast<std::int32_t>(below(classes)));
            group_.push_back(static_cast<std::int32_t>(below(4)));
            key_.push_back(static_cast<std::uint64_t>(below(50)));
            origin_.push_back(static_cast<std::uint32_t>(count - i));
            mixing_.push_back(below(9) / 8.0f);
            weight_.push_back(kind_.gaps && i % 11 == 5 ? 0.0f : (below(8) + 1.0f) / 4.0f);
            sign_.push_back(below(8) == 0 ? -1.0f : 1.0f);
        }
        rows tags;
        tags.count = count;
        tags.sample = sample_.data();
        tags.label = label_.data();
        tags.group = group_.data();
        tags.key = key_.data();
        if (kind_.gaps || kind_.tagged) tags.weight = weight_.data();
        if (kind_.tagged) {
            tags.partner_label = partner_.data();
            tags.mixing = mixing_.data();
            tags.sign = sign_.data();
            tags.origin = origin_.data();
        }
        batch_view<T> made{{inputs_.data(), count, width, width}, tags, {}};
        if (kind_.targets > 0) made.targets = {targets_.data(), count, kind_.targets, kind_.targets};
        return made;
    }

private:
    /// A whole number in [0, n), made by a linear congruence (Knuth's multiplier of 64 bits).
    float below(int n) {
        state_ = state_ * 6364136223846793005u + 1442695040888963407u;
        return static_cast<float>((state_ >> 33) % static_cast<std::uint64_t>(n));
    }

    batch_kind kind_;
    std::uint64_t state_ = 0;
    std::vector<T> inputs_, targets_;
    std::vector<std::int64_t> sample_;
    std::vector<std::int32_t> label_, partner_, group_;
    std::vector<std::uint64_t> key_;
    std::vector<std::uint32_t> origin_;
    std::vector<float> mixing_, weight_, sign_;
};

struct plain_step {
    template <class Run, class Data> step_result operator()(Run& run, Data& data, std::uint32_t number) const {
        return run.step(data.batch(number));
    }
};
struct as_made {
    template <class Network> void operator()(Network&) const {}
};

/// Hashes everything but the terms of a training.
template <class Run, class T> void look_at(Run& run, made_up<T>& data, line& found) {
    using network_type = typename Run::network_type;
    auto& net = run.net();
    batch_view<T> const asked = data.batch(1000, 2 * batch_rows);
    std::vector<T> y(static_cast<std::size_t>(asked.inputs.rows * network_type::output_width));
    net.predict(asked.inputs, asked.tags, contiguous_view(y.data(), asked.inputs.rows, network_type::output_width));
    found.outputs.numbers(y);
    found.gradients.numbers(run.gradients());
    found.gradients.numbers(run.reference_gradients());
    found.weights.numbers(net.values().weights());
    found.weights.numbers(net.values().state());
    found.weights.numbers(net.values().masks());
    found.weights.numbers(run.moment_values());
    found.weights.numbers(run.loss_state());
    if constexpr (network_type::device_type::host_memory) {
        save_training(run, checkpoint_path());
        found.checkpoint.text(content_of(checkpoint_path()));
        std::remove(checkpoint_path().c_str());
    }
    found.description.text(describe<typename network_type::stack, T>());
    for (auto const& names : {Run::term_names(), Run::measure_names()})
        for (std::string const& name : names)
            found.description.text(name);
}

/// What 20 steps and an evaluation leave. `step(run, data, number)` makes a step, `prepare(net)` comes before the
/// first.
template <class Stack, class T, class Device, class Loss, class Optimizer, class Step, class Prepare>
line train_on(std::unique_ptr<Device> device, Loss const& loss, Optimizer const& optimizer, batch_kind kind,
              Step const& step, Prepare const& prepare) {
    network<Stack, Device, T> net{seed{5}, batch_rows, std::move(device)};
    prepare(net);
    training run(net, loss, optimizer, samples);
    made_up<T> data(kind);
    line found;
    auto const add_terms = [&] {
        found.terms.numbers(run.terms());
        found.terms.numbers(run.measures());
    };
    for (std::uint32_t i = 0; i < steps; ++i) {
        step_result const result = step(run, data, i);
        for (double const x : {result.loss, result.total, result.reference})
            found.terms.number(x);
        add_terms();
    }
    look_at(run, data, found);
    found.terms.number(run.evaluate(data.batch(steps)));
    add_terms();
    return found;
}

/// Trains a stack on one and on two threads, which share every product, however small.
template <class Stack, class T = float, class Loss, class Optimizer, class Step = plain_step, class Prepare = as_made>
void train(table& out, char const* name, Loss const& loss, Optimizer const& optimizer, batch_kind kind = {},
           Step const& step = {}, Prepare const& prepare = {}) {
    out.add(name, [&](int threads) {
        return train_on<Stack, T>(std::make_unique<device::cpu>(threads, 0), loss, optimizer, kind, step, prepare);
    });
}

} // namespace bits
