// SPDX-License-Identifier: Apache-2.0
// What moe and multi_gate are made of: gates that route a batch, and the experts that they share.
#pragma once

#include <espalier/core/clock.hpp>
#include <espalier/core/layout.hpp>
#include <espalier/core/rows.hpp>
#include <espalier/core/shape.hpp>
#include <espalier/core/view.hpp>
#include <espalier/layer/concept.hpp>
#include <espalier/layer/detail.hpp>
#include <espalier/layer/mixture/checks.hpp>
#include <espalier/layer/mixture/expert_rows.hpp>
#include <espalier/layer/mixture/facts.hpp>
#include <espalier/layer/mixture/groups.hpp>
#include <espalier/layer/mixture/memory.hpp>
#include <espalier/layer/mixture/pass.hpp>
#include <espalier/layer/mixture/report.hpp>

#include <cstddef>
#include <string>
#include <type_traits>

namespace espalier::detail {

/// Gates over shared experts: output t is mixed by gate t, and the outputs stand side by side.
template <shape In, class Experts, class Dispatch, class... Routers> struct bound_mixture {
    using known = mixture_facts<In, Experts, Dispatch, Routers...>;
    using memory = mixture_memory<known>;
    using gates = typename known::gates_type;
    static constexpr shape input = In;
    static constexpr shape output =
        known::tasks_count == 1 ? Experts::output : shape{static_cast<int>(known::tasks_count * known::out)};
    static constexpr layer_facts facts{.needs = Experts::needs | gates::needs};

    using numbers = typename known::numbers;
    static numbers at(clock const& now) { return {gates::at(now), Experts::at(now)}; }

    template <class T> static constexpr footprint size() { return memory::template size<T>(); }
    template <class T> static constexpr extent work() { return memory::template work<T>.end; }
    template <class Device, class T> static std::size_t scratch(index_t capacity) {
        std::size_t most = scratch_of_experts<known, Device, T>(capacity);
        std::size_t const of_gates = gates::template scratch<Device, T>(capacity);
        most = of_gates > most ? of_gates : most;
        if constexpr (!Device::host_memory) {
            std::size_t const own = Device::dispatch_scratch(capacity, known::slots, known::experts);
            most = own > most ? own : most;
        }
        return most;
    }

    template <class Context, class T>
    static void forward(Context& context, numbers const& n, layer_memory<T> const& m, rows const& batch,
                        matrix_view<T const> x, matrix_view<T> y) {
        check_mixture_in<known, Context>();
        if constexpr (mixture_facts_in<known, Context>::runs)
            mixture_pass<known, Context, T>{context, n, m, batch, x}.forward(y);
    }
    template <differentiate Want, class Context, class T>
    static void backward(Context& context, numbers const& n, layer_memory<T> const& m, rows const& batch,
                         matrix_view<T const> x, matrix_view<T const>, matrix_view<T> dy, matrix_view<T> dx) {
        if constexpr (mixture_facts_in<known, Context>::runs)
            mixture_pass<known, Context, T>{context, n, m, batch, x}.template backward<Want>(dy, dx);
    }

    template <class Asked> static consteval bool has_tensor() {
        return gates::template has_tensor<Asked>() || Experts::template has_tensor<Asked>();
    }
    template <class Context, class Optimizer, class T>
    static void update(Context& context, Optimizer const& optimizer, numbers const& n, layer_memory<T> const& m,
                       update_numbers const& given) {
        gates::each(n.gates, [&](auto const& gate, int t, auto const& its) {
            gate.update(context, optimizer, its, memory::of_gate(m, t), given);
        });
        if constexpr (known::template updates_together<typename Context::device_type>) {
            if (same_rates(memory::of_expert(m, 0).rates))
                return Experts::first(n.experts, [&](auto const& expert, int, auto const& its) {
                    in_groups(context, mixture_groups<known, Context>::all(m), [&](auto& its_context) {
                        expert.update(its_context, optimizer, its, memory::of_expert(m, 0), given);
                    });
                });
        }
        Experts::each(n.experts, [&](auto const& expert, int e, auto const& its) {
            // A step finds what the experts kept of the batch; without one there may have been no batch yet.
            expert_rows at{0, 0, 0, 0};
            if constexpr (steps<Optimizer>) at = mixture_pass<known, Context, T>::place_of(m, e, 0);
            expert.update(context, optimizer, its, memory::of_expert(m, e, at.kept, at.capacity, nullptr), given);
        });
    }
    template <class Context, class T> static void initialise(Context& context, layer_memory<T> const& m) {
        gates::each_type([&](auto const& gate, int t) { gate.initialise(context, memory::of_gate(m, t)); });
        Experts::each_type([&](auto const& expert, int e) { expert.initialise(context, memory::of_expert(m, e)); });
    }
    static void describe(layer_report& report, std::string const& path, footprint const& at) {
        describe_mixture<known>(report, path, at, input, output);
    }

private:
    /// Whether every expert's tensors move at the first one's rates.
    static bool same_rates(tensor_rates const* rates) {
        for (int i = known::one.tensors; rates && i < known::all.tensors; ++i)
            if (rates[i] != rates[i % known::one.tensors]) return false;
        return true;
    }
};

} // namespace espalier::detail
