// SPDX-License-Identifier: Apache-2.0
// host only. Definitions of network/parameters.hpp; see core/library.hpp.
#pragma once

#include <espalier/network/parameters.hpp>

#include <espalier/core/error.hpp>
#include <espalier/core/nested_groups.hpp>

#include <algorithm>

namespace espalier {

namespace detail {

ESPALIER_LIBRARY group_layout layout_groups(std::vector<group_set_info> const& sets) {
    group_layout l;
    l.first = std::make_unique<bool[]>(sets.size());
    for (std::size_t i = 0; i < sets.size(); ++i) {
        std::size_t same = i;
        for (std::size_t j = 0; j < i; ++j)
            if (!sets[i].name.empty() && sets[j].name == sets[i].name) same = j;
        if (same != i) {
            if (sets[same].groups != sets[i].groups)
                throw shape_error("the groups \"" + sets[i].name + "\" are " + std::to_string(sets[same].groups) +
                                  " in one tensor and " + std::to_string(sets[i].groups) + " in another");
            if (sets[same].proximal != sets[i].proximal)
                throw data_error("the groups \"" + sets[i].name +
                                 "\" have penalty::proximal in one tensor and not in "
                                 "another; a group is shrunk as a whole: name it in both or in neither");
            if (sets[same].nested != sets[i].nested)
                throw data_error("the groups \"" + sets[i].name +
                                 "\" are nested in one tensor and not in another; name the same penalty in both");
            l.offset.push_back(l.offset[same]);
            l.first[i] = false;
        } else {
            l.offset.push_back(l.size);
            l.first[i] = true;
            l.size += (sets[i].nested ? nested_parts : 1) * padded(sets[i].groups);
        }
    }
    return l;
}

inline std::string known_fixed(std::vector<tensor_info> const& tensors) {
    std::string known;
    for (tensor_info const& t : tensors)
        if (t.fixed) known += (known.empty() ? "; this network has " : ", ") + t.name;
    return known.empty() ? "; no policy of this network reads any" : known;
}

ESPALIER_LIBRARY std::vector<std::size_t> companions_named(std::vector<tensor_info> const& tensors,
                                                           std::string_view name) {
    std::vector<std::size_t> found;
    for (std::size_t i = 0; i < tensors.size(); ++i)
        if (!tensors[i].companion.empty() && tensors[i].companion == name) found.push_back(i);
    if (found.empty())
        throw data_error("no tensor has a companion \"" + std::string(name) + "\"" + known_fixed(tensors));
    return found;
}

ESPALIER_LIBRARY std::size_t fixed_place(std::vector<tensor_info> const& tensors, std::string_view name, index_t rows,
                                         index_t columns) {
    for (std::size_t i = 0; i < tensors.size(); ++i) {
        tensor_info const& t = tensors[i];
        if (!t.fixed || t.name != name) continue;
        if (t.rows != rows || t.columns != columns)
            throw_shape_error("set_companion: ", name, " is ", t.rows, " x ", t.columns, ", given are ", rows, " x ",
                              columns, " numbers");
        return i;
    }
    throw data_error("there is no companion \"" + std::string(name) + "\"" + known_fixed(tensors));
}

ESPALIER_LIBRARY void require_bases(std::vector<tensor_info> const& tensors, std::vector<bool> const& given) {
    for (std::size_t i = 0; i < tensors.size(); ++i)
        if (tensor_info const& t = tensors[i]; t.fixed && t.companion.empty() && !given[i])
            throw data_error("network: the frozen tensor " + t.name +
                             " was never set; load_base(network, base) takes it from a trained network or its file");
}

ESPALIER_LIBRARY void require_fixed(std::vector<tensor_info> const& tensors, std::vector<bool> const& given) {
    require_bases(tensors, given);
    for (std::size_t i = 0; i < tensors.size(); ++i)
        if (tensor_info const& t = tensors[i]; t.fixed && !given[i])
            throw data_error("training: the companion \"" + t.companion + "\" of tensor " +
                             tensors[static_cast<std::size_t>(t.of)].name + " was never set; remember(network, \"" +
                             t.companion + "\") makes it the present weights, and set_companion(network, \"" + t.name +
                             "\", values) any others");
}

ESPALIER_LIBRARY tensor_info const* find_tensor(std::vector<tensor_info> const& tensors, std::string_view name) {
    for (tensor_info const& t : tensors)
        if (t.name == name) return &t;
    return nullptr;
}

ESPALIER_LIBRARY tensor_info const& tensor_named(std::vector<tensor_info> const& tensors, std::string_view name) {
    if (tensor_info const* const found = find_tensor(tensors, name)) return *found;
    std::string known;
    for (tensor_info const& t : tensors)
        add_to_list(known, t.name);
    throw data_error("there is no tensor \"" + std::string(name) + "\"; this network has " + known);
}

ESPALIER_LIBRARY std::size_t tap_place(std::vector<tap_info> const& taps, std::string_view name) {
    std::size_t found = taps.size();
    for (std::size_t i = 0; i < taps.size(); ++i) {
        if (taps[i].path == name) return i;
        if (taps[i].name != name) continue;
        if (found < taps.size())
            throw data_error("network: " + taps[found].path + " and " + taps[i].path +
                             " are taps of that name; say which by its path");
        found = i;
    }
    if (found == taps.size()) throw data_error("network: there is no tap \"" + std::string(name) + "\"");
    return found;
}

ESPALIER_LIBRARY std::size_t gate_place(std::vector<std::string> const& gates, std::string_view path) {
    auto const found = std::find(gates.begin(), gates.end(), path);
    if (found == gates.end()) throw data_error("network: there is no gate \"" + std::string(path) + "\"");
    return static_cast<std::size_t>(found - gates.begin());
}

ESPALIER_LIBRARY index_t count_trained(std::vector<tensor_info> const& tensors) {
    index_t n = 0;
    for (tensor_info const& t : tensors)
        if (t.trained) n += t.size();
    return n;
}

} // namespace detail

} // namespace espalier
