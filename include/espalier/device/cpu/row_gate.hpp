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

/// to[c][r] = from[r][c] for W rows and W columns.
template <class T, int W> inline void transpose_square(T const* const (&from)[W], T (&to)[W][W]) {
#if ESPALIER_PACK_BYTES == 64
    if constexpr (W == 16) {
        // Quarters of rows are put together as they are loaded, so that two rounds of exchanges are left of four.
        typedef T quarter __attribute__((vector_size(4 * sizeof(T))));
        typedef T half __attribute__((vector_size(8 * sizeof(T))));
        typedef T whole __attribute__((vector_size(16 * sizeof(T))));
        ESPALIER_PACK_UNROLL
        for (int c = 0; c < W; c += 4) {
            whole v[4];
            ESPALIER_PACK_UNROLL
            for (int i = 0; i < 4; ++i) {
                quarter a[4];
                ESPALIER_PACK_UNROLL
                for (int k = 0; k < 4; ++k)
                    std::memcpy(&a[k], from[4 * k + i] + c, sizeof(quarter));
                half const low = __builtin_shufflevector(a[0], a[1], 0, 1, 2, 3, 4, 5, 6, 7);
                half const high = __builtin_shufflevector(a[2], a[3], 0, 1, 2, 3, 4, 5, 6, 7);
                v[i] = __builtin_shufflevector(low, high, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
            }
            auto const pairs_low = [](whole x, whole y) {
                return __builtin_shufflevector(x, y, 0, 16, 1, 17, 4, 20, 5, 21, 8, 24, 9, 25, 12, 28, 13, 29);
            };
            auto const pairs_high = [](whole x, whole y) {
                return __builtin_shufflevector(x, y, 2, 18, 3, 19, 6, 22, 7, 23, 10, 26, 11, 27, 14, 30, 15, 31);
            };
            auto const quads_low = [](whole x, whole y) {
                return __builtin_shufflevector(x, y, 0, 1, 16, 17, 4, 5, 20, 21, 8, 9, 24, 25, 12, 13, 28, 29);
            };
            auto const quads_high = [](whole x, whole y) {
                return __builtin_shufflevector(x, y, 2, 3, 18, 19, 6, 7, 22, 23, 10, 11, 26, 27, 14, 15, 30, 31);
            };
            whole const a = pairs_low(v[0], v[1]), b = pairs_low(v[2], v[3]);
            whole const d = pairs_high(v[0], v[1]), e = pairs_high(v[2], v[3]);
            whole const out[4] = {quads_low(a, b), quads_high(a, b), quads_low(d, e), quads_high(d, e)};
            std::memcpy(to[c], out, sizeof out);
        }
        return;
    }
#endif
    transpose(from, to);
}

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
            transpose_square(from, reinterpret_cast<T(&)[W][W]>(x.v[block * W]));
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

/// The other way: the first `count` rows of `x`.
template <class T, int N, class Value = native_pack<T>>
[[gnu::noinline]] void store_transposed(rows_at<T> target, int count, row<serial_group, Value, N> const& x) {
    constexpr int W = pack_width<Value>;
    for_column_blocks<N, W>([&](int block, auto columns) {
        alignas(64) T turned[W][W];
        [[maybe_unused]] alignas(64) T const nothing[W] = {};
        T const* from[W];
        for (int c = 0; c < W; ++c)
            from[c] = c < columns ? reinterpret_cast<T const*>(&x.v[block * W + c]) : nothing;
        transpose_square(from, turned);
        for (int r = 0; r < count; ++r)
            std::memcpy(target(r) + block * W, turned[r], columns * sizeof(T));
    });
}

/// `count` rows of N numbers as a plan has them, and back.
template <class T, int N, class P> void load_as(rows_at<T const> source, int count, row<serial_group, P, N>& x) {
    load_transposed<T, N>(source, count, x);
}
template <class T, int N, class P, int W> void load_as(rows_at<T const> source, int, row<pack_lanes<W>, P, N>& x) {
    for (int i = 0; i < N / W; ++i)
        x.v[i] = P::load(source(0) + i * W);
    if constexpr (N % W != 0) x.v[N / W] = P::load(source(0) + N / W * W, N % W);
}
template <class T, int N, class P> void store_as(rows_at<T> target, int count, row<serial_group, P, N> const& x) {
    store_transposed<T, N>(target, count, x);
}
template <class T, int N, class P, int W> void store_as(rows_at<T> target, int, row<pack_lanes<W>, P, N> const& x) {
    for (int i = 0; i < N / W; ++i)
        x.v[i].store(target(0) + i * W);
    if constexpr (N % W != 0) x.v[N / W].store(target(0) + N / W * W, N % W);
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
        detail::load_as(rows_at<T const>{logits.row(first), logits.stride}, count, z);
        P share;
        if constexpr (Gate::slot_is_expert) {
            typename plan::template row<Gate::slots> chosen;
            share = op.route(group{}, z, chosen);
            detail::store_as(rows_at<T>{weights.row(first), weights.stride}, count, chosen);
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
        detail::load_as(rows_at<T const>{logits.row(first), logits.stride}, count, z);
        if constexpr (Gate::slot_is_expert) {
            typename plan::template row<Gate::slots> chosen, gradient;
            detail::load_as(rows_at<T const>{weights.row(first), weights.stride}, count, chosen);
            detail::load_as(rows_at<T const>{dweights.row(first), dweights.stride}, count, gradient);
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
        detail::store_as(rows_at<T>{dlogits.row(first), dlogits.stride}, count, dz);
    }
}

} // namespace espalier::cpu
