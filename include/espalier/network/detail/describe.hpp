// SPDX-License-Identifier: Apache-2.0
// host only. Definitions of network/describe.hpp; see core/library.hpp.
#pragma once

#include <espalier/network/describe.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <string_view>
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

inline std::string shape_name(shape s) {
    std::string text = std::to_string(s.features);
    if (s.height != 1 || s.width != 1) text += " x " + std::to_string(s.height) + " x " + std::to_string(s.width);
    return text;
}

inline std::string join_text(std::vector<std::string> const& parts, std::string_view separator) {
    std::string text;
    for (std::string const& part : parts)
        text += (text.empty() ? std::string() : std::string(separator)) + part;
    return text;
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
    for (layer_info const& l : report.layers)
        s.flops += l.share * l.flops;
    s.parameter_bytes = (size.parameters + size.state) * bytes_of_wide + size.mask_words * 4;
    s.gradient_bytes = size.parameters * bytes_of_wide;
    s.tape_bytes_per_row = size.tape.per_row;
    s.tape_bytes_fixed = size.tape.fixed;
    s.work_bytes_per_row = work_bytes_per_row;
    s.tensors = size.tensors;
    s.terms = size.terms;
    s.update_passes = 1 + int{needs_global_norm} + int{size.group_proxes > 0};
    return s;
}

ESPALIER_LIBRARY std::string describe_report(layer_report const& report, network_summary const& s) {
    using row = std::array<std::string, 6>;
    std::vector<row> table{{"layer", "kind", "output", "parameters", "flops/row", "policies"}};
    for (layer_info const& l : report.layers) {
        table.push_back({std::string(static_cast<std::size_t>(2 * std::max(0, l.depth - 1)), ' ') + l.path, l.kind,
                         shape_name(l.output), grouped_digits(l.parameters),
                         l.flops > 0 ? grouped_digits(static_cast<index_t>(l.flops)) : "0",
                         join_text(l.policies, ", ")});
    }
    std::array<std::size_t, 6> width{};
    for (row const& r : table)
        for (std::size_t c = 0; c < r.size(); ++c)
            width[c] = std::max(width[c], r[c].size());
    auto const pad = [](std::string const& text, std::size_t n, bool right) {
        std::string const space(n - std::min(n, text.size()), ' ');
        return right ? space + text : text + space;
    };
    std::string out;
    for (std::size_t i = 0; i < table.size(); ++i) {
        std::string line;
        for (std::size_t c = 0; c < width.size(); ++c) {
            if (c != 0) line += "  ";
            line += pad(table[i][c], width[c], c >= 2 && c <= 4);
        }
        line.erase(line.find_last_not_of(' ') + 1);
        out += line + '\n';
        if (i == 0) {
            std::size_t total = 2 * (width.size() - 1);
            for (std::size_t w : width)
                total += w;
            out += std::string(total, '-') + '\n';
        }
    }
    out += "parameters " + grouped_digits(s.parameters) + " in " + std::to_string(s.tensors) + " tensors, " +
           grouped_digits(s.parameter_bytes) + " bytes; gradients " + grouped_digits(s.gradient_bytes) + " bytes\n";
    out += "tape " + grouped_digits(s.tape_bytes_per_row) + " bytes a row + " + grouped_digits(s.tape_bytes_fixed) +
           "; work " + grouped_digits(s.work_bytes_per_row) + " bytes a row\n";
    out += "update: " + std::to_string(s.update_passes) + (s.update_passes == 1 ? " pass" : " passes") +
           " over the weights, " + std::to_string(s.terms) + (s.terms == 1 ? " term" : " terms") + " beside the loss\n";
    return out;
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
            for (std::string const& p : l.policies)
                label += escape_dot(p) + "\\l";
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
