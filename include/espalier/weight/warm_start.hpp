// SPDX-License-Identifier: Apache-2.0
// host only. Raw weights behind a map from the weights that products are to read.
#pragma once

#include <espalier/core/error.hpp>
#include <espalier/core/view.hpp>
#include <espalier/layer/report.hpp>
#include <espalier/network/concept.hpp>
#include <espalier/network/host_arena.hpp>
#include <espalier/network/parameters.hpp>
#include <espalier/weight/inverse.hpp>

#include <algorithm>
#include <cstddef>
#include <string_view>
#include <vector>

namespace espalier::weight {

/// Sets the raw weights of a tensor behind a map so that products read `effective`, rows x columns in host memory: a
/// network without the map goes on where it was once it has one.
///
///     weight::warm_start(mapped, "1.kernel", plain.tensor("1.kernel"));
///
/// The numbers that the map is made of stay as they are. For `compander` this is v = b tan(w / a), to the accuracy of
/// the raw weights. Throws, with nothing changed: data_error when there is no such tensor, when its map has no `raw`,
/// or when no raw weight gives a weight (|w| >= a pi / 2 there); shape_error for other extents. One pass over the
/// tensor on the host, and one refresh of the network.
template <class Network>
void warm_start(Network& net, std::string_view name, matrix_view<typename Network::wide const> effective) {
    static_assert(espalier::detail::check_network<Network>());
    using wide = typename Network::wide;
    tensor_info const& t = espalier::detail::tensor_named(Network::tensors(), name);
    if (!t.inverse)
        espalier::detail::throw_data_error("warm_start: tensor ", name,
                                           " stands behind no weight map that says how raw weights are found");
    if (effective.rows != t.rows || effective.columns != t.columns)
        espalier::detail::throw_shape_error("warm_start: tensor ", name, " is ", t.rows, " x ", t.columns,
                                            ", given are ", effective.rows, " x ", effective.columns);
    auto const n = static_cast<std::size_t>(t.size());
    std::vector<wide> given(n), raw(n), scalars(max_scalars * detail::scalar_stride);
    for (index_t r = 0; r < t.rows; ++r)
        std::copy_n(effective.row(r), t.columns, given.data() + r * t.columns);
    index_t const behind = t.offset + padded(t.size());
    auto const count =
        std::min(static_cast<index_t>(scalars.size()), static_cast<index_t>(Network::size.parameters) - behind);
    net.values().weights().copy_to_host(scalars.data(), count, behind);
    index_t const bad = t.inverse->template of<wide>()(net.time(), scalars.data(), given.data(), t.size(), raw.data());
    if (bad < t.size())
        espalier::detail::throw_data_error("warm_start: row ", bad / t.columns, ", column ", bad % t.columns,
                                           " for tensor ", name, " is ", given[static_cast<std::size_t>(bad)],
                                           ", which the map of the layer gives for no raw weight");
    espalier::detail::set_numbers(net, t, raw.data());
    net.refresh();
}

} // namespace espalier::weight
