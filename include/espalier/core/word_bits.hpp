// SPDX-License-Identifier: Apache-2.0
// Bits of a word of a mask, on host and device: std::popcount is for the host alone.
#pragma once

#include <espalier/core/macros.hpp>
#include <espalier/core/view.hpp>

#include <cstdint>

namespace espalier::detail {

ESPALIER_FN int count_bits(std::uint32_t word) {
#if ESPALIER_ON_DEVICE
    return __popc(word);
#else
    return __builtin_popcount(word);
#endif
}

/// Bit i of a mask: whether it keeps element i.
ESPALIER_FN bool mask_bit(std::uint32_t const* mask, index_t i) {
    return (mask[i / 32] >> i % 32 & 1u) != 0;
}

/// Replaces bits [first, first + count) of a mask, count <= 64, by the lowest ones of `bits`.
inline void put_bits(std::uint32_t* mask, index_t first, std::uint64_t bits, int count) {
    if (count == 64 && first % 32 == 0) { // nearly always
        mask[first / 32] = static_cast<std::uint32_t>(bits);
        mask[first / 32 + 1] = static_cast<std::uint32_t>(bits >> 32);
        return;
    }
    while (count > 0) {
        int const offset = static_cast<int>(first % 32);
        int const n = count < 32 - offset ? count : 32 - offset;
        std::uint32_t const field = (n == 32 ? ~std::uint32_t(0) : (std::uint32_t(1) << n) - 1) << offset;
        std::uint32_t& word = mask[first / 32];
        word = (word & ~field) | ((static_cast<std::uint32_t>(bits) << offset) & field);
        bits >>= n;
        first += n;
        count -= n;
    }
}

/// The lowest `count` set bits of a word.
ESPALIER_FN std::uint32_t lowest_bits(std::uint32_t word, index_t count) {
    if (count_bits(word) <= count) return word;
    std::uint32_t kept = 0;
    for (; count > 0; --count) {
        kept |= word & (~word + 1);
        word &= word - 1;
    }
    return kept;
}

} // namespace espalier::detail
