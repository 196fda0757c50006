// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <espalier/core/fields.hpp>
#include <espalier/core/macros.hpp>
#include <espalier/core/row.hpp>
#include <espalier/core/view.hpp>
#include <espalier/gate/part.hpp>
#include <espalier/schedule/concept.hpp>
#include <espalier/schedule/within.hpp>

#include <string_view>

namespace espalier::gate {

/// Number and functions of `balance`.
struct balance_op {
    double coefficient;
    static constexpr auto numbers = fields<&balance_op::coefficient>;

    static constexpr part_kind kind = part_kind::term;
    static constexpr part_needs needs{.probabilities = true, .winners = true, .choice = true, .statistics = 2};

    template <class Group, class State, class Row>
    ESPALIER_FN void statistic(Group const& group, State const& s, Row* rows) const {
        using T = typename Row::value_type;
        using S = scalar_of<T>;
        T const one(static_cast<S>(1.0 / State::winners));
        ESPALIER_ROW_UNROLL
        for (int i = 0; i < s.noisy.local; ++i)
            rows[0].v[i] = select(s.wins(group, i), one, T(S(0)));
        rows[1] = s.p;
    }
    template <int Experts> ESPALIER_FN double finish(double const* sums, index_t rows, double* slopes) const {
        double const share = rows > 0 ? 1.0 / static_cast<double>(rows) : 0.0;
        double total = 0.0;
        for (int l = 0; l < Experts; ++l) {
            double const slope = coefficient * Experts * share * share * sums[l];
            total += slope * sums[Experts + l];
            slopes[l] = 0.0;
            slopes[Experts + l] = slope;
        }
        return total;
    }
    template <class Group, class State, class Row, class T, class Gradient>
    ESPALIER_FN void backward(Group const&, State const&, Row const* slopes, T const&, Gradient& d) const {
        ESPALIER_ROW_UNROLL
        for (int i = 0; i < d.p.local; ++i)
            d.p.v[i] += slopes[1].v[i];
    }
};

/// Coefficient Experts sum_l f_l Pbar_l with f_l the share of the batch's slots that chose expert l, whatever its
/// weight is rounded to, a constant of the derivative, and Pbar_l the mean over the rows of softmax(H)_l over all
/// experts (Fedus et al. 2022, equations 4 to 6, where K = 1; here the shares are of K slots a row, so that equal
/// shares give Coefficient for every K).
///     dPbar_l = Coefficient Experts f_l
/// Needs K < Experts. Coefficient: a number or a schedule, at least 0.
template <schedule::number_or_schedule auto Coefficient = 1e-2>
struct balance : part_of<balance<Coefficient>, balance_op, schedule::number<Coefficient, schedule::coefficient>> {
    static constexpr std::string_view name = "balance";
};

} // namespace espalier::gate
