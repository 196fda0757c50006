// SPDX-License-Identifier: Apache-2.0
// host only. How few frequencies a row of weights consists of.
#pragma once

#include <espalier/core/library.hpp>

#include <span>

namespace espalier::prune {

/// The inverse participation ratio of the Fourier spectrum of n numbers,
///     IPR(v) = sum_j (|F_j|^2 / sum_i |F_i|^2)^order,  j = 0 ... n / 2
/// (Doshi, Das, He and Gromov 2023, "To grok or not to grok"). It is 1 for a single cosine of a whole number of
/// periods, and for a constant, which is the frequency 0; 1 / (n / 2 + 1)^(order - 1) for equal parts of all; and 0, by
/// definition, for a row of zeros, or in which nothing but rounding is left. In a network for modular arithmetic units
/// whose weights are periodic, of a high ratio, generalise, and those of a low one hold single examples: a score for
/// `unit_scores`.
struct inverse_participation {
    double order = 2.0;          ///< r, a finite number above 1
    bool counts_constant = true; ///< whether the frequency 0 counts; without it a constant has 0

    /// n^2 operations in double. Throws data_error for an order that makes no sense, numerical_error for a number that
    /// is not finite.
    double operator()(std::span<double const> v) const;
};

} // namespace espalier::prune

#if defined(ESPALIER_HEADER_ONLY)
#include <espalier/prune/detail/inverse_participation.hpp>
#endif
