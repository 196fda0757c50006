// SPDX-License-Identifier: Apache-2.0
// Non-owning views of arrays and row-major matrices. They are trivially copyable aggregates, so they can be kernel
// arguments, and they say nothing about who owns the memory: the arenas of an executor, or the user's own program.
#pragma once

#include <espalier/core/macros.hpp>

#include <cstdint>
#include <type_traits>

namespace espalier {

/// Signed extents and offsets: differences never wrap.
using index_t = std::int64_t;

namespace detail {

template <class T, class U>
inline constexpr bool is_other_number = std::is_arithmetic_v<T>&& std::is_arithmetic_v<U> &&
                                        !std::is_same_v<std::remove_const_t<T>, std::remove_const_t<U>>;

/// A matrix of another library where a view is taken; Eigen's are made so.
template <class M>
concept foreign_matrix = requires(M const& m) {
    m.rows();
    m.cols();
    m.outerStride();
};

} // namespace detail

/// `size` elements, `stride` elements apart: a column of a matrix, or a member of records.
template <class T> struct column_view {
    T* data = nullptr;
    index_t size = 0;
    index_t stride = 1;

    ESPALIER_FN constexpr T& operator[](index_t i) const { return data[i * stride]; }
    /// Elements [first, first + count).
    ESPALIER_FN constexpr column_view middle(index_t first, index_t count) const {
        return {data + first * stride, count, stride};
    }
    template <class U>
    requires(!std::is_const_v<T> && std::is_same_v<U, T const>) ESPALIER_FN constexpr operator column_view<U>() const {
        return {data, size, stride};
    }
};

/// `size` contiguous elements.
template <class T> struct array_view {
    T* data = nullptr;
    index_t size = 0;

    ESPALIER_FN constexpr T& operator[](index_t i) const { return data[i]; }
    ESPALIER_FN constexpr T* begin() const { return data; }
    ESPALIER_FN constexpr T* end() const { return data + size; }
    template <class U>
    requires(!std::is_const_v<T> && std::is_same_v<U, T const>) ESPALIER_FN constexpr operator array_view<U>() const {
        return {data, size};
    }
    template <class U>
    requires std::is_same_v<std::remove_const_t<U>, std::remove_const_t<T>> &&
        (std::is_const_v<U> || !std::is_const_v<T>)ESPALIER_FN constexpr
        operator column_view<U>() const {
        return {data, size, 1};
    }
};

/// `rows` x `columns` elements, row-major, consecutive rows `stride` elements apart (stride >= columns).
template <class T> struct matrix_view {
    T* data = nullptr;
    index_t rows = 0;
    index_t columns = 0;
    index_t stride = 0;

    ESPALIER_FN constexpr T* row(index_t r) const { return data + r * stride; }
    ESPALIER_FN constexpr T& operator()(index_t r, index_t c) const { return data[r * stride + c]; }
    /// Rows [first, first + count).
    ESPALIER_FN constexpr matrix_view middle_rows(index_t first, index_t count) const {
        return {data + first * stride, count, columns, stride};
    }
    /// Columns [first, first + count).
    ESPALIER_FN constexpr matrix_view middle_columns(index_t first, index_t count) const {
        return {data + first, rows, count, stride};
    }
    ESPALIER_FN constexpr bool contiguous() const { return stride == columns; }
    template <class U>
    requires(!std::is_const_v<T> && std::is_same_v<U, T const>) ESPALIER_FN constexpr operator matrix_view<U>() const {
        return {data, rows, columns, stride};
    }
    /// There is none, but the compiler's "no matching function" would not say why.
    template <class U>
    requires detail::is_other_number<T, U> ESPALIER_FN constexpr operator matrix_view<U>() const {
        static_assert(
            !detail::is_other_number<T, U>,
            "espalier: these numbers are of another type than is taken here: inputs, outputs and targets of a "
            "network<..., T> are T (targets of a network in bf16 are float); hand over an array of that type, "
            "or a data_set or data_view, which fit, evaluate and predict convert");
        return {};
    }
};

/// A matrix whose rows lie one after the other.
template <class T> ESPALIER_FN constexpr matrix_view<T> contiguous_view(T* data, index_t rows, index_t columns) {
    return {data, rows, columns, columns};
}

} // namespace espalier
