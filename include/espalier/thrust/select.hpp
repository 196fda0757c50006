// SPDX-License-Identifier: Apache-2.0
// host only. Exact selection of the most valuable weights wherever Thrust's algorithms run: the masks of
// prune/select.hpp.
#pragma once

#include <espalier/core/macros.hpp>
#include <espalier/core/view.hpp>
#include <espalier/core/word_bits.hpp>
#include <espalier/prune/select.hpp>
#include <espalier/thrust/scratch.hpp>

#include <thrust/binary_search.h>
#include <thrust/copy.h>
#include <thrust/execution_policy.h>
#include <thrust/for_each.h>
#include <thrust/functional.h>
#include <thrust/iterator/counting_iterator.h>
#include <thrust/iterator/transform_iterator.h>
#include <thrust/sort.h>
#include <thrust/transform.h>
#include <thrust/transform_reduce.h>
#include <thrust/transform_scan.h>

#include <cstdint>
#include <type_traits>

namespace espalier::prune {

namespace detail {

// ---- in host memory: the strips of the serial selection, shared out in slices

/// A slice has so many weights at least, and there are so many slices at most: each has a survey of its own, 8 KiB.
inline constexpr index_t smallest_slice = 32768, most_slices = 256;

/// The strips of one of `slices` equal parts.
inline strip_range slice_of(strip_range all, index_t slice, index_t slices) {
    return {all.last * slice / slices, all.last * (slice + 1) / slices};
}

template <class Criterion, class Key, class Pieces> struct survey_of_slice {
    Pieces const* pieces;
    strip_range strips;
    index_t slices;
    key_bounds<Key> bounds;
    survey<Key, std::uint32_t>* result;

    void operator()(index_t slice) const {
        look_at<Criterion>(*pieces, slice_of(strips, slice, slices), bounds, result[slice]);
    }
};

template <class Criterion, class Key, class Pieces> struct masks_of_slice {
    Pieces const* pieces;
    strip_range strips;
    index_t slices;
    key_range<Key> range;
    strips_start const* start;
    undecided<Key>* rest;

    void operator()(index_t slice) const {
        write_strips<Criterion>(*pieces, slice_of(strips, slice, slices), range, start[slice], rest);
    }
};

template <class Body, class System> void for_each_slice(System const& system, index_t slices, Body const& body) {
    ::thrust::for_each_n(system, ::thrust::counting_iterator<index_t>(0), slices, body);
}

template <class Criterion, class Key, class System, class Pieces>
void select_in_slices(System const& system, Pieces const& pieces, index_t n, index_t keep) {
    index_t const wanted = n / smallest_slice;
    index_t const slices = wanted < most_slices ? wanted : most_slices;
    if (slices < 2) {
        write_masks<Criterion>(pieces, find_range<Criterion, Key>(pieces, n, keep));
        return;
    }
    strip_range const strips = all_strips(pieces);
    espalier::detail::scratch<survey<Key, std::uint32_t>, System> const surveys(system, slices);
    auto bounds = guess<Criterion, Key>(pieces, n, keep);
    key_range<Key> range;
    for (;;) {
        for_each_slice(system, slices,
                       survey_of_slice<Criterion, Key, Pieces>{&pieces, strips, slices, bounds, surveys.data()});
        survey<Key> result;
        for (auto const& of_slice : surveys)
            result.add(of_slice);
        range = result.range(bounds, keep);
        if (range.in_order() || range.count <= rest_size) break;
        bounds = {range.first, range.last};
    }

    strips_start start[most_slices];
    undecided<Key> rest[rest_size];
    index_t before = 0;
    for (index_t slice = 0; slice < slices; ++slice) {
        index_t const left = range.keep - before;
        start[slice] = {left > 0 ? left : 0, range.in_order() ? 0 : static_cast<int>(before)};
        before += surveys.data()[slice].count_in(range, bounds);
    }
    for_each_slice(system, slices, masks_of_slice<Criterion, Key, Pieces>{&pieces, strips, slices, range, start, rest});
    if (!range.in_order()) keep_best(rest, static_cast<int>(range.count), range.keep);
}

// ---- in memory of a device: algorithms over weights and over words of masks

template <class Criterion, class T> using key_of = decltype(Criterion::key(T()));

template <class Criterion, class T> struct to_key {
    ESPALIER_FN key_of<Criterion, T> operator()(T w) const { return Criterion::key(w); }
};

/// The key at a place of a sample.
template <class Criterion, class T> struct key_of_stretch {
    T const* weights;
    index_t begin; ///< of the weights among those of all pieces
    index_t stretch;

    ESPALIER_FN key_of<Criterion, T> operator()(index_t number) const {
        return Criterion::key(weights[number * stretch + sampled_place(number, stretch) - begin]);
    }
};

template <class Criterion, class T> struct place_to_bounds {
    key_bounds<key_of<Criterion, T>> bounds;

    ESPALIER_FN bound_counts operator()(T w) const {
        auto const key = Criterion::key(w);
        return {1, key > bounds.low, key == bounds.low, key == bounds.high, key > bounds.low && key < bounds.high};
    }
};
struct add_counts {
    ESPALIER_FN bound_counts operator()(bound_counts a, bound_counts const& b) const { return a += b; }
};

template <class Key> struct key_within {
    Key first, last;

    ESPALIER_FN bool operator()(Key key) const { return first <= key && key <= last; }
};

/// Writes word `number` of a mask: the weights whose keys are above the range, and those within it or, if they are kept
/// in turn, a word of candidates.
template <class Criterion, class T> struct write_word {
    T const* weights;
    index_t size;
    key_of<Criterion, T> first, last;
    std::uint32_t* mask;
    std::uint32_t* candidates; ///< null: all in the range are kept

    ESPALIER_FN void operator()(index_t number) const {
        index_t const begin = 32 * number;
        int const count = size - begin < 32 ? static_cast<int>(size - begin) : 32;
        std::uint32_t above = 0, within = 0;
        for (int i = 0; i < count; ++i) {
            auto const key = Criterion::key(weights[begin + i]);
            above |= static_cast<std::uint32_t>(key > last) << i;
            within |= static_cast<std::uint32_t>(first <= key && key <= last) << i;
        }
        mask[number] = candidates == nullptr ? above | within : above;
        if (candidates != nullptr) candidates[number] = within;
    }
};

struct bits_of_word {
    ESPALIER_FN index_t operator()(std::uint32_t word) const { return espalier::detail::count_bits(word); }
};

/// Adds those of a word's candidates that are among the first `keep` of all.
struct first_candidates {
    std::uint32_t const* candidates;
    index_t const* before;
    index_t keep;

    ESPALIER_FN std::uint32_t operator()(std::uint32_t kept, index_t number) const {
        index_t const left = keep - before[number];
        return left > 0 ? kept | espalier::detail::lowest_bits(candidates[number], left) : kept;
    }
};

/// Word `number` of a mask of `size` weights that are all kept, or none.
struct filled_word {
    index_t size;
    bool kept;

    ESPALIER_FN std::uint32_t operator()(index_t number) const {
        if (!kept) return 0;
        return size - 32 * number < 32 ? (std::uint32_t(1) << (size - 32 * number)) - 1 : ~std::uint32_t(0);
    }
};

inline ::thrust::counting_iterator<index_t> number_from(index_t first) {
    return ::thrust::counting_iterator<index_t>(first);
}

inline index_t words_of(index_t size) {
    return (size + 31) / 32;
}

/// The first stretch of a sample whose place is not before `begin`.
inline index_t first_stretch(index_t begin, index_t stretch) {
    index_t const number = begin / stretch;
    return number * stretch + sampled_place(number, stretch) < begin ? number + 1 : number;
}

/// The range of the threshold, which is one key: all of them were looked at, so it is in order.
template <class Criterion, class Key, class System, class Pieces>
key_range<Key> find_key(System const& system, Pieces const& pieces, index_t n, index_t keep) {
    using T = std::remove_cvref_t<decltype(*pieces[0].weights)>;
    using espalier::detail::value_at;
    ::thrust::greater<Key> const descending;
    index_t const stretch = sample_stretch(n);
    index_t const sampled = first_stretch(n, stretch);
    espalier::detail::scratch<Key, System> const sample(system, sampled);
    index_t begin = 0;
    for (auto const& part : pieces) {
        index_t const first = first_stretch(begin, stretch), last = first_stretch(begin + part.size, stretch);
        ::thrust::transform(system, number_from(first), number_from(last), sample.data() + first,
                            key_of_stretch<Criterion, T>{part.weights, begin, stretch});
        begin += part.size;
    }
    ::thrust::sort(system, sample.begin(), sample.end(), descending);

    key_bounds<Key> bounds;
    key_range<Key> range;
    // A guess that fails is made anew, wider: at last the bounds are the least and the largest key there is.
    for (double deviations = 3.0;; deviations *= 3.0) {
        bounds = bounds_at<Key>(ranks_around(sampled, n, keep, deviations),
                                [&](index_t rank) { return value_at(system, sample.data() + rank); });
        bound_counts counts;
        for (auto const& part : pieces)
            counts += ::thrust::transform_reduce(system, part.weights, part.weights + part.size,
                                                 place_to_bounds<Criterion, T>{bounds}, bound_counts(), add_counts());
        range = range_of(counts, bounds, keep);
        if (range.in_order()) return range;
        if (bounds.hold(range)) break;
    }

    espalier::detail::scratch<Key, System> const found(system, range.count);
    Key* end = found.data();
    for (auto const& part : pieces) {
        auto const keys = ::thrust::make_transform_iterator(part.weights, to_key<Criterion, T>());
        end = ::thrust::copy_if(system, keys, keys + part.size, end, key_within<Key>{range.first, range.last});
    }
    ::thrust::sort(system, found.begin(), end, descending);
    Key const threshold = value_at(system, found.data() + (range.keep - 1));
    index_t const above = ::thrust::lower_bound(system, found.begin(), end, threshold, descending) - found.begin();
    index_t const through = ::thrust::upper_bound(system, found.begin(), end, threshold, descending) - found.begin();
    return {threshold, threshold, through - above, range.keep - above};
}

template <class Criterion, class Key, class System, class Pieces>
void select_by_words(System const& system, Pieces const& pieces, index_t n, index_t keep) {
    using T = std::remove_cvref_t<decltype(*pieces[0].weights)>;
    key_range<Key> const range = find_key<Criterion, Key>(system, pieces, n, keep);
    index_t words = 0; // of candidates
    if (range.keep < range.count)
        for (auto const& part : pieces)
            words += words_of(part.size);
    espalier::detail::scratch<std::uint32_t, System> const candidates(system, words);
    espalier::detail::scratch<index_t, System> const before(system, words);

    index_t first = 0;
    for (auto const& part : pieces) {
        ::thrust::for_each_n(system, number_from(0), words_of(part.size),
                             write_word<Criterion, T>{part.weights, part.size, range.first, range.last, part.mask,
                                                      words == 0 ? nullptr : candidates.data() + first});
        first += words_of(part.size);
    }
    if (words == 0) return;
    ::thrust::transform_exclusive_scan(system, candidates.begin(), candidates.end(), before.data(), bits_of_word(),
                                       index_t(0), ::thrust::plus<index_t>());
    first = 0;
    for (auto const& part : pieces) {
        ::thrust::transform(system, part.mask, part.mask + words_of(part.size), number_from(first), part.mask,
                            first_candidates{candidates.data(), before.data(), range.keep});
        first += words_of(part.size);
    }
}

} // namespace detail

/// Keeps exactly the `keep` weights of largest key over all pieces together, on the system of a Thrust policy:
/// thrust::host, thrust::omp::par, thrust::cuda::par.on(stream), thrust::cuda::par(allocator) and others. The masks are
/// bit for bit those of select_largest(pieces, keep), whose contract holds: of equal weights those of earlier pieces,
/// then of lower index; bits behind the last weight of a piece become 0; keep is clamped. The array `pieces` itself is
/// in host memory, the weights and masks that it points to in the system's.
///
/// In host memory the strips of the serial selection are shared out over the system's threads: weights are read twice,
/// more often where the serial one does so too; from the policy's memory come 8 KiB for every 32768 weights, 2 MiB at
/// most, none for fewer than 65536 weights, which are not worth threads. Elsewhere algorithms over single weights read
/// them three times: to count against two keys of a sample, to sort what is between them, and to write masks. From the
/// policy's memory come a key for each weight in between, a tenth of all or less unless the sample misled, what Thrust
/// sorts them with, and, where equal weights are kept in part, 12 bytes for 32 weights. Some launches for every piece;
/// waits for the result of each count.
template <class Criterion, class System, class Pieces>
void select_largest(System const& system, Pieces const& pieces, index_t keep) {
    index_t const n = detail::weights_in(pieces);
    if (keep <= 0 || keep >= n) {
        for (auto const& part : pieces)
            ::thrust::transform(system, detail::number_from(0), detail::number_from(detail::words_of(part.size)),
                                part.mask, detail::filled_word{part.size, keep > 0});
        return;
    }
    using key_type = decltype(Criterion::key(*pieces[0].weights));
    if constexpr (espalier::detail::host_system<System>)
        detail::select_in_slices<Criterion, key_type>(system, pieces, n, keep);
    else
        detail::select_by_words<Criterion, key_type>(system, pieces, n, keep);
}

/// The same with the share that is left out: keeps n - round(sparsity n) of the n weights of all pieces together.
/// Throws data_error for a sparsity outside [0, 1].
template <class Criterion, class System, class Pieces>
void select_threshold(System const& system, Pieces const& pieces, double sparsity) {
    index_t const n = detail::weights_in(pieces);
    select_largest<Criterion>(system, pieces, kept_count(n, sparsity));
}

#if defined(ESPALIER_SELECTS_WITH_THRUST)
namespace detail {
template <class Criterion, class Pieces> void select_on_device_system(Pieces const& pieces, index_t keep) {
    static_assert(espalier::detail::host_system<std::remove_cvref_t<decltype(::thrust::device)>>,
                  "espalier: with ESPALIER_SELECTS_WITH_THRUST a training on the CPU selects masks on Thrust's device "
                  "system, which must be in host memory: THRUST_DEVICE_SYSTEM_OMP, _TBB or _CPP (docs/thrust.md)");
    select_largest<Criterion>(::thrust::device, pieces, keep);
}
} // namespace detail
#endif

} // namespace espalier::prune
