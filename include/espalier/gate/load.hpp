// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <espalier/core/fields.hpp>
#include <espalier/core/macros.hpp>
#include <espalier/core/math.hpp>
#include <espalier/core/row.hpp>
#include <espalier/core/view.hpp>
#include <espalier/gate/part.hpp>
#include <espalier/gate/variation.hpp>
#include <espalier/schedule/concept.hpp>
#include <espalier/schedule/within.hpp>

#include <string_view>

namespace espalier::gate {

/// Number and functions of `load`.
struct load_op {
    double coefficient;
    static constexpr auto numbers = fields<&load_op::coefficient>;

    static constexpr part_kind kind = part_kind::term;
    static constexpr part_needs needs{.sigma = true, .runner_up = true, .choice = true, .statistics = 1};

    template <class Group, class State, class Row>
    ESPALIER_FN void statistic(Group const& group, State const& s, Row* rows) const {
        using T = typename Row::value_type;
        using S = scalar_of<T>;
        ESPALIER_ROW_UNROLL
        for (int i = 0; i < s.noisy.local; ++i) {
            rows[0].v[i] = fma(T(S(0.5)), erf(distance(group, s, i) * T(S(0.70710678118654752))), T(S(0.5)));
        }
    }
    template <int Experts> ESPALIER_FN double finish(double const* sums, index_t, double* slopes) const {
        return squared_variation<Experts>(coefficient, sums, slopes);
    }
    template <class Group, class State, class Row, class T, class Gradient>
    ESPALIER_FN void backward(Group const& group, State const& s, Row const* slopes, T const&, Gradient& d) const {
        using S = scalar_of<T>;
        T const zero(S(0));
        T of_last = zero, of_next = zero; // what the two thresholds get
        ESPALIER_ROW_UNROLL
        for (int i = 0; i < s.noisy.local; ++i) {
            T const v = distance(group, s, i);
            T const density = T(S(0.39894228040143268)) * exp(T(S(-0.5)) * v * v);
            T const own = slopes[0].v[i] * density / s.sigma.v[i];
            T const counted = s.noisy.inside(group, i, own, zero);
            auto const won = s.wins(group, i);
            d.clean.v[i] += own;
            d.sigma.v[i] -= v * own;
            of_next += select(won, counted, zero);
            of_last += select(won, zero, counted);
        }
        of_next = group.reduce_add(of_next);
        of_last = group.reduce_add(of_last);
        ESPALIER_ROW_UNROLL
        for (int i = 0; i < s.noisy.local; ++i) {
            T const column = s.noisy.column(group, i);
            d.noisy.v[i] -=
                select(column == s.next.column, of_next, zero) + select(column == s.last.column, of_last, zero);
        }
    }

private:
    /// v = (clean - threshold) / sigma, cut where Phi is 0 or 1 and phi 0. A logit of minus infinity shuts the expert
    /// for the row, even where nobody stands at the threshold.
    template <class Group, class State> static ESPALIER_FN auto distance(Group const& group, State const& s, int i) {
        using T = typename decltype(s.noisy)::value_type;
        using S = scalar_of<T>;
        T const least(S(-40)), none(static_cast<S>(-__builtin_inf()));
        T const threshold = select(s.wins(group, i), s.next.value, s.last.value);
        T const v = (s.clean.v[i] - threshold) / s.sigma.v[i];
        return select(s.noisy.v[i] == none, least, min(T(S(40)), max(least, v)));
    }
};

/// Coefficient CV^2(Load), where Load_l = sum_b P_bl is the number of rows that expert l may expect, a smooth function
/// of the logits (Shazeer et al. 2017, appendix A): P_bl is the probability that l would win if the noise of this one
/// expert were drawn again. With H_(i) the i-th largest noisy logit of the row,
///     v_l = (clean_l - H_(K+1)) / sigma_l for winners, (clean_l - H_(K)) / sigma_l for the others;  P_l = Phi(v_l)
///     dP_l/dclean_l = phi(v_l) / sigma_l,  dP_l/dsigma_l = -v_l phi(v_l) / sigma_l,  dP_l/dH_(.) = -phi(v_l) /
///     sigma_l;
/// the last of these goes to the logit, and by its noise to the sigma, of the expert that stands at the threshold. CV^2
/// is the population variance over the experts divided by mean^2 + 1e-10. Needs `learned_noise` and K < Experts. In
/// evaluation the noise is 0, sigma stays. Coefficient: a number or a schedule, at least 0.
template <schedule::number_or_schedule auto Coefficient = 0.1>
struct load : part_of<load<Coefficient>, load_op, schedule::number<Coefficient, schedule::coefficient>> {
    static constexpr std::string_view name = "load";
};

} // namespace espalier::gate
