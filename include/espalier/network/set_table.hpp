// SPDX-License-Identifier: Apache-2.0
// host only. The table of a hash gate, set by the program.
#pragma once

#include <espalier/core/error.hpp>
#include <espalier/layer/concept.hpp>
#include <espalier/network/concept.hpp>
#include <espalier/network/host_arena.hpp>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

namespace espalier {

namespace detail {

/// The tensor of that name. Throws data_error as `set_table` does.
tensor_info const& checked_table(std::vector<tensor_info> const& tensors, std::string_view name,
                                 std::span<std::int32_t const> expert, int experts);

} // namespace detail

/// Sets the table `name` of a network, "1.gate.table", to `expert`: one expert a key, each below `experts`, the gate's
/// number of them. gate/tables.hpp makes such tables. Throws data_error, with nothing changed, when there is no such
/// tensor, when its size is another one, or when an entry is not an expert.
template <class Network>
void set_table(Network& net, std::string_view name, std::span<std::int32_t const> expert, int experts) {
    static_assert(detail::check_network<Network>());
    tensor_info const& table = detail::checked_table(Network::tensors(), name, expert, experts);
    std::vector<typename Network::wide> const numbers(expert.begin(), expert.end());
    detail::set_numbers(net, table, numbers.data());
}

} // namespace espalier

#if defined(ESPALIER_HEADER_ONLY)
#include <espalier/network/detail/set_table.hpp>
#endif
