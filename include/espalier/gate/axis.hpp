// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <espalier/core/axis.hpp>
#include <espalier/core/members.hpp>

#include <concepts>
#include <string_view>

namespace espalier::axis {

/// Which experts a row goes to.
struct gate : axis_defaults {
    static constexpr std::string_view name = "gate";
    template <class P> static constexpr bool reaches_kernels = true;
    template <class Asked> static consteval bool members();                     // concept.hpp
    template <class P> static void check(policy_checker& to, clock const& now); // check.hpp
};

/// How rows reach experts.
struct dispatch : axis_defaults {
    static constexpr std::string_view name = "dispatch";
    static constexpr axis_place place = axis_place::row;
    template <class Asked> static consteval bool members() {
        constexpr bool says = requires {
            { Asked::policy::gathers } -> std::convertible_to<bool>;
        };
        ESPALIER_NEEDS(says, "a dispatch needs `static constexpr bool gathers`, whether the rows of an expert are "
                             "gathered; the library's are dense, compacted, chunked, capacity and automatic "
                             "(gate/dispatch.hpp)");
        return says;
    }
};

} // namespace espalier::axis
