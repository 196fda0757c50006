// SPDX-License-Identifier: Apache-2.0
// Sum of absolute values, round at 0.
#pragma once

#include <espalier/core/element_about.hpp>
#include <espalier/core/fields.hpp>
#include <espalier/core/macros.hpp>
#include <espalier/core/pack.hpp>
#include <espalier/penalty/axis.hpp>
#include <espalier/penalty/concept.hpp>
#include <espalier/schedule/concept.hpp>
#include <espalier/schedule/within.hpp>

#include <string_view>

namespace espalier::penalty {

/// Numbers and element functions of `smooth_l1`.
struct smooth_l1_op {
    double coefficient;
    static constexpr auto numbers = fields<&smooth_l1_op::coefficient>;

    template <class T> ESPALIER_FN T value(T w, element_about<T> const& about) const {
        using espalier::abs, espalier::select;
        T const c(static_cast<scalar_of<T>>(coefficient)), half(scalar_of<T>(0.5)), border = about.rate * c, a = abs(w);
        return c * select(a < border, half * w * w, a - border + half * border * border);
    }
    template <class T> ESPALIER_FN T gradient(T w, element_about<T> const& about) const {
        using espalier::abs, espalier::select;
        T const zero(scalar_of<T>(0)), c(static_cast<scalar_of<T>>(coefficient));
        T const sign = select(w > zero, c, select(w < zero, -c, zero));
        return select(abs(w) < about.rate * c, c * w, sign);
    }
};

/// With s = rate C, where rate is the learning rate of the step times the tensor's factor, the sum over the weights of
///     C w^2 / 2            for |w| < s: the gradient is C w, so that a step of gradient descent does not leap over 0
///     C (|w| - s + s^2/2)  elsewhere: that of `l1`
/// (The third penalty of the program of MaskSparsity.) The gradient leaps at |w| = s, from C s to C. The value depends
/// on the learning rate, and at a rate of 0 it is that of `l1`. Exact zeros come from `proximal<l1<C>>`. C: a number or
/// a schedule, finite and not negative.
template <schedule::number_or_schedule auto Coefficient>
struct smooth_l1 : schedule::with_coefficients<axis::penalty, smooth_l1<Coefficient>, smooth_l1_op, Coefficient> {
    static constexpr std::string_view name = "smooth_l1";
};

} // namespace espalier::penalty
