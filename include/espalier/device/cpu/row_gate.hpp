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

#include <cstdint>
#include <cstring>
#include <type_traits>

namespace espalier::cpu {

namespace detail {

/// How the logits of a gate are worked on: one row in each element of the packs, or one row over the elements.
///     whole rows       as the op asks
///     choices          a row in each element: every logit is compared with many numbers, and across a row every
///                      comparison would have to be followed by a reduction. The backward pass compares columns only.
///     weights of all   over the elements from two packs on: two reductions a row cost less than two transpositions
template <class T, class Gate, class Op, bool Backward, class Value = native_pack<T>> struct gate_plan {
    static constexpr int width = pack_width<Value>;
    static constexpr int widest = Gate::slot_is_expert ? 2 * width - 1 : Backward ? 64 : 256;
    static constexpr bool transposed = espalier::detail::gate_whole_row<Op>() || Gate::logits <= widest;
    static constexpr int rows = transposed ? width : 1;
    using value = Value;
    using group = std::conditional_t<transposed, serial_group, pack_lanes<width>>;
    template <int N> using row = espalier::row<group, value, N>;
};

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

} // namespace detail

/// Routes every row of `logits`: weights [rows][slots] and, unless a slot is its expert, experts [rows][slots]. Returns
/// the mean of the gate's auxiliary term.
template <class T, class Gate, class Op>
double route(Op const& given, matrix_view<T const> logits, matrix_view<T> weights, matrix_view<std::int32_t> experts) {
    using plan = detail::gate_plan<T, Gate, Op, false>;
    using group = typename plan::group;
    using P = typename plan::value;
    constexpr int step = plan::rows;
    Op const op = given;
    double term = 0.0;
    for (index_t first = 0; first < logits.rows; first += step) {
        int const count = logits.rows - first < step ? static_cast<int>(logits.rows - first) : step;
        typename plan::template row<Gate::logits> z;
        load_rows(rows_at<T const>{logits.row(first), logits.stride}, count, z);
        P share;
        if constexpr (Gate::slot_is_expert) {
            typename plan::template row<Gate::slots> chosen;
            share = op.route(group{}, z, chosen);
            store_rows(rows_at<T>{weights.row(first), weights.stride}, count, chosen);
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
    using plan = detail::gate_plan<T, Gate, Op, true>;
    using group = typename plan::group;
    using P = typename plan::value;
    constexpr int step = plan::rows;
    Op const op = given;
    P const term_scale(static_cast<T>(1.0 / static_cast<double>(logits.rows > 0 ? logits.rows : 1)));
    for (index_t first = 0; first < logits.rows; first += step) {
        int const count = logits.rows - first < step ? static_cast<int>(logits.rows - first) : step;
        typename plan::template row<Gate::logits> z, dz;
        load_rows(rows_at<T const>{logits.row(first), logits.stride}, count, z);
        if constexpr (Gate::slot_is_expert) {
            typename plan::template row<Gate::slots> chosen, gradient;
            load_rows(rows_at<T const>{weights.row(first), weights.stride}, count, chosen);
            load_rows(rows_at<T const>{dweights.row(first), dweights.stride}, count, gradient);
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
        store_rows(rows_at<T>{dlogits.row(first), dlogits.stride}, count, dz);
    }
}

} // namespace espalier::cpu
