// SPDX-License-Identifier: Apache-2.0
// A number that the running program sets: swept by hand, tuned during training, or read from a file.
#pragma once

#include <espalier/core/macros.hpp>
#include <espalier/core/short_name.hpp>
#include <espalier/schedule/concept.hpp>

namespace espalier::schedule {

/// The value called `name` among `clock::values`, or `initial` while there is none of that name. When a name occurs
/// more than once, the first one counts. The range is unknown at compile time, so a policy checks the value at each
/// step.
struct runtime {
    short_name name{};
    double initial = 0.0;

    ESPALIER_FN constexpr double at(clock const& now) const {
        for (auto const& entry : now.values)
            if (entry.name == name) return entry.value;
        return initial;
    }
    constexpr char const* problem() const {
        if (name.empty()) return "runtime: `name` must not be empty";
        return finite(initial) ? nullptr : "runtime: `initial` must be finite";
    }
};

} // namespace espalier::schedule
