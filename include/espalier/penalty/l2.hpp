// SPDX-License-Identifier: Apache-2.0
// Half the sum of squares.
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

/// Numbers and element functions of `l2`.
struct l2_op {
    double coefficient;
    static constexpr auto numbers = fields<&l2_op::coefficient>;

    template <class T> ESPALIER_FN T value(T w) const {
        return T(static_cast<scalar_of<T>>(0.5 * coefficient)) * w * w;
    }
    template <class T> ESPALIER_FN T gradient(T w) const { return T(static_cast<scalar_of<T>>(coefficient)) * w; }
    template <class T> ESPALIER_FN T prox(T w, element_about<T> const& about) const {
        using S = scalar_of<T>;
        return w / fma(about.rate, T(static_cast<S>(coefficient)), T(S(1)));
    }
};

/// Coefficient / 2 * sum w^2, so that the gradient is Coefficient * w: the coefficient means what PyTorch's
/// `weight_decay` of SGD means. Libraries that leave out the half need twice the coefficient here. Prox: w / (1 + rate
/// c). Coefficient: a number or a schedule, finite and not negative.
template <schedule::number_or_schedule auto Coefficient>
struct l2 : schedule::with_coefficients<axis::penalty, l2<Coefficient>, l2_op, Coefficient> {
    static constexpr std::string_view name = "l2";
};

} // namespace espalier::penalty
