// SPDX-License-Identifier: Apache-2.0
// host only. The area under the curve of train/area_under_curve.hpp wherever Thrust's algorithms run.
#pragma once

#include <espalier/core/macros.hpp>
#include <espalier/core/view.hpp>
#include <espalier/thrust/scratch.hpp>
#include <espalier/train/area_under_curve.hpp>

#include <thrust/copy.h>
#include <thrust/find.h>
#include <thrust/functional.h>
#include <thrust/iterator/transform_iterator.h>
#include <thrust/iterator/zip_iterator.h>
#include <thrust/sort.h>
#include <thrust/transform_reduce.h>
#include <thrust/tuple.h>

#include <cstdint>
#include <iterator>
#include <limits>

namespace espalier {

namespace detail {

// A row is a tuple of what the iterators give, references of their own kind too: it is read as the types that they
// stand for.

template <class Score, class Label> struct count_row {
    template <class Row> ESPALIER_FN class_counts operator()(Row const& row) const {
        return class_counts::of(static_cast<Score>(::thrust::get<0>(row)), static_cast<Label>(::thrust::get<1>(row)));
    }
};
struct add_rows {
    ESPALIER_FN class_counts operator()(class_counts a, class_counts b) const { return a + b; }
};
template <class Score, class Label> struct has_no_number {
    template <class Row> ESPALIER_FN bool operator()(Row const& row) const {
        return count_row<Score, Label>()(row).no_numbers != 0;
    }
};

template <class Score> struct to_score_key {
    ESPALIER_FN auto operator()(Score score) const { return score_key(score); }
};
template <class Label> struct is_of_class {
    bool positive;

    ESPALIER_FN bool operator()(Label label) const { return is_positive(label) == positive; }
};

template <class Score, class Label> struct places_of_row {
    decltype(score_key(Score())) const* keys;
    std::uint64_t count;
    bool positives; ///< whether the keys are theirs

    template <class Row> ESPALIER_FN std::uint64_t operator()(Row const& row) const {
        if (is_positive(static_cast<Label>(::thrust::get<1>(row))) == positives) return 0;
        return below_and_not_above(keys, count, score_key(static_cast<Score>(::thrust::get<0>(row))));
    }
};

} // namespace detail

/// area_under_curve(scores, end, labels) on the system of a Thrust policy, in whose memory scores and labels are; the
/// same bits, because all sums are of whole numbers. Takes a key for each row of the smaller class from the policy's
/// memory, and what Thrust sorts them with. Throws what the serial function throws.
template <class System, class Scores, class Labels>
double area_under_curve(System const& system, Scores scores, Scores end, Labels labels) {
    using score_type = typename std::iterator_traits<Scores>::value_type;
    using label_type = typename std::iterator_traits<Labels>::value_type;
    using key_type = decltype(detail::score_key(score_type()));
    index_t const n = end - scores;
    detail::check_area_rows(n);
    auto const rows = ::thrust::make_zip_iterator(::thrust::make_tuple(scores, labels));
    auto const counts = ::thrust::transform_reduce(system, rows, rows + n, detail::count_row<score_type, label_type>(),
                                                   detail::class_counts(), detail::add_rows());
    if (counts.no_numbers != 0)
        detail::throw_no_number(
            ::thrust::find_if(system, rows, rows + n, detail::has_no_number<score_type, label_type>()) - rows);
    detail::class_sizes const sizes{counts.positives, static_cast<std::uint64_t>(n) - counts.positives};
    if (sizes.one_class()) return std::numeric_limits<double>::quiet_NaN();

    detail::scratch<key_type, System> const keys(system, static_cast<index_t>(sizes.sorted()));
    auto const all = ::thrust::make_transform_iterator(scores, detail::to_score_key<score_type>());
    ::thrust::copy_if(system, all, all + n, labels, keys.data(),
                      detail::is_of_class<label_type>{sizes.sorts_positives()});
    ::thrust::sort(system, keys.begin(), keys.end());
    return sizes.area(::thrust::transform_reduce(
        system, rows, rows + n,
        detail::places_of_row<score_type, label_type>{keys.data(), sizes.sorted(), sizes.sorts_positives()},
        std::uint64_t(0), ::thrust::plus<std::uint64_t>()));
}

} // namespace espalier
