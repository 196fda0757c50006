// SPDX-License-Identifier: Apache-2.0
// Adam with bias correction and with a weight decay that does not pass through its moments.
#pragma once

#include <espalier/core/clock.hpp>
#include <espalier/core/macros.hpp>
#include <espalier/core/math.hpp>
#include <espalier/core/pack.hpp>
#include <espalier/optimizer/concept.hpp>

#include <cmath>
#include <cstdint>

namespace espalier::optimizer {

/// One step of `adamw`.
struct adamw_op {
    double learning_rate;
    double beta1;
    double beta2;
    double epsilon;
    double weight_decay;
    double correction1; ///< 1 / (1 - beta1^t)
    double correction2; ///< 1 / sqrt(1 - beta2^t)

    static constexpr int moments = 2;

    ESPALIER_FN double rate() const { return learning_rate; }

    template <class T> ESPALIER_FN T step(T w, T g, T* m, T step_rate, T decay) const {
        using S = scalar_of<T>;
        m[0] = fma(T(static_cast<S>(1.0 - beta1)), g - m[0], m[0]);
        m[1] = fma(T(static_cast<S>(1.0 - beta2)) * g, g, T(static_cast<S>(beta2)) * m[1]);
        T const denominator = fma(sqrt(m[1]), T(static_cast<S>(correction2)), T(static_cast<S>(epsilon)));
        T const kept = fma(-step_rate * T(static_cast<S>(weight_decay)) * decay, w, w);
        return kept - step_rate * T(static_cast<S>(correction1)) * m[0] / denominator;
    }
};

/// With t = 1, 2, ... the number of the update:
///     m <- beta1 m + (1 - beta1) g
///     v <- beta2 v + (1 - beta2) g^2
///     w <- (1 - rate weight_decay) w - rate (m / (1 - beta1^t)) / (sqrt(v / (1 - beta2^t)) + epsilon)
/// (Loshchilov and Hutter 2019, algorithm 2, with the decay scaled by the learning rate as PyTorch does.) The learning
/// rate may be a schedule. Throws data_error for a negative or non-finite rate, epsilon or decay, and for a beta
/// outside [0, 1).
template <class LearningRate = double> struct adamw {
    LearningRate learning_rate = 1e-3;
    double beta1 = 0.9;
    double beta2 = 0.999;
    double epsilon = 1e-8;
    double weight_decay = 1e-2;

    static constexpr char const* name = "adamw";

    void validate() const {
        detail::validate(learning_rate, 0.0, detail::no_limit, name, "learning_rate");
        detail::validate(beta1, 0.0, 1.0, name, "beta1");
        detail::validate(beta2, 0.0, 1.0, name, "beta2");
        detail::validate(epsilon, 0.0, detail::no_limit, name, "epsilon");
        detail::validate(weight_decay, 0.0, detail::no_limit, name, "weight_decay");
    }

    adamw_op at(clock const& now, std::uint64_t update) const {
        double const t = update == 0 ? 1.0 : static_cast<double>(update);
        return {detail::value_within(learning_rate, now, 0.0, detail::no_limit, name, "learning_rate"),
                beta1,
                beta2,
                epsilon,
                weight_decay,
                1.0 / (1.0 - std::pow(beta1, t)),
                1.0 / std::sqrt(1.0 - std::pow(beta2, t))};
    }
};

} // namespace espalier::optimizer
