// SPDX-License-Identifier: Apache-2.0
// host only. Definitions of prune/unit_scores.hpp; see core/library.hpp.
#pragma once

#include <espalier/prune/unit_scores.hpp>

#include <espalier/network/parameters.hpp>

namespace espalier::prune::detail {

ESPALIER_LIBRARY std::vector<tensor_info const*> tensors_of_units(std::vector<tensor_info> const& known,
                                                                  std::vector<unit_tensor> const& asked) {
    if (asked.empty()) espalier::detail::throw_data_error("prune::unit_scores: no tensors were given");
    auto const units = [](unit_tensor const& side, tensor_info const& t) {
        return side.units == over::rows ? t.rows : t.columns;
    };
    std::vector<tensor_info const*> found;
    for (unit_tensor const& one : asked) {
        if (one.units == over::tensor)
            espalier::detail::throw_data_error("prune::unit_scores: the units of ", one.name,
                                               " are its rows or its columns; the whole tensor was given");
        found.push_back(&espalier::detail::tensor_named(known, one.name));
        if (units(one, *found.back()) != units(asked[0], *found[0]))
            espalier::detail::throw_shape_error("prune::unit_scores: ", found[0]->name, " has ",
                                                units(asked[0], *found[0]), " units and ", one.name, " ",
                                                units(one, *found.back()));
    }
    return found;
}

} // namespace espalier::prune::detail
