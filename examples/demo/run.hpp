// SPDX-License-Identifier: Apache-2.0
// Trains one stack for every seed of a task and collects what the table shows.
#pragma once

#include "stack.hpp"

#include <espalier/core/error.hpp>
#include <espalier/device/cpu/cpu.hpp>
#include <espalier/layer/dense.hpp>
#include <espalier/layer/input.hpp>
#include <espalier/layer/moe.hpp>
#include <espalier/layer/sequence.hpp>
#include <espalier/loss/cross_entropy.hpp>
#include <espalier/network/describe.hpp>
#include <espalier/optimizer/adamw.hpp>
#include <espalier/train/fit.hpp>

#include <algorithm>
#include <chrono>
#include <set>
#include <string>
#include <typeindex>
#include <typeinfo>
#include <utility>
#include <vector>

namespace demo {

/// Values that products read: of a tensor with a mask the kept ones, of any other those that are not 0.
template <class Network> long count_non_zeros(Network& net) {
    long count = 0;
    for (espalier::tensor_info const& t : Network::tensors()) {
        if (!t.trained) continue;
        auto const w = net.values().view(t);
        std::uint32_t const* const mask = t.mask_offset < 0 ? nullptr : net.values().masks().data() + t.mask_offset;
        for (espalier::index_t i = 0; i < t.size(); ++i)
            count += w.data[i] != 0.0f && (!mask || (mask[i / 32] >> (i % 32) & 1u));
    }
    return count;
}

/// Median time of 60 training steps on the first batch, in microseconds. On a copy: the network stays as it is.
template <class Network> double time_of_step(Network const& net, task const& what) {
    namespace esp = espalier;
    Network copy = net;
    esp::training run{copy, esp::loss::cross_entropy{}, esp::optimizer::adamw{.learning_rate = 1e-4}};
    esp::index_t const n = std::min(what.batch, what.train.count());
    esp::rows tags;
    tags.count = n;
    tags.label = what.train.labels.data;
    std::vector<double> times;
    for (int i = 0; i < 60; ++i) {
        auto const start = std::chrono::steady_clock::now();
        run.step({what.train.features.middle_rows(0, n), tags, {}});
        times.push_back(std::chrono::duration<double, std::micro>(std::chrono::steady_clock::now() - start).count());
    }
    std::nth_element(times.begin(), times.begin() + 30, times.end());
    return times[30];
}

/// The compositions that loops are compiled for: one epilogue for each kind of layer, one update for each kind of
/// tensor. Numbers are not part of these types, so layers that differ in numbers only share them.
template <class Layer> void collect_loops(std::set<std::type_index>& seen) {
    if constexpr (requires { Layer::epilogue; })
        seen.insert(typeid(typename std::remove_cvref_t<decltype(Layer::epilogue)>::train_op));
    if constexpr (requires { Layer::kernel; }) {
        using kernel = std::remove_cvref_t<decltype(Layer::kernel)>;
        if constexpr (requires { typename kernel::numbers; })
            seen.insert(typeid(typename kernel::numbers)); // a dense layer's rule
        else
            seen.insert(typeid(typename kernel::rule)); // a gate's
    }
    if constexpr (requires { Layer::bias; })
        seen.insert(typeid(typename std::remove_cvref_t<decltype(Layer::bias)>::rule));
}
template <class Layer> struct loops_of {
    static void collect(std::set<std::type_index>& seen) {
        collect_loops<std::remove_cvref_t<decltype(espalier::detail::body_of<Layer>)>>(seen);
    }
};
template <class Indices, class... Layers> struct loops_of<espalier::detail::bound_sequence<Indices, Layers...>> {
    static void collect(std::set<std::type_index>& seen) { (loops_of<Layers>::collect(seen), ...); }
};
template <espalier::shape In, class Experts, class Dispatch, class... Gates>
struct loops_of<espalier::detail::bound_mixture<In, Experts, Dispatch, Gates...>> {
    static void collect(std::set<std::type_index>& seen) {
        (loops_of<Gates>::collect(seen), ...);
        Experts::each_type(
            [&](auto const& expert, int) { loops_of<std::remove_cvref_t<decltype(expert)>>::collect(seen); });
    }
};

/// What can be said of a stack without running it.
template <class Stack> void tell(outcome& out) {
    namespace esp = espalier;
    esp::network_summary const facts = esp::summarise<Stack>();
    for (esp::layer_info const& layer : esp::report_of<Stack>().layers) {
        if (layer.kind == "input") continue;
        ++out.layers;
        for (esp::policy_info const& policy : layer.policies)
            out.policies += policy.name != "identity";
        out.kflop += layer.share * layer.flops / 1e3;
    }
    std::set<std::type_index> loops;
    loops_of<esp::bound<Stack>>::collect(loops);
    out.loops = static_cast<int>(loops.size());
    out.passes = facts.update_passes;
    out.parameters = static_cast<long>(facts.parameters);
    out.tape_bytes = static_cast<long>(facts.tape_bytes_per_row);
    out.description = esp::describe<Stack>();
    out.dot = esp::to_dot<Stack>(out.stack);
}

template <class Stack>
outcome train_stack(std::string stack, std::string policy, task const& what, on_trained const& tell_about) {
    namespace esp = espalier;
    using model_type = esp::network<Stack, esp::device::cpu, float>;
    outcome out;
    out.stack = std::move(stack);
    out.policy = std::move(policy);
    tell<Stack>(out);
    for (std::uint64_t const seed : what.seeds) {
        model_type model{esp::seed{seed}, what.batch};
        auto const start = std::chrono::steady_clock::now();
        esp::history const history = esp::fit(
            model, esp::loss::cross_entropy{}, esp::optimizer::adamw{.learning_rate = what.learning_rate}, what.train,
            {.epochs = what.epochs, .batch = what.batch, .validation = what.test, .progress = false});
        trained run;
        run.seed = seed;
        run.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
        if (history.rows() > 0) {
            run.loss = history.column("loss");
            run.accuracy = history.column("validation_accuracy");
        }
        out.runs.push_back(std::move(run));
        if (seed == what.seeds.back()) {
            out.non_zeros = count_non_zeros(model);
            out.step_us = time_of_step(model, what);
        }
        tell_about(out, out.runs.back());
    }
    return out;
}

/// Chooses the stack by the width of the data: widths are part of the type.
template <template <int, int> class Stack>
outcome train_for_width(char const* stack, char const* policy, task const& what, on_trained const& tell_about) {
    switch (what.train.width()) {
    case 64:
        return train_stack<Stack<64, 128>>(stack, policy, what, tell_about);
    case 784:
        return train_stack<Stack<784, 256>>(stack, policy, what, tell_about);
    default:
        throw espalier::shape_error(what.name + ": rows have " + std::to_string(what.train.width()) +
                                    " features; the demo's stacks are compiled for 64 and 784");
    }
}

} // namespace demo
