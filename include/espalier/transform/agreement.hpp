// SPDX-License-Identifier: Apache-2.0
// Gradients of the task pass where they agree with the gradients of a second, reference stream, and are dropped at
// random where they do not.
#pragma once

#include <espalier/core/clock.hpp>
#include <espalier/core/diagnostic.hpp>
#include <espalier/core/element_about.hpp>
#include <espalier/core/fields.hpp>
#include <espalier/core/macros.hpp>
#include <espalier/core/pack.hpp>
#include <espalier/schedule/concept.hpp>
#include <espalier/schedule/within.hpp>
#include <espalier/transform/axis.hpp>
#include <espalier/transform/concept.hpp>

#include <string_view>

namespace espalier::transform {

/// Numbers and element functions of `agreement`.
struct agreement_op {
    double strength;
    double epsilon;
    static constexpr auto numbers = fields<&agreement_op::strength, &agreement_op::epsilon>;

    /// Kind of the strength.
    struct strength_number {
        static constexpr std::string_view name = "strength";
        static constexpr schedule::bounds allowed = schedule::from_0_to_1;
    };
    /// Kind of the epsilon.
    struct epsilon_number {
        static constexpr std::string_view name = "epsilon";
        static constexpr schedule::bounds allowed{1e-30, 1.0};
    };

    static constexpr bool draws = true;
    static constexpr bool needs_reference = true;

    /// P = (1 + sgn(a) (a + b) / (|a| + |b| + epsilon)) / 2; a NaN in b counts as 0.
    template <class T> ESPALIER_FN T probability(T a, T b) const {
        using espalier::abs, espalier::select;
        using S = scalar_of<T>;
        T const zero(S(0)), one(S(1));
        b = select(b == b, b, zero);
        T const share = (a + b) / (abs(a) + abs(b) + T(static_cast<S>(epsilon)));
        T const sign = select(a > zero, one, select(a < zero, -one, zero));
        return fma(T(S(0.5)) * sign, share, T(S(0.5)));
    }
    /// ((1 - strength) + strength [P > u]) a
    template <class T> ESPALIER_FN T gated(T a, T b, T u) const {
        using espalier::select;
        using S = scalar_of<T>;
        return a * select(probability(a, b) > u, T(S(1)), T(static_cast<S>(1.0 - strength)));
    }
    template <class T> ESPALIER_FN T apply(T g, element_about<T> const& about) const {
        using S = scalar_of<T>;
        // the middle of the interval of the draw: a probability of 1 is never below it, one of 0 never above
        T const u = (static_cast<T>(about.bits) + T(S(0.5))) * T(static_cast<S>(0x1p-16));
        return gated(g, about.reference, u);
    }
};

/// With the task's gradient a, the reference gradient b and U uniform in (0, 1), for every element on its own:
///     P = (1 + sgn(a) (a + b) / (|a| + |b| + Epsilon)) / 2
///     a <- ((1 - Strength) + Strength [P > U]) a
/// Same sign: kept. Opposite sign: kept with probability |a| / (|a| + |b|) - so that a small gradient against a large
/// reference is mostly dropped. What is kept is not scaled, and b never enters the update (Zheng et al. 2023,
/// "Regularized mask tuning", eq. 6 and 7). Strength: a number or a schedule with values in [0, 1]; Epsilon: a positive
/// number, so gradients much smaller than it are kept with probability 1/2.
template <schedule::number_or_schedule auto Strength, schedule::number_or_schedule auto Epsilon = 1e-8>
struct agreement : schedule::with_numbers<axis::transform, agreement<Strength, Epsilon>, agreement_op,
                                          schedule::number<Strength, agreement_op::strength_number>,
                                          schedule::number<Epsilon, agreement_op::epsilon_number>> {
    static constexpr std::string_view name = "agreement";
    static constexpr int stage = static_cast<int>(transform_stage::gate);
};

} // namespace espalier::transform
