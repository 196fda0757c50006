// SPDX-License-Identifier: Apache-2.0
// Names of policies that are made of another one: "unscaled_bernoulli".
#pragma once

#include <espalier/core/policy.hpp>

#include <cstddef>
#include <string_view>

namespace espalier::detail {

template <std::size_t N> struct joined_text {
    char text[N]{};
    constexpr operator std::string_view() const { return {text, N}; }
};

template <auto Prefix, class P> consteval auto join_name() {
    constexpr std::string_view prefix = Prefix(), own = name_of<P>();
    joined_text<prefix.size() + own.size()> joined;
    for (std::size_t i = 0; i < prefix.size(); ++i)
        joined.text[i] = prefix[i];
    for (std::size_t i = 0; i < own.size(); ++i)
        joined.text[prefix.size() + i] = own[i];
    return joined;
}

/// What the function Prefix returns, followed by the name of P.
template <auto Prefix, class P> inline constexpr auto prefixed_name = join_name<Prefix, P>();

} // namespace espalier::detail
