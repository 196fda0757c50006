// SPDX-License-Identifier: Apache-2.0
// host only. Definitions of network/base.hpp; see core/library.hpp.
#pragma once

#include <espalier/network/base.hpp>

#include <espalier/core/error.hpp>

#include <cstddef>
#include <string>

namespace espalier {

namespace detail {

inline std::size_t place_of_tensor(std::vector<tensor_info> const& tensors, std::string_view name) {
    std::size_t i = 0;
    while (i < tensors.size() && tensors[i].name != name)
        ++i;
    return i;
}

inline void require_extents(char const* what, tensor_info const& given, tensor_info const& needed) {
    if (given.rows != needed.rows || given.columns != needed.columns)
        throw_shape_error(what, ": tensor ", needed.name, " is ", needed.rows, " x ", needed.columns,
                          ", that of the other network ", given.rows, " x ", given.columns);
}

ESPALIER_LIBRARY std::vector<tensor_copy>
plan_base(std::vector<tensor_info> const& from, std::vector<bool> const& given, std::vector<tensor_info> const& to) {
    std::vector<tensor_copy> copies;
    for (std::size_t i = 0; i < to.size(); ++i) {
        bool const frozen = to[i].fixed && to[i].companion.empty();
        std::size_t const at = place_of_tensor(from, to[i].name);
        if (at == from.size() || (from[at].fixed && !given[at])) {
            if (frozen)
                throw_data_error("load_base: the frozen tensor ", to[i].name,
                                 at == from.size() ? " is not in the base" : " was never set in the base");
            continue;
        }
        require_extents("load_base", from[at], to[i]);
        bool const masked = from[at].mask_offset >= 0;
        if (masked && !from[at].held && to[i].mask_offset < 0)
            throw_data_error("load_base: the mask of the base's tensor ", to[i].name,
                             " leaves out weights that it still holds, and this network has no mask there; prune the "
                             "base with prune::hard, or set what is left out to 0 and save it");
        copies.push_back({at, i, masked && to[i].mask_offset >= 0});
    }
    return copies;
}

ESPALIER_LIBRARY merge_plan plan_merge(std::vector<tensor_info> const& from,
                                       std::vector<operator_info> const& operators,
                                       std::vector<tensor_info> const& to) {
    merge_plan plan;
    for (std::size_t i = 0; i < to.size(); ++i) {
        operator_info const* baked = nullptr;
        for (operator_info const& o : operators)
            if (o.layer + ".kernel" == to[i].name) baked = &o;
        if (baked) {
            tensor_info kernel = to[i];
            kernel.rows = baked->rows;
            kernel.columns = baked->columns;
            require_extents("merge_adapters", kernel, to[i]);
            plan.baked.emplace_back(baked, i);
            continue;
        }
        std::size_t const at = place_of_tensor(from, to[i].name);
        if (at == from.size()) {
            if (to[i].optional) continue;
            throw_data_error("merge_adapters: tensor ", to[i].name, " is not in the network with adapters");
        }
        require_extents("merge_adapters", from[at], to[i]);
        if (to[i].fixed) continue; // companions are of a training that is over
        plan.copies.push_back({at, i, from[at].mask_offset >= 0 && to[i].mask_offset >= 0});
    }
    return plan;
}

} // namespace detail

} // namespace espalier
