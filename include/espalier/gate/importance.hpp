// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <espalier/core/fields.hpp>
#include <espalier/core/macros.hpp>
#include <espalier/core/row.hpp>
#include <espalier/core/view.hpp>
#include <espalier/gate/part.hpp>
#include <espalier/gate/variation.hpp>
#include <espalier/schedule/concept.hpp>
#include <espalier/schedule/within.hpp>

#include <string_view>

namespace espalier::gate {

/// Number and functions of `importance`.
struct importance_op {
    double coefficient;
    static constexpr auto numbers = fields<&importance_op::coefficient>;

    static constexpr part_kind kind = part_kind::term;
    static constexpr part_needs needs{.weights = true, .statistics = 1};

    template <class Group, class State, class Row>
    ESPALIER_FN void statistic(Group const&, State const& s, Row* rows) const {
        rows[0] = s.g;
    }
    template <int Experts> ESPALIER_FN double finish(double const* sums, index_t, double* slopes) const {
        return squared_variation<Experts>(coefficient, sums, slopes);
    }
    template <class Group, class State, class Row, class T, class Gradient>
    ESPALIER_FN void backward(Group const&, State const&, Row const* slopes, T const&, Gradient& d) const {
        ESPALIER_ROW_UNROLL
        for (int i = 0; i < d.g.local; ++i)
            d.g.v[i] += slopes[0].v[i];
    }
};

/// Coefficient CV^2(Importance) with Importance_l = sum_b g_bl over the rows b of the batch (Shazeer et al. 2017,
/// section 4): 0 where all experts get the same weight in total. CV^2 is the population variance over the experts
/// divided by mean^2 + 1e-10. Coefficient: a number or a schedule, at least 0.
template <schedule::number_or_schedule auto Coefficient = 0.1>
struct importance
    : part_of<importance<Coefficient>, importance_op, schedule::number<Coefficient, schedule::coefficient>> {
    static constexpr std::string_view name = "importance";
};

} // namespace espalier::gate
