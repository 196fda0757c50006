// SPDX-License-Identifier: Apache-2.0
// Names the parameter group that a layer's tensors belong to.
#pragma once

#include <espalier/core/axis.hpp>
#include <espalier/core/members.hpp>
#include <espalier/core/short_name.hpp>

#include <concepts>
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

/// The tensors of the layer are of the parameter group `Name`, which rules of learning rate, decay and freezing select
/// (`rate_rule::group`): `dense<10, in_group<"head"_name>>`, or for many layers at once
/// `everywhere<encoder, in_group<"encoder"_name>>`. A layer's own group wins over that of an `everywhere` around it.
/// By itself it changes no number and no kernel; `optimizer::by_group` may have another optimizer for it.
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
