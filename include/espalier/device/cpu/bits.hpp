// SPDX-License-Identifier: Apache-2.0
// host only. Random decisions of a strip of rows, drawn ahead of the loop that uses them.
#pragma once

#include <espalier/core/pack.hpp>
#include <espalier/core/random.hpp>
#include <espalier/core/rows.hpp>

#include <cstdint>
#include <type_traits>

namespace espalier::cpu {

/// What a 16-bit draw is widened to.
template <class T> using bits_of = drawn_bits<T>;

/// Widens consecutive 16-bit draws to the lanes of T. `p` must be readable for all lanes.
template <class T> ESPALIER_FN bits_of<T> load_bits(std::uint16_t const* p) {
    if constexpr (is_pack<T>)
        return espalier::load_bits<pack_width<T>, scalar_of<bits_of<T>>>(p);
    else
        return *p;
}

/// Draws held at once: fits the first-level cache beside the data they decide about.
inline constexpr index_t strip_draws = 4096;

/// A buffer for the draws of up to strip_draws decisions, padded so that a whole pack can be read at its end.
struct draw_buffer {
    alignas(64) std::uint16_t value[strip_draws + 64];
};

} // namespace espalier::cpu
