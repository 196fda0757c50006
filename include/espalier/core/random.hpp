// SPDX-License-Identifier: Apache-2.0
// Randomness without state: every random bit is a function of where and when it is used, so the same bits come out on
// CPU and GPU, for every number of threads, for every split of a batch, and after a restart.
#pragma once

#include <espalier/core/fields.hpp>
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

    /// Whether draws keep; `Bits` is an unsigned integer of 32 bits or more, or a pack of them.
    template <class Bits> ESPALIER_FN constexpr auto keeps(Bits bits) const { return bits >= Bits(threshold); }
    /// What the draws multiply by.
    template <class T, class Bits> ESPALIER_FN T factor(Bits bits) const {
        using espalier::select;
        using S = scalar_of<T>;
        return select(keeps(bits), T(static_cast<S>(scale)), T(S(0)));
    }

    /// Of a probability in [0, 1]: threshold = round(65536 p), scale = 65536 / (65536 - threshold).
    ESPALIER_FN static constexpr keep_threshold nearest(double drop_probability) {
        auto const threshold = static_cast<std::uint32_t>(drop_probability * 65536.0 + 0.5);
        return {threshold, threshold == 65536 ? 0.0 : 65536.0 / (65536.0 - static_cast<double>(threshold))};
    }

    /// The drop probability that holds: the one that was asked for, quantised.
    constexpr double rate() const { return threshold / 65536.0; }
    static constexpr auto numbers = fields<&keep_threshold::rate>;

    friend constexpr bool operator==(keep_threshold const&, keep_threshold const&) = default;
};

/// The threshold nearest to a drop probability. Probabilities below 2^-17 drop nothing.
/// Throws data_error when p is not in [0, 1]; in a constant expression compilation stops.
constexpr keep_threshold quantise(double drop_probability) {
    if (!(drop_probability >= 0.0 && drop_probability <= 1.0))
        espalier::detail::throw_data_error("a drop probability of ", drop_probability, " was given; it is in [0, 1]");
    return keep_threshold::nearest(drop_probability);
}

// ---- many decisions at once (host)

inline namespace ESPALIER_PACK_ABI {
namespace pack_impl {

/// Row r has the origin `origin[r]`, or first_row + r without that array.
template <int Rounds>
void fill_draws(random_site const& site, std::uint32_t const* origin, std::uint32_t first_row, index_t row_count,
                std::uint32_t first_block, index_t block_count, std::uint16_t* out);

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
        espalier::detail::throw_data_error("a shuffle of ", values.size, " values was asked for; at most 4294967295");
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

/// Chooses `count` of the places of `out`, every set of so many as likely as another: 1 there, 0 elsewhere. Place c is
/// chosen when below(n - c) of the 64 bits (words 2 (c & 1), 2 (c & 1) + 1) of draw(site, row, c / 2) is less than the
/// number that is still to be chosen (Knuth, The Art of Computer Programming 3.4.2, algorithm S). Throws data_error for
/// more than there are, or more than 2^32 - 1 places.
template <class T>
inline void random_mask(random_site const& site, std::uint32_t row, index_t count, array_view<T> out) {
    if (count < 0 || count > out.size || out.size > index_t(0xffffffff))
        espalier::detail::throw_data_error("a random choice of ", count, " of ", out.size,
                                           " places was asked for; at most all, of 4294967295");
    bits8 bits;
    for (index_t c = 0; c < out.size; ++c) {
        auto const k = static_cast<std::uint32_t>(c);
        if ((k & 1) == 0) bits = draw(site, row, k / 2);
        int const half = 2 * static_cast<int>(k & 1);
        bool const chosen = below(static_cast<std::uint32_t>(out.size - c), bits.word[half], bits.word[half + 1]) <
                            static_cast<std::uint32_t>(count);
        out[c] = static_cast<T>(chosen ? 1 : 0);
        count -= chosen ? 1 : 0;
    }
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

/// low + (high - low) u for finite low <= high and u in [0, 1), also where high - low is too large for a double.
inline double uniform_between(double low, double high, double u) {
    double const width = high - low;
    if (width <= 1.7976931348623157e308) return __builtin_fma(width, u, low);
    return 2.0 * __builtin_fma(0.5 * high - 0.5 * low, u, 0.5 * low);
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
        out[i] = static_cast<T>(uniform_between(low, high, uniform01(b.word[0], b.word[1])));
        if (i + 1 < out.size) out[i + 1] = static_cast<T>(uniform_between(low, high, uniform01(b.word[2], b.word[3])));
    }
}

} // namespace espalier

#if !ESPALIER_PACK_IN_LIBRARY
#include <espalier/core/detail/random.hpp>
#endif
