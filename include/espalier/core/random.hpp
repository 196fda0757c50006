// SPDX-License-Identifier: Apache-2.0
// Randomness without state: every random bit is a function of where and when it is used, so the same bits come out on
// CPU and GPU, for every number of threads, for every split of a batch, and after a restart.
#pragma once

#include <espalier/core/macros.hpp>
#include <espalier/core/pack.hpp>
#include <espalier/core/rows.hpp>
#include <espalier/core/text.hpp>
#include <espalier/core/view.hpp>

#include <cstdint>
#include <cstring>
#include <string>
#include <type_traits>

namespace espalier {

// ---- the generator

/// Four 32-bit words: a counter of Philox, or the bits it gives for one.
struct philox_words {
    std::uint32_t word[4] = {};

    friend constexpr bool operator==(philox_words const&, philox_words const&) = default;
};

/// Philox 4x32 of Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2, 3" (SC 2011), section 3.3:
/// a bijection of the counter for every key. Ten rounds are the authors' recommendation, seven are the fewest that pass
/// BigCrush.
template <int Rounds = 10>
ESPALIER_FN constexpr philox_words philox4x32(philox_words counter, std::uint32_t key0, std::uint32_t key1) {
    static_assert(Rounds >= 7, "fewer than seven rounds of Philox 4x32 fail statistical tests");
    std::uint32_t c0 = counter.word[0], c1 = counter.word[1], c2 = counter.word[2], c3 = counter.word[3];
    for (int round = 0; round < Rounds; ++round) {
        std::uint64_t const a = std::uint64_t(0xD2511F53u) * c0;
        std::uint64_t const b = std::uint64_t(0xCD9E8D57u) * c2;
        c0 = static_cast<std::uint32_t>(b >> 32) ^ c1 ^ key0;
        c1 = static_cast<std::uint32_t>(b);
        c2 = static_cast<std::uint32_t>(a >> 32) ^ c3 ^ key1;
        c3 = static_cast<std::uint32_t>(a);
        key0 += 0x9E3779B9u;
        key1 += 0xBB67AE85u;
    }
    return {{c0, c1, c2, c3}};
}

// The vectors published with Random123 (kat_vectors).
static_assert(philox4x32<7>({}, 0, 0) == philox_words{{0x5f6fb709, 0x0d893f64, 0x4f121f81, 0x4f730a48}});
static_assert(philox4x32<7>({{~0u, ~0u, ~0u, ~0u}}, ~0u, ~0u) ==
              philox_words{{0x5207ddc2, 0x45165e59, 0x4d8ee751, 0x8c52f662}});
static_assert(philox4x32<7>({{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}}, 0xa4093822, 0x299f31d0) ==
              philox_words{{0x4dfccaba, 0x190a87f0, 0xc47362ba, 0xb6b5242a}});
static_assert(philox4x32<10>({}, 0, 0) == philox_words{{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}});
static_assert(philox4x32<10>({{~0u, ~0u, ~0u, ~0u}}, ~0u, ~0u) ==
              philox_words{{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}});
static_assert(philox4x32<10>({{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}}, 0xa4093822, 0x299f31d0) ==
              philox_words{{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}});

// ---- where bits are used

/// The part of key and counter that one use of randomness (a layer's dropout at one step, say) holds fixed.
///
/// Layout, a promise that versions keep (changing it changes every run):
///   key     = 64 bits mixed from seed and stream, low half first
///   counter = (origin row, column / 8, step, pass * 65536 + draw number)
/// One draw decides for the columns 8 b ... 8 b + 7 of a row, 16 bits each: the decision of column 8 b + j is half
/// j & 1 (low half first) of word j >> 1.
struct random_site {
    std::uint32_t key0 = 0;
    std::uint32_t key1 = 0;
    std::uint32_t step = 0; ///< low 32 bits of the step
    std::uint32_t pass = 0; ///< pass * 65536: the low half is the draw number

    friend constexpr bool operator==(random_site const&, random_site const&) = default;
};

namespace detail {
/// The finaliser of SplitMix64 (Steele, Lea and Flood 2014): a bijection of 64-bit integers.
ESPALIER_FN constexpr std::uint64_t mix64(std::uint64_t z) {
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}
/// Its inverse. The factors are the inverses of mix64's modulo 2^64.
ESPALIER_FN constexpr std::uint64_t unmix64(std::uint64_t z) {
    z = (z ^ (z >> 31) ^ (z >> 62)) * 0x319642b2d24d8ec3u;
    z = (z ^ (z >> 27) ^ (z >> 54)) * 0x96de1b173f119089u;
    return z ^ (z >> 30) ^ (z >> 60);
}
inline constexpr std::uint64_t stream_step = 0x9e3779b97f4a7c15u; // 2^64 / the golden ratio
} // namespace detail

/// The site of `stream` (a number for layer and purpose) at `step`. `pass` keeps apart several forward passes of one
/// step (Monte-Carlo samples, two views of a batch); it is below 65536. Streams of one seed never share a key.
ESPALIER_FN constexpr random_site make_site(std::uint64_t seed, std::uint64_t stream, std::uint64_t step = 0,
                                            std::uint32_t pass = 0) {
    std::uint64_t const key =
        detail::mix64(detail::mix64(seed + detail::stream_step) + detail::stream_step * (stream + 1));
    return {static_cast<std::uint32_t>(key), static_cast<std::uint32_t>(key >> 32), static_cast<std::uint32_t>(step),
            pass << 16};
}
/// The site of the stream `later` streams after that of `site`: what make_site(seed, stream + later, step, pass) gives.
ESPALIER_FN constexpr random_site later_stream(random_site site, std::uint64_t later) {
    if (later == 0) return site;
    std::uint64_t const key = std::uint64_t{site.key1} << 32 | site.key0;
    std::uint64_t const moved = detail::mix64(detail::unmix64(key) + detail::stream_step * later);
    site.key0 = static_cast<std::uint32_t>(moved);
    site.key1 = static_cast<std::uint32_t>(moved >> 32);
    return site;
}

/// Eight 16-bit decisions, for columns 8 b ... 8 b + 7.
struct bits8 {
    std::uint32_t word[4] = {};

    ESPALIER_FN constexpr std::uint32_t operator[](int j) const { return (word[j >> 1] >> (16 * (j & 1))) & 0xffffu; }

    friend constexpr bool operator==(bits8 const&, bits8 const&) = default;
};

/// The bits of `row` (its origin) for column block `block` = column / 8. `number` < 65536 counts the draws of one place
/// (a rejection loop, a second decision for the same column).
template <int Rounds = 10>
ESPALIER_FN constexpr bits8 draw(random_site const& site, std::uint32_t row, std::uint32_t block,
                                 std::uint32_t number = 0) {
    philox_words const w = philox4x32<Rounds>({{row, block, site.step, site.pass + number}}, site.key0, site.key1);
    return {{w.word[0], w.word[1], w.word[2], w.word[3]}};
}

// ---- bits to numbers

/// In [0, 1), a multiple of 2^-24: the upper 24 bits.
ESPALIER_FN constexpr float uniform01(std::uint32_t bits) {
    return static_cast<float>(bits >> 8) * 0x1p-24f;
}
/// In [0, 1), a multiple of 2^-16.
ESPALIER_FN constexpr float uniform01(std::uint16_t bits) {
    return static_cast<float>(bits) * 0x1p-16f;
}
/// In [0, 1), a multiple of 2^-53.
ESPALIER_FN constexpr double uniform01(std::uint32_t high, std::uint32_t low) {
    return static_cast<double>((std::uint64_t(high) << 21) | (low >> 11)) * 0x1p-53;
}
/// An integer in [0, n), n >= 1. No value is more likely than another by more than a factor 1 + n / 2^32.
ESPALIER_FN constexpr std::uint32_t below(std::uint32_t n, std::uint32_t bits) {
    return static_cast<std::uint32_t>((std::uint64_t(n) * bits) >> 32);
}
/// The same from 64 bits: the factor is 1 + n / 2^64.
ESPALIER_FN constexpr std::uint32_t below(std::uint32_t n, std::uint32_t high, std::uint32_t low) {
    return static_cast<std::uint32_t>((std::uint64_t(n) * high + ((std::uint64_t(n) * low) >> 32)) >> 32);
}

/// A drop probability as a kernel uses it: drop when the 16 bits are below `threshold`, else multiply by `scale`.
struct keep_threshold {
    std::uint32_t threshold = 0; ///< 65536 times the drop probability that holds
    double scale = 1.0;          ///< its reciprocal keep probability, so that the expectation is exact; 0 when all drop

    ESPALIER_FN constexpr bool keeps(std::uint32_t bits) const { return bits >= threshold; }

    friend constexpr bool operator==(keep_threshold const&, keep_threshold const&) = default;
};

/// threshold = round(65536 p), scale = 65536 / (65536 - threshold). Probabilities below 2^-17 drop nothing.
/// Throws data_error when p is not in [0, 1]; in a constant expression compilation stops.
constexpr keep_threshold quantise(double drop_probability) {
    if (!(drop_probability >= 0.0 && drop_probability <= 1.0))
        espalier::detail::throw_data_error({"a drop probability of ", drop_probability, " was given; it is in [0, 1]"});
    auto const threshold = static_cast<std::uint32_t>(drop_probability * 65536.0 + 0.5);
    return {threshold, threshold == 65536 ? 0.0 : 65536.0 / (65536.0 - static_cast<double>(threshold))};
}

// ---- many decisions at once (host)

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
    return (draw_lanes)__builtin_ia32_pmuludq512_mask((halves)a, (halves)b, (wide)a, -1);
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
ESPALIER_FN void draw_many(random_site const& site, draw_lanes const (&key)[2 * Rounds],
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

/// Row r has the origin `origin[r]`, or first_row + r without that array.
template <int Rounds>
inline void fill_draws(random_site const& site, std::uint32_t const* origin, std::uint32_t first_row, index_t row_count,
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
    draw_lanes key[2 * Rounds];
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

/// The decisions of all columns of the blocks [first_block, first_block + block_count) for consecutive rows:
/// out[(r * block_count + b) * 8 + j] = draw(site, first_row + r, first_block + b)[j].
template <int Rounds = 10>
inline void fill_bits(random_site const& site, std::uint32_t first_row, index_t row_count, std::uint32_t first_block,
                      index_t block_count, std::uint16_t* out) {
    pack_impl::fill_draws<Rounds>(site, nullptr, first_row, row_count, first_block, block_count, out);
}
/// The same for rows of any origin: row r is that of origin[r].
template <int Rounds = 10>
inline void fill_bits(random_site const& site, std::uint32_t const* origin, index_t row_count,
                      std::uint32_t first_block, index_t block_count, std::uint16_t* out) {
    pack_impl::fill_draws<Rounds>(site, origin, 0, row_count, first_block, block_count, out);
}
/// The same for the rows of a batch.
template <int Rounds = 10>
inline void fill_bits(random_site const& site, rows const& batch, std::uint32_t first_block, index_t block_count,
                      std::uint16_t* out) {
    pack_impl::fill_draws<Rounds>(site, batch.origin, batch.first, batch.count, first_block, block_count, out);
}

/// N decisions as integers that compare with `keep_threshold::threshold`.
template <int N, class Unsigned = std::uint32_t> ESPALIER_FN pack<Unsigned, N> load_bits(std::uint16_t const* p) {
    pack<Unsigned, N> r;
#if ESPALIER_PACK_BYTES == 0
    for (int i = 0; i < N; ++i)
        r.v[i] = p[i];
#else
    using to = typename pack<Unsigned, N>::chunk;
    typedef std::uint16_t from __attribute__((vector_size(pack<Unsigned, N>::lanes * sizeof(std::uint16_t))));
    ESPALIER_PACK_UNROLL
    for (int i = 0; i < r.chunks; ++i) {
        from half;
        std::memcpy(&half, p + i * r.lanes, sizeof half);
        // GCC 12 would widen two halves and join them, five instructions for one.
#if ESPALIER_PACK_BYTES == 64 && !defined(__clang__)
        if constexpr (sizeof(Unsigned) == 4) {
            typedef short words __attribute__((vector_size(32)));
            typedef int wide __attribute__((vector_size(64)));
            r.v[i] = (to)__builtin_ia32_pmovzxwd512_mask((words)half, wide{}, static_cast<unsigned short>(-1));
        } else
#elif defined(__AVX2__) && !defined(__clang__)
        if constexpr (sizeof(Unsigned) == 4) {
            typedef short words __attribute__((vector_size(16)));
            r.v[i] = (to)__builtin_ia32_pmovzxwd256((words)half);
        } else
#endif
            r.v[i] = __builtin_convertvector(half, to);
    }
#endif
    return r;
}

} // namespace ESPALIER_PACK_ABI

// ---- orders and initial values (host)

/// Shuffles `values` by Fisher and Yates: for i = n - 1 ... 1 swap(values[i], values[j]) with j = below(i + 1) of the
/// 64 bits (words 2 (i & 1), 2 (i & 1) + 1) of draw(site, i / 2, 0). Throws data_error for more than 2^32 - 1 values.
template <class T> inline void shuffle(random_site const& site, array_view<T> values) {
    if (values.size > index_t(0xffffffff))
        espalier::detail::throw_data_error({"a shuffle of ", values.size, " values was asked for; at most 4294967295"});
    bits8 bits;
    for (index_t i = values.size - 1; i > 0; --i) {
        auto const k = static_cast<std::uint32_t>(i);
        if ((k & 1) != 0 || i == values.size - 1) bits = draw(site, k / 2, 0);
        int const half = 2 * static_cast<int>(k & 1);
        std::uint32_t const j = below(k + 1, bits.word[half], bits.word[half + 1]);
        T const kept = values[i];
        values[i] = values[j];
        values[j] = kept;
    }
}

/// The numbers 0 ... n - 1 in an order that depends on the site alone; see `shuffle`.
template <class T>
requires std::is_integral_v<T>
inline void random_permutation(random_site const& site, array_view<T> out) {
    for (index_t i = 0; i < out.size; ++i)
        out[i] = static_cast<T>(i);
    shuffle(site, out);
}

/// Two independent standard normal numbers.
struct normal_pair {
    double first = 0.0;
    double second = 0.0;
};

namespace detail {
/// c[0] x^(n-1) + ... + c[n-1], one rounding per step on every machine.
template <class... Rest> inline double exact_horner(double x, double r, Rest... rest) {
    ((r = __builtin_fma(r, x, rest)), ...);
    return r;
}

/// log((k + 1/2) / 2^53) for k < 2^53, within 1 ulp.
inline double log_of_uniform(std::uint64_t k) {
    double const u = (static_cast<double>(k) + 0.5) * 0x1p-53;
    constexpr std::uint64_t root_half = 0x3fe6a09e667f3bcd;
    std::uint64_t const t = to_bits(u) + (0x3ff0000000000000u - root_half);
    double const f = from_bits((t & 0xfffffffffffffu) + root_half) - 1.0;
    double const e = static_cast<double>(static_cast<std::int64_t>(t >> 52) - 1023);
    double const s = f / (2.0 + f);
    double const z = s * s;
    double const p =
        exact_horner(z, 0.1325172024962955225, 0.132500817323506075, 0.1538709204014080492, 0.181817756446262952,
                     0.2222222264694297935, 0.2857142856908571378, 0.4000000000000624485, 0.6666666666666666098);
    double const half = 0.5 * f;
    double const inner = __builtin_fma(z, p, half * f);
    double const tail = __builtin_fma(s, inner, e * 1.90821492927058770002e-10);
    return __builtin_fma(e, 6.93147180369123816490e-01, f - __builtin_fma(half, f, -tail));
}
} // namespace detail

/// Normal numbers by Box and Muller (1958) from the words of one draw: sqrt(-2 log u) cos(2 pi v) and
/// sqrt(-2 log u) sin(2 pi v), u = (k + 1/2) / 2^53 from words 0 and 1, v from words 2 and 3. The same bits on every
/// machine and for every compiler setting: each a * b + c is a fused operation by name, and no other product is added
/// to anything, so nothing is left for a compiler to contract.
inline normal_pair standard_normal(bits8 const& bits) {
    auto const integer = [](std::uint32_t high, std::uint32_t low) {
        return (std::uint64_t(high) << 21) | (low >> 11);
    };
    double const radius = __builtin_sqrt(-2.0 * detail::log_of_uniform(integer(bits.word[0], bits.word[1])));
    std::uint64_t const v = integer(bits.word[2], bits.word[3]);
    // v = quadrant / 4 + r, |r| <= 1/8
    std::uint64_t const quadrant = (v + (std::uint64_t(1) << 50)) >> 51;
    auto const r = static_cast<double>(static_cast<std::int64_t>(v) - static_cast<std::int64_t>(quadrant << 51));
    double const angle = r * (6.283185307179586477 * 0x1p-53);
    double const z = angle * angle;
    double const tail_sin = detail::exact_horner(z, -1.0 / 1307674368000.0, 1.0 / 6227020800.0, -1.0 / 39916800.0,
                                                 1.0 / 362880.0, -1.0 / 5040.0, 1.0 / 120.0, -1.0 / 6.0);
    double const sine = __builtin_fma(angle * z, tail_sin, angle);
    double const cosine = detail::exact_horner(z, 1.0 / 20922789888000.0, -1.0 / 87178291200.0, 1.0 / 479001600.0,
                                               -1.0 / 3628800.0, 1.0 / 40320.0, -1.0 / 720.0, 1.0 / 24.0, -0.5, 1.0);
    bool const swap = (quadrant & 1) != 0;
    double const c = swap ? sine : cosine, s = swap ? cosine : sine;
    bool const minus_c = ((quadrant + 1) & 2) != 0, minus_s = (quadrant & 2) != 0;
    return {radius * (minus_c ? -c : c), radius * (minus_s ? -s : s)};
}

/// out[i] = mean + deviation * z_i; z_2k and z_2k+1 are the pair of draw(site, low 32 bits of k, high 32 bits of k).
template <class T> inline void fill_normal(random_site const& site, double mean, double deviation, array_view<T> out) {
    for (index_t i = 0; i < out.size; i += 2) {
        auto const k = static_cast<std::uint64_t>(i) / 2;
        normal_pair const z =
            standard_normal(draw(site, static_cast<std::uint32_t>(k), static_cast<std::uint32_t>(k >> 32)));
        out[i] = static_cast<T>(__builtin_fma(deviation, z.first, mean));
        if (i + 1 < out.size) out[i + 1] = static_cast<T>(__builtin_fma(deviation, z.second, mean));
    }
}

/// out[i] = low + (high - low) u_i with u_i in [0, 1), 53 bits: u_2k and u_2k+1 are words (0, 1) and (2, 3) of
/// draw(site, low 32 bits of k, high 32 bits of k).
template <class T> inline void fill_uniform(random_site const& site, double low, double high, array_view<T> out) {
    for (index_t i = 0; i < out.size; i += 2) {
        auto const k = static_cast<std::uint64_t>(i) / 2;
        bits8 const b = draw(site, static_cast<std::uint32_t>(k), static_cast<std::uint32_t>(k >> 32));
        out[i] = static_cast<T>(__builtin_fma(high - low, uniform01(b.word[0], b.word[1]), low));
        if (i + 1 < out.size)
            out[i + 1] = static_cast<T>(__builtin_fma(high - low, uniform01(b.word[2], b.word[3]), low));
    }
}

} // namespace espalier
