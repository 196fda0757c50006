// SPDX-License-Identifier: Apache-2.0
// Weights that are worth less than a threshold are kept.
#pragma once

#include <espalier/core/clock.hpp>
#include <espalier/core/diagnostic.hpp>
#include <espalier/core/text.hpp>
#include <espalier/schedule/concept.hpp>
#include <espalier/schedule/within.hpp>

#include <cmath>
#include <limits>
#include <string_view>

namespace espalier::prune {

/// Keeps a weight when it was kept before and its key is smaller than that of the threshold: with `by_magnitude`, when
/// |w| < Threshold, strictly, in the precision of the weight. A NaN is worth less than everything and is kept. Each
/// selection keeps some of those of the one before it; none comes back, but all when the schedule falls to 0. For the
/// rule `frozen`: what is small is trained, and what has grown is not trained any longer (SaRA: Hu et al. 2024, "SaRA:
/// high-efficient diffusion model fine-tuning with progressive sparse low-rank adaptation").
///
///     policy<by_magnitude, below<2e-3>, constant{.sparsity = 1.0, .every = 2500}, frozen>
///
/// selects at steps 0, 2500, ... Of the schedule's value only whether it is 0 matters, in which case everything is
/// kept. Threshold: a number or a schedule, positive. A mask may come to keep nothing: the tensor then stays as it is.
template <schedule::number_or_schedule auto Threshold> struct below {
    static constexpr schedule::bounds positive{std::numeric_limits<double>::min(), std::numeric_limits<double>::max()};
    static_assert(diagnostic::holds<schedule::stays_within(Threshold, positive), diagnostic::given<Threshold>>,
                  "espalier: the threshold of prune::below must be positive");
    static constexpr std::string_view name = "below";
    static constexpr bool global = false;

    /// Throws data_error when a schedule gives one that is not positive.
    static double threshold(clock const& now) {
        return schedule::value_within(Threshold, now, positive, "prune", name, "threshold");
    }
};

/// The learning rate that goes with a threshold when these weights alone are trained, 1e-3 exp(-350 threshold), as in
/// the program of SaRA; the scale of its weights is that of Stable Diffusion. Throws data_error for a threshold that is
/// not positive or not finite.
inline double rate_for_threshold(double threshold) {
    if (!(threshold > 0.0 && std::isfinite(threshold)))
        espalier::detail::throw_data_error("prune::rate_for_threshold: the threshold is ", threshold,
                                           "; needed is a positive number");
    return 1e-3 * std::exp(-350.0 * threshold);
}

} // namespace espalier::prune
