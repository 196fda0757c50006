// SPDX-License-Identifier: Apache-2.0
// What a gate that looks its rows up looks at: a tag of the row, or one of its inputs.
#pragma once

#include <espalier/core/diagnostic.hpp>
#include <espalier/core/macros.hpp>
#include <espalier/core/rows.hpp>
#include <espalier/core/text.hpp>
#include <espalier/core/view.hpp>

#include <concepts>
#include <cstdint>
#include <string>
#include <string_view>

namespace espalier::gate {

// A source has a name and
//     static bool present(rows const&)                  whether the batch says anything about it
//     static double value(rows const&, index_t r, T const* x)   exact for integers up to 2^53

/// The key of the row, `rows::key`.
struct from_key {
    static constexpr std::string_view name = "key";
    static ESPALIER_FN bool present(rows const& batch) { return batch.key != nullptr; }
    template <class T> static ESPALIER_FN double value(rows const& batch, index_t r, T const*) {
        return static_cast<double>(batch.key[r]);
    }
};

/// The label of the row, `rows::label`.
struct from_label {
    static constexpr std::string_view name = "label";
    static ESPALIER_FN bool present(rows const& batch) { return batch.label != nullptr; }
    template <class T> static ESPALIER_FN double value(rows const& batch, index_t r, T const*) {
        return static_cast<double>(batch.label[r]);
    }
};

/// The group of the row, `rows::group`: its domain, its task.
struct from_group {
    static constexpr std::string_view name = "group";
    static ESPALIER_FN bool present(rows const& batch) { return batch.group != nullptr; }
    template <class T> static ESPALIER_FN double value(rows const& batch, index_t r, T const*) {
        return static_cast<double>(batch.group[r]);
    }
};

/// Number `Column` of the row's inputs.
template <int Column> struct from_column {
    static_assert(Column >= 0, "espalier: columns are counted from 0");
    static constexpr std::string_view name = "column";
    static constexpr int column = Column;
    static ESPALIER_FN bool present(rows const&) { return true; }
    template <class T> static ESPALIER_FN double value(rows const&, index_t r, T const* x) {
        static_cast<void>(r);
        return static_cast<double>(x[Column]);
    }
};

/// Where a gate that looks its rows up finds their numbers.
template <class S>
concept row_source = requires(rows const& batch, index_t r, float const* x, double const* wide) {
    { S::name } -> std::convertible_to<std::string_view>;
    { S::present(batch) } -> std::convertible_to<bool>;
    { S::value(batch, r, x) } -> std::convertible_to<double>;
    { S::value(batch, r, wide) } -> std::convertible_to<double>;
};

namespace detail {

template <class Source> consteval bool check_source() {
    static_assert(diagnostic::holds<row_source<Source>, diagnostic::given_type<Source>>,
                  "espalier: a gate that looks its rows up needs a source: from_key, from_label, from_group, "
                  "from_column<0>, or a type of yours with their members (gate/source.hpp); the next line names what "
                  "was given");
    return row_source<Source>;
}

/// The source's value as a whole number in [0, n), or -1.
template <class Source, class T>
ESPALIER_FN std::int64_t whole_number(rows const& batch, index_t r, T const* x, std::int64_t n) {
    if (!Source::present(batch)) return -1;
    double const v = Source::value(batch, r, x);
    if (!(v >= 0.0 && v < static_cast<double>(n))) return -1;
    std::int64_t const k = static_cast<std::int64_t>(v);
    return static_cast<double>(k) == v ? k : -1;
}

/// "has no key: ..." or "has the key 12, ...", for an error message.
template <class Source, class T>
std::string describe_source(rows const& batch, index_t r, T const* x, std::string const& needed) {
    using espalier::detail::text_of;
    if (!Source::present(batch)) return text_of("has no ", Source::name, ": give the batch's tags one for every row");
    double const v = Source::value(batch, r, x);
    bool const whole = v == static_cast<double>(static_cast<std::int64_t>(v == v && v > -1e15 && v < 1e15 ? v : 0.5));
    std::string const shown = whole ? text_of(static_cast<std::int64_t>(v)) : text_of(v);
    return text_of("has the ", Source::name, " ", shown, ", needed is ", needed);
}

} // namespace detail
} // namespace espalier::gate
