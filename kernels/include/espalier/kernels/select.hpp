// SPDX-License-Identifier: Apache-2.0
// Kernel bodies that select exactly the most valuable weights of tensors into bit masks, without sorting them and
// without a word to the host (core/mask_selection.hpp). All counts are whole numbers, so the masks have the same bits
// for every launch, and those of prune/select.hpp on the CPU.
//
//     start      what is asked for; the range is all keys
//     kept       what the masks keep as they are, a launch for each tensor
//     survey     a histogram of the keys in the range, a launch for each tensor
//     narrow     the range becomes the bin that holds the threshold: 3 times for keys of 32 bits, 6 for 64
//     places     in chunks, where weights have the key of the threshold and only some stay: how many come before
//     write      the masks
#pragma once

#include <espalier/core/macros.hpp>
#include <espalier/core/mask_selection.hpp>
#include <espalier/core/view.hpp>
#include <espalier/kernels/access.hpp>

#include <cstdint>

namespace espalier::kernels {

namespace detail {

struct mask_bins {
    std::uint32_t count[std::size_t{mask_survey::bins}];
};

/// By one block.
template <class Block, class Count> ESPALIER_FN void clear_bins(Block const& block, Count (&bins)[mask_survey::bins]) {
    for (auto i = static_cast<int>(block.thread_rank()); i < mask_survey::bins; i += static_cast<int>(Block::lanes))
        bins[i] = 0;
}

/// Writes the words of a mask for one chunk of the weights, from the first to the last: decide(key, exists) is asked on
/// the lane of each weight and gives, on every lane, the bits of the weights that the tile's lanes have.
template <class Tile, class Key, class W, class Decide>
ESPALIER_FN void write_chunk(Tile const& tile, Key const& key, W const* w, index_t n, index_t chunk,
                             std::uint32_t* mask, Decide const& decide) {
    constexpr auto lanes = static_cast<index_t>(Tile::lanes);
    constexpr int at_once = 4;
    auto const lane = static_cast<index_t>(tile.thread_rank());
    index_t const begin = chunk * mask_chunk;
    std::uint32_t word = 0;
    for (index_t at = 0; at < mask_chunk && begin + at < n; at += at_once * lanes) {
        W x[at_once];
        ESPALIER_KERNEL_UNROLL
        for (int k = 0; k < at_once; ++k) { // loads first: nothing that is decided below holds them up
            index_t const i = begin + at + k * lanes + lane;
            x[k] = i < n ? w[i] : W(0);
        }
        ESPALIER_KERNEL_UNROLL
        for (int k = 0; k < at_once; ++k) {
            index_t const first = at + k * lanes, i = begin + first + lane;
            std::uint32_t const bits = decide(i < n ? key(x[k], i) : decltype(key(W(), n))(0), i < n);
            if constexpr (lanes == 32) {
                // Every lane remembers a word, so that all of them store at once.
                if (first / 32 == lane) word = bits;
            } else {
                word |= bits << first % 32;
                if (first % 32 + lanes == 32 || begin + first + lanes >= n) {
                    if (begin + first < n) mask[(begin + first) / 32] = word;
                    word = 0;
                }
            }
        }
    }
    if constexpr (lanes == 32)
        if (begin + lane * 32 < n) mask[begin / 32 + lane] = word;
}

} // namespace detail

/// By one block.
template <class Block>
ESPALIER_FN void start_selection(Block const& block, mask_request const& request, std::uint64_t largest_key,
                                 mask_survey* survey) {
    detail::clear_bins(block, survey->histogram);
    if (block.thread_rank() != 0) return;
    survey->request = request;
    survey->first = 0;
    survey->last = request.by_key ? 0 : largest_key;
    survey->count = request.by_key ? 0 : request.weights;
    survey->keep = request.by_key ? 0 : -1; // until the first survey is over
    survey->passed = 0;
    survey->kept = 0;
}

/// survey.kept += how many of n weights a mask keeps. Floor: n / 8 bytes.
template <class Block>
ESPALIER_FN void count_kept(Block const& block, std::uint32_t const* mask, index_t n, mask_survey* survey) {
    index_t kept = 0;
    for (index_t i = grid_lane(block); i * 32 < n; i += grid_lanes(block)) {
        std::uint32_t const word = mask[i];
        kept += count_bits(n - i * 32 < 32 ? word & ((std::uint32_t{1} << (n - i * 32)) - 1) : word);
    }
    kept = block.reduce_add(kept);
    if (block.thread_rank() == 0) add_to(survey->kept, static_cast<mask_survey::counter>(kept));
}

/// The keys of n weights into the histogram, but those of the first bin: many weights may be 0, and adding to one bin
/// takes turns. Floor: n weights.
template <class Block, class Key, class W>
ESPALIER_FN void survey_keys(Block const& block, Key const& key, W const* w, index_t n, mask_survey* survey) {
    std::uint64_t const first = survey->first, width = survey->last - first;
    if (survey->in_order()) return;
    int const shift = mask_survey::shift(width);
    auto& bins = block.template shared<detail::mask_bins>();
    detail::clear_bins(block, bins.count);
    block.sync();
    bool const vector = aligned16(w);
    ESPALIER_KERNEL_LOOP
    for (index_t i = grid_lane(block) * octet; i < n; i += grid_lanes(block) * octet) {
        int const count = count8(i, n);
        W x[octet];
        load8(w + i, count, vector, x);
        ESPALIER_KERNEL_UNROLL
        for (int j = 0; j < octet; ++j) {
            if (j >= count) continue;
            std::uint64_t const place = static_cast<std::uint64_t>(key(x[j], i + j)) - first;
            std::uint64_t const bin = place >> shift;
            if (place <= width && bin != 0) add_to(bins.count[bin], std::uint32_t{1});
        }
    }
    block.sync();
    for (auto i = static_cast<int>(block.thread_rank()); i < mask_survey::bins; i += static_cast<int>(Block::lanes))
        if (bins.count[i] != 0) add_to(survey->histogram[i], static_cast<mask_survey::counter>(bins.count[i]));
}

/// The range becomes the bin in which the threshold is, the histogram empty. `begins`: after the first survey, when
/// what the masks keep is known. By one block.
template <class Block> ESPALIER_FN void narrow_selection(Block const& block, bool begins, mask_survey* survey) {
    constexpr auto lanes = static_cast<int>(Block::lanes);
    constexpr int each = (mask_survey::bins + lanes - 1) / lanes;
    std::uint64_t const first = survey->first, width = survey->last - first;
    int const shift = mask_survey::shift(width);
    index_t const count = survey->count;
    index_t keep = survey->keep;
    if (begins) keep = survey->kept_now();
    bool const over = begins ? keep <= 0 || keep >= count : survey->in_order();

    // Lane t has the bins from the t-th last one down.
    auto const top = mask_survey::bins - 1 - static_cast<int>(block.thread_rank()) * each;
    index_t its = 0;
    for (int bin = top; bin > top - each && bin > 0; --bin)
        its += static_cast<index_t>(survey->histogram[bin]);
    index_t const above = block.exclusive_scan_add(its), all = block.reduce_add(its);
    block.sync(); // nobody writes before everybody has read
    if (over) {
        // All are kept, or none: the range of the largest key, of which none is kept.
        if (begins && block.thread_rank() == 0) {
            survey->keep = keep;
            if (keep <= 0) {
                survey->first = survey->last;
                survey->count = survey->keep = 0;
            }
        }
    } else {
        index_t left = keep - above;
        int found = -1;
        index_t found_count = 0;
        if (left > 0 && left <= its) {
            found = top;
            found_count = static_cast<index_t>(survey->histogram[found]);
            while (found_count < left) {
                left -= found_count;
                found_count = static_cast<index_t>(survey->histogram[--found]);
            }
        } else if (keep > all && block.thread_rank() == 0) {
            found = 0;
            left = keep - all;
            found_count = count - all;
        }
        if (found >= 0) {
            std::uint64_t const begin = static_cast<std::uint64_t>(found) << shift;
            std::uint64_t const end = begin + ((std::uint64_t{1} << shift) - 1);
            survey->first = first + begin;
            survey->last = first + (end < width ? end : width);
            survey->count = found_count;
            survey->keep = left;
        }
    }
    block.sync();
    detail::clear_bins(block, survey->histogram);
}

/// counters[c] = weights of chunk c with keys in the range, where only some of these are kept. Floor: n weights.
template <class Block, class Key, class W>
ESPALIER_FN void count_places(Block const& block, Key const& key, W const* w, index_t n, index_t* counters,
                              mask_survey const* survey) {
    if (!survey->splits()) return;
    std::uint64_t const first = survey->first, width = survey->last - first;
    auto const tile = tile_of_32(block);
    for (index_t chunk = tile.group_rank(); chunk * mask_chunk < n; chunk += tile.group_count()) {
        index_t const begin = chunk * mask_chunk, end = begin + mask_chunk < n ? begin + mask_chunk : n;
        index_t count = 0;
        for (auto i = begin + static_cast<index_t>(tile.thread_rank()); i < end; i += static_cast<index_t>(tile.size()))
            count += static_cast<std::uint64_t>(key(w[i], i)) - first <= width ? 1 : 0;
        count = tile.reduce_add(count);
        if (tile.thread_rank() == 0) counters[chunk] = count;
    }
}

/// counters[c] = weights of the range in all tensors before this one and in the chunks before c. By one block.
template <class Block>
ESPALIER_FN void scan_places(Block const& block, index_t chunks, index_t* counters, mask_survey* survey) {
    if (!survey->splits()) return;
    index_t before = survey->passed;
    block.sync();
    for (index_t base = 0; base < chunks; base += static_cast<index_t>(Block::lanes)) {
        index_t const c = base + static_cast<index_t>(block.thread_rank());
        index_t const its = c < chunks ? counters[c] : 0;
        index_t const place = before + block.exclusive_scan_add(its);
        if (c < chunks) counters[c] = place;
        before += block.reduce_add(its);
    }
    if (block.thread_rank() == 0) survey->passed = before;
}

/// The mask of n weights; bits behind the last one become 0. Floor: n weights and n / 8 bytes.
template <class Block, class Key, class W>
ESPALIER_FN void write_mask(Block const& block, Key const& key, W const* w, index_t n, index_t const* counters,
                            mask_survey const* survey, std::uint32_t* mask, error_word const* error) {
    if (failed(error)) return;
    std::uint64_t const first = survey->first, last = survey->last, width = last - first;
    index_t const keep = survey->keep;
    bool const splits = survey->splits();
    auto const tile = tile_of_32(block);
    for (index_t chunk = tile.group_rank(); chunk * mask_chunk < n; chunk += tile.group_count()) {
        index_t left = splits ? keep - counters[chunk] : keep > 0 ? mask_chunk : 0;
        detail::write_chunk(tile, key, w, n, chunk, mask, [&](auto const of_weight, bool exists) {
            auto const k = static_cast<std::uint64_t>(of_weight);
            bool const in_range = exists && k - first <= width;
            std::uint32_t const same = tile.ballot(in_range);
            int const before = count_bits(same & ((std::uint32_t{1} << tile.thread_rank()) - 1));
            bool const kept = in_range ? before < left : exists && k > last;
            left -= count_bits(same);
            return tile.ballot(kept);
        });
    }
}

/// Clears a mask that `write_group_mask` is about to write.
template <class Block>
ESPALIER_FN void clear_mask(Block const& block, std::uint32_t* mask, index_t n, mask_survey const* survey,
                            error_word const* error) {
    if (failed(error) || survey->keeps_fewer()) return;
    for (index_t i = grid_lane(block); i * 32 < n; i += grid_lanes(block))
        mask[i] = 0;
}

namespace detail {

/// Part of a mask: of a group of rows, from `row` on, the columns that a tile has.
struct mask_group {
    index_t row, column; ///< the first ones
    int size;            ///< rows

    /// Sets the bits of a row; every lane says whether its weight is kept.
    template <class Tile, class W>
    ESPALIER_FN void set(Tile const& tile, matrix_view<W const> w, int i, bool keeps, std::uint32_t* mask) const {
        std::uint32_t const kept = tile.ballot(keeps);
        if (tile.thread_rank() != 0 || kept == 0) return;
        index_t const bit = (row + i) * w.columns + column;
        auto const offset = static_cast<int>(bit % 32);
        set_bits(mask[bit / 32], kept << offset);
        if (offset != 0 && kept >> (32 - offset) != 0) set_bits(mask[bit / 32 + 1], kept >> (32 - offset));
    }
};

/// A group of at most Most rows: keys stay in registers, each is compared with all others.
template <int Most, class Tile, class Key, class W>
ESPALIER_FN void write_small_group(Tile const& tile, Key const& key, matrix_view<W const> w, mask_group const& at,
                                   int kept, std::uint32_t* mask) {
    using key_type = decltype(key(W(), index_t()));
    index_t const column = at.column + static_cast<index_t>(tile.thread_rank());
    bool const exists = column < w.columns;
    key_type keys[std::size_t{Most}];
    ESPALIER_KERNEL_UNROLL
    for (int i = 0; i < Most; ++i)
        keys[i] = exists && i < at.size ? key(w(at.row + i, column), (at.row + i) * w.columns + column) : key_type(0);
    ESPALIER_KERNEL_UNROLL
    for (int i = 0; i < Most; ++i) {
        int before = 0;
        ESPALIER_KERNEL_UNROLL
        for (int j = 0; j < Most; ++j)
            before += j != i && j < at.size && (j < i ? keys[j] >= keys[i] : keys[j] > keys[i]) ? 1 : 0;
        if (i < at.size) at.set(tile, w, i, exists && before < kept, mask);
    }
}

/// A group of any size: bits of the least key that is kept are found one by one, from the highest in which keys of the
/// column differ on, until exactly so many weights have such keys. The work on a weight does not grow with the group;
/// weights are read again from the cache.
template <class Tile, class Key, class W>
ESPALIER_FN void write_large_group(Tile const& tile, Key const& key, matrix_view<W const> w, mask_group const& at,
                                   int kept, std::uint32_t* mask) {
    using key_type = decltype(key(W(), index_t()));
    index_t const column = at.column + static_cast<index_t>(tile.thread_rank());
    bool const exists = column < w.columns;
    int const size = exists ? at.size : 0;
    auto const key_of = [&](int i) { return key(w(at.row + i, column), (at.row + i) * w.columns + column); };
    key_type all = static_cast<key_type>(~key_type(0)), any = 0;
    for (int i = 0; i < size; ++i) {
        all &= key_of(i);
        any |= key_of(i);
    }
    key_type const differ = all ^ any;
    key_type bit = static_cast<key_type>(~(static_cast<key_type>(~key_type(0)) >> 1));
    while (bit != 0 && (differ & bit) == 0)
        bit >>= 1;
    key_type threshold = all & static_cast<key_type>(~(bit | (bit - (bit != 0 ? 1 : 0))));
    int found = size;
    for (; bit != 0 && found > kept; bit >>= 1) {
        int above = 0;
        for (int i = 0; i < size; ++i)
            above += key_of(i) >= (threshold | bit) ? 1 : 0;
        if (above < kept) continue;
        threshold |= bit;
        found = above;
    }
    int left = kept; // of the weights whose key is the threshold the first so many
    for (int i = 0; i < size; ++i)
        left -= key_of(i) > threshold ? 1 : 0;
    for (int i = 0; i < at.size; ++i) {
        key_type const its = exists ? key_of(i) : key_type(0);
        bool const same = its == threshold && left > 0;
        left -= same ? 1 : 0;
        at.set(tile, w, i, exists && (same || its > threshold), mask);
    }
}

} // namespace detail

/// Of every pattern.group consecutive rows of a column pattern.kept weights of largest key, of equal ones those of
/// lower row; the last group of a column may be shorter. A mask that keeps fewer already, and may not revive any, stays
/// as it is. Floor: the weights once, the mask twice.
template <class Block, class Key, class W>
ESPALIER_FN void write_group_mask(Block const& block, Key const& key, group_pattern pattern, matrix_view<W const> w,
                                  std::uint32_t* mask, mask_survey const* survey, error_word const* error) {
    if (failed(error) || survey->keeps_fewer()) return;
    auto const tile = tile_of_32(block);
    constexpr auto lanes = static_cast<index_t>(decltype(tile)::lanes);
    auto const each_group = [&](auto const& write) {
        for (pair_walk at(tile.group_rank(), tile.group_count(), (w.columns + lanes - 1) / lanes);
             at.line * pattern.group < w.rows; at.advance()) {
            index_t const row = at.line * pattern.group, left = w.rows - row;
            write(detail::mask_group{row, at.place * lanes,
                                     left < pattern.group ? static_cast<int>(left) : pattern.group});
        }
    };
    if (pattern.group <= 4)
        each_group([&](auto const& at) { detail::write_small_group<4>(tile, key, w, at, pattern.kept, mask); });
    else if (pattern.group <= 16)
        each_group([&](auto const& at) { detail::write_small_group<16>(tile, key, w, at, pattern.kept, mask); });
    else
        each_group([&](auto const& at) { detail::write_large_group(tile, key, w, at, pattern.kept, mask); });
}

} // namespace espalier::kernels
