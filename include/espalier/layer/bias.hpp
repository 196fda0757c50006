// SPDX-License-Identifier: Apache-2.0
// Whether a dense layer has an offset.
#pragma once

#include <espalier/core/axis.hpp>
#include <espalier/core/members.hpp>

#include <concepts>
#include <string_view>

namespace espalier {

namespace axis {

/// With or without an offset.
struct bias : axis_defaults {
    static constexpr std::string_view name = "bias";
    static constexpr axis_place place = axis_place::product;
    template <class Asked> static consteval bool members() {
        constexpr bool says = requires {
            { Asked::policy::present } -> std::convertible_to<bool>;
        };
        ESPALIER_NEEDS(says, "a policy on axis::bias needs `static constexpr bool present`; the library's are no_bias "
                             "and with_bias");
        return says;
    }
};

} // namespace axis

/// A layer without an offset: `dense<64, no_bias>`.
struct no_bias {
    using axis = espalier::axis::bias;
    static constexpr std::string_view name = "no_bias";
    static constexpr bool present = false;
};
/// The default: a trained offset, zero at first.
struct with_bias {
    using axis = espalier::axis::bias;
    static constexpr std::string_view name = "with_bias";
    static constexpr bool present = true;
};

} // namespace espalier
