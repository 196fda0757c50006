// SPDX-License-Identifier: Apache-2.0
// host only. Definitions of io/history.hpp; see core/library.hpp.
#pragma once

#include <espalier/io/history.hpp>

#include <espalier/core/error.hpp>
#include <espalier/io/atomic_file.hpp>
#include <espalier/io/printable.hpp>

#include <nlohmann/json.hpp>

#include <charconv>
#include <cmath>
#include <cstddef>
#include <set>

namespace espalier {

ESPALIER_LIBRARY void history::append(std::span<cell const> row) {
    for (std::size_t i = 0; i < row.size(); ++i) {
        if (row[i].first.empty()) {
            throw data_error("history: a column without a name");
        }
        for (std::size_t j = 0; j < i; ++j) {
            if (row[i].first == row[j].first) {
                throw data_error("history: column '" + std::string(row[i].first) + "' comes twice in a row");
            }
        }
    }
    for (auto& column : values_) {
        column.push_back(nothing);
    }
    ++rows_;
    for (auto const& [name, value] : row) {
        std::size_t c = place(name);
        if (c == names_.size()) {
            names_.emplace_back(name);
            values_.emplace_back(static_cast<std::size_t>(rows_), nothing);
        }
        values_[c].back() = value;
    }
}

ESPALIER_LIBRARY std::vector<double> const& history::column(std::string_view name) const {
    std::size_t const c = place(name);
    if (c == names_.size()) {
        throw data_error("history: there is no column '" + std::string(name) + "'");
    }
    return values_[c];
}

ESPALIER_LIBRARY double history::at(index_t row, std::string_view name) const {
    auto const& values = column(name);
    if (row < 0 || row >= rows_) {
        throw data_error("history: row " + std::to_string(row) + " of " + std::to_string(rows_));
    }
    return values[static_cast<std::size_t>(row)];
}

ESPALIER_LIBRARY std::string history::to_csv() const {
    std::string text;
    for (std::size_t c = 0; c < names_.size(); ++c) {
        text += c == 0 ? "" : ",";
        if (names_[c].find_first_of(",\"\r\n") == std::string::npos) {
            text += names_[c];
            continue;
        }
        text += '"';
        for (char const letter : names_[c]) {
            text += letter == '"' ? "\"\"" : std::string(1, letter);
        }
        text += '"';
    }
    text += '\n';
    for (std::size_t r = 0; r < static_cast<std::size_t>(rows_); ++r) {
        for (std::size_t c = 0; c < names_.size(); ++c) {
            if (c != 0) text += ',';
            text += number(values_[c][r]);
        }
        text += '\n';
    }
    return text;
}

ESPALIER_LIBRARY std::string history::to_json() const {
    std::string text = "{";
    for (std::size_t c = 0; c < names_.size(); ++c) {
        auto const replace = nlohmann::json::error_handler_t::replace; // a name that is not UTF-8 stays readable
        text += (c == 0 ? "\n  " : ",\n  ") + nlohmann::json(names_[c]).dump(-1, ' ', false, replace) + ": [";
        for (std::size_t r = 0; r < static_cast<std::size_t>(rows_); ++r) {
            double const value = values_[c][r];
            if (r != 0) text += ", ";
            text += std::isfinite(value) ? number(value) : "null";
        }
        text += "]";
    }
    return text + "\n}\n";
}

ESPALIER_LIBRARY history history::read_json(file_path const& path) {
    return from_json(detail::read_text_file(path), path.string());
}

ESPALIER_LIBRARY history history::from_json(std::string_view text, std::string const& name_of_file) {
    auto const fail = [&](std::string const& reason) -> void { throw file_error(name_of_file + ": " + reason); };
    if (text.find('\0') != std::string_view::npos) { // the JSON library takes it for the end and ignores the rest
        fail("not a JSON file: it holds a NUL byte");
    }
    nlohmann::ordered_json document; // keeps the order of the columns
    std::set<std::string> names;
    auto const watch = [&](int depth, nlohmann::ordered_json::parse_event_t event, nlohmann::ordered_json& value) {
        if (depth == 1 && event == nlohmann::ordered_json::parse_event_t::key &&
            !names.insert(value.get<std::string>()).second) { // which the JSON library would let pass
            fail("column '" + printable(value.get<std::string>()) + "' is there twice");
        }
        return true;
    };
    try {
        document = nlohmann::ordered_json::parse(text, watch);
    } catch (nlohmann::json::exception const& failure) {
        fail("not a JSON file: " + printable(failure.what()));
    }
    if (!document.is_object()) {
        fail("not a history: an object of columns is needed");
    }
    history result;
    for (auto const& [name, values] : document.items()) {
        if (name.empty() || !values.is_array()) {
            fail("column '" + printable(name) + "' is not a list of numbers with a name");
        }
        if (!result.names_.empty() && static_cast<index_t>(values.size()) != result.rows_) {
            fail("column '" + printable(name) + "' has " + std::to_string(values.size()) + " rows, the first one " +
                 std::to_string(result.rows_));
        }
        result.rows_ = static_cast<index_t>(values.size());
        result.names_.push_back(name);
        auto& column = result.values_.emplace_back();
        for (auto const& value : values) {
            if (!value.is_number() && !value.is_null()) {
                fail("column '" + printable(name) + "' holds something that is neither a number nor null");
            }
            column.push_back(value.is_null() ? nothing : value.template get<double>());
        }
    }
    return result;
}

ESPALIER_LIBRARY std::size_t history::place(std::string_view name) const {
    std::size_t c = 0;
    while (c < names_.size() && names_[c] != name) {
        ++c;
    }
    return c;
}

ESPALIER_LIBRARY std::string history::number(double value) {
    if (!std::isfinite(value)) {
        return std::isnan(value) ? "nan" : value > 0 ? "inf" : "-inf";
    }
    char text[32];
    return {text, std::to_chars(text, text + sizeof text, value).ptr};
}

ESPALIER_LIBRARY void history::append(std::initializer_list<cell> row) {
    append(std::span<cell const>(row.begin(), row.size()));
}

ESPALIER_LIBRARY bool history::has(std::string_view name) const {
    return place(name) != names_.size();
}

ESPALIER_LIBRARY double history::last(std::string_view name) const {
    return at(rows_ - 1, name);
}

ESPALIER_LIBRARY void history::write_csv(file_path const& path) const {
    write_text_file(path, to_csv());
}

ESPALIER_LIBRARY void history::write_json(file_path const& path) const {
    write_text_file(path, to_json());
}

} // namespace espalier
