// SPDX-License-Identifier: Apache-2.0
// Sum of the norms of groups: whole rows, columns or tensors of weights go to 0 together.
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

/// Numbers and element functions of `group_lasso`.
template <group_scope Groups> struct group_lasso_op {
    double coefficient;
    static constexpr auto numbers = fields<&group_lasso_op::coefficient>;

    static constexpr group_scope groups = Groups;

    template <class T> ESPALIER_FN T gradient(T w, element_about<T> const& about) const {
        using espalier::select, espalier::sqrt;
        using S = scalar_of<T>;
        T const zero(S(0));
        auto const present = about.squared_norm > zero;
        T const norm = sqrt(select(present, about.squared_norm, T(S(1))));
        return select(present, T(static_cast<S>(coefficient)) * w / norm, zero);
    }
    template <class T> ESPALIER_FN T group_value(T squared_norm) const {
        using espalier::sqrt;
        return T(static_cast<scalar_of<T>>(coefficient)) * sqrt(squared_norm);
    }
    template <class T> ESPALIER_FN T prox(T w, element_about<T> const& about) const {
        using espalier::select, espalier::sqrt;
        using S = scalar_of<T>;
        T const zero(S(0)), one(S(1)), threshold = about.rate * T(static_cast<S>(coefficient));
        T const norm = sqrt(about.squared_norm);
        // Exactly 0 inside the threshold, squares that are too small for T included; a NaN stays one.
        T const shrunk = select(norm <= threshold, zero, w * (one - threshold / norm));
        return select(threshold > zero, shrunk, w);
    }
};

/// Coefficient * sum_g ||w_g||_2 over the rows or columns of a tensor, or over the tensor as one group, whose norm is
/// that of Frobenius (Yuan and Lin 2006). The gradient is
/// Coefficient * w / ||w_g||, and 0 in a group of norm 0. Prox: w max(0, 1 - rate Coefficient / ||w_g||), block soft
/// thresholding (Parikh and Boyd 2014, section 6.5.4): with `proximal<group_lasso<c, over>>` groups become exactly 0,
/// with the gradient they only come near it. The coefficient is multiplied by nothing: the factor
/// sqrt(size of the group) that the paper uses for groups of unequal size is the user's. Tensors whose policies name
/// the same `Group` have the same number of groups, and group i of all of them together is one group with one norm: a
/// unit's incoming column in one layer and its outgoing row in the next vanish together; over::tensor makes the tensors
/// of a name one group. over::ranks, in a layer with weight::low_rank, are the columns of
/// "factor_in" and the rows of "factor_out". Coefficient: a number or a schedule, finite and not negative.
template <schedule::number_or_schedule auto Coefficient, over Over, short_name Group = short_name{}>
struct group_lasso : schedule::with_coefficients<axis::penalty, group_lasso<Coefficient, Over, Group>,
                                                 group_lasso_op<scope_of(Over)>, Coefficient> {
    static constexpr std::string_view name = "group_lasso";
    static constexpr short_name group_name = Group;
    template <over Side> using along = group_lasso<Coefficient, Side, Group>;
};

} // namespace espalier::penalty
