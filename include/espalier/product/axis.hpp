// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <espalier/core/axis.hpp>

namespace espalier::axis {

/// Which library multiplies.
struct product : axis_defaults {
    static constexpr std::string_view name = "product";
    static constexpr axis_place place = axis_place::product;
    template <class Asked> static consteval bool members(); // concept.hpp
};

} // namespace espalier::axis
