// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <espalier/core/fields.hpp>
#include <espalier/core/macros.hpp>
#include <espalier/core/math.hpp>
#include <espalier/core/row.hpp>
#include <espalier/gate/part.hpp>
#include <espalier/schedule/concept.hpp>
#include <espalier/schedule/within.hpp>

#include <string_view>

namespace espalier::gate {

/// Number and row functions of `jitter`.
struct jitter_op {
    double scale;
    static constexpr auto numbers = fields<&jitter_op::scale>;

    /// Kind of the scale.
    struct scale_number {
        static constexpr std::string_view name = "scale";
        static constexpr schedule::bounds allowed = schedule::not_negative;
    };
    static constexpr part_kind kind = part_kind::noise;
    static constexpr part_needs needs{.noise = true};

    template <class Group, class About, class State>
    ESPALIER_FN void disturb(Group const&, About const& about, State& s) const {
        using T = typename decltype(s.noisy)::value_type;
        // Far below the largest number, and so large that the noise alone decides.
        constexpr double most = sizeof(scalar_of<T>) == sizeof(double) ? 1e300 : 1e30;
        T const factor(static_cast<scalar_of<T>>(scale < most ? scale : most));
        ESPALIER_ROW_UNROLL
        for (int i = 0; i < s.noisy.local; ++i)
            s.noisy.v[i] = fma(about.noise.v[i], factor, s.clean.v[i]);
    }
    template <class Group, class About, class Gradient>
    ESPALIER_FN void backward(Group const&, About&, Gradient&) const {}
};

/// H = clean + Scale eps with eps ~ N(0, 1) for every row and expert; in training only. Scale: a number or a schedule,
/// at least 0; one above 1e30 (1e300 in double) is taken for that, where the logits count for nothing anyway.
template <schedule::number_or_schedule auto Scale>
struct jitter : part_of<jitter<Scale>, jitter_op, schedule::number<Scale, jitter_op::scale_number>> {
    static constexpr std::string_view name = "jitter";
};

} // namespace espalier::gate
