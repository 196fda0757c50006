// SPDX-License-Identifier: Apache-2.0
// How well scores tell positives from negatives.
#pragma once

#include <algorithm>
#include <cstddef>
#include <limits>
#include <numeric>
#include <vector>

namespace recommender {

/// Area under the curve: the chance that a positive's score is above a negative's, ties counted half. Without a
/// positive or without a negative there is no such chance, and the answer is no number (NaN): 0 would say that all is
/// wrong. O(n log n).
inline double area_under_curve(std::vector<float> const& scores, std::vector<float> const& positive) {
    std::vector<std::size_t> order(scores.size());
    std::iota(order.begin(), order.end(), std::size_t{0});
    std::sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return scores[a] < scores[b]; });
    double rank_sum = 0.0, positives = 0.0;
    for (std::size_t i = 0; i < order.size();) {
        std::size_t end = i;
        double here = 0.0;
        while (end < order.size() && scores[order[end]] == scores[order[i]])
            here += positive[order[end++]] > 0.5f;
        rank_sum += here * 0.5 * static_cast<double>(i + 1 + end); // ranks i + 1 ... end
        positives += here;
        i = end;
    }
    double const negatives = static_cast<double>(scores.size()) - positives;
    if (positives == 0.0 || negatives == 0.0) return std::numeric_limits<double>::quiet_NaN();
    return (rank_sum - positives * (positives + 1.0) / 2.0) / (positives * negatives);
}

} // namespace recommender
