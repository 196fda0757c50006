// SPDX-License-Identifier: Apache-2.0
// Names the parameter group that a layer's tensors belong to.
#pragma once

#include <espalier/core/axis.hpp>
#include <espalier/core/members.hpp>
#include <espalier/core/short_name.hpp>

#include <array>
#include <concepts>
#include <cstdint>
#include <string_view>

namespace espalier {

namespace axis {

/// Which parameter group tensors belong to.
struct group : axis_defaults {
    static constexpr std::string_view name = "group";
    static constexpr axis_place place = axis_place::tensor;
    template <class Asked> static consteval bool members() {
        constexpr bool named = requires {
            { Asked::policy::name } -> std::convertible_to<std::string_view>;
        };
        ESPALIER_NEEDS(named, "a policy on axis::group needs `static constexpr std::string_view name`, that of the "
                              "parameter group; in_group<\"name\"_name> has one");
        return named;
    }
};

} // namespace axis

namespace detail {

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

/// The tensors of the layer are of the parameter group `Name`, which rules of learning rate, decay and freezing select
/// (`rate_rule::group`): `dense<10, in_group<"head"_name>>`, or for many layers at once
/// `everywhere<encoder, in_group<"encoder"_name>>`. A layer's own group wins over that of an `everywhere` around it. It
/// changes no number and no kernel.
template <short_name Name> struct in_group {
    static_assert(!Name.empty(), "espalier: a parameter group has a name of 1 to 16 characters");
    using axis = espalier::axis::group;
    static constexpr std::string_view name = detail::short_name_text<Name>::view;
};

/// The default: a tensor without a group.
struct no_group {
    using axis = espalier::axis::group;
    static constexpr std::string_view name = "";
};

} // namespace espalier
