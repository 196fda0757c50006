// SPDX-License-Identifier: Apache-2.0
// host only. Which channels stay, judged by the factors of their normalisation.
#pragma once

#include <espalier/core/text.hpp>
#include <espalier/core/view.hpp>
#include <espalier/prune/keep_flags.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <vector>

namespace espalier::prune {

namespace detail {

/// The absolute values of a tensor. Throws data_error for what is none of a finite number, and without elements.
template <class T> std::vector<double> magnitudes(matrix_view<T> scales, char const* function) {
    std::vector<double> size;
    size.reserve(static_cast<std::size_t>(scales.rows * scales.columns));
    for (index_t r = 0; r < scales.rows; ++r)
        for (index_t c = 0; c < scales.columns; ++c) {
            double const magnitude = std::fabs(static_cast<double>(scales(r, c)));
            if (!std::isfinite(magnitude))
                espalier::detail::throw_data_error("prune::", function, ": the scale of channel ", size.size(),
                                                   " is not finite");
            size.push_back(magnitude);
        }
    if (size.empty()) espalier::detail::throw_data_error("prune::", function, ": there are no channels");
    return size;
}

} // namespace detail

/// Keeps the `count` channels of largest |scale|; of equal ones those of lower index. n log n for n channels. Throws
/// data_error for a count outside [0, n] and for a scale that is not finite.
template <class T> keep_flags keep_largest(matrix_view<T> scales, index_t count) {
    auto const size = detail::magnitudes(scales, "keep_largest");
    return detail::keep_largest_of(size, detail::checked_count(count, size.size(), "keep_largest", "channels"));
}

/// Keeps channel c when |scale_c| > threshold; where fewer than `min_channels` would stay, the `min_channels` largest,
/// of equal ones those of lower index: a layer never vanishes. A threshold over all layers can condemn one as a whole,
/// so judge every layer by itself. Throws data_error for a threshold that is negative or no number, for more
/// min_channels than there are and for a scale that is not finite.
template <class T> keep_flags keep_above(matrix_view<T> scales, double threshold, index_t min_channels = 1) {
    auto const size = detail::magnitudes(scales, "keep_above");
    std::size_t const least = detail::checked_count(min_channels, size.size(), "keep_above", "channels");
    if (!(threshold >= 0.0))
        espalier::detail::throw_data_error("prune::keep_above: the threshold is ", threshold,
                                           "; needed is one that is not negative");
    keep_flags keep(size.size());
    std::size_t kept = 0;
    for (std::size_t i = 0; i < size.size(); ++i)
        kept += keep[i] = size[i] > threshold;
    return kept < least ? detail::keep_largest_of(size, least) : keep;
}

/// The threshold below which channels carry no more than a share of the layer's energy, sum scale^2: with the |scale|,
/// at least 1e-18, in rising order s_0 <= s_1 <= ..., and i the first index with s_0^2 + ... + s_i^2 > share sum s^2,
/// it is (s_{i-1} + s_i) / 2, or 0 for i = 0. A layer whose largest |scale| is below 1e-3 is worth nothing: 1, above
/// all of them. (Method "OT" of the program of MaskSparsity.) n log n. Throws data_error for a share outside [0, 1) and
/// for a scale that is not finite.
template <class T> double energy_threshold(matrix_view<T> scales, double share = 1e-4) {
    if (!(share >= 0.0 && share < 1.0))
        espalier::detail::throw_data_error("prune::energy_threshold: the share is ", share,
                                           "; needed is a number in [0, 1)");
    auto size = detail::magnitudes(scales, "energy_threshold");
    std::sort(size.begin(), size.end());
    if (size.back() < 1e-3) return 1.0;
    double total = 0.0;
    for (double& s : size) {
        s = std::max(s, 1e-18);
        total += s * s;
    }
    double sum = 0.0;
    std::size_t i = 0;
    // The last sum is the total, which is above every share of it.
    while (i + 1 < size.size() && sum + size[i] * size[i] <= share * total) {
        sum += size[i] * size[i];
        ++i;
    }
    return i == 0 ? 0.0 : 0.5 * (size[i - 1] + size[i]);
}

} // namespace espalier::prune
