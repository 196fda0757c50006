// SPDX-License-Identifier: Apache-2.0
// host only. Products by a register-blocked kernel of our own, for the sizes that layers have: up to a few thousand
// rows and columns. Against a general library it saves the packing of one operand, the clearing of the result before it
// is accumulated, and the padding of narrow results.
#pragma once

#include <espalier/core/finite.hpp>
#include <espalier/core/library.hpp>
#include <espalier/core/pack.hpp>
#include <espalier/core/view.hpp>
#include <espalier/product/axis.hpp>
#include <espalier/product/concept.hpp>

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace espalier::product {

inline namespace ESPALIER_PACK_ABI {
namespace direct_impl {

inline constexpr int register_bytes = ESPALIER_PACK_BYTES == 0 ? 16 : ESPALIER_PACK_BYTES;
/// One register of the machine.
template <class T> using vector = pack<T, register_bytes / int(sizeof(T))>;
/// Rows and registers of the block of the result that is kept in registers: as many as leave room for one row of the
/// right operand and one number of the left.
inline constexpr int block_rows = register_bytes == 64 ? 8 : register_bytes == 32 ? 4 : 4;
inline constexpr int block_vectors = register_bytes == 64 ? 3 : register_bytes == 32 ? 3 : 2;
/// Longest sum in one go: a panel of the right operand stays in the first two cache levels.
inline constexpr index_t longest = 512;
/// Rows of the left operand that stay in the second level while all panels pass.
inline constexpr index_t most_rows = 256;

/// A(i, p) = data[i * by_row + p * by_depth]; one of the two steps is 1.
template <class T, bool RowsAreAdjacent> struct left_operand {
    T const* data;
    index_t stride;
    ESPALIER_FN T at(index_t i, index_t p) const {
        return RowsAreAdjacent ? data[p * stride + i] : data[i * stride + p];
    }
    ESPALIER_FN left_operand from(index_t i, index_t p) const {
        return {data + (RowsAreAdjacent ? p * stride + i : i * stride + p), stride};
    }
};

template <class T> constexpr std::size_t panel_bytes() {
    return static_cast<std::size_t>(longest) * block_vectors * register_bytes;
}

/// c = A B + start, `start` (a row) or zero; or c + A B. B is `b`, or its transpose. Returns whether all of c was
/// looked at and is finite: a weight gradient is.
template <bool Transposed, class T, bool RowsAreAdjacent>
bool multiply(left_operand<T, RowsAreAdjacent> a, index_t depth, T const* b, index_t b_stride, T const* start,
              matrix_view<T> c, scratch_view space, bool accumulate = false);

} // namespace direct_impl

/// Products by a kernel of this library (single-threaded, no allocation). An element of a result is a sum in the order
/// of the inner index, one fused multiply-add after the other: its bits depend neither on the number of rows nor on how
/// a batch is cut.
struct direct {
    using axis = espalier::axis::product;
    static constexpr std::string_view name = "direct";
    static constexpr bool cuts_freely = true;

    template <class T> static std::size_t scratch(index_t, index_t, index_t) { return direct_impl::panel_bytes<T>(); }

    template <class T>
    static void forward(matrix_view<T const> x, matrix_view<T const> w, T const* bias, matrix_view<T> z,
                        scratch_view space) {
        direct_impl::multiply<false>(direct_impl::left_operand<T, false>{x.data, x.stride}, x.columns, w.data, w.stride,
                                     bias, z, space);
    }

    template <class T>
    static void input_gradient(matrix_view<T const> dz, matrix_view<T const> w, matrix_view<T> dx, scratch_view space) {
        direct_impl::multiply<true>(direct_impl::left_operand<T, false>{dz.data, dz.stride}, dz.columns, w.data,
                                    w.stride, static_cast<T const*>(nullptr), dx, space);
    }

    template <class T>
    static void add_forward(matrix_view<T const> x, matrix_view<T const> w, matrix_view<T> z, scratch_view space) {
        direct_impl::multiply<false>(direct_impl::left_operand<T, false>{x.data, x.stride}, x.columns, w.data, w.stride,
                                     static_cast<T const*>(nullptr), z, space, true);
    }

    template <class T>
    static void add_input_gradient(matrix_view<T const> dz, matrix_view<T const> w, matrix_view<T> dx,
                                   scratch_view space) {
        direct_impl::multiply<true>(direct_impl::left_operand<T, false>{dz.data, dz.stride}, dz.columns, w.data,
                                    w.stride, static_cast<T const*>(nullptr), dx, space, true);
    }

    /// Returns whether all of dw was looked at and is finite.
    template <class T>
    static bool weight_gradient(matrix_view<T const> x, matrix_view<T const> dz, matrix_view<T> dw,
                                scratch_view space) {
        return direct_impl::multiply<false>(direct_impl::left_operand<T, true>{x.data, x.stride}, x.rows, dz.data,
                                            dz.stride, static_cast<T const*>(nullptr), dw, space);
    }
};

} // namespace ESPALIER_PACK_ABI
} // namespace espalier::product

#if !ESPALIER_PACK_IN_LIBRARY
#include <espalier/product/detail/direct.hpp>
#endif
