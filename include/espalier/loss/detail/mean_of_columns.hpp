// SPDX-License-Identifier: Apache-2.0
// A loss that is the mean of losses of single columns.
#pragma once

#include <espalier/core/macros.hpp>
#include <espalier/core/pack.hpp>
#include <espalier/core/row.hpp>
#include <espalier/loss/column.hpp>
#include <espalier/loss/concept.hpp>

namespace espalier::loss::detail {

/// t_c of the target row. Function objects rather than lambdas: they are inlined by force.
template <class Group, class T, int N> struct dense_column {
    row<Group, T, N> const& dense;

    ESPALIER_FN T operator()(int i, T const&) const { return dense.v[i]; }
};

/// t_c = what the labels say.
template <class Group, class T, int N> struct label_column {
    row_target<Group, T, N> const& target;

    ESPALIER_FN T operator()(int, T const& column) const { return target.share_of(column); }
};

/// (1 / N) sum_c l(z_c, t_c) with dz_c = l'(z_c, t_c) / N, for a loss `Column` of loss/column.hpp and
/// t_c = target(i, c) for element i, column c.
template <class Column, class Group, class T, int N, class Target>
ESPALIER_FN T mean_of_columns(Group const& group, row<Group, T, N> const& z, Target const& target,
                              row<Group, T, N>* dz) {
    using S = scalar_of<T>;
    T const none(S(0)), per_column(static_cast<S>(1.0 / N));
    T sum = none;
    ESPALIER_ROW_UNROLL
    for (int i = 0; i < z.local; ++i) {
        value_and_slope<T> const x = Column::of(z.v[i], target(i, z.column(group, i)));
        sum += z.inside(group, i, x.value, none);
        if (dz) dz->v[i] = x.slope * per_column;
    }
    return group.reduce_add(sum) * per_column;
}

} // namespace espalier::loss::detail
