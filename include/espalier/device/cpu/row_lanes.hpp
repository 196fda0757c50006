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
    static constexpr bool gaps = false; ///< whether a row may be null
    T* base;
    index_t stride;
    ESPALIER_FN T* operator()(int r) const { return base + r * stride; }
    /// Numbers that may be read from the start of row r of `count` rows of n: into the next row, while there is one.
    ESPALIER_FN index_t readable(int r, int count, int n) const { return r + 1 < count ? stride + n : n; }
};

/// Rows anywhere; null stands for a row of zeros that is not written.
template <class T> struct rows_listed {
    static constexpr bool gaps = true;
    T* const* pointer;
    ESPALIER_FN T* operator()(int r) const { return pointer[r]; }
    ESPALIER_FN index_t readable(int, int, int n) const { return n; }
};

namespace detail {

#if ESPALIER_PACK_BYTES > 0
/// Numbers of a row that are read at once: exchanges cost least inside sixteen bytes.
template <class T> inline constexpr int piece = 16 / int(sizeof(T));

template <class T, int L> struct vector_of { typedef T type __attribute__((vector_size(L * sizeof(T)))); };

template <class Half, std::size_t... At> ESPALIER_FN auto join(Half low, Half high, std::index_sequence<At...>) {
    return __builtin_shufflevector(low, high, int(At)...);
}

/// The pieces at column c of from[0], from[D], from[2 D], ... as one vector of L numbers.
template <int L, class T> ESPALIER_FN auto join_pieces(T const* const* from, int c) {
    constexpr int D = piece<T>;
    if constexpr (L == D) {
        typename vector_of<T, D>::type v;
        std::memcpy(&v, from[0] + c, sizeof v);
        return v;
    } else
        return join(join_pieces<L / 2>(from, c), join_pieces<L / 2>(from + L / 2, c),
                    std::make_index_sequence<std::size_t{L}>{});
}

/// a0 b0 a1 b1 ... of the lower or the upper half of every piece of D.
template <int D, bool Upper, class Vector, std::size_t... At>
ESPALIER_FN Vector interleave(Vector a, Vector b, std::index_sequence<At...>) {
    constexpr int L = sizeof...(At);
    return __builtin_shufflevector(a, b, int(At / D * D + At % D / 2 + (Upper ? D / 2 : 0) + At % 2 * L)...);
}

/// The D x D squares in v[0] ... v[D - 1], each transposed: afterwards v[c] has column c of every square.
template <int L, class Vector, std::size_t Side> ESPALIER_FN void transpose_squares(Vector (&v)[Side]) {
    constexpr int D = int{Side};
    constexpr auto all = std::make_index_sequence<std::size_t{L}>{};
    ESPALIER_PACK_UNROLL
    for (int done = 1; done < D; done *= 2) {
        Vector from[Side];
        ESPALIER_PACK_UNROLL
        for (int i = 0; i < D; ++i)
            from[i] = v[i];
        ESPALIER_PACK_UNROLL
        for (int i = 0; i < D / 2; ++i) {
            v[2 * i] = interleave<D, false>(from[i], from[i + D / 2], all);
            v[2 * i + 1] = interleave<D, true>(from[i], from[i + D / 2], all);
        }
    }
}
#else
template <class T> inline constexpr int piece = 1;
#endif

/// How many numbers of every row `transpose` reads for so many columns.
template <class T> constexpr int transpose_reads(int columns) {
    return (columns + piece<T> - 1) / piece<T> * piece<T>;
}

/// to[c][r] = from[r][c] for all rows and the columns that `to` has. In registers: element by element it costs as much
/// as the loss itself. Rows are put together from pieces as they are loaded, which leaves exchanges inside pieces only.
template <class T, std::size_t Rows, std::size_t To>
ESPALIER_FN void transpose(T const* const (&from)[Rows], T (&to)[To][Rows]) {
    constexpr int W = int{Rows}, Columns = int{To};
#if ESPALIER_PACK_BYTES > 0
    constexpr int L = pack<T, W>::lanes, D = piece<T>;
    ESPALIER_PACK_UNROLL
    for (int c = 0; c < Columns; c += D) {
        ESPALIER_PACK_UNROLL
        for (int r = 0; r < W; r += L) {
            typename vector_of<T, L>::type v[std::size_t{D}];
            ESPALIER_PACK_UNROLL
            for (int i = 0; i < D; ++i)
                v[i] = join_pieces<L>(&from[r + i], c);
            transpose_squares<L>(v);
            ESPALIER_PACK_UNROLL
            for (int i = 0; i < D; ++i)
                if (c + i < Columns) std::memcpy(&to[c + i][r], &v[i], sizeof v[i]);
        }
    }
#else
    for (int c = 0; c < Columns; ++c)
        for (int r = 0; r < W; ++r)
            to[c][r] = from[r][c];
#endif
}

/// Calls body(block, width) for the blocks of W columns that make up N; `width` is a compile-time constant. A body is
/// always inlined: a call for every block costs as much as a transposition.
template <int N, int W, class Body> ESPALIER_HOST_FN void for_column_blocks(Body const& body) {
    for (int block = 0; block < N / W; ++block)
        body(block, std::integral_constant<int, W>{});
    if constexpr (N % W != 0) body(N / W, std::integral_constant<int, N % W>{});
}

} // namespace detail

/// The rows source(0) ... source(count - 1), one in each element of the packs; the elements of the others are 0. The
/// source's numbers are those of the packs, or float where those are double. A function of its own: every loss,
/// activation and gate of one width shares it.
template <class Source, class P, int N>
[[gnu::noinline]] void load_rows(Source source, int count, row<serial_group, P, N>& x) {
    using T = scalar_of<P>;
    constexpr int W = pack_width<P>;
    static_assert(sizeof(P) == W * sizeof(T)); // packs are their elements and nothing else
    detail::for_column_blocks<N, W>([&](int block, auto columns) __attribute__((always_inline)) {
        constexpr bool same = std::is_same_v<std::remove_cvref_t<decltype(*source(0))>, T>;
        alignas(64) T copies[std::size_t{W}][std::size_t{W}];
        T const* from[std::size_t{W}];
        // The common case has no choice a row.
        bool const whole = same && columns == W && !Source::gaps && count == W;
        if constexpr (same)
            for (int r = 0; whole && r < W; ++r)
                from[r] = source(r) + block * W;
        for (int r = 0; !whole && r < W; ++r) {
            auto const* const p = r < count ? source(r) : nullptr;
            if constexpr (same)
                // What is read past the last column ends in columns that are not kept.
                if (p && source.readable(r, count, N) >= block * W + detail::transpose_reads<T>(columns)) {
                    from[r] = p + block * W;
                    continue;
                }
            from[r] = copies[r];
            for (int c = 0; c < W; ++c)
                copies[r][c] = T(0);
            if (p)
                for (int c = 0; c < columns; ++c)
                    copies[r][c] = static_cast<T>(p[block * W + c]);
        }
        detail::transpose(from, reinterpret_cast<T(&)[std::size_t{columns}][std::size_t{W}]>(x.v[block * W]));
    });
}

/// The row source(0) over the elements of the packs; the last pack's elements past column N are 0.
template <class Source, class P, int N, int W> void load_rows(Source source, int, row<pack_lanes<W>, P, N>& x) {
    using T = scalar_of<P>;
    auto const* const p = source(0);
    detail::for_column_blocks<N, W>([&](int block, auto columns) __attribute__((always_inline)) {
        if (Source::gaps && !p)
            x.v[block] = P(T(0));
        else if constexpr (!std::is_same_v<std::remove_cvref_t<decltype(*p)>, T>) {
            T lane[std::size_t{W}] = {};
            for (int l = 0; l < columns; ++l)
                lane[l] = static_cast<T>(p[block * W + l]);
            x.v[block] = P::load(lane);
        } else
            x.v[block] = P::load(p + block * W, columns);
    });
}

/// Writes `x` to the rows target(0) ... target(count - 1).
template <class Target, class P, int N>
[[gnu::noinline]] void store_rows(Target target, int count, row<serial_group, P, N> const& x) {
    using T = scalar_of<P>;
    constexpr int W = pack_width<P>;
    detail::for_column_blocks<N, W>([&](int block, auto columns) __attribute__((always_inline)) {
        [[maybe_unused]] alignas(64) T const nothing[std::size_t{W}] = {};
        alignas(64) T by_row[std::size_t{W}][std::size_t{W}];
        T const* from[std::size_t{W}];
        for (int c = 0; c < W; ++c)
            from[c] = c < columns ? reinterpret_cast<T const*>(&x.v[block * W + c]) : nothing;
        detail::transpose(from, by_row);
        for (int r = 0; r < count; ++r)
            if (T* const p = target(r); p || !Target::gaps) std::memcpy(p + block * W, by_row[r], columns * sizeof(T));
    });
}

/// Writes `x` to the row target(0).
template <class Target, class P, int N, int W> void store_rows(Target target, int, row<pack_lanes<W>, P, N> const& x) {
    if (auto* const p = target(0); p || !Target::gaps)
        detail::for_column_blocks<N, W>([&](int block, auto columns) __attribute__((always_inline)) {
            x.v[block].store(p + block * W, columns);
        });
}

} // namespace espalier::cpu
