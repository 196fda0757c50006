// SPDX-License-Identifier: Apache-2.0
// Squared distance to a target row.
#pragma once

#include <espalier/core/macros.hpp>
#include <espalier/core/row.hpp>
#include <espalier/loss/column.hpp>
#include <espalier/loss/concept.hpp>
#include <espalier/loss/detail/mean_of_columns.hpp>

#include <string_view>

namespace espalier::loss {

/// l = (1 / N) sum_c (z_c - t_c)^2, dz_c = 2 (z_c - t_c) / N. The mean is over the columns; the driver's is over the
/// rows.
struct mean_squared_error {
    static constexpr std::string_view name = "mean_squared_error";
    static constexpr bool needs_dense_target = true;

    template <class Group, class T, int N>
    ESPALIER_FN T evaluate(Group const& group, row<Group, T, N> const& z, row_target<Group, T, N> const& target,
                           row<Group, T, N>* dz, row<Group, T, N>*) const {
        return detail::mean_of_columns<column::squared>(group, z, detail::dense_column<Group, T, N>{*target.dense}, dz);
    }
};

} // namespace espalier::loss
