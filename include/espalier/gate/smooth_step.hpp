// SPDX-License-Identifier: Apache-2.0
// The cubic smooth-step: a sigmoid that is exactly 0 and exactly 1 outside a finite interval.
#pragma once

#include <espalier/core/macros.hpp>
#include <espalier/core/pack.hpp>

namespace espalier::gate {

/// With u = t / width clamped to [-1/2, 1/2]:
///     S(t)  = -2 u^3 + 3/2 u + 1/2
///     S'(t) = (3/2 - 6 u^2) / width
/// so S is 0 up to -width / 2, 1 from width / 2 on, and once differentiable everywhere (Hazimeh et al. 2020, "The tree
/// ensemble layer", section 3.1). A NaN stays one.
template <class T> struct smooth_step {
    T inverse_width;

    explicit ESPALIER_FN smooth_step(double width) : inverse_width(static_cast<scalar_of<T>>(1.0 / width)) {}

    ESPALIER_FN T value(T t) const {
        using S = scalar_of<T>;
        T const u = clamped(t);
        return u * (T(S(1.5)) - T(S(2)) * u * u) + T(S(0.5));
    }
    ESPALIER_FN T slope(T t) const {
        using S = scalar_of<T>;
        T const u = clamped(t);
        return (T(S(1.5)) - T(S(6)) * u * u) * inverse_width;
    }

private:
    ESPALIER_FN T clamped(T t) const {
        using espalier::max, espalier::min;
        T const half(static_cast<scalar_of<T>>(0.5));
        return min(half, max(-half, t * inverse_width));
    }
};

} // namespace espalier::gate
