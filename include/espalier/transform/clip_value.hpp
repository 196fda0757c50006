// SPDX-License-Identifier: Apache-2.0
// Every gradient is cut at a bound on its own.
#pragma once

#include <espalier/core/clock.hpp>
#include <espalier/core/diagnostic.hpp>
#include <espalier/core/element_about.hpp>
#include <espalier/core/fields.hpp>
#include <espalier/core/macros.hpp>
#include <espalier/core/pack.hpp>
#include <espalier/schedule/concept.hpp>
#include <espalier/schedule/within.hpp>
#include <espalier/transform/axis.hpp>
#include <espalier/transform/concept.hpp>

#include <string_view>

namespace espalier::transform {

/// Numbers and element function of `clip_value`.
struct clip_value_op {
    double maximum;
    static constexpr auto numbers = fields<&clip_value_op::maximum>;

    template <class T> ESPALIER_FN T apply(T g) const {
        using espalier::max, espalier::min;
        T const bound(static_cast<scalar_of<T>>(maximum));
        return max(-bound, min(bound, g));
    }
};

/// g <- max(-Maximum, min(Maximum, g)); a NaN stays one. Maximum: a number or a schedule, finite and not negative.
template <schedule::number_or_schedule auto Maximum>
struct clip_value : schedule::with_numbers<axis::transform, clip_value<Maximum>, clip_value_op,
                                           schedule::number<Maximum, schedule::maximum>> {
    static constexpr std::string_view name = "clip_value";
    static constexpr int stage = static_cast<int>(transform_stage::clip);
};

} // namespace espalier::transform
