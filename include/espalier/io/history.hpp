// SPDX-License-Identifier: Apache-2.0
// What a training run recorded: named columns of numbers, one row per epoch (or whatever the loop records), written as
// CSV or JSON and read back from JSON.
// Included by host code (host only).
#pragma once

#include <espalier/core/error.hpp>
#include <espalier/core/file_path.hpp>
#include <espalier/core/library.hpp>
#include <espalier/core/view.hpp>

#include <cstddef>
#include <initializer_list>
#include <limits>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace espalier {

/// Columns by name (epoch, step, loss, every term, metrics, seconds) x rows of doubles. A column that a row does not
/// name has NaN there; a new name starts a new column.
class history {
public:
    using cell = std::pair<std::string_view, double>;

    index_t rows() const { return rows_; }
    std::vector<std::string> const& columns() const { return names_; }

    /// Adds a row. Throws `data_error` when a name is empty or comes twice; nothing is added then.
    void append(std::span<cell const> row);
    void append(std::initializer_list<cell> row);

    bool has(std::string_view name) const;

    /// All values of a column, by row. Throws `data_error` naming the column when it is not there.
    std::vector<double> const& column(std::string_view name) const;

    double at(index_t row, std::string_view name) const;

    /// Value of the last row. Throws `data_error` without rows.
    double last(std::string_view name) const;

    /// One line of names, then one per row; numbers in the shortest form that reads back equal, "nan", "inf", "-inf".
    std::string to_csv() const;

    /// {"name": [values by row], ...} in the order of the columns; what is not finite is null, as JSON has no word for
    /// it.
    std::string to_json() const;

    /// Atomically; throws `file_error`.
    void write_csv(file_path const& path) const;
    void write_json(file_path const& path) const;

    /// Reads what `write_json` wrote; null becomes NaN, so infinities do not survive.
    /// Throws `file_error` naming the file and the reason: not JSON, not columns of numbers, columns of different
    /// lengths or of one name.
    static history read_json(file_path const& path);
    /// The same from what `to_json` gave; `name` stands for the file in errors.
    static history from_json(std::string_view text, std::string const& name);

private:
    static constexpr double nothing = std::numeric_limits<double>::quiet_NaN();

    std::size_t place(std::string_view name) const;

    static std::string number(double value);

    std::vector<std::string> names_;
    std::vector<std::vector<double>> values_; // by column, each `rows_` long
    index_t rows_ = 0;
};

} // namespace espalier

#if defined(ESPALIER_HEADER_ONLY)
#include <espalier/io/detail/history.hpp>
#endif
