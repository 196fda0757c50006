// SPDX-License-Identifier: Apache-2.0
// Rows on the CPU: sixteen rows at once with one row in each element of the packs, or one wide row over the elements.
#pragma once

#include <espalier/core/group.hpp>
#include <espalier/core/macros.hpp>
#include <espalier/core/pack.hpp>
#include <espalier/core/row.hpp>
#include <espalier/core/view.hpp>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <type_traits>
#include <utility>

namespace espalier::cpu {

/// The elements of a pack as the lanes of one row: reductions go over the elements and give the result to all of them.
/// It serves the row form only; what a lane does on its own (shuffles, barriers) does not exist here.
template <int W> struct pack_lanes {
    static constexpr std::uint32_t lanes = W;

    template <class T> ESPALIER_FN T lane_number() const { return T::iota(); }
    template <class T> ESPALIER_FN T reduce_add(T const& x) const { return T(horizontal_sum(x)); }
    template <class T> ESPALIER_FN T reduce_max(T const& x) const { return T(horizontal_max(x)); }
    template <class T> ESPALIER_FN T reduce_min(T const& x) const { return T(horizontal_min(x)); }
    /// A place with the largest value, the lowest column of equal ones (`row_argmax` reduces nothing else).
    template <class T, class Operation> ESPALIER_FN row_place<T> reduce(row_place<T> const& x, Operation) const {
        T const top(horizontal_max(x.value)), far(static_cast<scalar_of<T>>(__builtin_inf()));
        return {top, T(horizontal_min(select(x.value == top, x.column, far)))};
    }
};

/// Up to this many columns a pack holds as many rows as it has elements; a wider row gets the packs for itself. Then
/// the working set stays in the first-level cache, and a row is read in its own order.
inline constexpr int widest_transposed_row = 64;

/// Wider rows than this would need megabytes of stack.
inline constexpr int widest_row = 1 << 16;

/// How rows of N columns of T are worked on. `Value` is never given: functions have it as their last parameter so that
/// objects compiled for different machines do not share an instantiation (see core/pack.hpp).
template <class T, int N, class Value = native_pack<T>> struct row_plan {
    static_assert(N <= widest_row, "espalier: the row form on the CPU takes at most 65536 columns");
    using value = Value;
    static constexpr int width = pack_width<value>;
    static constexpr bool transposed = N <= widest_transposed_row;
    static constexpr int rows = transposed ? width : 1; ///< rows of one step
    using group = std::conditional_t<transposed, serial_group, pack_lanes<width>>;
    using row = espalier::row<group, value, N>;
};

/// Rows base, base + stride, ... of a matrix, from one on.
template <class T> struct rows_at {
    T* base;
    index_t stride;
    ESPALIER_FN T* operator()(int r) const { return base + r * stride; }
    /// Numbers that may be read from the start of row r of `count` rows of n: into the next row, while there is one.
    ESPALIER_FN index_t readable(int r, int count, int n) const { return r + 1 < count ? stride + n : n; }
};

/// Rows anywhere; null stands for a row of zeros that is not written.
template <class T> struct rows_listed {
    T* const* pointer;
    ESPALIER_FN T* operator()(int r) const { return pointer[r]; }
    ESPALIER_FN index_t readable(int, int, int n) const { return n; }
};

namespace detail {

#if ESPALIER_PACK_BYTES > 0
/// One round of a transposition of L vectors of L numbers: exchanges the off-diagonal blocks of every 2 D x 2 D square.
template <int D, int L, class Chunk, std::size_t... At>
ESPALIER_FN void exchange_blocks(Chunk (&v)[L], std::index_sequence<At...>) {
    for (int i = 0; i < L; ++i) {
        if (i & D) continue;
        Chunk const a = v[i], b = v[i + D];
        v[i] = __builtin_shufflevector(a, b, (int(At) & D ? L + int(At) - D : int(At))...);
        v[i + D] = __builtin_shufflevector(a, b, (int(At) & D ? L + int(At) : int(At) + D)...);
    }
}

template <int D, int L, class Chunk> ESPALIER_FN void exchange_rounds(Chunk (&v)[L]) {
    exchange_blocks<D, L>(v, std::make_index_sequence<L>{});
    if constexpr (2 * D < L) exchange_rounds<2 * D, L>(v);
}
#endif

/// How many numbers of a row `transpose` reads at once.
template <class T, int W> inline constexpr int transpose_step = ESPALIER_PACK_BYTES > 0 ? pack<T, W>::lanes : 1;

/// to[c][r] = from[r][c] for W rows and at least `columns` of W columns. In squares of the machine's vectors, in
/// registers: element by element it costs as much as the loss itself. Of each row it reads `columns` numbers, rounded
/// up to a multiple of `transpose_step`.
template <class T, int W> ESPALIER_FN void transpose(T const* const (&from)[W], T (&to)[W][W], int columns = W) {
#if ESPALIER_PACK_BYTES > 0
    constexpr int L = transpose_step<T, W>;
    using vector = typename pack<T, W>::chunk;
    for (int c = 0; c < columns; c += L) {
        for (int r = 0; r < W; r += L) {
            vector square[L];
            ESPALIER_PACK_UNROLL
            for (int i = 0; i < L; ++i)
                std::memcpy(&square[i], from[r + i] + c, sizeof(vector));
            exchange_rounds<1, L>(square);
            ESPALIER_PACK_UNROLL
            for (int i = 0; i < L; ++i)
                std::memcpy(&to[c + i][r], &square[i], sizeof(vector));
        }
    }
#else
    for (int c = 0; c < columns; ++c)
        for (int r = 0; r < W; ++r)
            to[c][r] = from[r][c];
#endif
}

/// Calls body(block, width) for the blocks of W columns that make up N; `width` is a compile-time constant.
template <int N, int W, class Body> ESPALIER_FN void for_column_blocks(Body const& body) {
    for (int block = 0; block < N / W; ++block)
        body(block, std::integral_constant<int, W>{});
    if constexpr (N % W != 0) body(N / W, std::integral_constant<int, N % W>{});
}

} // namespace detail

/// The rows source(0) ... source(count - 1) as one `row`; the elements of the others are 0. The source's numbers are T,
/// or float where T is double. A function of its own: every loss and activation of one width shares it.
template <class T, int N, class Source, class Value = native_pack<T>>
[[gnu::noinline]] void load_rows(Source source, int count, typename row_plan<T, N, Value>::row& x) {
    using plan = row_plan<T, N, Value>;
    using P = typename plan::value;
    constexpr int W = plan::width;
    if constexpr (plan::transposed) {
        detail::for_column_blocks<N, W>([&](int block, auto columns) {
            constexpr int step = detail::transpose_step<T, W>;
            alignas(64) T by_row[W][W], by_column[W][W];
            T const* rows[W];
            for (int r = 0; r < W; ++r) {
                rows[r] = by_row[r];
                auto const* const p = r < count ? source(r) : nullptr;
                if constexpr (std::is_same_v<std::remove_cvref_t<decltype(*p)>, T>) {
                    // What is read past the last column ends in columns that nobody looks at.
                    if (p && source.readable(r, count, N) >= block * W + (columns + step - 1) / step * step) {
                        rows[r] = p + block * W;
                        continue;
                    }
                }
                for (int c = 0; c < W; ++c)
                    by_row[r][c] = T(0);
                if (p)
                    for (int c = 0; c < columns; ++c)
                        by_row[r][c] = static_cast<T>(p[block * W + c]);
            }
            detail::transpose(rows, by_column, columns);
            for (int c = 0; c < columns; ++c)
                x.v[block * W + c] = P::load(by_column[c]);
        });
    } else {
        auto const* const p = source(0);
        for (int i = 0; i < x.local; ++i) {
            int const from = i * W, left = p ? N - from : 0;
            if constexpr (std::is_same_v<std::remove_cvref_t<decltype(*p)>, T>)
                x.v[i] = left >= W ? P::load(p + from) : P::load(p + from, left);
            else {
                T lane[W] = {};
                for (int l = 0; l < W && l < left; ++l)
                    lane[l] = static_cast<T>(p[from + l]);
                x.v[i] = P::load(lane);
            }
        }
    }
}

/// Writes `x` to the rows target(0) ... target(count - 1).
template <class T, int N, class Target, class Value = native_pack<T>>
[[gnu::noinline]] void store_rows(Target target, int count, typename row_plan<T, N, Value>::row const& x) {
    using plan = row_plan<T, N, Value>;
    constexpr int W = plan::width;
    if constexpr (plan::transposed) {
        detail::for_column_blocks<N, W>([&](int block, auto columns) {
            alignas(64) T by_column[W][W], by_row[W][W];
            for (int c = 0; c < W; ++c)
                (c < columns ? x.v[block * W + c] : pack<T, W>(T(0))).store(by_column[c]);
            T const* from[W];
            for (int c = 0; c < W; ++c)
                from[c] = by_column[c];
            detail::transpose(from, by_row);
            for (int r = 0; r < count; ++r)
                if (T* const p = target(r)) std::memcpy(p + block * W, by_row[r], columns * sizeof(T));
        });
    } else if (T* const p = target(0)) {
        for (int i = 0; i < x.local; ++i) {
            int const from = i * W, left = N - from;
            if (left >= W)
                x.v[i].store(p + from);
            else
                x.v[i].store(p + from, left);
        }
    }
}

} // namespace espalier::cpu
