// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <espalier/core/axis.hpp>
#include <espalier/core/members.hpp>

#include <concepts>
#include <string_view>

namespace espalier::axis {

/// Which units of a layer there are.
struct units : axis_defaults {
    static constexpr std::string_view name = "units";
    static constexpr axis_place place = axis_place::epilogue;
    template <class Asked> static consteval bool members() {
        constexpr bool says = requires {
            { Asked::policy::masks_units } -> std::convertible_to<bool>;
        };
        ESPALIER_NEEDS(says, "a policy on axis::units needs `static constexpr bool masks_units`; the library's are "
                             "units::all and units::fixed_mask");
        return says;
    }
};

} // namespace espalier::axis
