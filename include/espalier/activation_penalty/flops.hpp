// SPDX-License-Identifier: Apache-2.0
// Sum over the columns of the squared mean of absolute outputs: activity spread evenly over rows and columns is cheap,
// a column that is active in every row is expensive.
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

/// Numbers and element functions of `flops`.
struct flops_op {
    double coefficient;
    static constexpr auto numbers = fields<&flops_op::coefficient>;

    static constexpr penalty_scope scope = penalty_scope::column;

    template <class T> ESPALIER_FN T contribution(T y) const {
        using espalier::abs;
        return abs(y);
    }
    ESPALIER_FN double finish(double column_sum, double row_count) const {
        double const mean = column_sum / row_count;
        return coefficient * mean * mean;
    }
    template <class T, class Bits> ESPALIER_FN T gradient(T y, epilogue_about<T, Bits> const& about) const {
        using espalier::select;
        using S = scalar_of<T>;
        T const zero(S(0)),
            share = T(static_cast<S>(2.0 * coefficient)) * about.column_sum / (about.row_count * about.row_count);
        return select(y > zero, share, select(y < zero, -share, zero));
    }
};

/// Coefficient * sum_c ((1/N) sum_n |y_nc|)^2 over the N rows of the batch: the expected number of products of a sparse
/// dot product between two rows (Paria et al. 2020; with one document per query the penalty of Geng et al. 2024,
/// "Towards competitive search relevance for inference-free learned sparse retrievers"). The gradient is
/// 2 Coefficient / N * mean_c * sign(y) with sign(0) = 0: outputs that a rectifier set to 0 receive none, and would
/// pass none on. Coefficient: a number or a schedule, finite and not negative. Their quadratic warm-up over T steps,
/// c ((step + 1) / T)^2, is a product of two lines: product{.a = linear{.from = c / T, .to = c, .steps = T - 1},
/// .b = linear{.from = 1.0 / T, .to = 1.0, .steps = T - 1}}.
template <schedule::number_or_schedule auto Coefficient>
struct flops : schedule::with_coefficients<axis::activation_penalty, flops<Coefficient>, flops_op, Coefficient> {
    static constexpr std::string_view name = "flops";
};

} // namespace espalier::activation_penalty
