// SPDX-License-Identifier: Apache-2.0
// Half the squared distance to weights that are remembered, each weighted by its importance.
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

/// Numbers and element functions of `elastic_weight_consolidation`.
struct elastic_weight_consolidation_op {
    double coefficient;
    static constexpr auto numbers = fields<&elastic_weight_consolidation_op::coefficient>;
    static constexpr int companions = 2;
    static constexpr std::string_view companion_names[] = {"anchor", "importance"};

    template <class T> ESPALIER_FN T value(T w, element_about<T> const& about) const {
        T const d = w - about.companion[0];
        return T(static_cast<scalar_of<T>>(0.5 * coefficient)) * about.companion[1] * d * d;
    }
    template <class T> ESPALIER_FN T gradient(T w, element_about<T> const& about) const {
        return T(static_cast<scalar_of<T>>(coefficient)) * about.companion[1] * (w - about.companion[0]);
    }
    template <class T> ESPALIER_FN T prox(T w, element_about<T> const& about) const {
        using S = scalar_of<T>;
        T const pull = about.rate * T(static_cast<S>(coefficient)) * about.companion[1];
        return w - (w - about.companion[0]) * (pull / (T(S(1)) + pull));
    }
};

/// Coefficient / 2 * sum F (w - a)^2 (Kirkpatrick et al. 2017, equation 3), where a and F are the companions "anchor"
/// and "importance" of the tensor: the weights after the last task, by `remember(network, "anchor")`, and numbers that
/// are not negative, by `estimate_importance` (train/importance.hpp) or `set_companion`. A negative one would push the
/// weight away. Prox: w moves to a by the share rate c F / (1 + rate c F), which is stable for every c, while the
/// gradient needs rate c F < 2. Beside `anchor` the two share one anchor. Eight bytes more a weight in the update
/// (float). Coefficient: a number or a schedule, finite and not negative. A step throws data_error as long as one of
/// the companions was never set.
template <schedule::number_or_schedule auto Coefficient>
struct elastic_weight_consolidation
    : schedule::with_coefficients<axis::penalty, elastic_weight_consolidation<Coefficient>,
                                  elastic_weight_consolidation_op, Coefficient> {
    static constexpr std::string_view name = "elastic_weight_consolidation";
};

} // namespace espalier::penalty
