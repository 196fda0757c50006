// SPDX-License-Identifier: Apache-2.0
// Rows on the CPU: sixteen rows at once with one row in each element of the packs, or one wide row over the elements.
#pragma once

#include <espalier/core/group.hpp>
#include <espalier/core/macros.hpp>
#include <espalier/core/pack.hpp>
#include <espalier/core/row.hpp>
#include <espalier/core/view.hpp>

#include <cstdint>
#include <type_traits>

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

/// How rows of N columns of T are worked on.
template <class T, int N> struct row_plan {
    static_assert(N <= widest_row, "espalier: the row form on the CPU takes at most 65536 columns");
    using value = native_pack<T>;
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
};

/// Rows anywhere; null stands for a row of zeros that is not written.
template <class T> struct rows_listed {
    T* const* pointer;
    ESPALIER_FN T* operator()(int r) const { return pointer[r]; }
};

/// The rows source(0) ... source(count - 1) as one `row`; the elements of the others are 0. The source's numbers are T,
/// or float where T is double.
template <class T, int N, class Source>
ESPALIER_FN void load_rows(Source const& source, int count, typename row_plan<T, N>::row& x) {
    using plan = row_plan<T, N>;
    using P = typename plan::value;
    if constexpr (plan::transposed) {
        alignas(64) T block[N][plan::width];
        for (int r = 0; r < plan::width; ++r) {
            auto const* const p = r < count ? source(r) : nullptr;
            if (p)
                for (int c = 0; c < N; ++c)
                    block[c][r] = static_cast<T>(p[c]);
            else
                for (int c = 0; c < N; ++c)
                    block[c][r] = T(0);
        }
        for (int c = 0; c < N; ++c)
            x.v[c] = P::load(block[c]);
    } else {
        auto const* const p = source(0);
        for (int i = 0; i < x.local; ++i) {
            int const from = i * plan::width, left = p ? N - from : 0;
            if constexpr (std::is_same_v<std::remove_cvref_t<decltype(*p)>, T>)
                x.v[i] = left >= plan::width ? P::load(p + from) : P::load(p + from, left);
            else {
                T lane[plan::width] = {};
                for (int l = 0; l < plan::width && l < left; ++l)
                    lane[l] = static_cast<T>(p[from + l]);
                x.v[i] = P::load(lane);
            }
        }
    }
}

/// Writes `x` to the rows target(0) ... target(count - 1).
template <class T, int N, class Target>
ESPALIER_FN void store_rows(Target const& target, int count, typename row_plan<T, N>::row const& x) {
    using plan = row_plan<T, N>;
    if constexpr (plan::transposed) {
        alignas(64) T block[N][plan::width];
        for (int c = 0; c < N; ++c)
            x.v[c].store(block[c]);
        for (int r = 0; r < count; ++r)
            if (T* const p = target(r))
                for (int c = 0; c < N; ++c)
                    p[c] = block[c][r];
    } else if (T* const p = target(0)) {
        for (int i = 0; i < x.local; ++i) {
            int const from = i * plan::width, left = N - from;
            if (left >= plan::width)
                x.v[i].store(p + from);
            else
                x.v[i].store(p + from, left);
        }
    }
}

} // namespace espalier::cpu
