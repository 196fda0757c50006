// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <espalier/core/axis.hpp>

namespace espalier::axis {

/// First values of the kernel.
struct initial : axis_defaults {
    static constexpr std::string_view name = "initial";
    static constexpr axis_place place = axis_place::tensor;
    template <class Asked> static consteval bool members();                     // concept.hpp
    template <class P> static void check(policy_checker& to, clock const& now); // check.hpp
};

} // namespace espalier::axis
