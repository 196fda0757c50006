// SPDX-License-Identifier: Apache-2.0
// host only. A network type as a table and as a picture.
#pragma once

#include <espalier/core/library.hpp>
#include <espalier/network/concept.hpp>
#include <espalier/network/parameters.hpp>

#include <cstddef>
#include <string>
#include <vector>

namespace espalier {

/// Figures of a whole network type.
struct network_summary {
    index_t parameters = 0;      ///< trained values
    index_t fixed = 0;           ///< values that are read and never trained: frozen kernels, companions
    double flops = 0.0;          ///< of one row, forward, products only; an expert's count for the rows it gets
    index_t parameter_bytes = 0; ///< parameters, state, fixed values and masks
    index_t gradient_bytes = 0;
    index_t tape_bytes_per_row = 0;
    index_t tape_bytes_fixed = 0;
    index_t work_bytes_per_row = 0;
    index_t tensors = 0;
    index_t terms = 0;
    /// Passes over the weights in an update: 1, and 1 more for the norm of all gradients, and 1 more for proxes over
    /// groups (of the tensors with penalties over groups only).
    int update_passes = 1;
};

namespace detail {

/// What the report does not know of a summary: the sizes that are known while compiling.
network_summary summary_of(layer_report const& report, footprint const& size, index_t work_bytes_per_row,
                           index_t bytes_of_wide, bool needs_global_norm);
/// Lines of a table whose columns are as wide as their widest cell and two blanks apart, those in [from, to) to the
/// right. All lines have as many cells and are as long.
std::vector<std::string> aligned_lines(std::vector<std::vector<std::string>> const& table, std::size_t from,
                                       std::size_t to);
std::string describe_report(layer_report const& report, network_summary const& s);
std::string report_to_json(layer_report const& report, network_summary const& s);
std::string report_to_dot(layer_report const& report, std::string const& title);

} // namespace detail

/// Sums over the layers of a stack run with scalars of type T.
template <class Stack, class T = float> network_summary summarise() {
    using layer = bound<Stack>;
    constexpr footprint size = layer::template size<T>();
    constexpr extent work = layer::template work<T>();
    return detail::summary_of(report_of<Stack>(), size, work.per_row, static_cast<index_t>(sizeof(master_of<T>)),
                              has(layer::facts.needs, need::global_norm));
}

/// A table of the layers of a stack: path, kind, widths, parameters, operations, policies; then memory and passes.
/// Behind a policy stand its numbers, by the names that it gives them (`numbers`, core/fields.hpp): "penalty
/// l1(coefficient 0.0001)". Those of a schedule are the ones of step 0; rates of draws are quantised, as they are
/// drawn.
template <class Stack, class T = float> std::string describe() {
    return detail::describe_report(report_of<Stack>(), summarise<Stack, T>());
}

/// The same of a network, with the numbers that policies have at its time: ranks as they were cut, rates where their
/// schedules stand. Parameters and operations stay those of the type.
template <class Network>
requires detail::is_network<Network> std::string describe(Network const& net) {
    layer_report report = report_of<typename Network::stack>();
    for (layer_info& line : report.layers)
        for (policy_info& policy : line.policies)
            policy.ask(net.time());
    return detail::describe_report(report, summarise<typename Network::stack, typename Network::scalar>());
}

/// The same as JSON: an object with `layers` (path, kind, input and output as [features, height, width], parameters,
/// operations, and `policies`, each with its axis, its name, its `numbers` by name and the `parts` of a gate),
/// `tensors`, `terms`, `measures`, `taps`, `gates` and the `summary`. Several numbers of one name are an array;
/// `numbers` is null for a policy that has none at step 0.
template <class Stack, class T = float> std::string describe_json() {
    return detail::report_to_json(report_of<Stack>(), summarise<Stack, T>());
}

/// The stack as a graph in the DOT language of Graphviz: a box a layer, its policies inside, widths on the arrows.
template <class Stack> std::string to_dot(std::string const& title = "network") {
    return detail::report_to_dot(report_of<Stack>(), title);
}

} // namespace espalier

#if defined(ESPALIER_HEADER_ONLY)
#include <espalier/network/detail/describe.hpp>
#endif
