// SPDX-License-Identifier: Apache-2.0
// Row activations over a matrix, and the count of rows whose largest logit is the label's.
#pragma once

#include <espalier/activation/concept.hpp>
#include <espalier/core/library.hpp>
#include <espalier/core/row.hpp>
#include <espalier/core/rows.hpp>
#include <espalier/core/text.hpp>
#include <espalier/core/view.hpp>
#include <espalier/device/cpu/row_lanes.hpp>

#include <cstdint>
#include <string>

namespace espalier::cpu {

namespace detail {

void expect_columns(char const* what, index_t given_rows, index_t given_columns, index_t rows, index_t columns);

// Never inlined, so that the same rows give the same bits however a matrix is cut.
template <class T, int N, class Activation, class Value>
[[gnu::noinline]] void map_rows(rows_at<T const> const& x, rows_at<T> const& y, int count) {
    typename row_plan<T, N, Value>::row row;
    load_rows(x, count, row);
    Activation::forward(typename row_plan<T, N, Value>::group{}, row);
    store_rows(y, count, row);
}

template <class T, int N, class Activation, class Value>
[[gnu::noinline]] void pull_rows(rows_at<T const> const& y, rows_at<T> const& dy, int count) {
    typename row_plan<T, N, Value>::row value, gradient;
    load_rows(y, count, value);
    load_rows(rows_at<T const>{dy.base, dy.stride}, count, gradient);
    Activation::backward(typename row_plan<T, N, Value>::group{}, value, gradient);
    store_rows(dy, count, gradient);
}

} // namespace detail

/// y = f(x) row by row for matrices [rows][N]; `y` may be `x`. Any split of the rows gives the same bits.
/// Throws `shape_error` when the extents do not fit.
template <class T, int N, activation::row_activation Activation, class Value = native_pack<T>>
void row_forward(matrix_view<T const> x, matrix_view<T> y) {
    detail::expect_columns("the input of a row activation", x.rows, x.columns, x.rows, N);
    detail::expect_columns("the output of a row activation", y.rows, y.columns, x.rows, N);
    constexpr int step = row_plan<T, N, Value>::rows;
    for (index_t first = 0; first < x.rows; first += step) {
        int const count = x.rows - first < step ? static_cast<int>(x.rows - first) : step;
        detail::map_rows<T, N, Activation, Value>({x.row(first), x.stride}, {y.row(first), y.stride}, count);
    }
}

/// dy <- the gradient with respect to the activation's input, from its output y.
/// Throws `shape_error` when the extents do not fit.
template <class T, int N, activation::row_activation Activation, class Value = native_pack<T>>
void row_backward(matrix_view<T const> y, matrix_view<T> dy) {
    detail::expect_columns("the output of a row activation", y.rows, y.columns, y.rows, N);
    detail::expect_columns("the gradient of a row activation", dy.rows, dy.columns, y.rows, N);
    constexpr int step = row_plan<T, N, Value>::rows;
    for (index_t first = 0; first < y.rows; first += step) {
        int const count = y.rows - first < step ? static_cast<int>(y.rows - first) : step;
        detail::pull_rows<T, N, Activation, Value>({y.row(first), y.stride}, {dy.row(first), dy.stride}, count);
    }
}

/// How many rows have a label, and in how many of them the largest logit is the label's (the lowest column of equal
/// ones).
struct hit_count {
    index_t hits = 0;
    index_t counted = 0;

    constexpr double share() const {
        return counted == 0 ? 0.0 : static_cast<double>(hits) / static_cast<double>(counted);
    }
};

/// Counts the hits of the rows of `z` [rows][N]. Rows with a label below 0 do not count; in a mixed row it is the label
/// with the larger share that has to be hit. Throws `shape_error` when the extents do not fit, `data_error` when there
/// are no labels.
template <class T, int N, class Value = native_pack<T>>
hit_count count_hits(matrix_view<T const> z, rows const& batch) {
    detail::expect_columns("the matrix of logits", z.rows, z.columns, batch.count, N);
    hit_count result;
    if (batch.count == 0) return result;
    if (!batch.label) espalier::detail::throw_data_error("hits are counted against labels, and the batch has none");
    using plan = row_plan<T, N, Value>;
    for (index_t first = 0; first < z.rows; first += plan::rows) {
        int const count = z.rows - first < plan::rows ? static_cast<int>(z.rows - first) : plan::rows;
        typename plan::row x;
        load_rows(rows_at<T const>{z.row(first), z.stride}, count, x);
        T column[plan::width];
        row_argmax(typename plan::group{}, x).column.store(column);
        for (int r = 0; r < count; ++r) {
            index_t const i = first + r;
            bool const partner = batch.partner_label && batch.mixing_of(i) < 0.5f;
            std::int32_t const label = partner ? batch.partner_label[i] : batch.label[i];
            if (label < 0) continue;
            ++result.counted;
            result.hits += column[r] == static_cast<T>(label);
        }
    }
    return result;
}

} // namespace espalier::cpu

#if defined(ESPALIER_HEADER_ONLY)
#include <espalier/device/cpu/detail/row_map.hpp>
#endif
