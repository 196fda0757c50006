// SPDX-License-Identifier: Apache-2.0
// Where a table of float or double lies in memory, whatever its order: rows, columns (Fortran, Eigen's default), or
// records between whose members others stand. Or how its rows are computed, when they lie nowhere.
// Included by host code (host only).
#pragma once

#include <espalier/core/text.hpp>
#include <espalier/core/view.hpp>

#include <type_traits>

namespace espalier {

template <class T>
concept number_type = std::is_same_v<T, float> || std::is_same_v<T, double>;

/// Writes columns [first, first + count) of row r of what `source` computes to `to`.
using row_reader = void (*)(void const* source, index_t r, index_t first, index_t count, double* to);

/// `rows` x `columns` numbers: element (r, c) stands r * stride + c * column_stride numbers behind `data`, or is what
/// `read` writes for it. Owns nothing, and made of any view of float or double. What trains or evaluates copies rows
/// into its batches and converts them there to the type of the network: float to double exactly, double to the nearest
/// float.
struct number_view {
    void const* data = nullptr; ///< the numbers, or the source of `read`
    index_t rows = 0;
    index_t columns = 0;
    index_t stride = 0;
    index_t column_stride = 1;
    bool holds_double = false; ///< otherwise float
    row_reader read = nullptr; ///< null where the numbers lie in memory
    index_t first_row = 0;     ///< for `read`, the number of row 0

    constexpr number_view() = default;
    template <number_type T>
    constexpr number_view(T const* data_, index_t rows_, index_t columns_, index_t stride_, index_t column_stride_ = 1)
        : data(data_), rows(rows_), columns(columns_), stride(stride_), column_stride(column_stride_),
          holds_double(std::is_same_v<T, double>) {}
    template <class T>
    requires number_type<std::remove_const_t<T>>
    constexpr number_view(matrix_view<T> m) : number_view(static_cast<T const*>(m.data), m.rows, m.columns, m.stride) {}
    /// One column.
    template <class T>
    requires number_type<std::remove_const_t<T>>
    constexpr number_view(column_view<T> c) : number_view(static_cast<T const*>(c.data), c.size, 1, c.stride) {}
    /// Rows that `read` computes of `source`, which must outlive the view.
    constexpr number_view(void const* source, row_reader reader, index_t rows_, index_t columns_)
        : data(source), rows(rows_), columns(columns_), stride(columns_), holds_double(true), read(reader) {}
    /// Not one: the compiler's "could not convert" would not say what does.
    template <detail::foreign_matrix M> constexpr number_view(M const&) {
        static_assert(!detail::foreign_matrix<M>, "espalier: data of a matrix of Eigen are espalier::numbers(matrix), "
                                                  "of espalier/data/eigen_view.hpp");
    }

    /// Calls `use(data)` with the pointer as what it is: of numbers in memory.
    template <class Use> decltype(auto) visit(Use&& use) const {
        return holds_double ? use(static_cast<double const*>(data)) : use(static_cast<float const*>(data));
    }

    /// Calls `use(c, count, p, apart)` for neighbouring columns c ... c + count - 1 of row r, which stand at p[0],
    /// p[apart] ...: once with a row that lies in memory, piece by piece with a computed one.
    template <class Use> void visit_row(index_t r, Use&& use) const {
        if (read) {
            constexpr index_t piece = 64;
            double numbers[piece];
            for (index_t c = 0; c < columns; c += piece) {
                index_t const count = columns - c < piece ? columns - c : piece;
                read(data, first_row + r, c, count, numbers);
                use(c, count, static_cast<double const*>(numbers), index_t{1});
            }
        } else {
            visit([&](auto const* p) { use(index_t{0}, columns, p + r * stride, column_stride); });
        }
    }

    double operator()(index_t r, index_t c) const {
        if (read) {
            double number = 0.0;
            read(data, first_row + r, c, 1, &number);
            return number;
        }
        return visit([&](auto const* p) { return static_cast<double>(p[r * stride + c * column_stride]); });
    }

    /// Rows [first, first + count).
    number_view middle_rows(index_t first, index_t count) const {
        number_view part = *this;
        part.rows = count;
        if (read)
            part.first_row += first;
        else
            visit([&](auto const* p) { part.data = p + first * stride; });
        return part;
    }

    /// Row r as `columns` numbers of T.
    template <class T> void copy_row(index_t r, T* to) const {
        visit_row(r, [&](index_t first, index_t count, auto const* p, index_t apart) {
            if (apart == 1)
                for (index_t c = 0; c < count; ++c)
                    to[first + c] = static_cast<T>(p[c]);
            else
                for (index_t c = 0; c < count; ++c)
                    to[first + c] = static_cast<T>(p[c * apart]);
        });
    }

    /// The same memory for those that take rows of T as they lie, such as `network::predict`. Throws data_error when
    /// the numbers are of the other type, the columns of a row lie apart, or rows are computed.
    template <number_type T> operator matrix_view<T const>() const {
        if (rows > 0 && read)
            detail::throw_data_error("numbers that are computed row by row were given where they are read as they lie "
                                     "in memory; copy them into an array first");
        if (rows > 0 && (holds_double != std::is_same_v<T, double> || (column_stride != 1 && columns > 1)))
            detail::throw_data_error("numbers of ", holds_double ? "double" : "float", " that lie ", column_stride,
                                     " apart in a row were given where rows of adjacent numbers of ",
                                     std::is_same_v<T, double> ? "double" : "float",
                                     " are read as they lie; copy them into such an array");
        return {static_cast<T const*>(data), rows, columns, stride};
    }
};

} // namespace espalier
