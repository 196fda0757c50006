// SPDX-License-Identifier: Apache-2.0
// Kernel body of the gains of the columns of a low-rank adapter.
#pragma once

#include <espalier/core/macros.hpp>
#include <espalier/core/math.hpp>
#include <espalier/core/view.hpp>
#include <espalier/kernels/access.hpp>

namespace espalier::kernels {

/// s_o = op.gain(n_o), n_o^2 = the product of column o of `factor` and column o of `scaled`. `scaled` becomes `factor`
/// with columns times s, and the columns of `gradient` are multiplied with s. A lane for each column: few rows, which
/// neighbours read side by side. Floor: 5 b rows columns bytes and one more of `factor` from the cache.
template <class Group, class Op, class T>
ESPALIER_FN void scale_columns(Group const& group, Op const& op, matrix_view<T const> factor, matrix_view<T> scaled,
                               matrix_view<T> gradient) {
    for (index_t c = grid_lane(group); c < factor.columns; c += grid_lanes(group)) {
        T squared(0);
        for (index_t k = 0; k < factor.rows; ++k)
            squared += factor.row(k)[c] * scaled.row(k)[c];
        T const gain = op.gain(espalier::sqrt(squared > T(0) ? squared : T(0)));
        for (index_t k = 0; k < factor.rows; ++k) {
            scaled.row(k)[c] = gain * factor.row(k)[c];
            gradient.row(k)[c] *= gain;
        }
    }
}

} // namespace espalier::kernels
