// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <espalier/core/axis.hpp>

namespace espalier::axis {

/// Between gradient and update.
struct transform : axis_defaults {
    static constexpr std::string_view name = "transform";
    static constexpr bool stacks = true;
    static constexpr axis_place place = axis_place::tensor;
    template <class P> static constexpr bool by_role = true;
    template <class P> static constexpr bool reaches_kernels = true;
    template <class Asked> static consteval bool members();                     // concept.hpp
    template <class P> static void check(policy_checker& to, clock const& now); // check.hpp
};

} // namespace espalier::axis
