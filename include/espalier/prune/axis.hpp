// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <espalier/core/axis.hpp>

namespace espalier::axis {

/// Which weights of a tensor stay.
struct prune : axis_defaults {
    static constexpr std::string_view name = "prune";
    static constexpr axis_place place = axis_place::tensor;
    template <class P> static constexpr bool by_role = true;
    static constexpr bool acts_unasked(role r) { return r == role::kernel; }
    template <class P> static constexpr bool reaches_kernels = true;
    template <class Asked> static consteval bool members();                     // concept.hpp
    template <class P> static void check(policy_checker& to, clock const& now); // check.hpp
};

} // namespace espalier::axis
