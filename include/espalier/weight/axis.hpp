// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <espalier/core/axis.hpp>

namespace espalier::axis {

/// What the product reads instead of the raw weights.
struct weight : axis_defaults {
    static constexpr std::string_view name = "weight";
    static constexpr axis_place place = axis_place::product;
    template <class P> static constexpr bool reaches_kernels = !requires { typename P::template bind<2, 2>; };
    template <class Asked> static consteval bool members();                     // concept.hpp
    template <class P> static void check(policy_checker& to, clock const& now); // check.hpp
};

} // namespace espalier::axis
