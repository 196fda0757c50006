// SPDX-License-Identifier: Apache-2.0
// What the description of a network says of a mixture.
#pragma once

#include <espalier/core/context.hpp>
#include <espalier/core/layout.hpp>
#include <espalier/core/shape.hpp>
#include <espalier/core/text.hpp>
#include <espalier/gate/dispatch.hpp>
#include <espalier/layer/mixture/memory.hpp>
#include <espalier/layer/report.hpp>

#include <cstddef>
#include <string>

namespace espalier::detail {

template <class Mixture>
void describe_mixture(layer_report& report, std::string const& path, footprint const& at, shape input, shape output) {
    using dispatch_type = typename Mixture::dispatch_type;
    using gates_type = typename Mixture::gates_type;
    constexpr int experts = Mixture::experts;
    constexpr bool one_task = Mixture::tasks_count == 1;
    auto const gate_path = [&](int t) { return one_task ? text_of(path, ".gate") : text_of(path, ".gate.", t); };

    index_t gate_parameters = 0;
    gates_type::each_type([&](auto const& gate, int) { gate_parameters += gate.parameter_count(); });
    layer_info& line =
        report.add_layer(path, at,
                         one_task ? text_parts{"moe ", experts, " experts"}
                                  : text_parts{"multi_gate ", Mixture::tasks_count, " tasks, ", experts, " experts"},
                         input, output, gate_parameters, 2.0 * static_cast<double>(gate_parameters));
    gates_type::each_type([&](auto const& gate, int) { gate.list(line.policies); });
    list_policy<dispatch_type>(
        line.policies, text_of(dispatch_type::name, Mixture::gathers == dispatch_type::gathers ? "" : ", gathered"));
    if (Mixture::chooses_rows || dispatch::limits_in<dispatch_type>(mode::evaluate))
        add_policy(line.policies, "evaluation", "depends on the batch");

    gates_type::each_type([&](auto const& gate, int t) {
        gate.describe(report, gate_path(t), at + gates_type::template before<float>(t));
    });
    for (int t = 0; t < Mixture::tasks_count; ++t)
        report.add_gate(gate_path(t));
    for (char const* name : {"experts_per_row", "dropped", "load_entropy"})
        report.add_measure(path, ".", name);
    for (int e = 0; e < experts; ++e)
        report.add_measure(path, ".load.", e);

    ++report.depth;
    std::size_t const first = report.layers.size();
    Mixture::experts_type::each_type([&](auto const& expert, int e) {
        expert.describe(report, text_of(path, ".expert.", e),
                        at + mixture_memory<Mixture>::template expert_at<float>(e));
    });
    --report.depth;
    if (Mixture::gathers && Mixture::slots < experts)
        for (std::size_t i = first; i < report.layers.size(); ++i)
            report.layers[i].share *= static_cast<double>(Mixture::slots) / experts;
}

} // namespace espalier::detail
