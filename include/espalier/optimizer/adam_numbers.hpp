// SPDX-License-Identifier: Apache-2.0
// What adam and adamw share: moments with bias correction, and their numbers at one update.
#pragma once

#include <espalier/core/clock.hpp>
#include <espalier/core/macros.hpp>
#include <espalier/core/math.hpp>
#include <espalier/core/pack.hpp>
#include <espalier/optimizer/concept.hpp>

#include <cmath>
#include <cstdint>

namespace espalier::optimizer {

namespace detail {

/// The largest gradient whose square is finite, rounded down: g^2 must not make v infinite, which would end the
/// training of its weight without a word.
template <class S> inline constexpr S largest_gradient = sizeof(S) == 4 ? static_cast<S>(1e19) : static_cast<S>(1e154);

/// The smallest epsilon: below it single precision knows denormal numbers only, which count as 0 in a step, and where
/// gradients always were 0 the change would be 0 / 0.
inline constexpr double smallest_epsilon = 0x1p-126;

} // namespace detail

/// Numbers of one update. `change` moves the moments of a weight and says by how much the weight falls:
///     m <- beta1 m + (1 - beta1) g
///     v <- beta2 v + (1 - beta2) g^2
///     change = rate (m / (1 - beta1^t)) / (sqrt(v / (1 - beta2^t)) + epsilon)
/// A gradient beyond 1e19 (1e154 in double precision) counts as that, so that its square is finite.
struct adam_numbers {
    double learning_rate;
    double beta1;
    double beta2;
    double epsilon;
    double weight_decay;
    double correction1; ///< 1 / (1 - beta1^t)
    double correction2; ///< 1 / sqrt(1 - beta2^t)

    static constexpr int moments = 2;

    ESPALIER_FN double rate() const { return learning_rate; }

    template <class T> ESPALIER_FN T change(T g, T* m, T step_rate) const {
        using espalier::max, espalier::min;
        using S = scalar_of<T>;
        T const bound(detail::largest_gradient<S>);
        g = max(-bound, min(bound, g)); // a NaN stays one
        m[0] = fma(T(static_cast<S>(1.0 - beta1)), g - m[0], m[0]);
        m[1] = fma(T(static_cast<S>(1.0 - beta2)) * g, g, T(static_cast<S>(beta2)) * m[1]);
        T const denominator = fma(sqrt(m[1]), T(static_cast<S>(correction2)), T(static_cast<S>(epsilon)));
        return step_rate * T(static_cast<S>(correction1)) * m[0] / denominator;
    }
};

namespace detail {

/// Throws data_error for a rate or decay that is negative or no finite number in single precision, for an epsilon below
/// 0x1p-126 (1.18e-38), and for a beta outside [0, 1).
template <class Optimizer> void validate_adam(Optimizer const& o) {
    validate(o.learning_rate, 0.0, no_limit, Optimizer::name, "learning_rate");
    validate(o.beta1, 0.0, 1.0, Optimizer::name, "beta1");
    validate(o.beta2, 0.0, 1.0, Optimizer::name, "beta2");
    validate(o.epsilon, smallest_epsilon, no_limit, Optimizer::name, "epsilon");
    validate(o.weight_decay, 0.0, no_limit, Optimizer::name, "weight_decay");
}

/// `Op` with the numbers of the t-th update, t = 1, 2, ...
template <class Op, class Optimizer> Op adam_at(Optimizer const& o, clock const& now, std::uint64_t update) {
    double const t = update == 0 ? 1.0 : static_cast<double>(update);
    Op op{};
    op.learning_rate = value_within(o.learning_rate, now, 0.0, no_limit, Optimizer::name, "learning_rate");
    op.beta1 = o.beta1;
    op.beta2 = o.beta2;
    op.epsilon = o.epsilon;
    op.weight_decay = o.weight_decay;
    op.correction1 = 1.0 / (1.0 - std::pow(o.beta1, t));
    op.correction2 = 1.0 / std::sqrt(1.0 - std::pow(o.beta2, t));
    return op;
}

} // namespace detail

} // namespace espalier::optimizer
