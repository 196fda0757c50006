// SPDX-License-Identifier: Apache-2.0
// Half the squared distance to weights that are remembered.
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

/// Numbers and element functions of `anchor`.
struct anchor_op {
    double coefficient;
    static constexpr auto numbers = fields<&anchor_op::coefficient>;
    static constexpr int companions = 1;
    static constexpr std::string_view companion_names[] = {"anchor"};

    template <class T> ESPALIER_FN T value(T w, element_about<T> const& about) const {
        T const d = w - about.companion[0];
        return T(static_cast<scalar_of<T>>(0.5 * coefficient)) * d * d;
    }
    template <class T> ESPALIER_FN T gradient(T w, element_about<T> const& about) const {
        return T(static_cast<scalar_of<T>>(coefficient)) * (w - about.companion[0]);
    }
    template <class T> ESPALIER_FN T prox(T w, element_about<T> const& about) const {
        using S = scalar_of<T>;
        T const pull = about.rate * T(static_cast<S>(coefficient));
        return w - (w - about.companion[0]) * (pull / (T(S(1)) + pull));
    }
};

/// Coefficient / 2 * sum (w - a)^2, where a, the companion "anchor" of the tensor, is what `remember(network,
/// "anchor")` or `set_companion` last made it: L2-SP of Li, Grandvalet and Davoine 2018, equation 2, with the half of
/// `l2`, so that the gradient is Coefficient * (w - a). Papers that leave out the half need twice their number here.
/// Prox: w moves to a by the share rate c / (1 + rate c). Four bytes more a weight in the update (float). Coefficient:
/// a number or a schedule, finite and not negative. A step throws data_error as long as the anchor was never set.
template <schedule::number_or_schedule auto Coefficient>
struct anchor : schedule::with_coefficients<axis::penalty, anchor<Coefficient>, anchor_op, Coefficient> {
    static constexpr std::string_view name = "anchor";
};

} // namespace espalier::penalty
