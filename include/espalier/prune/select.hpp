// SPDX-License-Identifier: Apache-2.0
// host only. Exact selection of the most valuable weights into bit masks, without sorting and without allocation.
#pragma once

#include <espalier/core/error.hpp>
#include <espalier/core/view.hpp>

#include <cstdint>
#include <string>
#include <type_traits>

namespace espalier::prune {

/// A contiguous tensor and its mask: (size + 31) / 32 words.
template <class T> struct piece {
    T const* weights = nullptr;
    index_t size = 0;
    std::uint32_t* mask = nullptr;
};

/// How many of n weights stay: n - round(sparsity n). Throws data_error for a sparsity outside [0, 1].
inline index_t kept_count(index_t n, double sparsity) {
    if (!(sparsity >= 0.0 && sparsity <= 1.0))
        throw data_error("prune: the sparsity is " + std::to_string(sparsity) + ", needed is a number in [0, 1]");
    return n - static_cast<index_t>(sparsity * static_cast<double>(n) + 0.5);
}

namespace detail {

/// Keys are split into digits of at most 11 bits, highest first.
inline constexpr int digit_bits = 11;
/// Weights that are looked at together.
inline constexpr index_t strip = 512;

/// The smallest key that is kept, and how many keys equal to it are.
template <class Key> struct key_threshold {
    Key key;
    index_t ties;
};

template <class Criterion, class Pieces> auto find_threshold(Pieces const& pieces, index_t keep) {
    using key_type = decltype(Criterion::key(*pieces[0].weights));
    constexpr int bits = 8 * static_cast<int>(sizeof(key_type));
    key_type prefix = 0; // upper digits of the threshold
    index_t above = 0;   // keys known to be larger than every key with that prefix
    int shift = bits;    // bits not yet decided
    while (shift > 0) {
        int const width = shift < digit_bits ? shift : digit_bits;
        int const next_shift = shift - width;
        key_type const digit_mask = (key_type(1) << width) - 1;
        std::uint64_t histogram[1 << digit_bits] = {};
        for (auto const& part : pieces)
            for (index_t first = 0; first < part.size; first += strip) {
                index_t const end = part.size - first < strip ? part.size : first + strip;
                if (shift == bits) {
                    for (index_t i = first; i < end; ++i)
                        ++histogram[Criterion::key(part.weights[i]) >> next_shift];
                    continue;
                }
                // Keys with the right prefix are gathered without a branch: whether a key has it is unpredictable.
                key_type candidate[strip];
                index_t count = 0;
                for (index_t i = first; i < end; ++i) {
                    key_type const key = Criterion::key(part.weights[i]);
                    candidate[count] = key;
                    count += (key >> shift) == prefix;
                }
                for (index_t i = 0; i < count; ++i)
                    ++histogram[(candidate[i] >> next_shift) & digit_mask];
            }
        key_type digit = digit_mask;
        while (above + static_cast<index_t>(histogram[digit]) < keep)
            above += static_cast<index_t>(histogram[digit--]);
        prefix = static_cast<key_type>((prefix << (width - 1) << 1) | digit);
        shift = next_shift;
        // the whole digit is kept: no need to look inside
        if (above + static_cast<index_t>(histogram[digit]) == keep) break;
    }
    return key_threshold<key_type>{static_cast<key_type>(prefix << shift), keep - above};
}

/// The lowest `count` set bits of a word.
inline std::uint32_t lowest_bits(std::uint32_t word, index_t count) {
    std::uint32_t kept = 0;
    for (; count > 0 && word != 0; --count) {
        kept |= word & (~word + 1);
        word &= word - 1;
    }
    return kept;
}

/// Replaces bits [first, first + count) of a mask, count <= 64, by the lowest ones of `bits`.
inline void put_bits(std::uint32_t* mask, index_t first, std::uint64_t bits, int count) {
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

/// All of n bits `kept`; the rest of the last word 0.
inline void fill_bits(std::uint32_t* mask, index_t n, bool kept) {
    for (index_t w = 0; w < (n + 31) / 32; ++w)
        mask[w] = kept ? ~std::uint32_t(0) : std::uint32_t(0);
    if (kept && n % 32 != 0) mask[n / 32] = (std::uint32_t(1) << (n % 32)) - 1;
}

} // namespace detail

/// Keeps exactly the `keep` weights of largest key over all pieces together; of equal ones those of earlier pieces,
/// then of lower index. `pieces` is an array of objects with members like those of `piece`. Reads the weights twice to
/// a few times (once for each digit of 11 bits until the threshold is certain, then once to write the masks) and needs
/// 20 KiB of stack. Bits behind the last weight of a piece become 0. keep is clamped to [0, number of weights].
template <class Criterion, class Pieces> void select_largest(Pieces const& pieces, index_t keep) {
    index_t n = 0;
    for (auto const& part : pieces)
        n += part.size;
    if (keep <= 0 || keep >= n) {
        for (auto const& part : pieces)
            detail::fill_bits(part.mask, part.size, keep > 0);
        return;
    }
    auto threshold = detail::find_threshold<Criterion>(pieces, keep);
    // a break in the middle of the keys keeps everything at or above the threshold: ties then hold them all
    for (auto const& part : pieces)
        for (index_t first = 0; first < part.size; first += 32) {
            index_t const count = part.size - first < 32 ? part.size - first : 32;
            std::uint32_t larger = 0, equal = 0;
            for (index_t i = 0; i < count; ++i) {
                auto const key = Criterion::key(part.weights[first + i]);
                larger |= static_cast<std::uint32_t>(key > threshold.key) << i;
                equal |= static_cast<std::uint32_t>(key == threshold.key) << i;
            }
            if (equal != 0) {
                std::uint32_t const kept = detail::lowest_bits(equal, threshold.ties);
                for (std::uint32_t rest = kept; rest != 0; rest &= rest - 1)
                    --threshold.ties;
                larger |= kept;
            }
            part.mask[first / 32] = larger;
        }
}

/// The same with the share that is left out: keeps n - round(sparsity n) of the n weights of all pieces together.
/// Throws data_error for a sparsity outside [0, 1].
template <class Criterion, class Pieces> void select_threshold(Pieces const& pieces, double sparsity) {
    index_t n = 0;
    for (auto const& part : pieces)
        n += part.size;
    select_largest<Criterion>(pieces, kept_count(n, sparsity));
}

/// Keeps the N weights of largest key in every group of M consecutive rows of a column (M consecutive inputs of one
/// output); of equal ones those of lower row. The last group of a column may be shorter: it keeps min(N, its size).
/// Bits behind the last weight become 0.
template <class Criterion, int N, int M, class T> void select_n_m(matrix_view<T const> w, std::uint32_t* mask) {
    static_assert(N >= 1 && N <= M && M <= 32);
    using key_type = decltype(Criterion::key(T()));
    constexpr index_t tile = 64;
    for (index_t r = 0; r < w.rows; r += M) {
        int const group = static_cast<int>(w.rows - r < M ? w.rows - r : M);
        for (index_t c = 0; c < w.columns; c += tile) {
            int const columns = static_cast<int>(w.columns - c < tile ? w.columns - c : tile);
            key_type key[M][tile] = {}; // whole tiles are counted: -O2 vectorises loops of constant length only
            for (int i = 0; i < group; ++i)
                for (int k = 0; k < columns; ++k)
                    key[i][k] = Criterion::key(w(r + i, c + k));
            for (int i = 0; i < group; ++i) {
                // how many of the group go before row i
                key_type before[tile] = {};
                for (int j = 0; j < i; ++j)
                    for (index_t k = 0; k < tile; ++k)
                        before[k] += static_cast<key_type>(key[j][k] >= key[i][k]);
                for (int j = i + 1; j < group; ++j)
                    for (index_t k = 0; k < tile; ++k)
                        before[k] += static_cast<key_type>(key[j][k] > key[i][k]);
                std::uint64_t bits = 0;
                for (index_t k = 0; k < tile; ++k)
                    bits |= static_cast<std::uint64_t>(before[k] < key_type(N)) << k;
                detail::put_bits(mask, (r + i) * w.columns + c, bits, columns);
            }
        }
    }
    index_t const n = w.rows * w.columns;
    if (n % 32 != 0) detail::put_bits(mask, n, 0, static_cast<int>(32 - n % 32));
}

} // namespace espalier::prune
