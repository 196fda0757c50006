// SPDX-License-Identifier: Apache-2.0
// Adam with bias correction and with a weight decay that does not pass through its moments.
#pragma once

#include <espalier/core/clock.hpp>
#include <espalier/core/macros.hpp>
#include <espalier/core/math.hpp>
#include <espalier/core/pack.hpp>
#include <espalier/optimizer/adam_numbers.hpp>

#include <cstdint>

namespace espalier::optimizer {

/// One step of `adamw`.
struct adamw_op : adam_numbers {
    template <class T> ESPALIER_FN T step(T w, T g, T* m, T step_rate, T decay) const {
        using S = scalar_of<T>;
        T const fall = change(g, m, step_rate);
        return fma(-step_rate * T(static_cast<S>(weight_decay)) * decay, w, w) - fall;
    }
};

/// With t = 1, 2, ... the number of the update:
///     m <- beta1 m + (1 - beta1) g
///     v <- beta2 v + (1 - beta2) g^2
///     w <- (1 - rate weight_decay) w - rate (m / (1 - beta1^t)) / (sqrt(v / (1 - beta2^t)) + epsilon)
/// (Loshchilov and Hutter 2019, algorithm 2, with the decay scaled by the learning rate as PyTorch does.) The learning
/// rate may be a schedule. A gradient beyond 1e19 (1e154 in double precision) counts as that, so that its square is
/// finite. Throws data_error for a rate or decay that is negative or no finite number in single precision, for an
/// epsilon below 0x1p-126 (1.18e-38: smaller ones would be 0 there), and for a beta outside [0, 1).
template <schedule::number_or_schedule LearningRate = double> struct adamw {
    LearningRate learning_rate = 1e-3;
    double beta1 = 0.9;
    double beta2 = 0.999;
    double epsilon = 1e-8;
    double weight_decay = 1e-2;

    static constexpr char const* name = "adamw";

    void validate() const { detail::validate_adam(*this); }
    adamw_op at(clock const& now, std::uint64_t update) const { return detail::adam_at<adamw_op>(*this, now, update); }
};

} // namespace espalier::optimizer
