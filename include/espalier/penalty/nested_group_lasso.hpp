// SPDX-License-Identifier: Apache-2.0
// Sum of the norms of groups of which each contains the next: rows, columns or ranks go to 0 from the last one on.
#pragma once

#include <espalier/core/element_about.hpp>
#include <espalier/core/fields.hpp>
#include <espalier/core/macros.hpp>
#include <espalier/core/math.hpp>
#include <espalier/core/pack.hpp>
#include <espalier/core/short_name.hpp>
#include <espalier/penalty/axis.hpp>
#include <espalier/penalty/concept.hpp>
#include <espalier/schedule/concept.hpp>
#include <espalier/schedule/within.hpp>

#include <string_view>

namespace espalier::penalty {

using espalier::over;

/// Numbers and functions of `nested_group_lasso`.
template <group_scope Groups> struct nested_group_lasso_op {
    double coefficient;
    static constexpr auto numbers = fields<&nested_group_lasso_op::coefficient>;

    static constexpr group_scope groups = Groups;
    static constexpr bool nested = true;

    template <class T> ESPALIER_FN T gradient(T w, element_about<T> const& about) const { return w * about.group_pull; }
    template <class T> ESPALIER_FN T group_value(T squared_norm) const {
        using espalier::sqrt;
        return T(static_cast<scalar_of<T>>(coefficient)) * sqrt(squared_norm);
    }
    template <class T> ESPALIER_FN T group_pull(T squared_norm) const {
        using espalier::select, espalier::sqrt;
        using S = scalar_of<T>;
        T const zero(S(0));
        auto const present = squared_norm > zero;
        return select(present, T(static_cast<S>(coefficient)) / sqrt(select(present, squared_norm, T(S(1)))), zero);
    }
};

/// Coefficient * sum_k p_k with p_k = sqrt(sum_{j >= k} ||w_j||^2), where w_j is row, column or rank j: the group lasso
/// over nested groups (hierarchical: Zhao, Rocha and Yu 2009), as Maestro (Horvath et al. 2024) has it over ranks. The
/// gradient of an element of w_j is Coefficient * w * sum_{k <= j} 1 / p_k, without the groups of norm 0: later ones
/// are pulled by more terms, so they vanish first and what stays is a beginning. With over::ranks, in a layer with
/// weight::low_rank, the columns of "factor_in" and the rows of "factor_out" each have their own sums; with a `Group`
/// name, as in group_lasso, rank j of both is one w_j. One more pass over the norms of the groups a step, none over the
/// weights. No prox. Coefficient: a number or a schedule, finite and not negative.
template <schedule::number_or_schedule auto Coefficient, over Over, short_name Group = short_name{}>
struct nested_group_lasso : schedule::with_coefficients<axis::penalty, nested_group_lasso<Coefficient, Over, Group>,
                                                        nested_group_lasso_op<scope_of(Over)>, Coefficient> {
    static_assert(Over != over::tensor, "espalier: penalty::nested_group_lasso is over rows, columns or ranks: of a "
                                        "tensor as one group there is no other one inside");
    static constexpr std::string_view name = "nested_group_lasso";
    static constexpr short_name group_name = Group;
    template <over Side> using along = nested_group_lasso<Coefficient, Side, Group>;
};

} // namespace espalier::penalty
