// SPDX-License-Identifier: Apache-2.0
// The stacks around a gate, and the loop that trains one of them for every seed and measures as it goes.
#pragma once

#include "data.hpp"
#include "problem.hpp"

#include <espalier/activation/relu.hpp>
#include <espalier/core/random.hpp>
#include <espalier/device/cpu/cpu.hpp>
#include <espalier/gate/dispatch.hpp>
#include <espalier/gate/local_search.hpp>
#include <espalier/layer/dense.hpp>
#include <espalier/layer/embedding.hpp>
#include <espalier/layer/input.hpp>
#include <espalier/layer/moe.hpp>
#include <espalier/layer/multi_gate.hpp>
#include <espalier/layer/parallel.hpp>
#include <espalier/layer/sequence.hpp>
#include <espalier/layer/slice.hpp>
#include <espalier/loss/by_column.hpp>
#include <espalier/loss/cross_entropy.hpp>
#include <espalier/network/network.hpp>
#include <espalier/optimizer/adamw.hpp>
#include <espalier/schedule/linear.hpp>
#include <espalier/train/area_under_curve.hpp>
#include <espalier/train/training.hpp>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <string>
#include <utility>
#include <vector>

namespace recommender {

// ---- stacks. Gate is a template over the number of experts and the number of keys that a hash gate may see.

inline constexpr int film_experts = 16;
inline constexpr int class_experts = 8;

/// Two tasks over shared experts, as in the paper's recommender experiments: a gate and a tower for each.
template <template <int, esp::index_t> class Gate, class Dispatch, int Width = 16, int Out = 16>
using film_stack = esp::sequence<
    esp::input<2>, esp::embedding<esp::vocabulary<users, films>, Width>,
    esp::multi_gate<esp::gates<Gate<film_experts, users>, Gate<film_experts, users>>,
                    esp::sequence<esp::dense<2 * Width, esp::activation::relu>, esp::dense<Out, esp::activation::relu>>,
                    Dispatch>,
    esp::parallel<
        esp::merge::concatenate,
        esp::sequence<esp::slice<0, Out>, esp::dense<Out, esp::activation::relu>, esp::dense<1>>,     // watched
        esp::sequence<esp::slice<Out, Out>, esp::dense<Out, esp::activation::relu>, esp::dense<1>>>>; // rating

template <template <int, esp::index_t> class Gate, class Dispatch, int In, int Classes>
using class_stack =
    esp::sequence<esp::input<In>,
                  esp::moe<Gate<class_experts, class_keys>,
                           esp::sequence<esp::dense<32, esp::activation::relu>, esp::dense<Classes>>, Dispatch>>;

// ---- rows in and out

/// Buffers of one batch.
class batch_buffers {
public:
    void gather(part const& from, std::int64_t const* order, esp::index_t first, esp::index_t n) {
        auto const take = [&](auto& to, auto const& all, esp::index_t width) {
            to.resize(all.empty() ? 0 : static_cast<std::size_t>(n * width));
            for (std::size_t i = 0; i < to.size(); ++i) {
                esp::index_t const at = first + static_cast<esp::index_t>(i) / width;
                esp::index_t const row = order ? order[at] : at;
                to[i] = all[static_cast<std::size_t>(row * width + static_cast<esp::index_t>(i) % width)];
            }
        };
        take(features_, from.features, from.width);
        take(keys_, from.keys, 1);
        take(labels_, from.labels, 1);
        take(targets_, from.targets, 2);
        count_ = n;
    }
    esp::batch_view<float> view() const {
        esp::batch_view<float> b;
        b.inputs = esp::contiguous_view(features_.data(), count_, static_cast<esp::index_t>(features_.size()) / count_);
        b.tags = tags();
        if (!targets_.empty()) b.targets = esp::contiguous_view(targets_.data(), count_, 2);
        return b;
    }
    esp::rows tags() const {
        esp::rows t;
        t.count = count_;
        t.key = keys_.data();
        t.label = labels_.empty() ? nullptr : labels_.data();
        return t;
    }

private:
    std::vector<float> features_;
    std::vector<std::uint64_t> keys_;
    std::vector<std::int32_t> labels_;
    std::vector<float> targets_;
    esp::index_t count_ = 0;
};

template <class Network> score score_of(Network& net, part const& rows) {
    constexpr esp::index_t width = Network::output_width;
    std::vector<float> y(static_cast<std::size_t>(rows.count * width));
    esp::rows tags;
    tags.count = rows.count;
    tags.key = rows.keys.data();
    net.predict(esp::contiguous_view(rows.features.data(), rows.count, rows.width), tags,
                esp::contiguous_view(y.data(), rows.count, width));
    score s;
    if (rows.targets.empty()) {
        for (std::size_t r = 0; r < rows.labels.size(); ++r) {
            float const* const z = y.data() + r * static_cast<std::size_t>(width);
            float const* const largest = std::max_element(z, z + width);
            double sum = 0.0;
            for (esp::index_t c = 0; c < width; ++c)
                sum += std::exp(static_cast<double>(z[c]) - static_cast<double>(*largest));
            s.loss += std::log(sum) + static_cast<double>(*largest) - static_cast<double>(z[rows.labels[r]]);
            s.accuracy += largest - z == rows.labels[r];
        }
        s.loss /= static_cast<double>(rows.count);
        s.accuracy /= static_cast<double>(rows.count);
        return s;
    }
    std::vector<float> watched, positive;
    double error = 0.0, rated = 0.0, log_loss = 0.0;
    for (std::size_t i = 0; i < y.size(); i += 2) {
        watched.push_back(y[i]);
        positive.push_back(rows.targets[i]);
        log_loss +=
            esp::loss::column::binary::of(static_cast<double>(y[i]), static_cast<double>(rows.targets[i])).value;
        if (std::isnan(rows.targets[i + 1])) continue;
        auto const difference = static_cast<double>(y[i + 1]) - static_cast<double>(rows.targets[i + 1]);
        error += difference * difference;
        rated += 1.0;
    }
    s.auc = esp::area_under_curve(watched.begin(), watched.end(), positive.begin());
    s.squared_error = error / rated;
    s.loss = (log_loss + rating_weight * error) / static_cast<double>(rows.count);
    return s;
}

inline double median(std::vector<double> values) {
    if (values.empty()) return 0.0;
    auto const middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
    std::nth_element(values.begin(), middle, values.end());
    return *middle;
}

// ---- training

/// `training::measures` begins with the experts that ran a row, the share dropped and the entropy of the loads; then
/// come the loads.
inline constexpr std::size_t first_load = 3;
inline constexpr std::uint64_t order_stream = 77; ///< layers count their streams from 0

template <class Stack, class Loss> trained train_once(problem const& p, Loss const& loss, std::uint64_t seed) {
    using clock = std::chrono::steady_clock;
    auto const begin = clock::now();
    esp::network<Stack, esp::device::cpu, float> net{esp::seed{seed}, p.batch};
    esp::training run{net, loss,
                      esp::optimizer::adamw{.learning_rate = p.learning_rate, .weight_decay = p.weight_decay}};
    trained result;
    result.seed = seed;
    std::size_t const experts = run.measures().size() - first_load;
    result.loads.resize(experts);

    esp::index_t const n = p.train.count;
    esp::index_t const steps = (n + p.batch - 1) / p.batch;
    esp::index_t const sections = 8; // of an epoch; what is measured is averaged over one
    std::vector<std::int64_t> order(static_cast<std::size_t>(n));
    std::vector<double> times, sums(first_load + experts);
    batch_buffers batch;
    double least = 0.0;
    for (esp::index_t epoch = 0; epoch < p.epochs; ++epoch) {
        esp::random_permutation(esp::make_site(seed, order_stream, static_cast<std::uint64_t>(epoch)),
                                esp::array_view<std::int64_t>{order.data(), n});
        double loss_sum = 0.0;
        times.clear();
        esp::index_t summed = 0;
        for (esp::index_t step = 0; step < steps; ++step) {
            esp::index_t const first = step * p.batch, rows = std::min(p.batch, n - first);
            batch.gather(p.train, order.data(), first, rows);
            auto const start = clock::now();
            loss_sum += run.step(batch.view()).loss * static_cast<double>(rows);
            times.push_back(std::chrono::duration<double, std::micro>(clock::now() - start).count());
            for (std::size_t i = 0; i < sums.size(); ++i)
                sums[i] += run.measures()[i];
            ++summed;
            if ((step + 1) * sections / steps == step * sections / steps) continue;
            result.epoch_of.push_back(static_cast<double>(epoch) +
                                      static_cast<double>(step + 1) / static_cast<double>(steps));
            result.experts.push_back(sums[0] / static_cast<double>(summed));
            for (std::size_t e = 0; e < experts; ++e)
                result.loads[e].push_back(sums[first_load + e] / static_cast<double>(summed));
            std::fill(sums.begin(), sums.end(), 0.0);
            summed = 0;
        }
        if (epoch == 0) result.first_step_us = median(times);
        result.last_step_us = median(times);
        result.loss.push_back(loss_sum / static_cast<double>(n));
        result.curve.push_back(score_of(net, p.validation));
        if (epoch > 0 && result.curve.back().loss >= least) continue;
        least = result.curve.back().loss;
        result.epoch = epoch + 1;
        result.test = score_of(net, p.test);
        // Measures are made while training only. `objective` is a step's way forward and changes nothing; with the
        // time at which searches are over it routes as `predict` does.
        esp::clock const now = run.time();
        esp::clock searched = now;
        searched.step = std::max(now.step, static_cast<std::uint64_t>(search_steps));
        run.set_time(searched);
        result.experts_per_row = 0.0;
        for (esp::index_t first = 0; first < p.test.count; first += p.batch) {
            esp::index_t const rows = std::min(p.batch, p.test.count - first);
            batch.gather(p.test, nullptr, first, rows);
            run.objective(batch.view());
            result.experts_per_row += run.measures()[0] * static_cast<double>(rows) / static_cast<double>(p.test.count);
        }
        run.set_time(now);
    }
    result.seconds = std::chrono::duration<double>(clock::now() - begin).count();
    return result;
}

template <class Stack, class Loss>
void train_seeds(outcome& out, problem const& p, Loss const& loss, on_trained const& tell_about) {
    for (std::uint64_t const seed : p.seeds) {
        out.runs.push_back(train_once<Stack>(p, loss, seed));
        tell_about(out, out.runs.back());
    }
}

/// Trains the stack of the problem around a gate: FilmGate for ratings, ClassGate for classes.
template <template <int, esp::index_t> class FilmGate, class Dispatch,
          template <int, esp::index_t> class ClassGate = FilmGate>
outcome compare(char const* gate, char const* policy, problem const& p, on_trained const& tell_about) {
    outcome out;
    out.gate = gate;
    out.policy = policy;
    switch (p.what) {
    case kind::ratings:
        // The mean is over all rows; those with a rating are one in two unless there are more negatives.
        train_seeds<film_stack<FilmGate, Dispatch>>(
            out, p,
            esp::loss::columns(esp::loss::column::binary{}, esp::loss::column::squared{.weight = rating_weight}),
            tell_about);
        break;
    case kind::letters:
        train_seeds<class_stack<ClassGate, Dispatch, 16, 26>>(out, p, esp::loss::cross_entropy{}, tell_about);
        break;
    case kind::digits:
        train_seeds<class_stack<ClassGate, Dispatch, 64, 10>>(out, p, esp::loss::cross_entropy{}, tell_about);
        break;
    }
    return out;
}

inline constexpr esp::gate::search searching{.steps = search_steps};

/// Coefficient of the entropy of COMET's trees and DSelect-k's selectors. With the library's 0.1 from the beginning
/// they close before embeddings that start near 0 say anything, and all rows go to the same experts; so it rises over
/// about three epochs of the ratings.
inline constexpr esp::schedule::linear rising{.from = 0.0, .to = 0.1, .steps = 900};

} // namespace recommender
