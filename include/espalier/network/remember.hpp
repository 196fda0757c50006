// SPDX-License-Identifier: Apache-2.0
// host only. Gives the companions of tensors their numbers: those that policies of the update read beside the weights,
// such as the anchor of penalty::anchor.
#pragma once

#include <espalier/core/error.hpp>
#include <espalier/core/view.hpp>
#include <espalier/network/concept.hpp>
#include <espalier/network/parameters.hpp>

#include <cmath>
#include <cstddef>
#include <string_view>
#include <utility>
#include <vector>

namespace espalier {

/// Copies the present weights of every tensor that has a companion of that name to it: companion <- w. On the device,
/// one read and one write of those tensors.
///
///     load(model, "pretrained.safetensors");
///     remember(model, "anchor"); // from here on penalty::anchor pulls back to these weights
///
/// Throws data_error, with nothing changed, when no tensor has one of that name; it lists those that are there.
template <class Network> void remember(Network& net, std::string_view companion) {
    static_assert(detail::check_network<Network>());
    auto& values = net.values();
    auto const& tensors = Network::tensors();
    for (std::size_t const i : detail::companions_named(tensors, companion)) {
        tensor_info const& t = tensors[i];
        auto const from = std::as_const(values).view(tensors[static_cast<std::size_t>(t.of)]);
        net.runner().device().repeat(from.data, t.size(), 1, values.view(t).data);
        values.given()[i] = true;
    }
}

/// Gives one companion, "1.kernel.importance", the numbers of a view of the host's memory: rows x columns of its
/// tensor. Also a kernel that stays as it was set, such as that under an adapter, "1.kernel". Throws, with nothing
/// changed: data_error when there is no such companion, or a number is not finite; shape_error for other extents.
template <class Network>
void set_companion(Network& net, std::string_view name, matrix_view<typename Network::wide const> numbers) {
    static_assert(detail::check_network<Network>());
    using wide = typename Network::wide;
    auto& values = net.values();
    std::size_t const i = detail::fixed_place(Network::tensors(), name, numbers.rows, numbers.columns);
    for (index_t r = 0; r < numbers.rows; ++r)
        for (index_t c = 0; c < numbers.columns; ++c)
            if (!std::isfinite(static_cast<double>(numbers(r, c))))
                detail::throw_data_error("set_companion: row ", r, ", column ", c, " for ", name, " is not finite");
    net.runner().device().initialise(
        [&](matrix_view<wide> to, auto const&) {
            for (index_t r = 0; r < to.rows; ++r)
                for (index_t c = 0; c < to.columns; ++c)
                    to(r, c) = numbers(r, c);
        },
        values.view(Network::tensors()[i]), random_site{});
    values.given()[i] = true;
    if (Network::tensors()[i].companion.empty()) net.refresh(); // what products read may be made of it
}

} // namespace espalier
