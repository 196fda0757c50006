// SPDX-License-Identifier: Apache-2.0
// Sum of absolute values.
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

/// Numbers and element functions of `l1`.
struct l1_op {
    double coefficient;
    static constexpr auto numbers = fields<&l1_op::coefficient>;

    template <class T> ESPALIER_FN T value(T w) const {
        using espalier::abs;
        return T(static_cast<scalar_of<T>>(coefficient)) * abs(w);
    }
    template <class T> ESPALIER_FN T gradient(T w) const {
        using espalier::select;
        T const zero(scalar_of<T>(0)), c(static_cast<scalar_of<T>>(coefficient));
        return select(w > zero, c, select(w < zero, -c, zero));
    }
    template <class T> ESPALIER_FN T prox(T w, element_about<T> const& about) const {
        using espalier::max, espalier::min;
        T const threshold = about.rate * T(static_cast<scalar_of<T>>(coefficient));
        return w - max(-threshold, min(threshold, w)); // exactly 0 inside the threshold; a NaN stays one
    }
};

/// Coefficient * sum |w|. The subgradient at 0 is 0. The prox is soft thresholding, sign(w) max(|w| - rate c, 0): with
/// `proximal<l1<c>>` weights become exactly 0, with the gradient they only come near it (Tibshirani 1996; Parikh and
/// Boyd 2014, section 6.5.2). Coefficient: a number or a schedule, finite and not negative.
template <schedule::number_or_schedule auto Coefficient>
struct l1 : schedule::with_coefficients<axis::penalty, l1<Coefficient>, l1_op, Coefficient> {
    static constexpr std::string_view name = "l1";
};

} // namespace espalier::penalty
