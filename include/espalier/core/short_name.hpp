// SPDX-License-Identifier: Apache-2.0
// A name of at most 16 characters as two integers: a structural value without arrays or constructors, so it may stand
// in a template argument under every supported compiler, nvcc included.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <espalier/core/library.hpp>
#include <string>
#include <string_view>

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

/// The characters of a short name where a string_view can point at them.
template <short_name Name> struct short_name_text {
    static constexpr auto characters = [] {
        std::array<char, 16> text{};
        for (int i = 0; i < 16; ++i)
            text[static_cast<std::size_t>(i)] =
                static_cast<char>(((i < 8 ? Name.head : Name.tail) >> (8 * (i % 8))) & 0xff);
        return text;
    }();
    static constexpr std::size_t length = [] {
        std::size_t n = 0;
        while (n < characters.size() && characters[n] != '\0')
            ++n;
        return n;
    }();
    static constexpr std::string_view view{characters.data(), length};
};

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
