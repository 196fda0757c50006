// SPDX-License-Identifier: Apache-2.0
// A mask over the units of a layer: some of them are not there.
#pragma once

#include <espalier/units/axis.hpp>

#include <string_view>

namespace espalier::units {

/// Every unit is there: what a layer does without a policy on the axis.
struct all {
    using axis = espalier::axis::units;
    static constexpr std::string_view name = "all";
    static constexpr bool masks_units = false;
};

/// y_c = m_c ? y_c : 0 behind activation and dropout, the same in training and evaluation, with one number m_c for each
/// unit in the state "units": 1 at first, what the program says then (network/set_units.hpp). The gradient of a unit
/// that is left out is 0, and so are those of its weights, incoming and outgoing. Its numbers need not be finite.
///
/// It costs one number a column in the pass that the layer has for its activation, or such a pass where it has none;
/// products are those of the whole layer. network/compact.hpp makes the smaller layer.
struct fixed_mask {
    using axis = espalier::axis::units;
    static constexpr std::string_view name = "fixed_mask";
    static constexpr bool masks_units = true;
};

} // namespace espalier::units
