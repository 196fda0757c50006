// SPDX-License-Identifier: Apache-2.0
// host only. Definitions of network/set_mask.hpp; see core/library.hpp.
#pragma once

#include <espalier/network/set_mask.hpp>

#include <espalier/core/text.hpp>
#include <espalier/network/parameters.hpp>

#include <string>

namespace espalier {

namespace detail {

ESPALIER_LIBRARY void require_flags(std::string_view function, tensor_info const& t,
                                    std::span<std::uint8_t const> keep) {
    if (t.size() != static_cast<index_t>(keep.size()))
        throw_shape_error(function, ": ", t.name, " is ", t.rows, " x ", t.columns, ", and ", keep.size(),
                          " numbers were given");
    for (std::size_t i = 0; i < keep.size(); ++i)
        if (keep[i] > 1)
            throw_data_error(function, ": element ", i, " for ", t.name, " is ", static_cast<int>(keep[i]),
                             "; needed is 1, kept, or 0, left out");
}

ESPALIER_LIBRARY tensor_info const& checked_mask(std::vector<tensor_info> const& tensors, std::string_view name,
                                                 std::span<std::uint8_t const> keep) {
    tensor_info const& t = tensor_named(tensors, name);
    if (t.mask_offset < 0) {
        std::string known;
        for (tensor_info const& other : tensors)
            if (other.mask_offset >= 0) add_to_list(known, other.name);
        throw_data_error("set_mask: ", name, " has no mask; tensors with one: ", (known.empty() ? "none" : known),
                         "; weight::fixed_mask, trained_where or marked in its layer gives it one");
    }
    require_flags("set_mask", t, keep);
    return t;
}

ESPALIER_LIBRARY std::vector<std::uint32_t> mask_words_of(std::span<std::uint8_t const> keep) {
    std::vector<std::uint32_t> words((keep.size() + 31) / 32, 0);
    for (std::size_t i = 0; i < keep.size(); ++i)
        words[i / 32] |= std::uint32_t{keep[i]} << i % 32;
    return words;
}

} // namespace detail

} // namespace espalier
