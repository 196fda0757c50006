// SPDX-License-Identifier: Apache-2.0
// One row of N columns spread over the lanes of a tile: what row-wise activations, losses and gates are written for.
#pragma once

#include <espalier/core/macros.hpp>
#include <espalier/core/math.hpp>
#include <espalier/core/pack.hpp>

#include <cstddef>

// Loops over a row have compile-time bounds. On a GPU they must be unrolled, because an array that is indexed at run
// time leaves the registers; on the CPU the row is an array in the first-level cache, and a loop keeps the code small.
#if ESPALIER_ON_DEVICE
#define ESPALIER_ROW_UNROLL _Pragma("unroll")
#else
#define ESPALIER_ROW_UNROLL
#endif

namespace espalier {

/// The row form: N columns over the lanes of a group, element i of a lane is column i * lanes + thread_rank.
///
///     group           T                 what it is
///     serial_group    float             one row, one thread
///     serial_group    pack<float, 16>   16 rows at once: every value of T stands for one column of 16 rows
///     warp, tile      float             one row in the registers of the lanes
///     pack_lanes<16>  pack<float, 16>   one row, its columns in the elements of packs (device/cpu/row_lanes.hpp)
///
/// Elements past column N hold anything; the functions below never let them into a result. Columns and labels are
/// numbers of type T, so that comparing them gives T's mask; that is exact up to 2^24 columns.
template <class Group, class T, int N> struct row {
    static_assert(N >= 1 && N <= (1 << 24), "espalier: a row has 1 to 2^24 columns");

    using group_type = Group;
    using value_type = T;
    static constexpr int columns = N;
    static constexpr int lanes = static_cast<int>(Group::lanes);
    static constexpr int local = (N + lanes - 1) / lanes; ///< elements of one lane

    T v[std::size_t{local}];

    /// Column of this lane's element i.
    static ESPALIER_FN T column(Group const& group, int i) {
        if constexpr (lanes == 1)
            return T(static_cast<scalar_of<T>>(i));
        else if constexpr (requires { group.template lane_number<T>(); })
            return T(static_cast<scalar_of<T>>(i * lanes)) + group.template lane_number<T>();
        else
            return T(static_cast<scalar_of<T>>(i * lanes + static_cast<int>(group.thread_rank())));
    }
    /// `value` where element i is a column of the row, `otherwise` where it lies past the last one.
    static ESPALIER_FN T inside(Group const& group, int i, T const& value, T const& otherwise) {
        if constexpr (N % lanes == 0)
            return value;
        else
            return i + 1 < local ? value : select(column(group, i) < T(static_cast<scalar_of<T>>(N)), value, otherwise);
    }
};

/// Columns of a row of N, as whole numbers: for what lanes keep, or share in memory, beside rows.
template <class Group, int N> struct row_part {
    static constexpr int lanes = static_cast<int>(Group::lanes);
    static constexpr int local = (N + lanes - 1) / lanes;
    /// Column of this lane's element i.
    static ESPALIER_FN int number(Group const& group, int i) {
        return i * lanes + static_cast<int>(group.thread_rank());
    }
    /// Whether it is one of the N.
    static ESPALIER_FN bool exists(Group const& group, int i) {
        return N % lanes == 0 || i + 1 < local || number(group, i) < N;
    }
};

namespace detail {
struct unchanged_column {
    template <class T> ESPALIER_FN T operator()(int, T const& x) const { return x; }
    template <class T> ESPALIER_FN T operator()(int, int, T const& x) const { return x; }
};
/// Calls visit(i, c) for the elements i of this lane whose column c is one of `count` from `first` on. When both are
/// known while compiling, as a GPU needs for elements that stay in registers, nothing is left but the two ends.
template <class Row, class Group, class Visit>
ESPALIER_FN void for_columns(Group const& group, int first, int count, Visit const& visit) {
    constexpr int lanes = Row::lanes;
#if ESPALIER_ON_DEVICE
    int const begin = 0, end = Row::local; // a length that does not depend on `first`: nvcc unrolls no other
#else
    int const begin = first / lanes, end = (first + count - 1) / lanes + 1;
#endif
    ESPALIER_ROW_UNROLL
    for (int i = begin; i < end; ++i) {
        if ((i + 1) * lanes <= first || i * lanes >= first + count) continue;
        int const c = row_part<Group, Row::columns>::number(group, i);
        if (lanes == 1 || (c >= first && c < first + count)) visit(i, c);
    }
}
} // namespace detail

/// Writes columns [first, first + count) of a row to memory that the lanes of its group share: to[c] =
/// change(c, x_(first + c)). Other lanes see it after a sync.
template <class Group, class T, int N, class Change = detail::unchanged_column>
ESPALIER_FN void write_columns(Group const& group, row<Group, T, N> const& x, int first, int count, T* to,
                               Change const& change = {}) {
    detail::for_columns<row<Group, T, N>>(group, first, count,
                                          [&](int i, int c) { to[c - first] = change(c - first, x.v[i]); });
}
/// The way back: x_(first + c) = change(c, i, from[c]), where i is the element of the lane that has the column.
template <class Group, class T, int N, class Change = detail::unchanged_column>
ESPALIER_FN void read_columns(Group const& group, int first, int count, T const* from, row<Group, T, N>& x,
                              Change const& change = {}) {
    detail::for_columns<row<Group, T, N>>(group, first, count,
                                          [&](int i, int c) { x.v[i] = change(c - first, i, from[c - first]); });
}

/// sum_c v_c
template <class Group, class T, int N> ESPALIER_FN T row_sum(Group const& group, row<Group, T, N> const& x) {
    T sum(scalar_of<T>(0));
    ESPALIER_ROW_UNROLL
    for (int i = 0; i < x.local; ++i)
        sum += x.inside(group, i, x.v[i], T(scalar_of<T>(0)));
    return group.reduce_add(sum);
}

/// sum_c a_c b_c
template <class Group, class T, int N>
ESPALIER_FN T row_dot(Group const& group, row<Group, T, N> const& a, row<Group, T, N> const& b) {
    T sum(scalar_of<T>(0));
    ESPALIER_ROW_UNROLL
    for (int i = 0; i < a.local; ++i)
        sum += a.inside(group, i, a.v[i] * b.v[i], T(scalar_of<T>(0)));
    return group.reduce_add(sum);
}

/// max_c v_c; a NaN never wins.
template <class Group, class T, int N> ESPALIER_FN T row_max(Group const& group, row<Group, T, N> const& x) {
    T const none(static_cast<scalar_of<T>>(-__builtin_inf()));
    T top = none;
    ESPALIER_ROW_UNROLL
    for (int i = 0; i < x.local; ++i)
        top = max(x.inside(group, i, x.v[i], none), top);
    return group.reduce_max(top);
}

/// A value and the column it stands in.
template <class T> struct row_place {
    T value;
    T column;
};

/// The largest value and its column, the lowest one when several are equal. A NaN never wins; a row without a number
/// above minus infinity gives column 0.
template <class Group, class T, int N>
ESPALIER_FN row_place<T> row_argmax(Group const& group, row<Group, T, N> const& x) {
    T const none(static_cast<scalar_of<T>>(-__builtin_inf()));
    row_place<T> best{none, x.column(group, 0)};
    ESPALIER_ROW_UNROLL
    for (int i = 0; i < x.local; ++i) {
        T const value = x.inside(group, i, x.v[i], none);
        auto const better = value > best.value;
        best.value = select(better, value, best.value);
        best.column = select(better, x.column(group, i), best.column);
    }
    if constexpr (row<Group, T, N>::lanes == 1)
        return best;
    else
        return group.reduce(best, [](row_place<T> const& a, row_place<T> const& b) {
            auto const first = (a.value > b.value) | ((a.value == b.value) & (a.column < b.column));
            return row_place<T>{select(first, a.value, b.value), select(first, a.column, b.column)};
        });
}

/// m = max_c v_c and s = sum_c exp(v_c - m), from which log sum_c exp(v_c) = m + log(s) without overflow.
template <class T> struct row_exponentials {
    T top;
    T total;
};

/// Also leaves exp(v_c - m) in `e` unless it is null; `e` may be `&x` itself.
template <class Group, class T, int N>
ESPALIER_FN row_exponentials<T> exponentials(Group const& group, row<Group, T, N> const& x,
                                             row<Group, T, N>* e = nullptr) {
    T const top = row_max(group, x);
    T total(scalar_of<T>(0));
    ESPALIER_ROW_UNROLL
    for (int i = 0; i < x.local; ++i) {
        T const value = x.inside(group, i, exp(x.v[i] - top), T(scalar_of<T>(0)));
        total += value;
        if (e) e->v[i] = value;
    }
    return {top, group.reduce_add(total)};
}

/// log sum_c exp(v_c)
template <class Group, class T, int N> ESPALIER_FN T row_log_sum_exp(Group const& group, row<Group, T, N> const& x) {
    row_exponentials<T> const s = exponentials(group, x);
    return s.top + log(s.total);
}

/// v_c <- exp(v_c) / sum_k exp(v_k), in place. One division a row: the quotient is within 1.5 ulp of the exact one for
/// the same exponentials.
template <class Group, class T, int N> ESPALIER_FN void row_softmax(Group const& group, row<Group, T, N>& x) {
    T const share = T(scalar_of<T>(1)) / exponentials(group, x, &x).total;
    ESPALIER_ROW_UNROLL
    for (int i = 0; i < x.local; ++i)
        x.v[i] *= share;
}

} // namespace espalier
