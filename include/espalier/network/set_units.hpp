// SPDX-License-Identifier: Apache-2.0
// host only. The mask of a layer's units, set and read by the program.
#pragma once

#include <espalier/core/error.hpp>
#include <espalier/layer/report.hpp>
#include <espalier/network/concept.hpp>
#include <espalier/network/host_arena.hpp>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

namespace espalier {

namespace detail {

/// The mask of the units of the layer `path`. Throws data_error, which lists the layers that have one, when it has
/// none.
tensor_info const& units_of_layer(std::vector<tensor_info> const& tensors, std::string_view path,
                                  std::string_view what);
/// The same once `kept` was found to be a mask of it. Throws as `set_units` does.
tensor_info const& checked_units(std::vector<tensor_info> const& tensors, std::string_view path,
                                 std::vector<bool> const& kept);

} // namespace detail

/// Says which units of the layer at `path`, "1" or "2.0", there are from now on: of a layer with units::fixed_mask.
/// Layers whose outputs are added to each other, as those of a residual, are given the same mask by the program.
/// Weights and moments stay as they are: units come back as they went. Throws, with nothing changed: data_error when no
/// layer of that path has a mask, or no unit is kept; shape_error for another number of units.
template <class Network> void set_units(Network& net, std::string_view path, std::vector<bool> const& kept) {
    static_assert(detail::check_network<Network>());
    tensor_info const& mask = detail::checked_units(Network::tensors(), path, kept);
    std::vector<typename Network::wide> const numbers(kept.begin(), kept.end());
    detail::set_numbers(net, mask, numbers.data());
}

/// The same for flags that are 1 or 0, as `prune::keep_highest` gives them and `set_mask` takes them.
template <class Network> void set_units(Network& net, std::string_view path, std::span<std::uint8_t const> kept) {
    set_units(net, path, std::vector<bool>(kept.begin(), kept.end()));
}

/// The units of the layer at `path` that are there. Throws data_error as `set_units` does.
template <class Network> std::vector<bool> units_of(Network const& net, std::string_view path) {
    static_assert(detail::check_network<Network>());
    std::vector<bool> kept;
    for (auto const number : detail::numbers_of(net, detail::units_of_layer(Network::tensors(), path, "units_of")))
        kept.push_back(number != typename Network::wide(0));
    return kept;
}

} // namespace espalier

#if defined(ESPALIER_HEADER_ONLY)
#include <espalier/network/detail/set_units.hpp>
#endif
