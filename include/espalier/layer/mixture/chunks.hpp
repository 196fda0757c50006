// SPDX-License-Identifier: Apache-2.0
// Chunks of experts: consecutive ones whose rows fit what is kept.
#pragma once

#include <espalier/core/layout.hpp>
#include <espalier/core/view.hpp>
#include <espalier/layer/mixture/memory.hpp>

#include <cstdint>

namespace espalier::detail {

template <class Mixture> struct mixture_chunks {
    using memory = mixture_memory<Mixture>;
    static constexpr int experts = Mixture::experts;

    template <class T> static std::int32_t* of_expert(layer_memory<T> const& m) {
        return m.tape_block(memory::template tape<T>.chunk);
    }
    template <class T> static void divide(layer_memory<T> const& m) {
        index_t const room = Mixture::kept_rows.bytes(m.capacity);
        index_t used = 0;
        std::int32_t chunk = 0;
        for (int e = 0; e < experts; ++e) {
            index_t const needed = round_up(memory::pairs(m).count[e], row_granule);
            if (used + needed > room) {
                used = 0;
                ++chunk;
            }
            of_expert(m)[e] = chunk;
            m.tape_block(memory::template tape<T>.kept_at)[e] = static_cast<std::int32_t>(used);
            used += needed;
        }
    }
    /// Whether expert e is the first one of a chunk whose place another one took since.
    template <class T> static bool begins_overwritten(layer_memory<T> const& m, int e) {
        std::int32_t const* const chunk = of_expert(m);
        return chunk[experts - 1] > 0 && (e == 0 || chunk[e] != chunk[e - 1]);
    }
};

} // namespace espalier::detail
