// SPDX-License-Identifier: Apache-2.0
// Mean over the rows of the sum of absolute outputs.
#pragma once

#include <espalier/activation_penalty/axis.hpp>
#include <espalier/activation_penalty/concept.hpp>
#include <espalier/core/epilogue.hpp>
#include <espalier/core/fields.hpp>
#include <espalier/core/macros.hpp>
#include <espalier/core/pack.hpp>
#include <espalier/schedule/concept.hpp>
#include <espalier/schedule/within.hpp>

#include <string_view>

namespace espalier::activation_penalty {

/// Numbers and element functions of `l1`.
struct l1_op {
    double coefficient;
    static constexpr auto numbers = fields<&l1_op::coefficient>;

    static constexpr penalty_scope scope = penalty_scope::element;

    template <class T> ESPALIER_FN T contribution(T y) const {
        using espalier::abs;
        return abs(y);
    }
    ESPALIER_FN double finish(double sum, double row_count) const { return coefficient * sum / row_count; }
    template <class T> ESPALIER_FN T gradient(T y, T row_count) const {
        using espalier::select;
        using S = scalar_of<T>;
        T const zero(S(0)), share = T(static_cast<S>(coefficient)) / row_count;
        return select(y > zero, share, select(y < zero, -share, zero));
    }
};

/// Coefficient / N * sum_n sum_c |y_nc| over the N rows of the batch; the subgradient at 0 is 0. Coefficient: a number
/// or a schedule, finite and not negative.
template <schedule::number_or_schedule auto Coefficient>
struct l1 : schedule::with_coefficients<axis::activation_penalty, l1<Coefficient>, l1_op, Coefficient> {
    static constexpr std::string_view name = "l1";
};

} // namespace espalier::activation_penalty
