// SPDX-License-Identifier: Apache-2.0
// Tables of numbers from text files with separated columns (CSV, TSV), plain or gzip-compressed.
// Included by host code (host only).
#pragma once

#include <espalier/core/error.hpp>
#include <espalier/core/file_path.hpp>
#include <espalier/core/library.hpp>
#include <espalier/core/view.hpp>
#include <espalier/data/table.hpp>
#include <espalier/io/gz_reader.hpp>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace espalier {

/// Is the first row names of columns? `guess`: yes, when every one of its fields can only be a name, the label's too:
/// none is empty, a number (nan, inf and 1e39 are some) or stands for a missing value, as these do: NA, N/A, n/a, NULL,
/// null, None, "<NA>", \#N/A, a question mark, a dash, a point, a star. A row that is no header is data, and what is
/// wrong in it an error. `detect` is another name for `guess`.
enum class csv_header { guess, yes, no, detect = guess };

/// Which column is the label, beside a number (from 0) or a name of the header. `automatic`: the last one, or none when
/// `csv_options::targets` says what is to be predicted.
enum class csv_column { last, first, none, automatic };

/// What the label column holds.
/// `numbers`: whole numbers from 0, used as they are; 3.0 and 3e0 are 3.
/// `categories`: any text, classes numbered in the sorted order of the texts, which are kept as `class_names`.
/// `targets`: a real number to predict.
/// `detect`: numbers when all are such; targets when all are numbers and one of them has a fraction; otherwise
/// categories (whole numbers of which one is negative, such as -1 and 1, too). A number with a fraction among texts is
/// an error, for neither is likely. With `class_names`: categories.
enum class csv_labels { detect, numbers, categories, targets };

/// Columns by number (from 0) or by a name of the header, in any mixture: {"y1", "y2"}, {0, "height"}.
using csv_columns = std::vector<std::variant<index_t, std::string>>;

/// How to read a table; every field has a default.
struct csv_options {
    csv_header header = csv_header::guess;
    std::variant<csv_column, index_t, std::string> label_column = csv_column::automatic;
    /// Columns of real numbers to predict, in this order: `data_set::targets` and `target_names`.
    csv_columns targets = {};
    /// The features, in this order; what stands in the columns that are left over is not looked at. Empty: all columns
    /// but the label and the targets, in the order of the file.
    csv_columns features = {};
    csv_labels labels = csv_labels::detect;
    /// Classes that are known already, such as those of the training file: other labels are refused.
    std::vector<std::string> class_names = {};
    /// What an empty field of a feature means; without it, an empty field is an error. With it, every blank line of a
    /// table that has one column is a row.
    std::optional<double> empty = std::nullopt;
    char separator = ',';
    /// 0: quotes mean nothing.
    char quote = '"';
};

/// Reads rows of text fields one by one: quoted fields (doubled quotes inside, also separators and line ends), LF or
/// CRLF, a last line without either, a byte-order mark and blank lines at the end are understood. Rows may have any
/// number of fields. A row stands in memory as a whole, the file does not.
class csv_reader {
public:
    /// Throws `file_error` when the file cannot be opened, `data_error` for a separator that is a line end, a NUL byte
    /// or the quote.
    explicit csv_reader(file_path const& path, char separator = ',', char quote = '"');

    std::string const& path() const { return file_.path(); }

    /// Line (from 1) at which the row that `next` returned last begins.
    index_t line() const { return row_line_; }

    /// Reads the next row; false at the end of the file.
    /// Throws `file_error` "FILE:LINE: ..." for a blank line between rows, a quote that is not closed, text beside
    /// quotes, a NUL byte, a carriage return that ends no line.
    bool next(std::vector<std::string>& fields);

    /// The same without a copy: the fields point into the reader, until it reads on.
    bool next(std::vector<std::string_view>& fields);

    /// From here on a blank line is a row with one empty field, at the end of the file too.
    void take_blank_lines() { blank_is_row_ = true; }

    [[noreturn]] void fail(index_t line, std::string const& reason) const;

private:
    // Reads on, behind what the buffer has of the row; false at the end of the file.
    bool fill();

    // The next byte, -1 at the end of the file. `ahead` is 0 or 1.
    int peek(std::size_t ahead = 0);
    void take() { ++position_; }

    bool at_line_end();
    void take_line_end();

    bool next_row();
    void read_field();
    void read_quoted_field();

    gz_reader file_;
    char separator_;
    char quote_;
    bool stops_[256] = {}; ///< bytes that a field without quotes cannot just run over
    std::string buffer_; ///< one byte longer than what it may hold: a NUL, at which every field stops, follows the text
    std::size_t row_ = 0; ///< where the row begins that is being read
    std::size_t position_ = 0;
    std::size_t size_ = 0;
    std::vector<std::pair<std::size_t, std::size_t>> places_; ///< first byte, counted from row_, and length of fields
    bool started_ = false;
    bool ended_ = false;
    bool blank_is_row_ = false;
    index_t line_ = 1;
    index_t row_line_ = 0;
};

namespace detail {

/// The number that `text` (blanks around it aside) is, or 0 and the reason.
template <class T> struct parsed_number {
    T value = 0;
    char const* reason = nullptr; ///< nullptr when it is a number
};
template <class T> parsed_number<T> parse_number(std::string_view text);

/// Whether `text` can only be a name; see `csv_header`.
bool is_column_name(std::string_view text);

} // namespace detail

/// Reads a table of numbers with, usually, a label column.
///
///     read_csv("digits.csv.gz")                                    // 64 pixels and the digit, no header
///     read_csv("letter.csv.gz", {.label_column = "lettr"})         // letters become classes 0..25
///     read_csv("homes.csv", {.targets = {"price", "rent"}})        // two numbers to predict, no label
///     read_csv("homes.csv", {.targets = {7}, .features = {"rooms", "area"}})
///
/// `read_csv<double>` gives a table of double. Numbers are rounded to the nearest T; one too small for any is 0. A name
/// in the options says that there is a header.
///
/// Throws `data_error` for a name in the options with `csv_header::no`, for `csv_labels::targets` together with
/// `targets` and a label column, and as `csv_reader` does. Throws `file_error` "FILE:LINE: column C: 'abc' is not a
/// number" and the like, lines and columns from 1: fields that are not finite numbers or too large for T, empty
/// fields, rows of different lengths, labels that are negative or unknown or that `csv_labels::detect` cannot tell from
/// targets, columns of the options that are not there (with the names that are), that two columns are named or that are
/// used twice, quotes that do not match, a file without rows, damaged compression.
template <number_type T = float> data_set_of<T> read_csv(file_path const& path, csv_options const& options = {});

} // namespace espalier

#if defined(ESPALIER_HEADER_ONLY)
#include <espalier/data/detail/csv.hpp>
#endif
