// SPDX-License-Identifier: Apache-2.0
// host only. Definitions of data/csv.hpp; see core/library.hpp.
#pragma once

#include <espalier/data/csv.hpp>

#include <espalier/core/error.hpp>
#include <espalier/io/printable.hpp>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <limits>
#include <map>
#include <string_view>
#include <system_error>
#include <utility>

namespace espalier {

ESPALIER_LIBRARY csv_reader::csv_reader(file_path const& path, char separator, char quote)
    : file_(path), separator_(separator), quote_(quote) {
    buffer_.resize(std::size_t{1} << 17);
}

ESPALIER_LIBRARY bool csv_reader::next(std::vector<std::string>& fields) {
    fields.clear();
    index_t blank = 0;
    while (at_line_end() && !(blank_is_row_ && peek() >= 0)) {
        if (peek() < 0) {
            return false;
        }
        blank = blank == 0 ? line_ : blank;
        take_line_end();
    }
    if (blank != 0) {
        fail(blank, "blank line between rows");
    }
    row_line_ = line_;
    while (true) {
        fields.emplace_back();
        read_field(fields.back(), fields.size());
        if (at_line_end()) {
            take_line_end();
            return true;
        }
        take(); // the separator
    }
}

ESPALIER_LIBRARY void csv_reader::fail(index_t line, std::string const& reason) const {
    throw file_error(path() + ":" + std::to_string(line) + ": " + reason);
}

ESPALIER_LIBRARY int csv_reader::peek(std::size_t ahead) {
    if (position_ + ahead >= size_ && !ended_) {
        std::copy(buffer_.begin() + static_cast<std::ptrdiff_t>(position_),
                  buffer_.begin() + static_cast<std::ptrdiff_t>(size_), buffer_.begin());
        size_ -= position_;
        position_ = 0;
        std::size_t const got = file_.read(buffer_.data() + size_, buffer_.size() - size_);
        ended_ = size_ + got < buffer_.size();
        size_ += got;
        if (!started_) {
            started_ = true;
            if (size_ >= 3 && std::string_view(buffer_.data(), 3) == "\xef\xbb\xbf") {
                position_ = 3;
            }
        }
    }
    return position_ + ahead < size_ ? static_cast<unsigned char>(buffer_[position_ + ahead]) : -1;
}

ESPALIER_LIBRARY bool csv_reader::at_line_end() {
    return peek() < 0 || peek() == '\n' || (peek() == '\r' && (peek(1) == '\n' || peek(1) < 0));
}

ESPALIER_LIBRARY void csv_reader::take_line_end() {
    if (peek() == '\r') {
        take();
    }
    if (peek() == '\n') {
        take();
        ++line_;
    }
}

ESPALIER_LIBRARY void csv_reader::read_field(std::string& field, std::size_t column) {
    auto const where = [&] { return "column " + std::to_string(column) + ": "; };
    if (quote_ != 0 && peek() == static_cast<unsigned char>(quote_)) {
        index_t const opened = line_;
        take();
        while (true) {
            int const c = peek();
            if (c < 0) {
                fail(opened, where() + "the quote is never closed");
            }
            take();
            if (c == static_cast<unsigned char>(quote_)) {
                if (peek() != c) {
                    break;
                }
                take();
            }
            line_ += c == '\n';
            field.push_back(static_cast<char>(c));
        }
        if (!at_line_end() && peek() != static_cast<unsigned char>(separator_)) {
            fail(line_, where() + "text after the closing quote");
        }
        return;
    }
    while (!at_line_end() && peek() != static_cast<unsigned char>(separator_)) {
        int const c = peek();
        if (c == 0) {
            fail(line_, where() + "a NUL byte; this is not a text file");
        }
        if (c == '\r') {
            fail(line_, where() + "a carriage return that ends no line; lines end with LF or CRLF");
        }
        if (quote_ != 0 && c == static_cast<unsigned char>(quote_)) {
            fail(line_, where() + "a quote inside a field that does not start with one");
        }
        field.push_back(static_cast<char>(c));
        take();
    }
}

namespace detail {

/// A field as it stands in an error message.
inline std::string shown_field(std::string_view text) {
    return "'" + printable(text, 40) + "'";
}

inline std::string_view trimmed(std::string_view text) {
    while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) {
        text.remove_prefix(1);
    }
    while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) {
        text.remove_suffix(1);
    }
    return text;
}

/// Whether a number in decimal notation, other than 0, is 1 or more: std::from_chars says the same of one that is too
/// large and one that is too small.
inline bool is_one_or_more(std::string_view text) {
    auto const is_exponent = [](char c) { return c == 'e' || c == 'E'; };
    auto const exponent_at =
        static_cast<std::size_t>(std::find_if(text.begin(), text.end(), is_exponent) - text.begin());
    std::string_view const digits = text.substr(0, exponent_at);
    auto const point = std::min(digits.find('.'), digits.size());
    auto const first = std::min(digits.find_first_of("123456789"), digits.size());
    // The number is 0.d... times ten to the power of `places` plus the exponent.
    std::int64_t const places =
        first < point ? static_cast<std::int64_t>(point - first) : -static_cast<std::int64_t>(first - point) + 1;
    std::string_view exponent = text.substr(std::min(exponent_at + 1, text.size()));
    bool const negative = !exponent.empty() && exponent.front() == '-';
    if (!exponent.empty() && (negative || exponent.front() == '+')) {
        exponent.remove_prefix(1);
    }
    constexpr std::int64_t most = std::int64_t{1} << 58; // no text is so long that its places matter beside that
    std::int64_t power = 0;
    for (char const c : exponent) {
        power = std::min(power * 10 + (c - '0'), most);
    }
    return places + (negative ? -power : power) > 0;
}

ESPALIER_LIBRARY parsed_number parse_number(std::string_view text) {
    text = trimmed(text);
    if (text.size() > 1 && text.front() == '+' && text[1] != '-' && text[1] != '+') {
        text.remove_prefix(1); // from_chars does not take a plus
    }
    if (text.empty()) {
        return {0.0f, "is empty"};
    }
    parsed_number result;
    auto const [end, code] = std::from_chars(text.data(), text.data() + text.size(), result.value);
    if (code == std::errc::invalid_argument || end != text.data() + text.size()) {
        return {0.0f, "is not a number"};
    }
    if (code == std::errc::result_out_of_range) {
        // Too large, or so small that it is zero or subnormal, which is no error.
        if (is_one_or_more(text)) {
            return {0.0f, "is outside the range of a float"};
        }
        double wide = 0.0;
        bool const held = std::from_chars(text.data(), text.data() + text.size(), wide).ec == std::errc();
        result.value = held ? static_cast<float>(wide) : text.front() == '-' ? -0.0f : 0.0f;
    }
    if (!std::isfinite(result.value)) {
        return {0.0f, "is not a finite number"};
    }
    return result;
}

ESPALIER_LIBRARY bool is_column_name(std::string_view text) {
    text = trimmed(text);
    std::string_view number = text;
    if (number.size() > 1 && number.front() == '+') {
        number.remove_prefix(1);
    }
    double value = 0.0;
    auto const [end, code] = std::from_chars(number.data(), number.data() + number.size(), value);
    if (text.empty() || (code != std::errc::invalid_argument && end == number.data() + number.size())) {
        return false;
    }
    constexpr std::string_view missing[] = {"?",    "NA",   "N/A",  "n/a", "NULL", "null",
                                            "None", "<NA>", "#N/A", "-",   ".",    "*"};
    return std::find(std::begin(missing), std::end(missing), text) == std::end(missing);
}

/// A label as a whole number from 0, or -1.
inline std::int32_t parse_label(std::string_view text) {
    text = trimmed(text);
    std::int32_t label = -1;
    auto const [end, code] = std::from_chars(text.data(), text.data() + text.size(), label);
    return code == std::errc() && end == text.data() + text.size() && label >= 0 ? label : -1;
}

} // namespace detail

ESPALIER_LIBRARY data_set read_csv(file_path const& path, csv_options const& options) {
    csv_reader rows(path, options.separator, options.quote);
    auto const fail = [&](index_t line, std::string const& reason) { rows.fail(line, reason); };
    std::vector<std::string> fields;
    if (!rows.next(fields)) {
        throw file_error(rows.path() + ": has no rows");
    }
    std::size_t const columns = fields.size();
    constexpr auto none = std::numeric_limits<std::size_t>::max();
    auto const plural = [](std::size_t n) { return std::to_string(n) + (n == 1 ? " column" : " columns"); };

    // Which column is the label?
    std::size_t label = none;
    auto const* const name = std::get_if<std::string>(&options.label_column);
    if (name != nullptr) {
        if (options.header == csv_header::no) {
            throw data_error("read_csv: a label column given by name ('" + *name + "') needs a header");
        }
        auto const found = std::find_if(fields.begin(), fields.end(),
                                        [&](std::string const& field) { return detail::trimmed(field) == *name; });
        if (found == fields.end()) {
            fail(rows.line(), "no column is named '" + *name + "'");
        }
        label = static_cast<std::size_t>(found - fields.begin());
    } else if (auto const* const index = std::get_if<index_t>(&options.label_column)) {
        if (*index < 0 || static_cast<std::size_t>(*index) >= columns) {
            fail(rows.line(), "label column " + std::to_string(*index) +
                                  " (counted from 0) is not there: the row has " + plural(columns));
        }
        label = static_cast<std::size_t>(*index);
    } else if (auto const column = std::get<csv_column>(options.label_column); column != csv_column::none) {
        label = column == csv_column::first ? 0 : columns - 1;
    }
    std::size_t const width = columns - (label == none ? 0 : 1);
    if (width == 0) {
        fail(rows.line(), "the label is the only column: there are no features (is the separator '" +
                              std::string(1, options.separator) + "'?)");
    }

    // Is the first row a header?
    bool header = options.header == csv_header::yes || name != nullptr;
    if (options.header == csv_header::guess && !header) {
        header = std::all_of(fields.begin(), fields.end(), detail::is_column_name);
    }
    // A row whose features are names here and there and nowhere numbers may be meant as a header: errors in it say so.
    bool unsure = false;
    if (!header && options.header == csv_header::guess) {
        bool number = false;
        for (std::size_t c = 0; c < columns; ++c) {
            unsure = unsure || (c != label && detail::is_column_name(fields[c]));
            number = number || detail::parse_number(fields[c]).reason == nullptr;
        }
        unsure = unsure && !number;
    }
    if (columns == 1 && options.empty) {
        rows.take_blank_lines();
    }
    data_set result;
    result.width = static_cast<index_t>(width);
    bool more = true;
    if (header) {
        for (std::size_t c = 0; c < columns; ++c) {
            if (c != label) {
                result.feature_names.emplace_back(detail::trimmed(fields[c]));
            }
        }
        more = rows.next(fields);
    }

    std::vector<std::string> label_texts; // distinct ones, numbered as they appear
    std::map<std::string, std::int32_t, std::less<>> label_ids;
    std::vector<index_t> label_lines; // where each appeared first
    for (; more; more = rows.next(fields)) {
        if (fields.size() != columns) {
            fail(rows.line(), plural(fields.size()) + ", the first row has " + std::to_string(columns));
        }
        for (std::size_t c = 0; c < columns; ++c) {
            auto const refuse = [&](std::string const& reason) {
                fail(rows.line(),
                     "column " + std::to_string(c + 1) + ": " + detail::shown_field(fields[c]) + " " + reason +
                         (unsure && result.count == 0 ? "; if the row names the columns, say csv_header::yes" : ""));
            };
            bool const is_label = c == label;
            if (is_label && options.labels != csv_labels::targets) {
                std::string_view const text = detail::trimmed(fields[c]);
                if (text.empty()) {
                    refuse("is empty; every row needs a label");
                }
                auto found = label_ids.find(text);
                if (found == label_ids.end()) {
                    found = label_ids.emplace(text, static_cast<std::int32_t>(label_texts.size())).first;
                    label_texts.emplace_back(text);
                    label_lines.push_back(rows.line());
                }
                result.labels.push_back(found->second);
                continue;
            }
            detail::parsed_number number;
            if (!is_label && options.empty && detail::trimmed(fields[c]).empty()) {
                number.value = *options.empty;
            } else {
                number = detail::parse_number(fields[c]);
            }
            if (number.reason != nullptr) {
                refuse(number.reason);
            }
            (is_label ? result.targets : result.features).push_back(number.value);
        }
        ++result.count;
    }
    if (result.count == 0) {
        throw file_error(rows.path() + ": has a header but no rows");
    }
    if (label == none || options.labels == csv_labels::targets) {
        result.target_width = label == none ? 0 : 1;
        return result;
    }

    // From the order of appearance to the label that each text means.
    std::vector<std::int32_t> meaning(label_texts.size(), -1);
    auto const refuse = [&](std::size_t i, std::string const& reason) {
        fail(label_lines[i],
             "column " + std::to_string(label + 1) + ": " + detail::shown_field(label_texts[i]) + " " + reason);
    };
    bool numbers = options.labels == csv_labels::numbers;
    if (options.labels == csv_labels::detect && options.class_names.empty()) {
        numbers = std::all_of(label_texts.begin(), label_texts.end(),
                              [](std::string const& text) { return detail::parse_label(text) >= 0; });
    }
    if (numbers) {
        for (std::size_t i = 0; i < label_texts.size(); ++i) {
            meaning[i] = detail::parse_label(label_texts[i]);
            if (meaning[i] < 0) {
                refuse(i, "is not a label: whole numbers from 0 are needed");
            }
        }
        result.class_names = options.class_names;
    } else {
        result.class_names = options.class_names;
        if (result.class_names.empty()) {
            result.class_names = label_texts;
            std::sort(result.class_names.begin(), result.class_names.end());
        }
        for (std::size_t i = 0; i < label_texts.size(); ++i) {
            auto const found = std::find(result.class_names.begin(), result.class_names.end(), label_texts[i]);
            if (found == result.class_names.end()) {
                refuse(i, "is not one of the " + std::to_string(result.class_names.size()) + " known classes");
            }
            meaning[i] = static_cast<std::int32_t>(found - result.class_names.begin());
        }
    }
    for (std::int32_t& id : result.labels) {
        id = meaning[static_cast<std::size_t>(id)];
    }
    return result;
}

} // namespace espalier
