// SPDX-License-Identifier: Apache-2.0
// The words of errors, put together out of line: a template that throws costs a program a call and no code for strings.
#pragma once

#include <espalier/core/error.hpp>
#include <espalier/core/library.hpp>
#include <espalier/core/macros.hpp>

#include <concepts>
#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>

namespace espalier::detail {

/// A real number with six digits, for who looks at it among others: a progress bar, a table.
struct rounded {
    double number;
};

/// A piece of a text: words, or a number, real ones with as many digits as tell them from every other number of their
/// type, so that what lies beside a bound is not printed like it: 0.5, 1e-09, 1.0000000000000002. Refers to words, so
/// it lives no longer than they.
class text_part {
public:
    text_part(char const* words) : words_(words) {}
    text_part(std::string_view words) : words_(words) {}
    text_part(std::string const& words) : words_(words) {}
    template <std::floating_point T>
    text_part(T number)
        : kind_(sizeof(T) == sizeof(float) ? kind::single : kind::real), real_(static_cast<double>(number)) {}
    text_part(rounded number) : kind_(kind::rounded), real_(number.number) {}
    template <std::integral T>
    text_part(T number)
        : kind_(std::signed_integral<T> ? kind::whole : kind::natural), whole_(static_cast<std::int64_t>(number)) {}

    void append_to(std::string& text) const;

private:
    enum class kind : std::uint8_t { words, whole, natural, real, single, rounded };
    kind kind_ = kind::words;
    std::string_view words_{};
    union {
        std::int64_t whole_ = 0; ///< of a natural number its bits
        double real_;
    };
};

using text_parts = std::initializer_list<text_part>;

std::string text_of_parts(text_parts parts);
[[noreturn]] void throw_shape(text_parts parts);
[[noreturn]] void throw_data(text_parts parts);
[[noreturn]] void throw_file(text_parts parts);
[[noreturn]] void throw_numerical(text_parts parts);

// The parts are arguments and not a list in braces: of such a list nvcc makes something else where it names a member of
// an object whose type depends on a template parameter.

/// Adds an item to a list of words with commas between them.
inline void add_to_list(std::string& list, std::string_view item) {
    if (!list.empty()) list += ", ";
    list += item;
}

/// The parts, one after the other.
template <class... Parts> ESPALIER_HOST_FN std::string text_of(Parts const&... parts) {
    return text_of_parts(text_parts{text_part(parts)...});
}
template <class... Parts> [[noreturn]] ESPALIER_HOST_FN void throw_shape_error(Parts const&... parts) {
    throw_shape(text_parts{text_part(parts)...});
}
template <class... Parts> [[noreturn]] ESPALIER_HOST_FN void throw_data_error(Parts const&... parts) {
    throw_data(text_parts{text_part(parts)...});
}
template <class... Parts> [[noreturn]] ESPALIER_HOST_FN void throw_file_error(Parts const&... parts) {
    throw_file(text_parts{text_part(parts)...});
}
template <class... Parts> [[noreturn]] ESPALIER_HOST_FN void throw_numerical_error(Parts const&... parts) {
    throw_numerical(text_parts{text_part(parts)...});
}

} // namespace espalier::detail

#if defined(ESPALIER_HEADER_ONLY)
#include <espalier/core/detail/text.hpp>
#endif
