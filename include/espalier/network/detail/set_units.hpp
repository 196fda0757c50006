// SPDX-License-Identifier: Apache-2.0
// host only. Definitions of network/set_units.hpp; see core/library.hpp.
#pragma once

#include <espalier/network/set_units.hpp>

#include <espalier/core/text.hpp>

#include <algorithm>
#include <string>

namespace espalier {

namespace detail {

ESPALIER_LIBRARY tensor_info const& units_of_layer(std::vector<tensor_info> const& tensors, std::string_view path,
                                                   std::string_view what) {
    std::string known;
    for (tensor_info const& t : tensors) {
        if (!t.units) continue;
        if (t.path() == path) return t;
        add_to_list(known, t.path());
    }
    throw_data_error(what, ": layer \"", path, "\" has no mask of its units; ",
                     known.empty() ? "no layer of this network has units::fixed_mask" : "those that have one are ",
                     known);
}

ESPALIER_LIBRARY tensor_info const& checked_units(std::vector<tensor_info> const& tensors, std::string_view path,
                                                  std::vector<bool> const& kept) {
    tensor_info const& mask = units_of_layer(tensors, path, "set_units");
    if (mask.columns != static_cast<index_t>(kept.size()))
        throw_shape_error("set_units: layer ", path, " has ", mask.columns, " units, and a mask of ", kept.size(),
                          " was given");
    if (std::find(kept.begin(), kept.end(), true) == kept.end())
        throw_data_error("set_units: no unit of layer ", path, " is kept: what follows would be constant");
    return mask;
}

} // namespace detail

} // namespace espalier
