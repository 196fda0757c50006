// SPDX-License-Identifier: Apache-2.0
// host only. Definitions of network/describe.hpp; see core/library.hpp.
#pragma once

#include <espalier/network/describe.hpp>

#include <espalier/core/text.hpp>

#include <nlohmann/json.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

namespace espalier {

namespace detail {

/// 1234567 -> "1,234,567"
inline std::string grouped_digits(index_t n) {
    std::string digits = std::to_string(n);
    for (int at = static_cast<int>(digits.size()) - 3; at > (n < 0 ? 1 : 0); at -= 3)
        digits.insert(static_cast<std::size_t>(at), 1, ',');
    return digits;
}

inline std::string escape_dot(std::string const& text) {
    std::string out;
    for (char c : text) {
        if (c == '"' || c == '\\' || c == '{' || c == '}' || c == '|' || c == '<' || c == '>') out += '\\';
        out += c;
    }
    return out;
}

ESPALIER_LIBRARY network_summary summary_of(layer_report const& report, footprint const& size,
                                            index_t work_bytes_per_row, index_t bytes_of_wide, bool needs_global_norm) {
    network_summary s;
    s.parameters = count_trained(report.tensors);
    for (tensor_info const& t : report.tensors)
        if (t.fixed) s.fixed += t.size();
    for (layer_info const& l : report.layers)
        s.flops += l.share * l.flops;
    s.parameter_bytes = (size.parameters + size.state + size.fixed) * bytes_of_wide + size.mask_words * 4;
    s.gradient_bytes = size.parameters * bytes_of_wide;
    s.tape_bytes_per_row = size.tape.per_row;
    s.tape_bytes_fixed = size.tape.fixed;
    s.work_bytes_per_row = work_bytes_per_row;
    s.tensors = size.tensors;
    s.terms = size.terms;
    s.update_passes = 1 + int{needs_global_norm} + int{size.group_proxes > 0};
    return s;
}

ESPALIER_LIBRARY std::vector<std::string> aligned_lines(std::vector<std::vector<std::string>> const& table,
                                                        std::size_t from, std::size_t to) {
    std::vector<std::string> lines(table.size());
    for (std::size_t c = 0; c < table.front().size(); ++c) {
        std::size_t width = 0;
        for (auto const& row : table)
            width = std::max(width, row[c].size());
        for (std::size_t r = 0; r < table.size(); ++r) {
            std::string const space(width - table[r][c].size(), ' ');
            lines[r] += (c == 0 ? "" : "  ") + (from <= c && c < to ? space + table[r][c] : table[r][c] + space);
        }
    }
    return lines;
}

ESPALIER_LIBRARY std::string describe_report(layer_report const& report, network_summary const& s) {
    std::vector<std::vector<std::string>> table{{"layer", "kind", "output", "parameters", "flops/row", "policies"}};
    for (layer_info const& l : report.layers) {
        table.push_back({std::string(static_cast<std::size_t>(2 * std::max(0, l.depth - 1)), ' ') + l.path, l.kind,
                         shape_name(l.output), grouped_digits(l.parameters),
                         l.flops > 0 ? grouped_digits(static_cast<index_t>(l.flops)) : "0", policy_texts(l)});
    }
    std::vector<std::string> lines = aligned_lines(table, 2, 5);
    lines.insert(lines.begin() + 1, std::string(lines.front().size(), '-'));
    std::string out;
    for (std::string& line : lines) {
        line.erase(line.find_last_not_of(' ') + 1);
        out += line + '\n';
    }
    out += "parameters " + grouped_digits(s.parameters) + " in " + std::to_string(s.tensors) + " tensors, " +
           (s.fixed > 0 ? "fixed " + grouped_digits(s.fixed) + ", " : "") + grouped_digits(s.parameter_bytes) +
           " bytes; gradients " + grouped_digits(s.gradient_bytes) + " bytes\n";
    out += "tape " + grouped_digits(s.tape_bytes_per_row) + " bytes a row + " + grouped_digits(s.tape_bytes_fixed) +
           "; work " + grouped_digits(s.work_bytes_per_row) + " bytes a row\n";
    out += "update: " + std::to_string(s.update_passes) + (s.update_passes == 1 ? " pass" : " passes") +
           " over the weights, " + std::to_string(s.terms) + (s.terms == 1 ? " term" : " terms") + " beside the loss\n";
    return out;
}

inline nlohmann::ordered_json json_of(policy_info const& policy) {
    nlohmann::ordered_json out = nlohmann::ordered_json::object();
    if (!policy.axis.empty()) out["axis"] = policy.axis;
    out["name"] = policy.name;
    if (!policy.known) {
        out["numbers"] = nullptr;
        return out;
    }
    // Several of one name are an array under it. What is not finite is no JSON: its text then.
    auto const number_json = [](policy_number const& number) -> nlohmann::ordered_json {
        if (number.whole) return static_cast<std::int64_t>(number.value);
        if (std::isfinite(number.value)) return number.value;
        return text_of(number.value);
    };
    nlohmann::ordered_json numbers = nlohmann::ordered_json::object();
    for (policy_number const& number : policy.numbers) {
        nlohmann::ordered_json value = number_json(number);
        if (!numbers.contains(number.name))
            numbers[number.name] = std::move(value);
        else if (nlohmann::ordered_json& first = numbers[number.name]; first.is_array())
            first.push_back(std::move(value));
        else
            first = nlohmann::ordered_json::array({first, std::move(value)});
    }
    if (!numbers.empty()) out["numbers"] = std::move(numbers);
    for (policy_info const& part : policy.parts)
        out["parts"].push_back(json_of(part));
    return out;
}

inline nlohmann::ordered_json json_of(shape s) {
    return nlohmann::ordered_json::array({s.features, s.height, s.width});
}

ESPALIER_LIBRARY std::string report_to_json(layer_report const& report, network_summary const& s) {
    using json = nlohmann::ordered_json;
    json layers = json::array(), tensors = json::array(), terms = json::array(), taps = json::array();
    for (layer_info const& l : report.layers) {
        json line{{"path", l.path},
                  {"kind", l.kind},
                  {"depth", l.depth},
                  {"input", json_of(l.input)},
                  {"output", json_of(l.output)},
                  {"parameters", l.parameters},
                  {"flops_per_row", l.flops},
                  {"share_of_rows", l.share}};
        line["policies"] = json::array();
        for (policy_info const& policy : l.policies)
            line["policies"].push_back(json_of(policy));
        layers.push_back(std::move(line));
    }
    for (tensor_info const& t : report.tensors)
        tensors.push_back(json{{"name", t.name},
                               {"role", role_name(t.tensor_role)},
                               {"group", t.group},
                               {"rows", t.rows},
                               {"columns", t.columns},
                               {"trained", t.trained},
                               {"masked", t.mask_offset >= 0}});
    for (term_info const& t : report.terms)
        terms.push_back(t.name);
    for (tap_info const& t : report.taps)
        taps.push_back(json{{"path", t.path}, {"width", t.width}});
    json const out{{"layers", std::move(layers)},
                   {"tensors", std::move(tensors)},
                   {"terms", std::move(terms)},
                   {"measures", report.measures},
                   {"taps", std::move(taps)},
                   {"gates", report.gates},
                   {"summary",
                    {{"parameters", s.parameters},
                     {"fixed", s.fixed},
                     {"flops_per_row", s.flops},
                     {"parameter_bytes", s.parameter_bytes},
                     {"gradient_bytes", s.gradient_bytes},
                     {"tape_bytes_per_row", s.tape_bytes_per_row},
                     {"tape_bytes_fixed", s.tape_bytes_fixed},
                     {"work_bytes_per_row", s.work_bytes_per_row},
                     {"tensors", s.tensors},
                     {"terms", s.terms},
                     {"update_passes", s.update_passes}}}};
    return out.dump(2, ' ', false, json::error_handler_t::replace) + '\n';
}

ESPALIER_LIBRARY std::string report_to_dot(layer_report const& report, std::string const& title) {
    auto const& layers = report.layers;
    std::string out = "digraph \"" + escape_dot(title) + "\" {\n";
    out += "  rankdir=TB; labelloc=t; label=\"" + escape_dot(title) + "\"; fontname=\"Helvetica\";\n";
    out += "  node [shape=record, style=\"rounded,filled\", fillcolor=\"#eef3f8\", color=\"#4a6378\", "
           "fontname=\"Helvetica\", fontsize=11];\n";
    out += "  edge [color=\"#4a6378\", fontname=\"Helvetica\", fontsize=10];\n";
    for (std::size_t i = 0; i < layers.size(); ++i) {
        layer_info const& l = layers[i];
        std::string label = escape_dot(l.path + "  " + l.kind);
        if (!l.policies.empty()) {
            label += "|";
            for (policy_info const& p : l.policies)
                label += escape_dot(p.text()) + "\\l";
        }
        if (l.parameters > 0) label += '|' + grouped_digits(l.parameters) + " parameters";
        out += "  n" + std::to_string(i) + " [label=\"{" + label + "}\"" +
               (l.kind == "input" ? ", fillcolor=\"#ffffff\"" : "") + "];\n";
    }
    // An arrow to the next layer of the same depth under the same parent; a dashed one from a parent to what it holds.
    auto const parent_of = [&](std::size_t i) {
        std::string const& path = layers[i].path;
        std::size_t best = layers.size();
        std::size_t length = 0;
        for (std::size_t j = 0; j < layers.size(); ++j)
            if (j != i && path.size() > layers[j].path.size() && path.starts_with(layers[j].path + ".") &&
                layers[j].path.size() >= length) {
                best = j;
                length = layers[j].path.size();
            }
        return best;
    };
    auto const group_of = [&](std::size_t i) {
        return layers[i].path.substr(0, layers[i].path.rfind('.') == std::string::npos ? 0 : layers[i].path.rfind('.'));
    };
    for (std::size_t i = 0; i < layers.size(); ++i) {
        std::size_t const parent = parent_of(i);
        std::size_t before = layers.size();
        for (std::size_t j = 0; j < i; ++j)
            if (parent_of(j) == parent && group_of(j) == group_of(i)) before = j;
        bool const chained =
            before < layers.size() && !(parent < layers.size() && (layers[parent].kind.starts_with("parallel") ||
                                                                   group_of(i) == layers[parent].path + ".expert"));
        if (chained)
            out += "  n" + std::to_string(before) + " -> n" + std::to_string(i) + " [label=\" " +
                   shape_name(layers[before].output) + "\"];\n";
        else if (parent < layers.size())
            out += "  n" + std::to_string(parent) + " -> n" + std::to_string(i) + " [style=dashed, arrowhead=none];\n";
    }
    out += "}\n";
    return out;
}

} // namespace detail

} // namespace espalier
