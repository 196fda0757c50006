// SPDX-License-Identifier: Apache-2.0
// A schedule that never changes.
#pragma once

#include <espalier/core/macros.hpp>
#include <espalier/schedule/concept.hpp>

namespace espalier::schedule {

/// v(t) = value.
struct constant {
    double value = 0.0;

    ESPALIER_FN constexpr double at(clock const&) const { return value; }
    constexpr char const* problem() const { return finite(value) ? nullptr : "constant: `value` must be finite"; }
    constexpr bounds range() const { return {value, value}; }
};

} // namespace espalier::schedule
