// SPDX-License-Identifier: Apache-2.0
// host only. Definitions of layer/report.hpp; see core/library.hpp.
#pragma once

#include <espalier/layer/report.hpp>

#include <cstdint>
#include <exception>
#include <stdexcept>
#include <utility>

namespace espalier {

ESPALIER_LIBRARY layer_report::layer_report() = default;
ESPALIER_LIBRARY layer_report::layer_report(void (*describe)(layer_report&, std::string const& path,
                                                             footprint const& at),
                                            footprint const& size) {
    describe(*this, "", {});
    index_t trained = 0;
    for (tensor_info& t : tensors) {
        trained += t.trained;
        if (t.fixed) t.offset += size.state;            // they lie behind all other state
        t.passes += t.grouped && size.group_proxes > 0; // shrinks groups, and gathers the norms of the others anew
    }
    auto const agree = [](char const* what, index_t named, index_t counted) {
        if (named != counted)
            throw std::logic_error(detail::text_of("espalier: `describe` of the layers names ", named, " ", what,
                                                   ", and their `size` counts ", counted));
    };
    agree("trained tensors", trained, size.tensors);
    agree("terms", static_cast<index_t>(terms.size()), size.terms);
    agree("measures", static_cast<index_t>(measures.size()), size.measures);
    agree("sets of groups", static_cast<index_t>(group_sets.size()), size.group_sets);
    agree("taps", static_cast<index_t>(taps.size()), size.taps);
    agree("gates", static_cast<index_t>(gates.size()), size.gates);
}
ESPALIER_LIBRARY layer_report::layer_report(layer_report const&) = default;
ESPALIER_LIBRARY layer_report& layer_report::operator=(layer_report const&) = default;
ESPALIER_LIBRARY layer_report::~layer_report() = default;

ESPALIER_LIBRARY layer_info& layer_report::add_layer(std::string_view path, footprint const& at,
                                                     detail::text_parts kind, shape input, shape output,
                                                     index_t parameters, double flops) {
    layer_info line;
    line.path = path;
    line.kind = detail::text_of_parts(kind);
    line.input = input;
    line.output = output;
    line.parameters = parameters;
    line.flops = flops;
    line.depth = depth;
    line.stream = static_cast<std::uint32_t>(at.streams);
    return layers.emplace_back(std::move(line));
}

ESPALIER_LIBRARY std::string layer_report::path_of_stream(std::uint32_t stream) const {
    std::string found;
    for (layer_info const& line : layers)
        if (line.stream <= stream) found = line.path;
    return found;
}

ESPALIER_LIBRARY void layer_report::add_tensor(std::string_view path, std::string_view name, footprint const& at,
                                               tensor_facts const& facts) {
    tensor_info t;
    t.name = detail::text_of(path, ".", name);
    t.group = facts.group;
    t.layer = top_layer;
    t.tensor_role = facts.tensor_role;
    t.rows = facts.rows;
    t.columns = facts.columns;
    t.offset = at.parameters;
    t.vector = facts.rows == 1 && facts.tensor_role != role::kernel && facts.tensor_role != role::factor;
    if (facts.masked) t.mask_offset = at.mask_words;
    t.held = facts.held;
    t.masks = facts.masks;
    t.passes = facts.passes;
    t.grouped = facts.grouped;
    t.mapped = facts.mapped;
    t.inverse = facts.inverse;
    tensors.push_back(std::move(t));
}

ESPALIER_LIBRARY void layer_report::add_state(std::string_view path, std::string_view name, index_t rows,
                                              index_t columns, index_t offset, bool optional) {
    tensor_info t;
    t.optional = optional;
    t.name = detail::text_of(path, ".", name);
    t.layer = top_layer;
    t.tensor_role = role::statistic;
    t.rows = rows;
    t.columns = columns;
    t.offset = offset;
    t.trained = false;
    t.vector = rows == 1;
    tensors.push_back(std::move(t));
}

ESPALIER_LIBRARY void layer_report::add_units(std::string_view path, index_t count, index_t offset) {
    add_state(path, "units", 1, count, offset, true);
    tensors.back().units = true;
}

ESPALIER_LIBRARY void layer_report::add_companion(std::string_view name, index_t offset) {
    std::size_t of = tensors.size();
    while (!tensors[of - 1].trained)
        --of;
    tensor_info const& its = tensors[of - 1];
    tensor_info t;
    t.name = detail::text_of(its.name, ".", name);
    t.layer = its.layer;
    t.tensor_role = role::statistic;
    t.rows = its.rows;
    t.columns = its.columns;
    t.offset = offset;
    t.trained = false;
    t.vector = its.vector;
    t.optional = t.fixed = true;
    t.companion = name;
    t.of = static_cast<int>(of - 1);
    tensors.push_back(std::move(t));
}

ESPALIER_LIBRARY void layer_report::add_scalar(std::string_view name, index_t offset, tensor_rates const& rates) {
    std::size_t of = tensors.size();
    while (!tensors[of - 1].trained || tensors[of - 1].tensor_role == role::scalar)
        --of;
    tensor_info const& its = tensors[of - 1];
    tensor_info t;
    t.name = detail::text_of(its.name, ".", name);
    t.group = its.group;
    t.layer = its.layer;
    t.tensor_role = role::scalar;
    t.rows = t.columns = 1;
    t.offset = offset;
    t.vector = true;
    t.rates = rates;
    t.of = static_cast<int>(of - 1);
    tensors.push_back(std::move(t));
}

ESPALIER_LIBRARY void layer_report::add_fixed_kernel(std::string_view path, std::string_view name, index_t rows,
                                                     index_t columns, index_t offset) {
    add_state(path, name, rows, columns, offset, true);
    tensor_info& its = tensors.back();
    its.tensor_role = role::kernel;
    its.vector = false;
    its.fixed = true;
}

ESPALIER_LIBRARY void layer_report::add_term_named(detail::text_parts name) {
    terms.push_back({detail::text_of_parts(name)});
}
ESPALIER_LIBRARY void layer_report::add_measure_named(detail::text_parts name) {
    measures.push_back(detail::text_of_parts(name));
}
ESPALIER_LIBRARY void layer_report::add_tap(std::string_view path, std::string_view name, index_t width) {
    taps.push_back({std::string(name), detail::text_of(path, ".", name), width});
}
ESPALIER_LIBRARY void layer_report::add_gate(std::string_view path) {
    gates.emplace_back(path);
}
ESPALIER_LIBRARY void layer_report::add_groups(std::string_view name, index_t groups, bool proximal, bool nested) {
    group_sets.push_back({std::string(name), groups, proximal, nested});
}

ESPALIER_LIBRARY void policy_info::ask(clock const& now) {
    if (!write) return;
    numbers.clear();
    parts.clear();
    known = true;
    try {
        write(*this, now);
    } catch (std::exception const&) {
        numbers.clear();
        parts.clear();
        known = false;
    }
}

namespace detail {

ESPALIER_LIBRARY std::vector<std::string> names_of_terms(layer_report const& report) {
    std::vector<std::string> names{"loss"};
    for (term_info const& t : report.terms)
        names.push_back(t.name);
    return names;
}

ESPALIER_LIBRARY void add_number(policy_info& out, std::string_view name, double value, bool whole) {
    out.numbers.push_back({std::string(name), value, whole && value >= -0x1p63 && value < 0x1p63});
}
ESPALIER_LIBRARY policy_info& add_part(policy_info& out, std::string_view name) {
    if (name.empty()) return out;
    policy_info& part = out.parts.emplace_back();
    part.name = name;
    return part;
}

ESPALIER_LIBRARY void add_policy(std::vector<policy_info>& out, std::string_view axis_name,
                                 std::string_view policy_name, void (*write)(policy_info&, clock const&)) {
    policy_info& policy = out.emplace_back();
    policy.axis = axis_name;
    policy.name = policy_name;
    policy.write = write;
    policy.ask({});
}

/// What stands in brackets behind the name.
inline std::string numbers_text(policy_info const& policy) {
    if (!policy.known) return "no numbers at step 0";
    std::string text;
    auto const separate = [&] { text += text.empty() ? "" : ", "; };
    std::string_view last;
    for (policy_number const& number : policy.numbers) {
        separate();
        if (number.name != last) text += number.name + ' ';
        last = number.name;
        text += number.whole ? text_of(static_cast<std::int64_t>(number.value)) : text_of(rounded{number.value});
    }
    for (policy_info const& part : policy.parts) {
        separate();
        text += part.text();
    }
    return text;
}

ESPALIER_LIBRARY std::string policy_texts(layer_info const& layer) {
    std::string text;
    for (policy_info const& policy : layer.policies)
        text += (text.empty() ? "" : ", ") + policy.text();
    return text;
}
ESPALIER_LIBRARY std::string shape_name(shape s) {
    std::string text = std::to_string(s.features);
    if (s.height != 1 || s.width != 1) text += " x " + std::to_string(s.height) + " x " + std::to_string(s.width);
    return text;
}

} // namespace detail

ESPALIER_LIBRARY std::string layer_info::text() const {
    std::string const words = detail::policy_texts(*this);
    return kind + ' ' + detail::shape_name(input) + " -> " + detail::shape_name(output) +
           (words.empty() ? "" : ": " + words);
}

ESPALIER_LIBRARY std::string policy_info::text() const {
    std::string const numbers_of_it = detail::numbers_text(*this);
    return (axis.empty() ? "" : axis + ' ') + name + (numbers_of_it.empty() ? "" : '(' + numbers_of_it + ')');
}

} // namespace espalier
