// SPDX-License-Identifier: Apache-2.0
// host only. Definitions of search/units.hpp; see core/library.hpp.
#pragma once

#include <espalier/search/units.hpp>

#include <espalier/core/exact_count.hpp>
#include <espalier/core/text.hpp>

#include <algorithm>

namespace espalier::search {

ESPALIER_LIBRARY index_t kept_units(double sparsity, index_t units) {
    using espalier::detail::throw_data_error;
    if (!(sparsity >= 0.0 && sparsity < 1.0))
        throw_data_error("search: a sparsity of ", sparsity, " was given; it is in [0, 1)");
    index_t const kept = round_of_product(1.0 - sparsity, units);
    if (kept < 1)
        throw_data_error("search: a sparsity of ", sparsity, " leaves none of ", units,
                         " units; what follows would be constant");
    return kept;
}

ESPALIER_LIBRARY std::vector<masked_layers> each_layer(std::vector<tensor_info> const& tensors, double sparsity) {
    std::vector<masked_layers> groups;
    for (tensor_info const& t : tensors)
        if (t.units) groups.push_back({{std::string(t.path())}, kept_units(sparsity, t.columns)});
    if (groups.empty()) throw data_error("search: no layer of this network has units::fixed_mask");
    return groups;
}

namespace detail {

ESPALIER_LIBRARY std::vector<mask_group> mask_groups(std::vector<tensor_info> const& tensors,
                                                     std::span<masked_layers const> groups) {
    using espalier::detail::throw_data_error;
    if (groups.empty()) throw data_error("search::units: no layers were given");
    std::vector<mask_group> found;
    std::vector<tensor_info const*> seen;
    for (masked_layers const& group : groups) {
        if (group.layers.empty()) throw data_error("search::units: a group has no layers");
        mask_group its{{}, group.kept};
        for (std::string const& path : group.layers) {
            tensor_info const& mask = espalier::detail::units_of_layer(tensors, path, "search::units");
            if (std::find(seen.begin(), seen.end(), &mask) != seen.end())
                throw_data_error("search::units: layer ", path, " is named twice");
            seen.push_back(&mask);
            its.masks.push_back(&mask);
            index_t const width = its.masks[0]->columns;
            if (mask.columns != width)
                espalier::detail::throw_shape_error("search::units: layers ", group.layers[0], " and ", path,
                                                    " of one group have ", width, " and ", mask.columns, " units");
            if (group.kept < 1 || group.kept > width)
                throw_data_error("search::units: ", group.kept, " units of layer ", path,
                                 " are to be kept; needed are 1 to ", width);
        }
        found.push_back(std::move(its));
    }
    return found;
}

} // namespace detail

} // namespace espalier::search
