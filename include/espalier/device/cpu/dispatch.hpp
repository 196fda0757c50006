// SPDX-License-Identifier: Apache-2.0
// host only. Moving rows to experts and back on one core.
#pragma once

#include <espalier/core/pack.hpp>
#include <espalier/core/pairs.hpp>
#include <espalier/core/rows.hpp>
#include <espalier/core/view.hpp>

#include <cstdint>

namespace espalier::cpu {

/// Stable counting sort of the filled slots by expert. `experts` has no data when slot s is expert s.
template <class T>
void build_pairs(matrix_view<T const> weights, matrix_view<std::int32_t const> experts, rows const& batch,
                 int expert_count, index_t granule, pair_table const& table) {
    auto const expert_of = [&](index_t r, index_t s) {
        return experts.data ? experts(r, s) : static_cast<std::int32_t>(s);
    };
    for (int e = 0; e < expert_count; ++e)
        table.count[e] = 0;
    for (index_t r = 0; r < weights.rows; ++r)
        for (index_t s = 0; s < weights.columns; ++s)
            if (weights(r, s) != T(0)) ++table.count[expert_of(r, s)];
    std::int32_t at = 0;
    for (int e = 0; e < expert_count; ++e) {
        table.first[e] = at;
        at += static_cast<std::int32_t>((table.count[e] + granule - 1) / granule * granule);
        table.count[e] = 0;
    }
    for (index_t r = 0; r < weights.rows; ++r)
        for (index_t s = 0; s < weights.columns; ++s) {
            std::int32_t& pair = table.pair[r * weights.columns + s];
            pair = -1;
            if (weights(r, s) == T(0)) continue;
            std::int32_t const e = expert_of(r, s);
            pair = table.first[e] + table.count[e]++;
            table.row[pair] = static_cast<std::int32_t>(r);
            table.origin[pair] = batch.origin_of(r);
        }
}

namespace detail {

/// to[c] += factor * from[c]
template <class T> ESPALIER_FN void add_scaled(T* to, T const* from, T factor, index_t n) {
    for (index_t c = 0; c < n; ++c)
        to[c] += factor * from[c];
}

template <class T> ESPALIER_FN T dot(T const* a, T const* b, index_t n) {
    using P = native_pack<T>;
    constexpr index_t lanes = pack_width<P>;
    P sum(T(0));
    index_t c = 0;
    for (; c + lanes <= n; c += lanes)
        sum = fma(P::load(a + c), P::load(b + c), sum);
    if (c < n) sum = fma(P::load(a + c, static_cast<int>(n - c)), P::load(b + c, static_cast<int>(n - c)), sum);
    return horizontal_sum(sum);
}

} // namespace detail

/// y_r = sum over the slots s of weight(r, s) * output(r, s), in slot order; `output(r, s)` is a row or null.
template <class T, class Output> void combine(matrix_view<T const> weights, matrix_view<T> y, Output const& output) {
    for (index_t r = 0; r < y.rows; ++r) {
        T* const to = y.row(r);
        for (index_t c = 0; c < y.columns; ++c)
            to[c] = T(0);
        for (index_t s = 0; s < weights.columns; ++s)
            if (weights(r, s) != T(0)) detail::add_scaled(to, output(r, s), weights(r, s), y.columns);
    }
}

/// dweight(r, s) = <dy_r, output(r, s)>, 0 for empty slots.
template <class T, class Output>
void weight_gradients(matrix_view<T const> weights, matrix_view<T const> dy, matrix_view<T> dweights,
                      Output const& output) {
    for (index_t r = 0; r < dy.rows; ++r)
        for (index_t s = 0; s < weights.columns; ++s)
            dweights(r, s) = weights(r, s) != T(0) ? detail::dot<T>(dy.row(r), output(r, s), dy.columns) : T(0);
}

} // namespace espalier::cpu
