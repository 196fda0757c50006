// SPDX-License-Identifier: Apache-2.0
// host only. Rows of tables looked up by number.
#pragma once

#include <espalier/core/text.hpp>
#include <espalier/core/view.hpp>

#include <cstring>
#include <string>

namespace espalier::cpu {

/// The number in element (r, f) of the ids, checked: a whole number in [0, sizes[f]). Throws data_error otherwise.
template <class T> index_t id_of(matrix_view<T const> ids, index_t r, index_t f, index_t const* sizes) {
    T const x = ids(r, f);
    if (!(x >= T(0) && x < static_cast<T>(sizes[f])) || static_cast<T>(static_cast<index_t>(x)) != x)
        espalier::detail::throw_data_error("embedding: row ", r, " has ", static_cast<double>(x), " in column ", f,
                                           ", needed is a whole number from 0 to ", sizes[f] - 1);
    return static_cast<index_t>(x);
}

/// y_r = the rows that the ids of row r name, side by side. Table f has sizes[f] rows and begins where table f - 1
/// ends.
template <class T>
void embed(matrix_view<T const> ids, index_t const* sizes, T const* table, index_t width, matrix_view<T> y) {
    for (index_t r = 0; r < ids.rows; ++r) {
        T const* from = table;
        for (index_t f = 0; f < ids.columns; ++f) {
            std::memcpy(y.row(r) + f * width, from + id_of(ids, r, f, sizes) * width,
                        static_cast<std::size_t>(width) * sizeof(T));
            from += sizes[f] * width;
        }
    }
}

/// Gradient of the tables: rows that nobody looked up get 0, the others the sum over their visits in row order.
template <class T, class Wide>
void embed_backward(matrix_view<T const> ids, index_t const* sizes, matrix_view<T const> dy, index_t width,
                    Wide* gradient) {
    index_t total = 0;
    for (index_t f = 0; f < ids.columns; ++f)
        total += sizes[f];
    std::memset(static_cast<void*>(gradient), 0, static_cast<std::size_t>(total * width) * sizeof(Wide));
    for (index_t r = 0; r < ids.rows; ++r) {
        Wide* to = gradient;
        for (index_t f = 0; f < ids.columns; ++f) {
            Wide* const sum = to + id_of(ids, r, f, sizes) * width;
            T const* const from = dy.row(r) + f * width;
            for (index_t c = 0; c < width; ++c)
                sum[c] += from[c];
            to += sizes[f] * width;
        }
    }
}

} // namespace espalier::cpu
