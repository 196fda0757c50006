// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <espalier/core/axis.hpp>

namespace espalier::axis {

/// A set in which the stored weights stay.
struct projection : axis_defaults {
    static constexpr std::string_view name = "projection";
    static constexpr bool stacks = true;
    static constexpr axis_place place = axis_place::tensor;
    template <class P> static constexpr bool by_role = true;
    static constexpr bool acts_unasked(role r) {
        return r == role::kernel || r == role::factor || r == role::embedding || r == role::gate;
    }
    template <class P> static constexpr bool reaches_kernels = true;
    template <class Asked> static consteval bool members();                     // concept.hpp
    template <class P> static void check(policy_checker& to, clock const& now); // check.hpp
};

} // namespace espalier::axis
