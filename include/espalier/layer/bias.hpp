// SPDX-License-Identifier: Apache-2.0
// Whether a dense layer has an offset.
#pragma once

#include <espalier/core/axis.hpp>

#include <string_view>

namespace espalier {

namespace axis {

/// With or without an offset.
struct bias : axis_defaults {
    static constexpr std::string_view name = "bias";
    static constexpr axis_place place = axis_place::product;
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
