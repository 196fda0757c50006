// SPDX-License-Identifier: Apache-2.0
// host only. Gates on the CPU: sixteen rows at once.
//
// Floor of a forward pass: the logits read and the weights and experts written once, at the bandwidth of a copy. What
// it costs above that is the transposition (4 instructions a register) and the choice (5 K a register; 8 for K = 2).
#pragma once

#include <espalier/core/group.hpp>
#include <espalier/core/pack.hpp>
#include <espalier/core/row.hpp>
#include <espalier/core/view.hpp>
#include <espalier/device/cpu/row_lanes.hpp>
#include <espalier/gate/concept.hpp>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <type_traits>

namespace espalier::cpu {

/// Up to this many experts a gate that chooses among them takes sixteen rows at once: it compares every logit with many
/// numbers, and across a row every comparison would have to be followed by a reduction.
inline constexpr int widest_choice = 256;

namespace detail {

/// How the logits of a gate are worked on: like all rows (row_plan) but for wide choices.
template <class T, class Gate, class Value = native_pack<T>> struct gate_plan {
    using usual = row_plan<T, Gate::logits, Value>;
    using value = Value;
    static constexpr bool transposed = usual::transposed || (!Gate::slot_is_expert && Gate::logits <= widest_choice);
    static constexpr int rows = transposed ? usual::width : 1;
    using group = std::conditional_t<transposed, serial_group, typename usual::group>;
    using row = espalier::row<group, value, Gate::logits>;
};

/// load_rows for any number of columns, one row in each element of the packs, straight into `x`.
template <class T, int N, class Value = native_pack<T>>
[[gnu::noinline]] void load_transposed(rows_at<T const> source, int count, row<serial_group, Value, N>& x) {
    constexpr int W = pack_width<Value>;
    static_assert(sizeof(Value) == W * sizeof(T));
    for_column_blocks<N, W>([&](int block, auto columns) {
        T const* from[W];
        alignas(64) T copies[W][W];
        for (int r = 0; r < W; ++r)
            from[r] = source(r < count ? r : 0) + block * W;
        if (columns < W || count < W)
            // What is read past the last column ends in columns that nobody looks at.
            for (int r = 0; r < W; ++r)
                if (r >= count || source.readable(r, count, N) < (block + 1) * W) {
                    for (int c = 0; c < W; ++c)
                        copies[r][c] = r < count && c < columns ? from[r][c] : T(0);
                    from[r] = copies[r];
                }
        if constexpr (columns == W)
            // Packs are their elements and nothing else.
            transpose(from, reinterpret_cast<T(&)[W][W]>(x.v[block * W]));
        else {
            alignas(64) T turned[W][W];
            transpose(from, turned, columns);
            for (int c = 0; c < columns; ++c)
                x.v[block * W + c] = Value::load(turned[c]);
        }
    });
}

/// The first `count` rows of a matrix from numbers by slot: to(r, s) = from[s][r].
template <int Slots, int W, class From, class To>
void store_slots(From const (&from)[Slots][W], int count, To* to, index_t stride) {
    alignas(64) To by_row[W][Slots];
    for (int r = 0; r < W; ++r)
        for (int s = 0; s < Slots; ++s)
            by_row[r][s] = static_cast<To>(from[s][r]);
    if (stride == Slots && count == W)
        std::memcpy(to, by_row, sizeof by_row);
    else
        for (int r = 0; r < count; ++r)
            std::memcpy(to + r * stride, by_row[r], sizeof by_row[0]);
}

/// Rows of logits as the gate's plan has them.
template <class T, class Gate>
void load_logits(rows_at<T const> source, int count, typename gate_plan<T, Gate>::row& z) {
    if constexpr (gate_plan<T, Gate>::transposed)
        load_transposed<T, Gate::logits>(source, count, z);
    else
        load_rows<T, Gate::logits>(source, count, z);
}

} // namespace detail

/// Routes every row of `logits`: weights [rows][slots] and, unless a slot is its expert, experts [rows][slots]. Returns
/// the mean of the gate's auxiliary term.
template <class T, class Gate, class Op>
double route(Op const& given, matrix_view<T const> logits, matrix_view<T> weights, matrix_view<std::int32_t> experts) {
    using plan = detail::gate_plan<T, Gate>;
    using group = typename plan::group;
    using P = typename plan::value;
    constexpr int step = plan::rows;
    Op const op = given;
    double term = 0.0;
    for (index_t first = 0; first < logits.rows; first += step) {
        int const count = logits.rows - first < step ? static_cast<int>(logits.rows - first) : step;
        typename plan::row z;
        detail::load_logits<T, Gate>(rows_at<T const>{logits.row(first), logits.stride}, count, z);
        P share;
        if constexpr (Gate::slot_is_expert) {
            row<group, P, Gate::slots> chosen;
            share = op.route(group{}, z, chosen);
            static_assert(row_plan<T, Gate::slots>::rows == step,
                          "espalier: a gate's slots and logits must be worked on in the same number of rows at once");
            store_rows<T, Gate::slots>(rows_at<T>{weights.row(first), weights.stride}, count, chosen);
        } else {
            gate_slots<P, Gate::slots> chosen;
            share = op.route(group{}, z, chosen);
            // By slot in memory first: an element of a register is not to be had cheaply.
            constexpr int W = pack_width<P>;
            alignas(64) T weight[Gate::slots][W];
            alignas(64) T expert[Gate::slots][W];
            for (int s = 0; s < Gate::slots; ++s) {
                chosen.weight[s].store(weight[s]);
                chosen.expert[s].store(expert[s]);
            }
            detail::store_slots(weight, count, weights.row(first), weights.stride);
            detail::store_slots(expert, count, experts.row(first), experts.stride);
        }
        if constexpr (espalier::detail::gate_has_term<Op>())
            for (int r = 0; r < count; ++r)
                term += static_cast<double>(share[r]);
    }
    return logits.rows > 0 ? term / static_cast<double>(logits.rows) : 0.0;
}

/// dlogits from the gradients of the weights; `dlogits` may be `logits`' own memory only if nobody reads it again.
template <class T, class Gate, class Op>
void route_backward(Op const& given, matrix_view<T const> logits, matrix_view<T const> weights,
                    matrix_view<std::int32_t const> experts, matrix_view<T const> dweights, matrix_view<T> dlogits) {
    using plan = row_plan<T, Gate::logits>;
    using group = typename plan::group;
    using P = typename plan::value;
    constexpr int step = plan::rows;
    Op const op = given;
    P const term_scale(static_cast<T>(1.0 / static_cast<double>(logits.rows > 0 ? logits.rows : 1)));
    for (index_t first = 0; first < logits.rows; first += step) {
        int const count = logits.rows - first < step ? static_cast<int>(logits.rows - first) : step;
        typename plan::row z, dz;
        load_rows<T, Gate::logits>(rows_at<T const>{logits.row(first), logits.stride}, count, z);
        if constexpr (Gate::slot_is_expert) {
            row<group, P, Gate::slots> chosen, gradient;
            load_rows<T, Gate::slots>(rows_at<T const>{weights.row(first), weights.stride}, count, chosen);
            load_rows<T, Gate::slots>(rows_at<T const>{dweights.row(first), dweights.stride}, count, gradient);
            op.backward(group{}, z, chosen, gradient, term_scale, dz);
        } else {
            gate_slots<P, Gate::slots> chosen;
            P gradient[Gate::slots];
            for (int s = 0; s < Gate::slots; ++s) {
                chosen.weight[s] = chosen.expert[s] = gradient[s] = P(T(0));
                for (int r = 0; r < count; ++r) {
                    if constexpr (plan::transposed) {
                        chosen.weight[s].set(r, weights(first + r, s));
                        chosen.expert[s].set(r, static_cast<T>(experts(first + r, s)));
                        gradient[s].set(r, dweights(first + r, s));
                    } else {
                        chosen.weight[s] = P(weights(first, s));
                        chosen.expert[s] = P(static_cast<T>(experts(first, s)));
                        gradient[s] = P(dweights(first, s));
                    }
                }
            }
            op.backward(group{}, z, chosen, gradient, term_scale, dz);
        }
        store_rows<T, Gate::logits>(rows_at<T>{dlogits.row(first), dlogits.stride}, count, dz);
    }
}

} // namespace espalier::cpu
