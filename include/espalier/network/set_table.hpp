// SPDX-License-Identifier: Apache-2.0
// host only. The table of a hash gate, set by the program.
#pragma once

#include <espalier/core/error.hpp>
#include <espalier/layer/concept.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace espalier {

/// Sets the table `name` of a network, "1.gate.table", to `expert`: one expert a key, each below `experts`, the gate's
/// number of them. gate/tables.hpp makes such tables. Throws data_error, with nothing changed, when there is no such
/// tensor, when its size is another one, or when an entry is not an expert.
template <class Network>
void set_table(Network& net, std::string_view name, std::span<std::int32_t const> expert, int experts) {
    for (std::size_t i = 0; i < expert.size(); ++i)
        if (expert[i] < 0 || expert[i] >= experts)
            throw data_error("set_table: key " + std::to_string(i) + " of " + std::string(name) + " gets expert " +
                             std::to_string(expert[i]) + ", and there are " + std::to_string(experts));
    tensor_info const& table = Network::parameters_type::find(name);
    if (table.size() != static_cast<index_t>(expert.size()))
        throw data_error("set_table: " + std::string(name) + " has " + std::to_string(table.size()) + " keys, and " +
                         std::to_string(expert.size()) + " were given");
    std::vector<typename Network::wide> const numbers(expert.begin(), expert.end());
    if constexpr (Network::device_type::host_memory)
        std::copy(numbers.begin(), numbers.end(), net.values().view(table).data);
    else
        (table.trained ? net.values().weights() : net.values().state())
            .copy_from_host(numbers.data(), table.size(), table.offset);
}

} // namespace espalier
