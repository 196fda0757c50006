// SPDX-License-Identifier: Apache-2.0
// The words of errors, put together out of line: a template that throws costs a program a call and no code for strings.
#pragma once

#include <espalier/core/error.hpp>
#include <espalier/core/library.hpp>

#include <concepts>
#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>

namespace espalier::detail {

/// A piece of a text: words, or a number as std::to_string writes it. Refers to words, so it lives no longer than they.
class text_part {
public:
    text_part(char const* words) : words_(words) {}
    text_part(std::string_view words) : words_(words) {}
    text_part(std::string const& words) : words_(words) {}
    template <std::floating_point T> text_part(T number) : kind_(kind::real), real_(static_cast<double>(number)) {}
    template <std::integral T>
    text_part(T number)
        : kind_(std::signed_integral<T> ? kind::whole : kind::natural), whole_(static_cast<std::int64_t>(number)) {}

    void append_to(std::string& text) const;

private:
    enum class kind : std::uint8_t { words, whole, natural, real };
    kind kind_ = kind::words;
    std::string_view words_{};
    union {
        std::int64_t whole_ = 0; ///< of a natural number its bits
        double real_;
    };
};

using text_parts = std::initializer_list<text_part>;

/// The parts, one after the other.
std::string text_of(text_parts parts);

[[noreturn]] void throw_shape_error(text_parts parts);
[[noreturn]] void throw_data_error(text_parts parts);
[[noreturn]] void throw_file_error(text_parts parts);
[[noreturn]] void throw_numerical_error(text_parts parts);

} // namespace espalier::detail

#if defined(ESPALIER_HEADER_ONLY)
#include <espalier/core/detail/text.hpp>
#endif
