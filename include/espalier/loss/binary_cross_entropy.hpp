// SPDX-License-Identifier: Apache-2.0
// Independent yes-or-no decisions, one a column, from logits.
#pragma once

#include <espalier/core/macros.hpp>
#include <espalier/core/row.hpp>
#include <espalier/loss/column.hpp>
#include <espalier/loss/concept.hpp>
#include <espalier/loss/detail/mean_of_columns.hpp>

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
        return detail::mean_of_columns<column::binary>(group, z, detail::dense_column<Group, T, N>{*target.dense}, dz);
    }
};

} // namespace espalier::loss
