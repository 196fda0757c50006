// SPDX-License-Identifier: Apache-2.0
// Independent yes-or-no decisions, one a column, from logits.
#pragma once

#include <espalier/core/macros.hpp>
#include <espalier/core/pack.hpp>
#include <espalier/core/row.hpp>
#include <espalier/loss/column.hpp>
#include <espalier/loss/concept.hpp>

#include <string_view>

namespace espalier::loss {

/// l = (1 / N) sum_c (log(1 + exp(z_c)) - t_c z_c), dz_c = (sigmoid(z_c) - t_c) / N, for targets t_c in [0, 1]. The
/// mean is over the columns; the driver's is over the rows.
struct binary_cross_entropy {
    static constexpr std::string_view name = "binary_cross_entropy";
    static constexpr bool needs_dense_target = true;

    template <class Group, class T, int N>
    ESPALIER_FN T evaluate(Group const& group, row<Group, T, N> const& z, row_target<Group, T, N> const& target,
                           row<Group, T, N>* dz, row<Group, T, N>*) const {
        using S = scalar_of<T>;
        T const none(S(0)), per_column(static_cast<S>(1.0 / N));
        T sum = none;
        ESPALIER_ROW_UNROLL
        for (int i = 0; i < z.local; ++i) {
            value_and_slope<T> const x = column::binary::of(z.v[i], target.dense->v[i]);
            sum += z.inside(group, i, x.value, none);
            if (dz) dz->v[i] = x.slope * per_column;
        }
        return group.reduce_add(sum) * per_column;
    }
};

} // namespace espalier::loss
