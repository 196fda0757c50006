// SPDX-License-Identifier: Apache-2.0
// Gains of the columns of a low-rank adapter.
#pragma once

#include <espalier/core/macros.hpp>
#include <espalier/core/math.hpp>
#include <espalier/core/pack.hpp>
#include <espalier/core/view.hpp>

namespace espalier::cpu {

/// s_o = op.gain(n_o), n_o^2 = the product of column o of `factor` and column o of `scaled`. `scaled` becomes `factor`
/// with columns times s, and the columns of `gradient` are multiplied with s.
template <class Op, class T>
void scale_columns(Op const& op, matrix_view<T const> factor, matrix_view<T> scaled, matrix_view<T> gradient) {
    using P = native_pack<T>;
    constexpr index_t lanes = pack_width<P>;
    for (index_t c = 0; c < factor.columns; c += lanes) {
        int const count = static_cast<int>(factor.columns - c < lanes ? factor.columns - c : lanes);
        P squared(T(0));
        for (index_t k = 0; k < factor.rows; ++k)
            squared = fma(P::load(factor.row(k) + c, count), P::load(scaled.row(k) + c, count), squared);
        squared = select(squared > P(T(0)), squared, P(T(0))); // of a column near zero rounding may leave less
        P const gain = op.gain(espalier::sqrt(squared));
        for (index_t k = 0; k < factor.rows; ++k) {
            (gain * P::load(factor.row(k) + c, count)).store(scaled.row(k) + c, count);
            (gain * P::load(gradient.row(k) + c, count)).store(gradient.row(k) + c, count);
        }
    }
}

} // namespace espalier::cpu
