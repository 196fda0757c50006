// SPDX-License-Identifier: Apache-2.0
// A gain that is large while an adapter's output is small.
#pragma once

#include <espalier/core/fields.hpp>
#include <espalier/core/macros.hpp>
#include <espalier/core/math.hpp>
#include <espalier/core/pack.hpp>
#include <espalier/schedule/concept.hpp>
#include <espalier/schedule/within.hpp>
#include <espalier/weight/adapter_gain.hpp>
#include <espalier/weight/axis.hpp>

#include <string_view>

namespace espalier::weight {

/// Number and function of `adaptive_gain`.
struct adaptive_gain_op {
    double floor; ///< 1 / eta^2

    /// Kind of eta.
    struct number {
        static constexpr std::string_view name = "eta";
        static constexpr schedule::bounds allowed{1e-6, 1e6};
    };
    static adaptive_gain_op of(double eta) { return {1.0 / (eta * eta)}; }
    double eta() const { return 1.0 / espalier::sqrt(floor); }
    static constexpr auto numbers = fields<&adaptive_gain_op::eta>;

    template <class T> ESPALIER_FN T gain(T norm) const {
        return T(scalar_of<T>(1)) / espalier::sqrt(norm + T(static_cast<scalar_of<T>>(floor)));
    }
};

/// gain(n) = 1 / sqrt(n + 1 / Eta^2), n the 2-norm (not squared) of a column of A B: Eta where that is 0, and n^(-1/2)
/// where it is large. Of ALLoRA (Huang and Balestriero 2024); Eta takes the place of LoRA's alpha / r. Eta: a number or
/// a schedule, between 1e-6 and 1e6. Made for SGD: Adam divides a gain that changes slowly out of its step again.
template <schedule::number_or_schedule auto Eta>
struct adaptive_gain : schedule::made_of<axis::weight, adaptive_gain<Eta>, adaptive_gain_op,
                                         schedule::number<Eta, adaptive_gain_op::number>> {
    static constexpr std::string_view name = "adaptive_gain";
};

} // namespace espalier::weight
