// SPDX-License-Identifier: Apache-2.0
// Mean and variance of a column over several equally large sets of rows, from those of the sets.
#pragma once

#include <espalier/core/layout.hpp>
#include <espalier/core/macros.hpp>

#include <cmath>

namespace espalier {

/// Mean and variance of one column over several blocks of rows.
struct moments_of_copies {
    double mean = 0.0;
    double variance = 0.0; ///< divided by the number of rows
};

/// mean = sum_k mean_k / M;  variance = sum_k (variance_k + (mean_k - mean)^2) / M, over the M copies of one number
/// each at `mean` and `variance`.
template <class T>
ESPALIER_FN moments_of_copies join_moments(T const* mean, T const* variance, tape_copies const& copies) {
    moments_of_copies all;
    double const share = 1.0 / static_cast<double>(copies.count);
    for (int k = 0; k < copies.count; ++k)
        all.mean += share * static_cast<double>(*copies.of(mean, k));
    for (int k = 0; k < copies.count; ++k) {
        double const apart = static_cast<double>(*copies.of(mean, k)) - all.mean;
        all.variance += share * (static_cast<double>(*copies.of(variance, k)) + apart * apart);
    }
    return all;
}

/// The share of a batch of n rows in running statistics where a full batch of `full` rows has the share `momentum`:
/// 1 - (1 - momentum)^(n / full), so that several small batches have together what a full one of their rows has, and
/// the last, short batch of an epoch, down to one row, does not distort what the others have gathered.
ESPALIER_FN double share_of_batch(double momentum, double n, double full) {
    return n < full ? 1.0 - pow(1.0 - momentum, n / full) : momentum;
}

} // namespace espalier
