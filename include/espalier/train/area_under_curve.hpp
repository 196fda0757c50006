// SPDX-License-Identifier: Apache-2.0
// host only. How well scores tell positives from negatives.
#pragma once

#include <espalier/core/macros.hpp>
#include <espalier/core/pack.hpp>
#include <espalier/core/text.hpp>
#include <espalier/core/view.hpp>

#include <algorithm>
#include <cstdint>
#include <iterator>
#include <limits>
#include <type_traits>
#include <vector>

namespace espalier {

namespace detail {

/// An unsigned number that grows with a score, the same for -0 and 0; a score that is no number has none.
template <class T> ESPALIER_FN auto score_key(T score) {
    static_assert(std::is_same_v<T, float> || std::is_same_v<T, double>,
                  "espalier: area_under_curve takes scores that are float or double");
    auto const bits = to_bits(score == T(0) ? T(0) : score);
    using key_type = std::remove_const_t<decltype(bits)>;
    constexpr key_type sign = key_type(1) << (8 * sizeof(T) - 1);
    return static_cast<key_type>((bits & sign) != 0 ? ~bits : bits | sign);
}

template <class Label> ESPALIER_FN constexpr bool is_positive(Label label) {
    return static_cast<double>(label) > 0.5;
}

/// What rows there are.
struct class_counts {
    std::uint64_t positives = 0;
    std::uint64_t no_numbers = 0; ///< rows whose score or label is no number

    template <class Score, class Label> ESPALIER_FN static class_counts of(Score score, Label label) {
        return {is_positive(label), !(score == score && label == label)};
    }
    ESPALIER_FN friend class_counts operator+(class_counts a, class_counts b) {
        return {a.positives + b.positives, a.no_numbers + b.no_numbers};
    }
};

/// The first place from `first` on of `count` ascending keys where key <= keys[place], or key < keys[place]. Without a
/// branch on keys, which would be mispredicted every second time.
template <bool BehindEqual, class Key>
ESPALIER_FN std::uint64_t place_of(Key const* keys, std::uint64_t first, std::uint64_t count, Key key) {
    auto const before = [&](std::uint64_t place) {
        return static_cast<std::uint64_t>(BehindEqual ? keys[place] <= key : keys[place] < key);
    };
    for (std::uint64_t left = count - first; left > 0;) {
        std::uint64_t const half = (left + 1) / 2;
        first += before(first + half - 1) * half;
        left -= half;
    }
    return first;
}

/// How many of `count` ascending keys are below this one, and how many are not above it, together.
template <class Key> ESPALIER_FN std::uint64_t below_and_not_above(Key const* keys, std::uint64_t count, Key key) {
    std::uint64_t const below = place_of<false>(keys, 0, count, key);
    std::uint64_t end = below; // of a stretch that has all keys which are equal: there are few, most often none
    for (std::uint64_t step = 1; end < count && keys[end] == key; step *= 2)
        end = count - end > step ? end + step : count;
    return below + place_of<true>(keys, below, end, key);
}

/// The class whose keys are sorted is the smaller one; `places` is the sum of below_and_not_above over the other one.
struct class_sizes {
    std::uint64_t positives, negatives;

    bool sorts_positives() const { return positives < negatives; }
    std::uint64_t sorted() const { return sorts_positives() ? positives : negatives; }
    bool one_class() const { return positives == 0 || negatives == 0; }
    double area(std::uint64_t places) const {
        std::uint64_t const twice = 2 * positives * negatives;
        return static_cast<double>(sorts_positives() ? twice - places : places) / static_cast<double>(twice);
    }
};

inline void check_area_rows(index_t n) {
    if (n > index_t(0xffffffff)) throw_data_error("area_under_curve: ", n, " rows were given; at most 4294967295");
}
[[noreturn]] inline void throw_no_number(index_t row) {
    throw_data_error("area_under_curve: the score or the label of row ", row, " is no number");
}

} // namespace detail

/// Area under the receiver operating characteristic: the chance that a positive's score is above a negative's, ties
/// counted half,
///   sum over pairs of [s+ > s-] + [s+ = s-] / 2,  divided by the number of pairs.
/// A row is positive when its label is above 1/2. `scores` to `end` are float or double, `labels` as many numbers or
/// bools. Exact: pairs are counted in whole numbers, and one division is rounded. NaN without a positive or without a
/// negative, where there is no such chance. O(n log m) with the m keys of the smaller class in memory.
/// Throws data_error where a score or a label is no number, and for more than 2^32 - 1 rows.
template <std::random_access_iterator Scores, std::random_access_iterator Labels>
double area_under_curve(Scores scores, Scores end, Labels labels) {
    index_t const n = end - scores;
    detail::check_area_rows(n);
    detail::class_counts counts;
    for (index_t i = 0; i < n; ++i) {
        counts = counts + detail::class_counts::of(scores[i], labels[i]);
        if (counts.no_numbers != 0) detail::throw_no_number(i);
    }
    detail::class_sizes const sizes{counts.positives, static_cast<std::uint64_t>(n) - counts.positives};
    if (sizes.one_class()) return std::numeric_limits<double>::quiet_NaN();

    std::vector<decltype(detail::score_key(std::iter_value_t<Scores>()))> keys;
    keys.reserve(sizes.sorted());
    for (index_t i = 0; i < n; ++i)
        if (detail::is_positive(labels[i]) == sizes.sorts_positives()) keys.push_back(detail::score_key(scores[i]));
    std::sort(keys.begin(), keys.end());
    std::uint64_t places = 0;
    for (index_t i = 0; i < n; ++i)
        if (detail::is_positive(labels[i]) != sizes.sorts_positives())
            places += detail::below_and_not_above(keys.data(), sizes.sorted(), detail::score_key(scores[i]));
    return sizes.area(places);
}

} // namespace espalier
