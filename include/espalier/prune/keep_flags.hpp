// SPDX-License-Identifier: Apache-2.0
// host only. Which of several things stay, and the best of them.
#pragma once

#include <espalier/core/text.hpp>
#include <espalier/core/view.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace espalier::prune {

/// One number for each element of a tensor, row after row, or for each unit: 1 where it is kept, 0 where it is left
/// out. What `set_mask` and `set_units` take; programs that mark what is to go (U = 1) turn it round.
using keep_flags = std::vector<std::uint8_t>;

namespace detail {

/// Throws data_error for a number of things to keep that there cannot be.
inline std::size_t checked_count(index_t count, std::size_t things, char const* function, char const* name) {
    if (count < 0 || static_cast<std::size_t>(count) > things)
        espalier::detail::throw_data_error("prune::", function, ": ", count, " ", name, " are to be kept of ", things);
    return static_cast<std::size_t>(count);
}

/// Keeps the first `count` in the order that `before` says, of equal ones those of lower index.
template <class Before> keep_flags keep_first(std::span<double const> scores, std::size_t count, Before const& before) {
    std::vector<std::size_t> order(scores.size());
    for (std::size_t i = 0; i < order.size(); ++i)
        order[i] = i;
    std::sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
        return scores[a] != scores[b] ? before(scores[a], scores[b]) : a < b;
    });
    keep_flags keep(scores.size(), 0);
    for (std::size_t i = 0; i < count; ++i)
        keep[order[i]] = 1;
    return keep;
}

inline keep_flags keep_largest_of(std::span<double const> scores, std::size_t count) {
    return keep_first(scores, count, [](double a, double b) { return a > b; });
}

/// The same number once the scores are found to be some.
inline std::size_t checked_scores(std::span<double const> scores, index_t count, char const* function) {
    for (std::size_t i = 0; i < scores.size(); ++i)
        if (std::isnan(scores[i]))
            espalier::detail::throw_data_error("prune::", function, ": the score of unit ", i, " is no number");
    return checked_count(count, scores.size(), function, "units");
}

} // namespace detail

/// Keeps the `count` of highest score; of equal ones those of lower index. n log n for n scores. Throws data_error for
/// a count outside [0, n] and for a score that is no number.
inline keep_flags keep_highest(std::span<double const> scores, index_t count) {
    return detail::keep_largest_of(scores, detail::checked_scores(scores, count, "keep_highest"));
}

/// Keeps the `count` of lowest score; otherwise as `keep_highest`.
inline keep_flags keep_lowest(std::span<double const> scores, index_t count) {
    return detail::keep_first(scores, detail::checked_scores(scores, count, "keep_lowest"),
                              [](double a, double b) { return a < b; });
}

} // namespace espalier::prune
