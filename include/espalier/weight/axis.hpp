// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <espalier/core/axis.hpp>

namespace espalier::axis {

/// What the layer reads instead of the raw weights.
struct weight : axis_defaults {
    static constexpr std::string_view name = "weight";
    static constexpr axis_place place = axis_place::tensor;
    /// An operator takes the place of the layer's kernel.
    template <class P> static constexpr bool by_role = !requires { typename P::template bind<2, 2>; };
    static constexpr bool acts_unasked(role r) { return r == role::kernel; }
    template <class P> static constexpr bool reaches_kernels = by_role<P>;
    template <class Asked> static consteval bool members();                     // concept.hpp
    template <class P> static void check(policy_checker& to, clock const& now); // check.hpp
};

} // namespace espalier::axis
