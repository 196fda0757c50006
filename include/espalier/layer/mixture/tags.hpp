// SPDX-License-Identifier: Apache-2.0
// Tags of the rows that were gathered for an expert. Their origin is numbered with the pairs.
#pragma once

#include <espalier/core/layout.hpp>
#include <espalier/core/rows.hpp>
#include <espalier/core/view.hpp>

#include <cstddef>
#include <cstdint>
#include <type_traits>

namespace espalier::detail {

/// Calls f(tag, place) for every tag but the origin.
template <class F> constexpr void for_each_pair_tag(F const& f) {
    for_each_tag([&](auto tag, auto place) {
        if constexpr (!std::is_same_v<decltype(tag), row_tag<&rows::origin>>) f(tag, place);
    });
}

/// Where the tags of gathered rows lie on the tape.
struct pair_tag_blocks {
    extent at[row_tags::size]{};

    /// `held`: the rows that have tags.
    constexpr pair_tag_blocks(block_list& list, extent held) {
        for_each_pair_tag(
            [&](auto tag, auto place) { at[place] = memory_block<typename decltype(tag)::value>(list, 1, held).at; });
    }

    template <class T, class Tag> auto* of(layer_memory<T> const& m, Tag, std::size_t place) const {
        return reinterpret_cast<typename Tag::value*>(m.tape + at[place].bytes(m.capacity));
    }

    /// Copies those of the batch for `count` rows whose numbers are `row`, to where pair `first` and those behind it
    /// have theirs.
    template <class Device, class T>
    void gather(Device& device, layer_memory<T> const& m, rows const& batch, std::int32_t const* row, index_t first,
                index_t count) const {
        static_assert(Device::host_memory,
                      "espalier: what looks rows up by their tags, a gate, a dropout or an activation penalty, stands "
                      "inside an expert on the CPU only");
        for_each_pair_tag([&](auto tag, auto place) {
            auto const& array = batch.*tag.array;
            if (array) device.gather_values(array, row, count, of(m, tag, place) + first);
        });
    }
    /// Has `part` show what was gathered.
    template <class T> void show(layer_memory<T> const& m, rows const& batch, index_t first, rows& part) const {
        for_each_pair_tag([&](auto tag, auto place) {
            if (batch.*tag.array) part.*tag.array = of(m, tag, place) + first;
        });
    }
};

} // namespace espalier::detail
