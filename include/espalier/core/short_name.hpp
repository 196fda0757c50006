// SPDX-License-Identifier: Apache-2.0
// A name of at most 16 characters as two integers: a structural value without arrays or constructors, so it may stand
// in a template argument under every supported compiler, nvcc included.
#pragma once

#include <cstddef>
#include <cstdint>
#include <espalier/core/library.hpp>
#include <string>

namespace espalier {

/// Up to 16 characters, packed first character lowest. Write it `"rate"_name`.
struct short_name {
    std::uint64_t head = 0;
    std::uint64_t tail = 0;

    friend constexpr bool operator==(short_name const&, short_name const&) = default;

    constexpr bool empty() const { return head == 0; }

    std::string str() const;
};

namespace detail {

/// The name of at most 16 characters.
constexpr short_name name_from(char const* text, std::size_t length) {
    short_name name;
    for (std::size_t i = 0; i < length; ++i) {
        std::uint64_t const c = static_cast<unsigned char>(text[i]);
        (i < 8 ? name.head : name.tail) |= c << (8 * (i % 8));
    }
    return name;
}

} // namespace detail

namespace literals {

/// The name `text`; compilation stops when it is longer than 16 characters.
consteval short_name operator""_name(char const* text, std::size_t length) {
    if (length > 16) throw "a short name has at most 16 characters";
    return detail::name_from(text, length);
}

} // namespace literals
} // namespace espalier

#if defined(ESPALIER_HEADER_ONLY)
#include <espalier/core/detail/short_name.hpp>
#endif
