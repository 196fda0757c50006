// SPDX-License-Identifier: Apache-2.0
// host only. The weights that trained scores keep, as a mask.
#pragma once

#include <espalier/core/error.hpp>
#include <espalier/core/text.hpp>
#include <espalier/core/view.hpp>
#include <espalier/layer/concept.hpp>
#include <espalier/network/concept.hpp>
#include <espalier/network/parameters.hpp>

#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

namespace espalier::weight {

/// The mask that the scores of the layer at that path ("1", "2.0") make at the network's time, for `set_mask`: one
/// number for each weight, row after row, 1 where it is kept. With it, and with the same kernel, weight::fixed_mask
/// gives the same outputs, and a file of that network has a bit a weight.
///
///     network<sequence<input<64>, dense<10, weight::fixed_mask>>, device::cpu> plain;
///     load_base(plain, base);
///     set_mask(plain, "1.kernel", weight::mask_of_scores(model, "1"));
///
/// For networks in host memory. Throws data_error when no layer of that path has scores that make a mask.
template <class Network> std::vector<std::uint8_t> mask_of_scores(Network const& net, std::string_view layer) {
    static_assert(espalier::detail::check_network<Network>());
    static_assert(Network::device_type::host_memory,
                  "espalier: mask_of_scores reads a network in host memory; load its file into one on device::cpu");
    using W = typename Network::wide;
    auto const& tensors = Network::tensors();
    std::string known;
    for (operator_info const& o : report_of<typename Network::stack>().operators) {
        tensor_info const* const scores = espalier::detail::find_tensor(tensors, o.layer + ".score");
        if (!scores || !scores->mapped) continue;
        if (o.layer != layer) {
            espalier::detail::add_to_list(known, o.layer);
            continue;
        }
        // The kernel that is all 1 becomes the mask.
        std::vector<W> kept(static_cast<std::size_t>(scores->size()), W(1)), ones = kept;
        auto const* const from = net.values().weights().data() + o.offset;
        auto const kernel = contiguous_view(kept.data(), o.rows, o.columns);
        if constexpr (std::is_same_v<W, double>)
            o.bake_double(from, ones.data(), net.values().time(), kernel);
        else
            o.bake_float(from, ones.data(), net.values().time(), kernel);
        return {kept.begin(), kept.end()};
    }
    espalier::detail::throw_data_error("mask_of_scores: layer \"", layer,
                                       "\" has no scores; layers with some: ", known.empty() ? "none" : known);
}

} // namespace espalier::weight
