// SPDX-License-Identifier: Apache-2.0
// Random gradients are left out of an update.
#pragma once

#include <espalier/core/clock.hpp>
#include <espalier/core/diagnostic.hpp>
#include <espalier/core/element_about.hpp>
#include <espalier/core/macros.hpp>
#include <espalier/core/pack.hpp>
#include <espalier/core/random.hpp>
#include <espalier/schedule/concept.hpp>
#include <espalier/schedule/within.hpp>
#include <espalier/transform/axis.hpp>
#include <espalier/transform/concept.hpp>

#include <string_view>

namespace espalier::transform {

/// Numbers and element function of `gradient_dropout`.
struct gradient_dropout_op : keep_threshold {
    static constexpr bool draws = true;
    static gradient_dropout_op of(double rate) { return {quantise(rate)}; }

    template <class T> ESPALIER_FN T apply(T g, element_about<T> const& about) const {
        using espalier::select;
        using S = scalar_of<T>;
        return select(keeps(about.bits), g * T(static_cast<S>(scale)), T(S(0)));
    }
};

/// g <- g k / p with k = 1 with probability p = 1 - Rate, else 0, for every element on its own. What is kept is scaled
/// by the quantised 1 / p, so the expected gradient is unchanged (as in Tseng et al. 2020, "Gradient dropout"). Dropped
/// means a gradient of 0: moments of an optimizer still decay. Rate: a number or a schedule with values in [0, 1].
template <schedule::number_or_schedule auto Rate>
struct gradient_dropout : schedule::with_numbers<axis::transform, gradient_dropout<Rate>, gradient_dropout_op,
                                                 schedule::number<Rate, schedule::rate>> {
    static constexpr std::string_view name = "gradient_dropout";
    static constexpr int stage = static_cast<int>(transform_stage::gate);
};

} // namespace espalier::transform
