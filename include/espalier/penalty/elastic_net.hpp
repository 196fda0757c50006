// SPDX-License-Identifier: Apache-2.0
// Absolute values and squares together.
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

/// Numbers and element functions of `elastic_net`.
struct elastic_net_op {
    double l1;
    double l2;
    static constexpr auto numbers = fields<&elastic_net_op::l1, &elastic_net_op::l2>;

    template <class T> ESPALIER_FN T value(T w) const {
        using espalier::abs;
        using S = scalar_of<T>;
        return fma(T(static_cast<S>(0.5 * l2)) * w, w, T(static_cast<S>(l1)) * abs(w));
    }
    template <class T> ESPALIER_FN T gradient(T w) const {
        using espalier::select;
        using S = scalar_of<T>;
        T const zero(S(0)), c(static_cast<S>(l1));
        return fma(T(static_cast<S>(l2)), w, select(w > zero, c, select(w < zero, -c, zero)));
    }
    template <class T> ESPALIER_FN T prox(T w, element_about<T> const& about) const {
        using espalier::max, espalier::min;
        using S = scalar_of<T>;
        T const threshold = about.rate * T(static_cast<S>(l1));
        return (w - max(-threshold, min(threshold, w))) / fma(about.rate, T(static_cast<S>(l2)), T(S(1)));
    }
};

/// L1 * sum |w| + L2 / 2 * sum w^2 (Zou and Hastie 2005, with the conventions of `l1` and `l2`). Prox: soft
/// thresholding by rate L1, then division by 1 + rate L2 (Parikh and Boyd 2014, section 6.5.3). Both coefficients: a
/// number or a schedule, finite and not negative.
template <schedule::number_or_schedule auto L1, schedule::number_or_schedule auto L2>
struct elastic_net : schedule::with_coefficients<axis::penalty, elastic_net<L1, L2>, elastic_net_op, L1, L2> {
    static constexpr std::string_view name = "elastic_net";
};

} // namespace espalier::penalty
