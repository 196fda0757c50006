// SPDX-License-Identifier: Apache-2.0
// Definitions of core/random.hpp: in the library for 10 and 7 rounds, once for each width of a pack.
#pragma once

#include <espalier/core/random.hpp>

#include <cstdint>
#include <cstring>

namespace espalier {
inline namespace ESPALIER_PACK_ABI {
namespace pack_impl {

#if ESPALIER_PACK_BYTES != 0
// One draw per 64-bit lane with its words in the lower halves. The upper halves hold whatever the arithmetic left
// there: the widening multiply ignores them, so a round is two multiplies, two shifts and four exclusive ors.
typedef std::uint64_t draw_lanes __attribute__((vector_size(ESPALIER_PACK_BYTES)));
inline constexpr int draws_at_once = ESPALIER_PACK_BYTES / 8;

ESPALIER_FN draw_lanes multiply_lower_halves(draw_lanes const& a, draw_lanes const& b) {
#if defined(__SSE2__) && !defined(__clang__)
    typedef int halves __attribute__((vector_size(ESPALIER_PACK_BYTES)));
    // GCC would make a full 64-bit product of (a & low) * (b & low)
#if ESPALIER_PACK_BYTES == 64
    typedef long long wide __attribute__((vector_size(64)));
    return (draw_lanes)__builtin_ia32_pmuludq512_mask((halves)a, (halves)b, (wide)a, 0xff);
#elif ESPALIER_PACK_BYTES == 32 && defined(__AVX2__)
    return (draw_lanes)__builtin_ia32_pmuludq256((halves)a, (halves)b);
#elif ESPALIER_PACK_BYTES == 16
    return (draw_lanes)__builtin_ia32_pmuludq128((halves)a, (halves)b);
#else
    return (a & 0xffffffffu) * (b & 0xffffffffu);
#endif
#else
    return (a & 0xffffffffu) * (b & 0xffffffffu);
#endif
}

/// The upper half of every lane moved down. A shuffle, not a shift: on Intel's cores a shift would queue for the port
/// of the multiplier.
ESPALIER_FN draw_lanes upper_halves(draw_lanes const& a) {
    typedef std::uint32_t halves __attribute__((vector_size(ESPALIER_PACK_BYTES)));
    auto const h = (halves)a;
#if ESPALIER_PACK_BYTES == 64
    return (draw_lanes)__builtin_shufflevector(h, h, 1, 1, 3, 3, 5, 5, 7, 7, 9, 9, 11, 11, 13, 13, 15, 15);
#elif ESPALIER_PACK_BYTES == 32
    return (draw_lanes)__builtin_shufflevector(h, h, 1, 1, 3, 3, 5, 5, 7, 7);
#else
    return (draw_lanes)__builtin_shufflevector(h, h, 1, 1, 3, 3);
#endif
}

/// Groups of draws computed side by side: one group alone waits for its own multiplies.
inline constexpr int draw_groups = 4;

/// The 16-byte results of the draws (row[g][i], block[g][i]) in order.
template <int Rounds>
ESPALIER_FN void draw_many(random_site const& site, draw_lanes const (&key)[std::size_t{2 * Rounds}],
                           draw_lanes const (&row)[draw_groups], draw_lanes const (&block)[draw_groups],
                           draw_lanes (&out)[2 * draw_groups]) {
    draw_lanes const zero{};
    draw_lanes const m0 = zero + 0xD2511F53u, m1 = zero + 0xCD9E8D57u;
    draw_lanes c0[draw_groups], c1[draw_groups], c2[draw_groups], c3[draw_groups];
    ESPALIER_PACK_UNROLL
    for (int g = 0; g < draw_groups; ++g) {
        c0[g] = row[g];
        c1[g] = block[g];
        c2[g] = zero + site.step;
        c3[g] = zero + site.pass;
    }
    ESPALIER_PACK_UNROLL
    for (int round = 0; round < Rounds; ++round) {
        ESPALIER_PACK_UNROLL
        for (int g = 0; g < draw_groups; ++g) {
            draw_lanes const a = multiply_lower_halves(c0[g], m0);
            draw_lanes const b = multiply_lower_halves(c2[g], m1);
            c0[g] = upper_halves(b) ^ c1[g] ^ key[2 * round];
            c1[g] = b;
            c2[g] = upper_halves(a) ^ c3[g] ^ key[2 * round + 1];
            c3[g] = a;
        }
    }
    ESPALIER_PACK_UNROLL
    for (int g = 0; g < draw_groups; ++g) {
        draw_lanes const lower = (c0[g] & 0xffffffffu) | (c1[g] << 32);
        draw_lanes const upper = (c2[g] & 0xffffffffu) | (c3[g] << 32);
#if ESPALIER_PACK_BYTES == 64
        out[2 * g] = __builtin_shufflevector(lower, upper, 0, 8, 1, 9, 2, 10, 3, 11);
        out[2 * g + 1] = __builtin_shufflevector(lower, upper, 4, 12, 5, 13, 6, 14, 7, 15);
#elif ESPALIER_PACK_BYTES == 32
        out[2 * g] = __builtin_shufflevector(lower, upper, 0, 4, 1, 5);
        out[2 * g + 1] = __builtin_shufflevector(lower, upper, 2, 6, 3, 7);
#else
        out[2 * g] = __builtin_shufflevector(lower, upper, 0, 2);
        out[2 * g + 1] = __builtin_shufflevector(lower, upper, 1, 3);
#endif
    }
}
#endif

template <int Rounds>
void fill_draws(random_site const& site, std::uint32_t const* origin, std::uint32_t first_row, index_t row_count,
                std::uint32_t first_block, index_t block_count, std::uint16_t* out) {
    if (row_count <= 0 || block_count <= 0) return;
#if ESPALIER_PACK_BYTES == 0
    for (index_t r = 0; r < row_count; ++r)
        for (index_t b = 0; b < block_count; ++b) {
            bits8 const bits = draw<Rounds>(site, origin ? origin[r] : first_row + static_cast<std::uint32_t>(r),
                                            first_block + static_cast<std::uint32_t>(b));
            for (int j = 0; j < 8; ++j)
                *out++ = static_cast<std::uint16_t>(bits[j]);
        }
#else
    static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__);
    // The draws of all rows are one sequence, so narrow layers fill the registers too. Per lane: the row and the block
    // within the row.
    constexpr int lanes = draws_at_once, n = lanes * draw_groups;
    auto const width = static_cast<std::uint64_t>(block_count);
    draw_lanes const zero{}, width_lanes = zero + width;
    draw_lanes row[draw_groups], block[draw_groups];
    {
        std::uint64_t r[n], b[n];
        for (int i = 0; i < n; ++i) {
            r[i] = static_cast<std::uint64_t>(i) / width;
            b[i] = static_cast<std::uint64_t>(i) % width;
        }
        std::memcpy(row, r, sizeof r);
        std::memcpy(block, b, sizeof b);
    }
    draw_lanes key[std::size_t{2 * Rounds}];
    for (int i = 0; i < Rounds; ++i) {
        key[2 * i] = zero + (site.key0 + static_cast<std::uint32_t>(i) * 0x9E3779B9u);
        key[2 * i + 1] = zero + (site.key1 + static_cast<std::uint32_t>(i) * 0xBB67AE85u);
    }
    // Keep the keys in memory, where an operand is free: the compiler would broadcast them anew in every iteration.
    asm("" : "+m"(key));
    std::uint64_t const row_step = n / width, block_step = n % width;
    index_t const total = row_count * block_count;
    for (index_t done = 0; done < total; done += n) {
        draw_lanes origins[draw_groups], blocks[draw_groups];
        ESPALIER_PACK_UNROLL
        for (int g = 0; g < draw_groups; ++g) {
            blocks[g] = block[g] + first_block;
            origins[g] = row[g] + first_row;
        }
        if (origin) {
            auto const head = static_cast<index_t>(row[0][0]),
                       tail = static_cast<index_t>(row[draw_groups - 1][lanes - 1]);
            if (head == tail) {
                ESPALIER_PACK_UNROLL
                for (int g = 0; g < draw_groups; ++g)
                    origins[g] = zero + origin[head];
            } else {
                std::uint64_t at[n], value[n];
                std::memcpy(at, row, sizeof at);
                for (int i = 0; i < n; ++i) {
                    auto const r = static_cast<index_t>(at[i]);
                    value[i] = origin[r < row_count ? r : row_count - 1];
                }
                std::memcpy(origins, value, sizeof value);
            }
        }
        draw_lanes bits[2 * draw_groups];
        draw_many<Rounds>(site, key, origins, blocks, bits);
        index_t const left = total - done;
        if (left >= n) {
            ESPALIER_PACK_UNROLL
            for (int q = 0; q < 2 * draw_groups; ++q)
                std::memcpy(out + done * 8 + q * lanes * 4, &bits[q], sizeof bits[q]);
        } else {
            draw_lanes kept[2 * draw_groups]; // a copy, so that `bits` itself never needs an address
            ESPALIER_PACK_UNROLL
            for (int q = 0; q < 2 * draw_groups; ++q)
                kept[q] = bits[q];
            std::memcpy(out + done * 8, kept, static_cast<std::size_t>(left) * 16);
        }

        ESPALIER_PACK_UNROLL
        for (int g = 0; g < draw_groups; ++g) {
            row[g] += row_step;
            block[g] += block_step;
            draw_lanes const over = (draw_lanes)(block[g] >= width_lanes); // all ones where the row is complete
            block[g] -= over & width_lanes;
            row[g] -= over;
        }
    }
#endif
}

} // namespace pack_impl
} // namespace ESPALIER_PACK_ABI
} // namespace espalier
