// SPDX-License-Identifier: Apache-2.0
// Names of policies that are made of another one: "unscaled_bernoulli".
#pragma once

#include <espalier/core/policy.hpp>

#include <cstddef>
#include <string_view>

namespace espalier::detail {

template <std::size_t N> struct joined_text { char text[N]{}; };

template <class Prefix, class P> consteval auto join_name() {
    constexpr std::string_view prefix = Prefix::text, own = name_of<P>();
    joined_text<prefix.size() + own.size()> joined;
    for (std::size_t i = 0; i < prefix.size(); ++i)
        joined.text[i] = prefix[i];
    for (std::size_t i = 0; i < own.size(); ++i)
        joined.text[prefix.size() + i] = own[i];
    return joined;
}

template <class Prefix, class P> inline constexpr auto joined_name_of = join_name<Prefix, P>();

/// The text of Prefix, followed by the name of P.
template <class Prefix, class P>
inline constexpr std::string_view prefixed_name{joined_name_of<Prefix, P>.text, sizeof(joined_name_of<Prefix, P>.text)};

} // namespace espalier::detail
