// SPDX-License-Identifier: Apache-2.0
// host only. Exact selection of the most valuable weights into bit masks, without sorting and without allocation.
#pragma once

#include <espalier/core/exact_count.hpp>
#include <espalier/core/mask_selection.hpp>
#include <espalier/core/pack.hpp>
#include <espalier/core/text.hpp>
#include <espalier/core/view.hpp>
#include <espalier/core/word_bits.hpp>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <type_traits>

namespace espalier::prune {

/// A contiguous tensor and its mask: (size + 31) / 32 words.
template <class T> struct piece {
    T const* weights = nullptr;
    index_t size = 0;
    std::uint32_t* mask = nullptr;
};

/// How many weights a mask keeps.
inline index_t count_kept(std::uint32_t const* mask, index_t n) {
    index_t kept = 0;
    for (index_t w = 0; w < n / 32; ++w)
        kept += std::popcount(mask[w]);
    if (n % 32 != 0) kept += std::popcount(mask[n / 32] & ((std::uint32_t(1) << n % 32) - 1));
    return kept;
}

/// What a training remembers of the pruning of one tensor.
struct prune_record {
    double sparsity = -1.0; ///< that the schedule gave for the last selection; below 0: there was none yet
    double wanted = -1.0;   ///< for the selection before the step that is being made
    bool owed = false;      ///< one was due while the tensor was frozen
    bool asked = false;     ///< one is due before the step that is being made

    bool due() const { return owed || asked; }
    /// Whether the schedule asks for fewer pruned weights than it did.
    bool falls() const { return sparsity >= 0.0 && wanted < sparsity; }
    /// The share to leave out when `kept` of n weights are there now: what was pruned before this training, in a
    /// checkpoint say, is not revived because a schedule begins anew; only one that falls revives.
    double share(index_t kept, index_t n) const {
        double const out = n > 0 ? static_cast<double>(n - kept) / static_cast<double>(n) : 0.0;
        return falls() || wanted > out ? wanted : out;
    }
    /// The step was made.
    void settle(bool frozen) {
        if (wanted >= 0.0) sparsity = wanted;
        wanted = -1.0;
        owed = frozen && due();
        asked = false;
    }
};

/// How many of n weights stay: n - round(sparsity n), halves up, of the sparsity as the decimal number it was written
/// as (core/exact_count.hpp). Throws data_error for a sparsity outside [0, 1].
inline index_t kept_count(index_t n, double sparsity) {
    if (!(sparsity >= 0.0 && sparsity <= 1.0))
        espalier::detail::throw_data_error("prune: the sparsity is ", sparsity, ", needed is a number in [0, 1]");
    return n - round_of_product(sparsity, n);
}

namespace detail {

/// How many weights pieces have together.
template <class Pieces> index_t weights_in(Pieces const& pieces) {
    index_t n = 0;
    for (auto const& part : pieces)
        n += part.size;
    return n;
}

/// Weights whose keys are computed together: whole words of a mask. Loops over a strip have constant length, because
/// -O2 vectorises no others.
inline constexpr index_t strip = 512;
/// Weights are asked for so many strips before they are read.
inline constexpr index_t ahead = 2;
/// The threshold is guessed from so many keys at most, and from one of at least so many weights.
inline constexpr index_t sample_size = 2048, smallest_stretch = 64;
/// A survey counts keys in 1 << bin_bits bins.
inline constexpr int bin_bits = 11;
/// So many keys can be sorted out while masks are written.
inline constexpr index_t rest_size = 1536;

template <class Key> inline constexpr Key largest_key = static_cast<Key>(~Key(0));

/// What is known of the threshold: of the `count` keys first, ..., last the `keep` largest are kept, of larger keys all
/// and of smaller keys none.
template <class Key> struct key_range {
    Key first = 0, last = largest_key<Key>;
    index_t count = 0, keep = 0;

    /// Whether the first `keep` weights with such keys are those to keep.
    bool in_order() const { return first == last || count == keep; }
};

/// Two keys, low < high, between which the threshold is looked for.
template <class Key> struct key_bounds {
    Key low = 0, high = largest_key<Key>;

    /// The keys between them are [first, last], none where first > last.
    ESPALIER_FN constexpr Key first() const { return static_cast<Key>(low + 1); }
    ESPALIER_FN constexpr Key last() const { return static_cast<Key>(high - 1); }
    /// Whether a range is between them.
    constexpr bool hold(key_range<Key> const& range) const { return range.first > low && range.last < high; }
    /// A key between them is in bin (key - first) >> shift.
    constexpr int shift() const {
        int const bits = static_cast<int>(std::bit_width(static_cast<Key>(last() - first())));
        return first() > last() || bits < bin_bits ? 0 : bits - bin_bits;
    }
};

/// Strips [first, last) of all pieces, which count on from piece to piece; every piece begins a new one. Any two strips
/// have no word of a mask in common, so they may be worked on at once.
struct strip_range {
    index_t first = 0, last = 0;
};

template <class Pieces> strip_range all_strips(Pieces const& pieces) {
    strip_range all;
    for (auto const& part : pieces)
        all.last += (part.size + strip - 1) / strip;
    return all;
}

/// Asks for the weights of a word of a mask.
template <class T> ESPALIER_HOST_FN void fetch_word(T const* weights) {
    for (index_t i = 0; i < 32; i += 64 / static_cast<index_t>(sizeof(T)))
        __builtin_prefetch(weights + i);
}

/// Calls body(keys, mask, count, later) for the strips of a range: a strip of keys, of which those behind the first
/// `count` are 0, the mask words of its weights, and the weights of a strip that comes later. The body asks for these
/// word by word: all of them at once would wait for each other, and memory would rest while the body works.
template <class Criterion, class Key, class Pieces, class Body>
void for_each_strip(Pieces const& pieces, strip_range range, Body const& body) {
    Key key[strip];
    for (auto const& part : pieces) {
        index_t const end = range.last * strip < part.size ? range.last * strip : part.size;
        for (index_t begin = range.first > 0 ? range.first * strip : 0; begin < end; begin += strip) {
            auto const* const weights = part.weights + begin;
            index_t const left = part.size - begin;
            if (left >= strip)
                for (index_t i = 0; i < strip; ++i)
                    key[i] = Criterion::key(weights[i]);
            else
                for (index_t i = 0; i < strip; ++i)
                    key[i] = i < left ? Criterion::key(weights[i]) : Key(0);
            body(static_cast<Key const*>(key), part.mask + begin / 32, left < strip ? left : strip,
                 left >= (ahead + 1) * strip ? weights + ahead * strip : weights);
        }
        index_t const strips = (part.size + strip - 1) / strip;
        range.first -= strips;
        range.last -= strips;
    }
}

/// Whether 32 keys are compared as a pack. A pack without vector types (nvcc) would be slower than a loop.
template <class Key> inline constexpr bool compared_as_pack = ESPALIER_PACK_BYTES != 0 && pack_impl::lane_type<Key>;

/// Of 32 keys those that `contains(keys)` is true of; `contains` takes a key and a pack of keys.
template <class Key, class Contains>
ESPALIER_HOST_FN std::uint32_t bits_where(Key const* key, Contains const& contains) {
    if constexpr (compared_as_pack<Key>)
        return bits_of(contains(pack<Key, 32>::load(key)));
    else {
        std::uint32_t bits = 0;
        for (int i = 0; i < 32; ++i)
            bits |= static_cast<std::uint32_t>(contains(key[i])) << i;
        return bits;
    }
}

/// Of 32 keys those that are larger than x.
template <class Key> ESPALIER_HOST_FN std::uint32_t bits_above(Key const* key, Key x) {
    return bits_where(key, [x](auto const& k) { return k > x; });
}

/// Of 32 keys the first `count`, if there are so many, in [first, last].
template <class Key> ESPALIER_HOST_FN std::uint32_t bits_within(Key const* key, index_t count, Key first, Key last) {
    Key const width = static_cast<Key>(last - first);
    std::uint32_t const bits = bits_where(
        key, [&](auto const& k) { return static_cast<std::remove_cvref_t<decltype(k)>>(k - first) <= width; });
    return count < 32 ? bits & ((std::uint32_t(1) << count) - 1) : bits;
}

/// Of 32 keys those that are not smaller than the other at the same place.
template <class Key> ESPALIER_HOST_FN std::uint32_t bits_reaching(Key const* key, Key const* other) {
    if constexpr (compared_as_pack<Key>)
        return bits_of(pack<Key, 32>::load(key) >= pack<Key, 32>::load(other));
    else {
        std::uint32_t bits = 0;
        for (int i = 0; i < 32; ++i)
            bits |= static_cast<std::uint32_t>(key[i] >= other[i]) << i;
        return bits;
    }
}

/// Which weight of a stretch is looked at: multiples of the golden ratio modulo 1 are spread evenly, so that it is not
/// the same column of a matrix again and again.
ESPALIER_FN index_t sampled_place(index_t stretch_number, index_t stretch) {
    std::uint64_t const turn = static_cast<std::uint32_t>(stretch_number) * std::uint32_t(0x9E3779B9);
    return static_cast<index_t>((turn * static_cast<std::uint64_t>(stretch)) >> 32);
}

/// How far apart the weights of a sample are: it has one of each of at most sample_size equal stretches of all pieces.
inline index_t sample_stretch(index_t n) {
    index_t const least = n / sample_size + 1;
    return least > smallest_stretch ? least : smallest_stretch;
}

/// The same for the last of several samples, each 8 times as large as the one before: among many weights a larger one
/// is worth its time.
inline index_t finest_stretch(index_t n) {
    index_t const most = sample_stretch(n), least = n / (16 * sample_size);
    return most < 512 ? most : least > 512 ? least : 512;
}

/// Places in a sample, from its largest key on, with the threshold between them, almost surely, and few keys: they are
/// `deviations` standard deviations of the sample's share away from where it must be. -1: beyond the sample.
struct sample_ranks {
    index_t high = -1, low = -1;
};
inline sample_ranks ranks_around(index_t count, index_t n, index_t keep, double deviations) {
    double const share = static_cast<double>(keep) / static_cast<double>(n);
    double const middle = share * static_cast<double>(count);
    double const margin = deviations * std::sqrt(middle * (1.0 - share)) + 2.0;
    sample_ranks ranks;
    if (middle >= margin) ranks.high = static_cast<index_t>(middle - margin);
    if (middle + margin < static_cast<double>(count)) ranks.low = static_cast<index_t>(middle + margin);
    return ranks;
}

/// The bounds at these ranks; key_of_rank(rank) is a key of the sample.
template <class Key, class KeyOfRank> key_bounds<Key> bounds_at(sample_ranks ranks, KeyOfRank const& key_of_rank) {
    key_bounds<Key> bounds;
    if (ranks.high >= 0) bounds.high = key_of_rank(ranks.high);
    if (ranks.low >= 0) bounds.low = key_of_rank(ranks.low);
    if (bounds.low == bounds.high) {
        if (bounds.low > 0)
            --bounds.low;
        else
            ++bounds.high;
    }
    return bounds;
}

/// Calls body(key) for one weight of each stretch, all pieces in line.
template <class Criterion, class Pieces, class Body>
void for_each_sampled(Pieces const& pieces, index_t stretch, Body const& body) {
    index_t number = 0, begin = 0;
    for (auto const& part : pieces) {
        for (;; ++number) {
            index_t const i = number * stretch + sampled_place(number, stretch) - begin;
            if (i >= part.size) break;
            body(Criterion::key(part.weights[i]));
        }
        begin += part.size;
    }
}

/// Looks at ever larger samples. Of each only the keys between the bounds that the one before gave are noted, so a
/// large one costs little more than its reading.
template <class Criterion, class Key, class Pieces>
key_bounds<Key> guess(Pieces const& pieces, index_t n, index_t keep) {
    key_bounds<Key> bounds;
    Key between[sample_size + 2];
    index_t stretch = finest_stretch(n);
    while (n / stretch >= sample_size)
        stretch *= 8;
    for (;; stretch /= 8) {
        index_t all = 0, not_below = 0, count = 0;
        for_each_sampled<Criterion>(pieces, stretch, [&](Key key) {
            ++all;
            not_below += key >= bounds.high;
            between[count] = key; // not in a branch, which would be mispredicted
            count += key > bounds.low && key < bounds.high && count <= sample_size;
        });
        if (count > sample_size) return bounds; // there may be more
        bounds = bounds_at<Key>(ranks_around(all, n, keep, 3.0), [&](index_t rank) {
            if (rank < not_below) return bounds.high;
            if (rank >= not_below + count) return bounds.low;
            Key* const at = between + (rank - not_below);
            std::nth_element(between, at, between + count, std::greater<Key>());
            return *at;
        });
        if (stretch == finest_stretch(n)) return bounds;
    }
}

/// How many keys there are above, at and between two bounds.
struct bound_counts {
    index_t all = 0, above_low = 0, equal_low = 0, equal_high = 0, between = 0;

    ESPALIER_FN index_t above_high() const { return above_low - between - equal_high; }
    ESPALIER_FN index_t below_low() const { return all - above_low - equal_low; }
    ESPALIER_FN bound_counts& operator+=(bound_counts const& other) {
        all += other.all;
        above_low += other.above_low;
        equal_low += other.equal_low;
        equal_high += other.equal_high;
        between += other.between;
        return *this;
    }
};

/// In which range the threshold is: one of the bounds, beyond them or between them. The bounds are apart because many
/// weights may be equal, to 0 above all, and a sample is sure to show such a key: what is strictly between the bounds
/// is few keys, whatever the weights are.
template <class Key> key_range<Key> range_of(bound_counts const& counts, key_bounds<Key> const& bounds, index_t keep) {
    Key const low = bounds.low, high = bounds.high;
    if (counts.above_high() >= keep) return {static_cast<Key>(high + 1), largest_key<Key>, counts.above_high(), keep};
    keep -= counts.above_high();
    if (counts.equal_high >= keep) return {high, high, counts.equal_high, keep};
    keep -= counts.equal_high;
    if (counts.between >= keep) return {bounds.first(), bounds.last(), counts.between, keep};
    keep -= counts.between;
    if (counts.equal_low >= keep) return {low, low, counts.equal_low, keep};
    return {0, static_cast<Key>(low - 1), counts.below_low(), keep - counts.equal_low};
}

/// What a survey finds: the same, and how many keys are in each bin of those between the bounds.
template <class Key, class Count = std::uint64_t> struct survey {
    bound_counts counts{};
    Count bin[1 << bin_bits] = {};

    template <class Other> void add(survey<Key, Other> const& other) {
        counts += other.counts;
        for (int i = 0; i < 1 << bin_bits; ++i)
            bin[i] += other.bin[i];
    }
    /// The range of the threshold, which between the bounds is a bin.
    key_range<Key> range(key_bounds<Key> const& bounds, index_t keep) const {
        key_range<Key> found = range_of(counts, bounds, keep);
        if (!bounds.hold(found)) return found;
        Key const first = bounds.first(), last = bounds.last();
        auto i = static_cast<Key>(static_cast<Key>(last - first) >> bounds.shift());
        while (static_cast<index_t>(bin[i]) < found.keep)
            found.keep -= static_cast<index_t>(bin[i--]);
        Key const begin = static_cast<Key>(first + (i << bounds.shift()));
        Key const width = static_cast<Key>((Key(1) << bounds.shift()) - 1);
        return {begin, last - begin < width ? last : static_cast<Key>(begin + width), static_cast<index_t>(bin[i]),
                found.keep};
    }
    /// How many keys it has in a range that a survey with these bounds gave.
    index_t count_in(key_range<Key> const& range, key_bounds<Key> const& bounds) const {
        if (range.first > bounds.high) return counts.above_high();
        if (range.first == bounds.high) return counts.equal_high;
        if (range.last < bounds.low) return counts.below_low();
        if (range.last == bounds.low) return counts.equal_low;
        return static_cast<index_t>(bin[static_cast<Key>(range.first - bounds.first()) >> bounds.shift()]);
    }
};

/// Looks at the keys of some strips.
template <class Criterion, class Key, class Count, class Pieces>
void look_at(Pieces const& pieces, strip_range strips, key_bounds<Key> const& bounds, survey<Key, Count>& result) {
    Key const low = bounds.low, high = bounds.high, first = bounds.first(), last = bounds.last();
    int const shift = bounds.shift();
    result = {};
    Count* const bin = result.bin;
    index_t all = 0, above_low = 0, equal_low = 0, equal_high = 0, between = 0;
    for_each_strip<Criterion, Key>(
        pieces, strips, [&](Key const* key, std::uint32_t*, index_t count, auto const* later) {
            using sum = std::common_type_t<Key, std::uint32_t>; // as wide as keys: one vector of each
            sum above = 0, lows = 0, highs = 0;
            for (index_t i = 0; i < strip; ++i) {
                above += static_cast<sum>(key[i] > low);
                lows += static_cast<sum>(key[i] == low);
                highs += static_cast<sum>(key[i] == high);
            }
            all += count;
            above_low += static_cast<index_t>(above);
            equal_low += static_cast<index_t>(lows) - (low == 0 ? strip - count : 0);
            equal_high += static_cast<index_t>(highs);
            if (first > last) {
                for (index_t i = 0; i < strip; i += 32)
                    fetch_word(later + i);
                return;
            }

            Key found[strip];
            Key* end = found;
            for (index_t i = 0; i < strip; i += 64) { // keys behind the last one are 0 and so not between
                fetch_word(later + i);
                fetch_word(later + i + 32);
                std::uint64_t rest = bits_within(key + i, 32, first, last);
                rest |= static_cast<std::uint64_t>(bits_within(key + i + 32, 32, first, last)) << 32;
                Key* const next = end + std::popcount(rest);
                // Four at once, whether there are so many or not: there are few, and one branch for each would be
                // mispredicted. The highest bit makes an empty word one whose lowest bit can be asked for.
                do
                    for (int k = 0; k < 4; ++k) {
                        *end++ = key[i + std::countr_zero(rest | std::uint64_t(1) << 63)];
                        rest &= rest - 1;
                    }
                while (rest != 0);
                end = next;
            }
            between += end - found;
            for (Key const* at = found; at != end; ++at)
                ++bin[static_cast<Key>(*at - first) >> shift];
        });
    result.counts = {all, above_low, equal_low, equal_high, between};
}

/// Surveys until the range has few enough keys or its weights are kept in order; nearly always that is one survey.
template <class Criterion, class Key, class Pieces>
key_range<Key> find_range(Pieces const& pieces, index_t n, index_t keep) {
    if (n <= rest_size) return {.count = n, .keep = keep};
    auto bounds = guess<Criterion, Key>(pieces, n, keep);
    for (;;) {
        survey<Key> result;
        look_at<Criterion>(pieces, all_strips(pieces), bounds, result);
        auto const range = result.range(bounds, keep);
        if (range.in_order() || range.count <= rest_size) return range;
        bounds = {range.first, range.last};
    }
}

/// A weight of which order alone does not say whether it is kept.
template <class Key> struct undecided {
    Key key;
    std::uint16_t place; ///< that of the weight among the undecided
    std::uint16_t bit;   ///< its number in the word
    std::uint32_t* word;
};

/// With what the writing of some strips begins.
struct strips_start {
    index_t keep = 0; ///< how many of their weights in the range are kept, if they are kept in order
    int place = 0;    ///< of the first undecided one
};

/// Writes the masks of some strips in one pass. Weights in the range are kept in order or noted in rest[place] and
/// behind it. Gives the place behind the last one.
template <class Criterion, class Key, class Pieces>
int write_strips(Pieces const& pieces, strip_range strips, key_range<Key> const& range, strips_start start,
                 undecided<Key>* rest) {
    for_each_strip<Criterion, Key>(
        pieces, strips, [&](Key const* key, std::uint32_t* mask, index_t count, auto const* later) {
            Key const first = range.first, last = range.last; // in registers, though words of masks are written
            for (index_t i = 0; i < count; i += 32, ++mask) {
                fetch_word(later + i);
                *mask = bits_above(key + i, last);
                std::uint32_t within = bits_within(key + i, count - i, first, last);
                if (within == 0) continue;
                if (range.in_order()) {
                    within = espalier::detail::lowest_bits(within, start.keep);
                    start.keep -= std::popcount(within);
                    *mask |= within;
                    continue;
                }
                for (; within != 0; within &= within - 1) {
                    int const at = std::countr_zero(within);
                    rest[start.place] = {key[i + at], static_cast<std::uint16_t>(start.place),
                                         static_cast<std::uint16_t>(at), mask};
                    ++start.place;
                }
            }
        });
    return start.place;
}

/// Keeps the best `keep` of the undecided.
template <class Key> void keep_best(undecided<Key>* rest, int count, index_t keep) {
    std::nth_element(rest, rest + keep, rest + count, [](undecided<Key> const& a, undecided<Key> const& b) {
        return a.key != b.key ? a.key > b.key : a.place < b.place;
    });
    for (index_t i = 0; i < keep; ++i)
        *rest[i].word |= std::uint32_t(1) << rest[i].bit;
}

template <class Criterion, class Key, class Pieces>
void write_masks(Pieces const& pieces, key_range<Key> const& range) {
    undecided<Key> rest[rest_size];
    int const count = write_strips<Criterion>(pieces, all_strips(pieces), range, {.keep = range.keep}, rest);
    if (!range.in_order()) keep_best(rest, count, range.keep);
}

/// All of n bits `kept`; the rest of the last word 0.
inline void fill_bits(std::uint32_t* mask, index_t n, bool kept) {
    for (index_t w = 0; w < (n + 31) / 32; ++w)
        mask[w] = kept ? ~std::uint32_t(0) : std::uint32_t(0);
    if (kept && n % 32 != 0) mask[n / 32] = (std::uint32_t(1) << (n % 32)) - 1;
}

} // namespace detail

/// Keeps exactly the `keep` weights of largest key over all pieces together; of equal ones those of earlier pieces,
/// then of lower index. `pieces` is an array of objects with members like those of `piece`. Reads the weights twice,
/// once to find a narrow range of keys around the threshold and once to write the masks; weights with many equal values
/// and guesses that fail cost a reading more, at worst a few, and so do more than some 100 million. Needs 42 KiB of
/// stack. Bits behind the last weight of a piece become 0. keep is clamped to [0, number of weights].
template <class Criterion, class Pieces> void select_largest(Pieces const& pieces, index_t keep) {
    index_t const n = detail::weights_in(pieces);
    if (keep <= 0 || keep >= n) {
        for (auto const& part : pieces)
            detail::fill_bits(part.mask, part.size, keep > 0);
        return;
    }
    using key_type = decltype(Criterion::key(*pieces[0].weights));
    detail::write_masks<Criterion>(pieces, detail::find_range<Criterion, key_type>(pieces, n, keep));
}

/// Of the weights that the mask keeps those stay whose key is smaller than that of `threshold`. One reading.
template <class Criterion, class T>
void select_below(matrix_view<T const> w, std::type_identity_t<T> threshold, std::uint32_t* mask) {
    using key_type = decltype(Criterion::key(threshold));
    key_type const limit = Criterion::key(threshold);
    piece<T> const whole[] = {{w.data, w.rows * w.columns, mask}};
    detail::for_each_strip<Criterion, key_type>(
        whole, detail::all_strips(whole),
        [&](key_type const* key, std::uint32_t* words, index_t count, auto const* later) {
            for (index_t i = 0; i < count; i += 32, ++words) {
                detail::fetch_word(later + i);
                *words &= limit == key_type(0)
                              ? std::uint32_t(0)
                              : detail::bits_within(key + i, count - i, key_type(0), static_cast<key_type>(limit - 1));
            }
        });
}

#if defined(ESPALIER_SELECTS_WITH_THRUST)
namespace detail {
/// select_largest on Thrust's device system; defined in thrust/select.hpp, which is included below.
template <class Criterion, class Pieces> void select_on_device_system(Pieces const& pieces, index_t keep);
} // namespace detail
#endif

/// The same with the share that is left out: keeps n - round(sparsity n) of the n weights of all pieces together. This
/// is what a training on the CPU calls. A program that is compiled with ESPALIER_SELECTS_WITH_THRUST, as
/// espalier::thrust defines it for the systems OMP and TBB, selects here on the threads of that system, in all of its
/// files: the masks are the same (thrust/select.hpp).
/// Throws data_error for a sparsity outside [0, 1].
template <class Criterion, class Pieces> void select_threshold(Pieces const& pieces, double sparsity) {
    index_t const n = detail::weights_in(pieces);
#if defined(ESPALIER_SELECTS_WITH_THRUST)
    detail::select_on_device_system<Criterion>(pieces, kept_count(n, sparsity));
#else
    select_largest<Criterion>(pieces, kept_count(n, sparsity));
#endif
}

namespace detail {

/// 64 numbers below 1 << Planes: bit p of each is in plane p.
template <int Planes> struct small_counters {
    std::uint64_t plane[std::size_t{Planes}] = {};

    /// One more for every bit that is set.
    ESPALIER_HOST_FN void add(std::uint64_t ones) {
        for (auto& bits : plane) {
            std::uint64_t const carry = bits & ones;
            bits ^= ones;
            ones = carry;
        }
    }
    /// Which are smaller than `limit`.
    ESPALIER_HOST_FN std::uint64_t below(int limit) const {
        std::uint64_t less = limit >> Planes != 0 ? ~std::uint64_t(0) : 0, equal = ~less;
        for (int p = Planes - 1; p >= 0; --p)
            if ((limit >> p & 1) != 0) {
                less |= equal & ~plane[p];
                equal &= plane[p];
            } else
                equal &= ~plane[p];
        return less;
    }
};

/// select_n_m for groups of at most Most rows: a weight stays when few of its group go before it. That is less work
/// than looking for a threshold up to 16 rows. Two rows are compared once, for a weight of the one goes before that of
/// the other or the other way round.
template <class Criterion, int Most, class T>
void select_by_counting(matrix_view<T const> w, group_pattern pattern, std::uint32_t* mask) {
    using key_type = decltype(Criterion::key(T()));
    using counters = small_counters<static_cast<int>(std::bit_width(static_cast<unsigned>(Most - 1)))>;
    constexpr index_t tile = 64;
    // Whole tiles are compared, what is behind the columns too. Set to zeros once: setting them for each tile took a
    // third of the time.
    key_type key[std::size_t{Most}][std::size_t{tile}] = {};
    index_t const end = (w.rows - 1) * w.stride + w.columns;
    for (index_t r = 0; r < w.rows; r += pattern.group) {
        int const group = static_cast<int>(w.rows - r < pattern.group ? w.rows - r : pattern.group);
        for (int i = group; i < pattern.group; ++i) // rows that the last group has not: nothing goes after them
            std::fill_n(key[i], tile, key_type(0));
        int const rows = Most <= 4 ? Most : group; // few stay in registers when it is known how many
        for (index_t c = 0; c < w.columns; c += tile) {
            index_t const columns = w.columns - c < tile ? w.columns - c : tile;
            for (int i = 0; i < group; ++i) {
                index_t const at = (r + i) * w.stride + c, later = at + ahead * strip;
                T const* const from = w.data + at;
                fetch_word(w.data + (later + tile <= end ? later : at));
                fetch_word(w.data + (later + tile <= end ? later + 32 : at));
                if (columns == tile)
                    for (index_t k = 0; k < tile; ++k)
                        key[i][k] = Criterion::key(from[k]);
                else
                    for (index_t k = 0; k < columns; ++k)
                        key[i][k] = Criterion::key(from[k]);
            }
            counters before[std::size_t{Most}];
            for (int j = 1; j < rows; ++j)
                for (int i = 0; i < j; ++i) {
                    std::uint64_t const first = bits_reaching(key[i], key[j]);
                    std::uint64_t const second = bits_reaching(key[i] + 32, key[j] + 32);
                    before[i].add(~(first | second << 32));
                    before[j].add(first | second << 32);
                }
            for (int i = 0; i < group; ++i)
                espalier::detail::put_bits(mask, (r + i) * w.columns + c, before[i].below(pattern.kept),
                                           static_cast<int>(columns));
        }
    }
}

/// Keys of a group of rows, in so many columns that they stay in the first-level cache.
template <class Key> struct group_tile {
    static constexpr int columns = 16;
    // Packs here, and loops over two rows elsewhere: with -O3 GCC unrolls loops over 16 numbers instead of vectorising
    // them.
    using row = pack<Key, columns>;

    Key key[std::size_t{group_pattern::largest_group * columns}];

    row operator[](int i) const { return row::load(key + i * columns); }
    /// How many of the first `rows` keys of each column are in a set.
    template <class Contains> row count(int rows, Contains const& contains) const {
        row n(Key(0));
        for (int i = 0; i < rows; ++i)
            n += select(contains((*this)[i]), row(Key(1)), row(Key(0)));
        return n;
    }
    /// For each column a key that at least `kept` rows reach, while any larger one is reached by fewer, or by exactly
    /// `kept` as this one is. The bits that all keys of a column begin with are known at once; the others are found one
    /// by one, from the highest on, until exactly `kept` rows of each of the first `wanted` columns remain. Other
    /// columns have one key in all rows.
    row thresholds(int rows, int kept, int wanted) const {
        row all(largest_key<Key>), any(Key(0));
        for (int i = 0; i < rows; ++i) {
            all = all & (*this)[i];
            any = any | (*this)[i];
        }
        Key apart[std::size_t{2 * columns}] = {}, differ = 0;
        (all ^ any).store(apart);
        for (int k = 0; k < 2 * columns; ++k)
            differ |= apart[k];
        Key const highest = std::bit_floor(differ), open = static_cast<Key>(highest | (highest - (highest != 0)));
        row least = all & row(static_cast<Key>(~open));
        row const enough(static_cast<Key>(kept));
        row found(static_cast<Key>(rows));
        if (wanted < columns) found = select(mask_of<row>::first(wanted), found, enough);
        for (Key bit = rows > kept ? highest : Key(0); bit != 0 && espalier::any(found != enough); bit >>= 1) {
            row const next = least | row(bit);
            row const n = count(rows, [&](row const& its) { return its >= next; });
            least = select(n >= enough, next, least);
            found = select(n >= enough, n, found);
        }
        return least;
    }
};

/// select_n_m for groups of any size: the work on a weight does not grow with them.
template <class Criterion, class T>
void select_by_thresholds(matrix_view<T const> w, group_pattern pattern, std::uint32_t* mask) {
    using key_type = decltype(Criterion::key(T()));
    using row = typename group_tile<key_type>::row;
    constexpr int tile = group_tile<key_type>::columns;
    group_tile<key_type> at;
    row const none(key_type(0)), one(key_type(1));
    for (index_t r = 0; r < w.rows; r += pattern.group) {
        int const group = static_cast<int>(w.rows - r < pattern.group ? w.rows - r : pattern.group);
        for (index_t c = 0; c < w.columns; c += tile) {
            int const columns = static_cast<int>(w.columns - c < tile ? w.columns - c : tile);
            for (int i = 0; i < group; i += 2) {
                T two[std::size_t{2 * tile}] = {};
                for (int j = 0; j < 2 && i + j < group; ++j) {
                    T const* const from = &w(r + i + j, c);
                    if (columns == tile)
                        std::copy_n(from, tile, two + j * tile);
                    else
                        std::copy_n(from, columns, two + j * tile);
                }
                for (int k = 0; k < 2 * tile; ++k)
                    at.key[i * tile + k] = Criterion::key(two[k]);
            }
            row const least = at.thresholds(group, pattern.kept, columns);
            // Of the weights whose key is the threshold the first so many stay.
            row left =
                row(static_cast<key_type>(pattern.kept)) - at.count(group, [&](row const& its) { return its > least; });
            for (int i = 0; i < group; i += 2) { // two rows are the bits of a word
                key_type keeps[std::size_t{2 * tile}] = {};
                for (int j = 0; j < 2 && i + j < group; ++j) {
                    row const its = at[i + j], same = select((its == least) & (left > none), one, none);
                    left -= same;
                    select(its > least, one, same).store(keeps + j * tile);
                }
                std::uint32_t const bits = bits_above(keeps, key_type(0));
                espalier::detail::put_bits(mask, (r + i) * w.columns + c, bits & 0xffffu, columns);
                if (i + 1 < group) espalier::detail::put_bits(mask, (r + i + 1) * w.columns + c, bits >> 16, columns);
            }
        }
    }
}

} // namespace detail

/// Keeps pattern.kept weights of largest key in every group of pattern.group consecutive rows of a column (consecutive
/// inputs of one output); of equal ones those of lower row. The last group of a column may be shorter: it keeps
/// min(kept, its size). Bits behind the last weight become 0. The work on a weight grows with groups up to 16 and is
/// the same for all larger ones. Needs 36 KiB of stack.
/// Throws data_error unless 1 <= kept <= group <= 256.
template <class Criterion, class T>
void select_n_m(matrix_view<T const> w, group_pattern pattern, std::uint32_t* mask) {
    if (!pattern.possible())
        espalier::detail::throw_data_error("prune: the pattern is ", pattern.kept, ":", pattern.group,
                                           ", needed is 1 <= N <= M <= ", group_pattern::largest_group);
    if (pattern.group <= 4) // compilers make more of loops over a few rows when they know that
        detail::select_by_counting<Criterion, 4>(w, pattern, mask);
    else if (pattern.group <= 8)
        detail::select_by_counting<Criterion, 8>(w, pattern, mask);
    else if (pattern.group <= 16)
        detail::select_by_counting<Criterion, 16>(w, pattern, mask);
    else
        detail::select_by_thresholds<Criterion>(w, pattern, mask);
    index_t const n = w.rows * w.columns;
    if (n % 32 != 0) espalier::detail::put_bits(mask, n, 0, static_cast<int>(32 - n % 32));
}

} // namespace espalier::prune

#if defined(ESPALIER_SELECTS_WITH_THRUST)
#include <espalier/thrust/select.hpp>
#endif
