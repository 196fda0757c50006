// SPDX-License-Identifier: Apache-2.0
// host only. The mask of a tensor, set by the program.
#pragma once

#include <espalier/core/error.hpp>
#include <espalier/layer/concept.hpp>
#include <espalier/network/concept.hpp>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

namespace espalier {

namespace detail {

/// Throws shape_error for another number of elements than the tensor has, data_error for what is neither 0 nor 1.
void require_flags(std::string_view function, tensor_info const& t, std::span<std::uint8_t const> keep);
/// The tensor of that name. Throws as `set_mask` does.
tensor_info const& checked_mask(std::vector<tensor_info> const& tensors, std::string_view name,
                                std::span<std::uint8_t const> keep);
/// Bit i % 32 of word i / 32: whether element i is kept.
std::vector<std::uint32_t> mask_words_of(std::span<std::uint8_t const> keep);

} // namespace detail

/// Sets the mask of the tensor `name`, "1.kernel" or "2.scale", to `keep`: one number for each of its elements, row
/// after row, 1 where it is kept and 0 where it is left out. The weights follow at once: what weight::fixed_mask or
/// prune::hard leaves out becomes 0. A prune policy of the tensor selects anew when its schedule says so. Throws, with
/// nothing changed, data_error when there is no such tensor, when it has no mask (those that have one are listed) or
/// for a number that is neither 0 nor 1, and shape_error for another number of elements.
template <class Network> void set_mask(Network& net, std::string_view name, std::span<std::uint8_t const> keep) {
    static_assert(detail::check_network<Network>());
    tensor_info const& t = detail::checked_mask(Network::tensors(), name, keep);
    std::vector<std::uint32_t> const words = detail::mask_words_of(keep);
    net.values().masks().copy_from_host(words.data(), static_cast<index_t>(words.size()), t.mask_offset);
    net.refresh();
}

} // namespace espalier

#if defined(ESPALIER_HEADER_ONLY)
#include <espalier/network/detail/set_mask.hpp>
#endif
