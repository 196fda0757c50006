// SPDX-License-Identifier: Apache-2.0
// The largest columns of a row, in order: the choice that gates of scores make.
#pragma once

#include <espalier/core/macros.hpp>
#include <espalier/core/row.hpp>

#include <cstddef>

namespace espalier::gate {

namespace detail {

/// A lane that holds the whole row: one pass, in which every column is put in its place among the K largest before
/// it. Values move by min and max, which wait for nothing but themselves; only columns need the comparisons.
template <class Group, class T, int N, std::size_t Winners>
ESPALIER_FN void insert_winners(Group const& group, row<Group, T, N> const& z, T (&value)[Winners],
                                T (&column)[Winners]) {
    constexpr int K = int{Winners};
    using S = scalar_of<T>;
    T const none(static_cast<S>(-__builtin_inf()));
    T at = z.column(group, 0);
    ESPALIER_PACK_UNROLL
    for (int k = 0; k < K; ++k) {
        value[k] = none;
        column[k] = at;
    }
    int i = 0;
    if constexpr (K == 2) {
        // Two columns at a time: the larger of them against the first winner, then the better of who is left on
        // either side for the second place. Whoever comes first wins unless the other one is larger.
        for (; i + 1 < z.local; i += 2) {
            T const a = max(z.v[i], none), b = max(z.v[i + 1], none); // no NaN: it is neither larger nor smaller
            T const next = at + T(S(1));
            auto const b_first = b > a, first = max(b, a) > value[0];
            T const high = max(b, a), low = min(b, a);
            T const high_column = select(b_first, next, at), low_column = select(b_first, at, next);
            T const held = select(first, value[0], value[1]), held_column = select(first, column[0], column[1]);
            T const come = select(first, low, high), come_column = select(first, low_column, high_column);
            column[0] = select(first, high_column, column[0]);
            value[0] = max(high, value[0]);
            column[1] = select(come > held, come_column, held_column);
            value[1] = max(come, held);
            at = next + T(S(1));
        }
    }
    for (; i < z.local; ++i) {
        T const x = z.v[i];
        auto above = x > value[K - 1];
        ESPALIER_PACK_UNROLL
        for (int k = K - 1; k > 0; --k) {
            auto const next = x > value[k - 1];
            column[k] = select(next, column[k - 1], select(above, at, column[k]));
            value[k] = max(min(value[k - 1], x), value[k]); // x if it is NaN, which the maximum leaves out
            above = next;
        }
        column[0] = select(above, at, column[0]);
        value[0] = max(x, value[0]);
        at = at + T(S(1));
    }
}

} // namespace detail

/// The largest columns of a row, as many as there are places, K, by falling value, the lower one first of equal ones. A
/// NaN or minus infinity never wins; a place that found no column has value minus infinity, and its column is any. One
/// pass where a lane holds the whole row, K passes in registers otherwise.
template <class Group, class T, int N, std::size_t Winners>
ESPALIER_FN void row_winners(Group const& group, row<Group, T, N> const& z, T (&value)[Winners], T (&column)[Winners]) {
    constexpr int K = int{Winners};
    static_assert(K >= 1 && K <= N, "espalier: a row of N columns has 1 to N winners");
    if constexpr (row<Group, T, N>::lanes == 1)
        detail::insert_winners(group, z, value, column);
    else {
        T const none(static_cast<scalar_of<T>>(-__builtin_inf()));
        ESPALIER_ROW_UNROLL
        for (int k = 0; k < K; ++k) {
            // Candidates come after the winner before: smaller, or equal and of higher number. No row is changed.
            row<Group, T, N> rest;
            ESPALIER_ROW_UNROLL
            for (int i = 0; i < z.local; ++i) {
                if (k == 0) {
                    rest.v[i] = z.v[i];
                } else {
                    auto const after =
                        (z.v[i] < value[k - 1]) | ((z.v[i] == value[k - 1]) & (z.column(group, i) > column[k - 1]));
                    rest.v[i] = select(after, z.v[i], none);
                }
            }
            row_place<T> const best = row_argmax(group, rest);
            value[k] = best.value;
            column[k] = best.column;
        }
    }
}

/// exp(v_k - v_0) of winners, 0 of places that found no column. Returns their sum.
template <class T, std::size_t Winners>
ESPALIER_FN T winner_exponentials(T const (&value)[Winners], T (&weight)[Winners]) {
    constexpr int K = int{Winners};
    using S = scalar_of<T>;
    T const none(static_cast<S>(-__builtin_inf()));
    T const top = value[0];
    T total(S(0));
    ESPALIER_ROW_UNROLL
    for (int k = 0; k < K; ++k) {
        T const e = select(value[k] > none, k == 0 ? T(S(1)) : exp(value[k] - top), T(S(0)));
        weight[k] = e;
        total = total + e;
    }
    return total;
}

} // namespace espalier::gate
