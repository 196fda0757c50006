// SPDX-License-Identifier: Apache-2.0
// host only. Definitions of prune/inverse_participation.hpp; see core/library.hpp.
#pragma once

#include <espalier/prune/inverse_participation.hpp>

#include <espalier/core/text.hpp>
#include <espalier/math/power_spectrum.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <numeric>
#include <vector>

namespace espalier::prune {

ESPALIER_LIBRARY double inverse_participation::operator()(std::span<double const> v) const {
    if (!(order > 1.0 && std::isfinite(order)))
        espalier::detail::throw_data_error("prune::inverse_participation: the order is ", order,
                                           "; needed is a finite number above 1");
    double largest = 0.0;
    for (std::size_t i = 0; i < v.size(); ++i) {
        if (!std::isfinite(v[i]))
            espalier::detail::throw_numerical_error("prune::inverse_participation: number ", i, " is not finite");
        largest = std::max(largest, std::fabs(v[i]));
    }
    if (largest == 0.0) return 0.0;
    std::vector<double> scaled(v.begin(), v.end()); // whose squares neither overflow nor vanish
    for (double& x : scaled)
        x /= largest;
    std::vector<double> power = math::power_spectrum(scaled);
    double const all = std::accumulate(power.begin(), power.end(), 0.0);
    if (!counts_constant) power[0] = 0.0;
    double const counted = std::accumulate(power.begin(), power.end(), 0.0);
    constexpr double rounding = 1e-24; // of squares: the sums behind them are good to 1e-12 of the largest and better
    if (counted <= rounding * all) return 0.0;
    double ratio = 0.0;
    for (double const p : power)
        ratio += std::pow(p / counted, order);
    return ratio;
}

} // namespace espalier::prune
