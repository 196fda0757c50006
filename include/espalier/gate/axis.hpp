// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <espalier/core/axis.hpp>

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
};

} // namespace espalier::axis
