// SPDX-License-Identifier: Apache-2.0
// host only. Definitions of network/base.hpp; see core/library.hpp.
#pragma once

#include <espalier/network/base.hpp>

#include <espalier/core/error.hpp>

#include <cstddef>
#include <string>

namespace espalier {

namespace detail {

inline void require_extents(char const* what, tensor_info const& given, tensor_info const& needed) {
    if (given.rows != needed.rows || given.columns != needed.columns)
        throw_shape_error(what, ": tensor ", needed.name, " is ", needed.rows, " x ", needed.columns,
                          ", that of the other network ", given.rows, " x ", given.columns);
}

ESPALIER_LIBRARY std::vector<tensor_copy>
plan_base(std::vector<tensor_info> const& from, std::vector<bool> const& given, std::vector<tensor_info> const& to) {
    std::vector<tensor_copy> copies;
    for (tensor_info const& target : to) {
        bool const frozen = target.fixed && target.companion.empty();
        tensor_info const* const source = find_tensor(from, target.name);
        if (!source || (source->fixed && !given[static_cast<std::size_t>(source - from.data())])) {
            if (frozen)
                throw_data_error("load_base: the frozen tensor ", target.name,
                                 source ? " was never set in the base" : " is not in the base");
            continue;
        }
        require_extents("load_base", *source, target);
        if (source->mask_offset >= 0 && !source->held && target.mask_offset < 0)
            throw_data_error("load_base: the mask of the base's tensor ", target.name,
                             " leaves out weights that it still holds, and this network has no mask there; prune the "
                             "base with prune::hard, or set what is left out to 0 and save it");
        copies.push_back({source, &target});
    }
    return copies;
}

ESPALIER_LIBRARY merge_plan plan_merge(std::vector<tensor_info> const& from,
                                       std::vector<operator_info> const& operators,
                                       std::vector<tensor_info> const& to) {
    merge_plan plan;
    for (tensor_info const& target : to) {
        operator_info const* baked = nullptr;
        for (operator_info const& o : operators)
            if (o.layer + ".kernel" == target.name) baked = &o;
        if (baked) {
            tensor_info kernel = target;
            kernel.rows = baked->rows;
            kernel.columns = baked->columns;
            require_extents("merge_adapters", kernel, target);
            plan.baked.emplace_back(baked, &target);
            continue;
        }
        tensor_info const* const source = find_tensor(from, target.name);
        if (!source) {
            if (target.optional) continue;
            throw_data_error("merge_adapters: tensor ", target.name, " is not in the network with adapters");
        }
        require_extents("merge_adapters", *source, target);
        if (target.fixed) continue; // companions are of a training that is over
        plan.copies.push_back({source, &target});
    }
    return plan;
}

} // namespace detail

} // namespace espalier
