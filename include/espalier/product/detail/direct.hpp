// SPDX-License-Identifier: Apache-2.0
// host only. Definitions of product/direct.hpp: in the library for float and double, once for each width of a pack.
#pragma once

#include <espalier/product/direct.hpp>

#include <espalier/core/text.hpp>

#include <cstddef>
#include <cstdint>
#include <utility>

namespace espalier::product {

inline namespace ESPALIER_PACK_ABI {
namespace direct_impl {

/// The first `count` numbers at p, zero for the rest; and the same for storing. With AVX-512 one masked instruction.
template <class T> ESPALIER_FN vector<T> load_some(T const* p, int count) {
#if ESPALIER_PACK_BYTES == 64 && !defined(__clang__)
    vector<T> r;
    if constexpr (sizeof(T) == 4)
        r.v[0] = __builtin_ia32_loadups512_mask(p, typename vector<T>::chunk{},
                                                static_cast<std::uint16_t>((1u << count) - 1u));
    else
        r.v[0] = __builtin_ia32_loadupd512_mask(p, typename vector<T>::chunk{},
                                                static_cast<std::uint8_t>((1u << count) - 1u));
    return r;
#else
    return vector<T>::load(p, count);
#endif
}
template <class T> ESPALIER_FN void store_some(T* p, vector<T> const& x, int count) {
#if ESPALIER_PACK_BYTES == 64 && !defined(__clang__)
    if constexpr (sizeof(T) == 4)
        __builtin_ia32_storeups512_mask(p, x.v[0], static_cast<std::uint16_t>((1u << count) - 1u));
    else
        __builtin_ia32_storeupd512_mask(p, x.v[0], static_cast<std::uint8_t>((1u << count) - 1u));
#else
    x.store(p, count);
#endif
}

/// Rows x Vectors registers of C = A B (+ start or C). B is packed: Vectors registers for every p. The last register
/// has `last` columns. Every element is one chain of fused multiply-adds over p in order, whatever its neighbours are.
/// `watch`, for weight gradients, sees every element on its way out: the storing hides that.
template <int Rows, int Vectors, class T, bool RowsAreAdjacent>
[[gnu::noinline]] void kernel(index_t depth, left_operand<T, RowsAreAdjacent> a, T const* b, T* c, index_t stride,
                              int last, bool first, T const* start, [[maybe_unused]] finite_watch<vector<T>>& watch) {
    using V = vector<T>;
    constexpr int lanes = V::width;
    bool const whole = last == lanes;
    V sum[std::size_t{Rows}][std::size_t{Vectors}];
    if (!first) {
        ESPALIER_PACK_UNROLL
        for (int i = 0; i < Rows; ++i) {
            ESPALIER_PACK_UNROLL
            for (int v = 0; v < Vectors; ++v)
                sum[i][v] = v < Vectors - 1 || whole ? V::load(c + i * stride + v * lanes)
                                                     : load_some(c + i * stride + v * lanes, last);
        }
    } else {
        V row[std::size_t{Vectors}];
        ESPALIER_PACK_UNROLL
        for (int v = 0; v < Vectors; ++v)
            row[v] = !start                     ? V(T(0))
                     : v < Vectors - 1 || whole ? V::load(start + v * lanes)
                                                : load_some(start + v * lanes, last);
        ESPALIER_PACK_UNROLL
        for (int i = 0; i < Rows; ++i) {
            ESPALIER_PACK_UNROLL
            for (int v = 0; v < Vectors; ++v)
                sum[i][v] = row[v];
        }
    }
    for (index_t p = 0; p < depth; ++p) {
        V right[std::size_t{Vectors}];
        ESPALIER_PACK_UNROLL
        for (int v = 0; v < Vectors; ++v)
            right[v] = V::load(b + (p * Vectors + v) * lanes);
        ESPALIER_PACK_UNROLL
        for (int i = 0; i < Rows; ++i) {
            V const left(a.at(i, p));
            ESPALIER_PACK_UNROLL
            for (int v = 0; v < Vectors; ++v)
                sum[i][v] = fma(left, right[v], sum[i][v]);
        }
    }
    finite_watch<V> seen;
    ESPALIER_PACK_UNROLL
    for (int i = 0; i < Rows; ++i) {
        ESPALIER_PACK_UNROLL
        for (int v = 0; v < Vectors; ++v) {
            if (v < Vectors - 1 || whole)
                sum[i][v].store(c + i * stride + v * lanes);
            else
                store_some(c + i * stride + v * lanes, sum[i][v], last);
            if constexpr (RowsAreAdjacent) seen.see(sum[i][v]);
        }
    }
    if constexpr (RowsAreAdjacent) watch.join(seen);
}

/// All rows of one panel.
template <int Vectors, class T, bool RowsAreAdjacent>
void rows_of_panel(index_t rows, index_t depth, left_operand<T, RowsAreAdjacent> a, T const* b, T* c, index_t stride,
                   int last, bool first, T const* start, finite_watch<vector<T>>& watch) {
    index_t i = 0;
    auto const block = [&]<int Rows>() {
        kernel<Rows, Vectors>(depth, a.from(i, 0), b, c + i * stride, stride, last, first, start, watch);
        i += Rows;
    };
    while (i + block_rows <= rows)
        block.template operator()<block_rows>();
    if constexpr (block_rows > 4)
        while (i + 4 <= rows)
            block.template operator()<4>();
    while (i < rows)
        block.template operator()<1>();
}

/// Rows [p, p + depth) of B, columns [0, columns), register after register; what is missing of the last one is zero.
template <class T> void pack_rows(T const* b, index_t stride, index_t depth, index_t columns, T* to) {
    using V = vector<T>;
    for (index_t p = 0; p < depth; ++p, b += stride) {
        index_t c = 0;
        for (; c + V::width <= columns; c += V::width, to += V::width)
            V::load(b + c).store(to);
        if (c < columns) {
            load_some(b + c, static_cast<int>(columns - c)).store(to);
            to += V::width;
        }
    }
}

#if ESPALIER_PACK_BYTES != 0
/// The first half (From = 0) or the second half (From = lanes / 2) of two registers, element by element in turn.
template <int From, class V, std::size_t... At> ESPALIER_FN V interleave(V a, V b, std::index_sequence<At...>) {
    constexpr int lanes = sizeof...(At);
    return __builtin_shufflevector(a, b, (From + static_cast<int>(At) / 2 + (At % 2 != 0 ? lanes : 0))...);
}

/// As many rows as a register has numbers, rows to columns, in registers.
template <class T> void transpose(T const* from, index_t from_stride, T* to, index_t to_stride) {
    using V = vector<T>;
    constexpr int lanes = V::width;
    constexpr auto places = std::make_index_sequence<std::size_t{lanes}>{};
    typename V::chunk a[std::size_t{lanes}], b[std::size_t{lanes}];
    ESPALIER_PACK_UNROLL
    for (int i = 0; i < lanes; ++i)
        a[i] = V::load(from + i * from_stride).v[0];
    // Interleaving rows i and i + lanes / 2 as often as lanes can be halved moves every element to its place.
    ESPALIER_PACK_UNROLL
    for (int apart = 1; apart < lanes; apart *= 2) {
        ESPALIER_PACK_UNROLL
        for (int i = 0; i < lanes / 2; ++i) {
            b[2 * i] = interleave<0>(a[i], a[i + lanes / 2], places);
            b[2 * i + 1] = interleave<lanes / 2>(a[i], a[i + lanes / 2], places);
        }
        ESPALIER_PACK_UNROLL
        for (int i = 0; i < lanes; ++i)
            a[i] = b[i];
    }
    ESPALIER_PACK_UNROLL
    for (int i = 0; i < lanes; ++i) {
        V row;
        row.v[0] = a[i];
        row.store(to + i * to_stride);
    }
}
#endif

/// The same panel of the transpose: row p of the panel is column p of `b`, `columns` of whose rows are taken.
template <class T> void pack_columns(T const* b, index_t stride, index_t depth, index_t columns, T* to) {
    using V = vector<T>;
    index_t const width = (columns + V::width - 1) / V::width * V::width;
    index_t c = 0;
#if ESPALIER_PACK_BYTES != 0
    for (; c + V::width <= columns; c += V::width) {
        index_t p = 0;
        for (; p + V::width <= depth; p += V::width)
            transpose(b + c * stride + p, stride, to + p * width + c, width);
        for (; p < depth; ++p)
            for (index_t i = 0; i < V::width; ++i)
                to[p * width + c + i] = b[(c + i) * stride + p];
    }
#endif
    for (; c < columns; ++c)
        for (index_t p = 0; p < depth; ++p)
            to[p * width + c] = b[c * stride + p];
    for (; c < width; ++c)
        for (index_t p = 0; p < depth; ++p)
            to[p * width + c] = T(0);
}

template <bool Transposed, class T, bool RowsAreAdjacent>
bool multiply(left_operand<T, RowsAreAdjacent> a, index_t depth, T const* b, index_t b_stride, T const* start,
              matrix_view<T> c, scratch_view space, bool accumulate) {
    constexpr int lanes = vector<T>::width;
    if (c.rows == 0 || c.columns == 0) return false;
    if (space.size < panel_bytes<T>())
        espalier::detail::throw_shape_error("product::direct: packing space has ", space.size, " bytes, ",
                                            panel_bytes<T>(), " are needed");
    finite_watch<vector<T>> watch;
    T* const panel = reinterpret_cast<T*>(space.data);
    index_t const vectors = (c.columns + lanes - 1) / lanes;
    index_t const panels = (vectors + block_vectors - 1) / block_vectors;
    index_t const parts = depth <= longest ? 1 : (depth + longest - 1) / longest;
    index_t const part = (depth + parts - 1) / parts;
    index_t p0 = 0;
    do {
        index_t const n = depth - p0 < part ? depth - p0 : part;
        for (index_t i0 = 0; i0 < c.rows; i0 += most_rows) {
            index_t const rows = c.rows - i0 < most_rows ? c.rows - i0 : most_rows;
            index_t v0 = 0;
            for (index_t k = 0; k < panels; ++k) {
                // Panels of nearly equal width: a narrow last one would waste the kernel.
                index_t const width = (vectors - v0 + panels - k - 1) / (panels - k);
                index_t const c0 = v0 * lanes;
                index_t const columns = c.columns - c0 < width * lanes ? c.columns - c0 : width * lanes;
                if constexpr (Transposed)
                    pack_columns(b + c0 * b_stride + p0, b_stride, n, columns, panel);
                else
                    pack_rows(b + p0 * b_stride + c0, b_stride, n, columns, panel);
                int const last = static_cast<int>(columns - (width - 1) * lanes);
                auto const run = [&]<int Vectors>() {
                    rows_of_panel<Vectors>(rows, n, a.from(i0, p0), panel, c.row(i0) + c0, c.stride, last,
                                           p0 == 0 && !accumulate, start ? start + c0 : nullptr, watch);
                };
                if (width == 1)
                    run.template operator()<1>();
                else if (width == 2)
                    run.template operator()<2>();
                else if constexpr (block_vectors > 2)
                    run.template operator()<3>();
                v0 += width;
            }
        }
        p0 += n;
    } while (p0 < depth);
    return RowsAreAdjacent && watch.all_finite();
}

} // namespace direct_impl
} // namespace ESPALIER_PACK_ABI
} // namespace espalier::product
