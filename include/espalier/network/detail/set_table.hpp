// SPDX-License-Identifier: Apache-2.0
// host only. Definitions of network/set_table.hpp; see core/library.hpp.
#pragma once

#include <espalier/network/set_table.hpp>

#include <espalier/core/text.hpp>
#include <espalier/network/parameters.hpp>

namespace espalier {

namespace detail {

ESPALIER_LIBRARY tensor_info const& checked_table(std::vector<tensor_info> const& tensors, std::string_view name,
                                                  std::span<std::int32_t const> expert, int experts) {
    for (std::size_t i = 0; i < expert.size(); ++i)
        if (expert[i] < 0 || expert[i] >= experts)
            throw_data_error("set_table: key ", i, " of ", name, " gets expert ", expert[i], ", and there are ",
                             experts);
    tensor_info const& table = tensor_named(tensors, name);
    if (table.size() != static_cast<index_t>(expert.size()))
        throw_data_error("set_table: ", name, " has ", table.size(), " keys, and ", expert.size(), " were given");
    return table;
}

} // namespace detail

} // namespace espalier
