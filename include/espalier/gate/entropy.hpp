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

/// Number and functions of `entropy`.
struct entropy_op {
    double coefficient;
    static constexpr auto numbers = fields<&entropy_op::coefficient>;

    /// Kind of the coefficient: of either sign.
    struct coefficient_number {
        static constexpr std::string_view name = "coefficient";
        static constexpr schedule::bounds allowed{-schedule::not_negative.high, schedule::not_negative.high};
    };
    static constexpr part_kind kind = part_kind::term;
    static constexpr part_needs needs{.probabilities = true};

    template <class Group, class State> ESPALIER_FN auto share(Group const& group, State const& s) const {
        using T = typename decltype(s.p)::value_type;
        using S = scalar_of<T>;
        T const log_total = log(s.total), zero(S(0));
        T sum = zero;
        ESPALIER_ROW_UNROLL
        for (int i = 0; i < s.p.local; ++i) {
            T const one = select(s.p.v[i] == zero, zero, s.p.v[i] * s.log_p(i, log_total));
            sum -= s.p.inside(group, i, one, zero);
        }
        return T(static_cast<S>(coefficient)) * group.reduce_add(sum);
    }
    template <class Group, class State, class Row, class T, class Gradient>
    ESPALIER_FN void backward(Group const&, State const& s, Row const*, T const& term_scale, Gradient& d) const {
        using S = scalar_of<T>;
        T const log_total = log(s.total), zero(S(0)), scale = T(static_cast<S>(coefficient)) * term_scale;
        // Constants vanish behind the softmax: log p is enough of log p + 1.
        ESPALIER_ROW_UNROLL
        for (int i = 0; i < d.p.local; ++i)
            d.p.v[i] -= select(s.p.v[i] == zero, zero, scale * s.log_p(i, log_total));
    }
};

/// Coefficient times the mean over the rows of -sum_l p_l log p_l with p = softmax(H) over all experts, whatever the
/// normalisation of the weights.
///     dH_l = -Coefficient p_l (log p_l - sum_k p_k log p_k)
/// It is added to the loss: a positive Coefficient drives every row to a decision, a negative one keeps rows open
/// between experts, which is what it is for at the beginning of training. Coefficient: a number or a schedule, of
/// either sign.
template <schedule::number_or_schedule auto Coefficient>
struct entropy
    : part_of<entropy<Coefficient>, entropy_op, schedule::number<Coefficient, entropy_op::coefficient_number>> {
    static constexpr std::string_view name = "entropy";
};

} // namespace espalier::gate
