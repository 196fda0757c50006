// SPDX-License-Identifier: Apache-2.0
// The norms of rows, of columns or of the tensor stay at or below a bound.
#pragma once

#include <espalier/core/element_about.hpp>
#include <espalier/core/fields.hpp>
#include <espalier/core/macros.hpp>
#include <espalier/core/math.hpp>
#include <espalier/core/pack.hpp>
#include <espalier/core/short_name.hpp>
#include <espalier/projection/axis.hpp>
#include <espalier/projection/concept.hpp>
#include <espalier/schedule/concept.hpp>
#include <espalier/schedule/within.hpp>

#include <string_view>

namespace espalier::projection {

/// Numbers and element function of `max_norm`.
template <group_scope Groups> struct max_norm_op {
    double maximum;
    static constexpr auto numbers = fields<&max_norm_op::maximum>;

    static constexpr group_scope groups = Groups;

    template <class T> ESPALIER_FN T apply(T next, element_about<T> const& about) const {
        using espalier::select, espalier::sqrt;
        T const bound(static_cast<scalar_of<T>>(maximum)), norm = sqrt(about.squared_norm);
        return select(norm > bound, next * (bound / norm), next);
    }
};

/// w_g <- w_g min(1, Maximum / ||w_g||) over the rows, the columns or the whole of a tensor, ||w_g|| being the
/// Euclidean norm of the stepped weights: the projection on the ball of that radius. Over columns, the incoming weights
/// of a unit, it is the max-norm constraint of Srivastava et al. 2014, section 5.1; over the tensor it bounds the
/// Frobenius norm. Tensors whose policies name the same `Group` share the norm of group i, as in penalty::group_lasso.
/// A group whose squares are too large for T becomes 0. Maximum: a number or a schedule, finite and not negative.
template <schedule::number_or_schedule auto Maximum, over Over, short_name Group = short_name{}>
struct max_norm : schedule::with_numbers<axis::projection, max_norm<Maximum, Over, Group>, max_norm_op<scope_of(Over)>,
                                         schedule::number<Maximum, schedule::maximum>> {
    static constexpr std::string_view name = "max_norm";
    static constexpr short_name group_name = Group;
    template <over Side> using along = max_norm<Maximum, Side, Group>;
};

} // namespace espalier::projection
