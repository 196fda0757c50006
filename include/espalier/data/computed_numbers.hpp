// SPDX-License-Identifier: Apache-2.0
// host only. Features or targets that lie nowhere: every row is computed when a batch, a check or a measure reads it.
#pragma once

#include <espalier/core/diagnostic.hpp>
#include <espalier/core/text.hpp>
#include <espalier/core/view.hpp>
#include <espalier/data/number_view.hpp>

#include <concepts>
#include <type_traits>
#include <utility>

namespace espalier {

namespace detail {

template <class Source>
concept computes_elements = requires(Source const& source, index_t i) {
    { source(i, i) } -> std::convertible_to<double>;
};
template <class Source>
concept computes_rows = requires(Source const& source, index_t i, double* to) {
    source(i, i, i, to);
};

} // namespace detail

/// A table of `rows` x `columns` numbers that `source` computes: `source(r, c)` gives element (r, c), or `source(r,
/// first, count, to)` writes columns first ... first + count - 1 of row r to `to`. Stands wherever data are given, owns
/// the source, and must outlive what reads it. Rows are asked for in any order and several times, and the same number
/// is expected each time. Numbers pass as double.
///
///     esp::computed_numbers const x(n, 2, [&](esp::index_t r, esp::index_t c) { return c == 0 ? a[r] : a[r] * b[r];
///     }); esp::data_view rows{x};
///
/// Throws shape_error for negative extents.
template <class Source> class computed_numbers {
    static_assert(
        diagnostic::holds<(detail::computes_elements<Source> || detail::computes_rows<Source>),
                          diagnostic::given_type<Source>>,
        "espalier: computed_numbers takes a function of (index_t row, index_t column) that gives a number, or "
        "of (index_t row, index_t first, index_t count, double* to) that writes some, both const; the next "
        "lines name the type that was given");

public:
    computed_numbers(index_t rows, index_t columns, Source source)
        : rows_(rows), columns_(columns), source_(std::move(source)) {
        if (rows < 0 || columns < 0)
            detail::throw_shape_error("computed_numbers: ", rows, " rows of ", columns,
                                      " columns were given; extents are not negative");
    }

    operator number_view() const& { return {this, &read, rows_, columns_}; }
    // A view of a temporary would read a source that is gone: name the table first.
    operator number_view() const&& = delete;

private:
    static void read(void const* table, index_t r, index_t first, index_t count, double* to) {
        Source const& source = static_cast<computed_numbers const*>(table)->source_;
        if constexpr (detail::computes_rows<Source>)
            source(r, first, count, to);
        else
            for (index_t i = 0; i < count; ++i)
                to[i] = static_cast<double>(source(r, first + i));
    }

    index_t rows_;
    index_t columns_;
    Source source_;
};

} // namespace espalier
