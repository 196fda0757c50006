// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <espalier/core/clock.hpp>
#include <espalier/core/diagnostic.hpp>
#include <espalier/core/macros.hpp>
#include <espalier/core/pack.hpp>
#include <espalier/gate/part.hpp>
#include <espalier/schedule/concept.hpp>
#include <espalier/schedule/within.hpp>

#include <limits>
#include <string_view>

namespace espalier::gate {

/// Number and row function of `temperature`.
struct temperature_op {
    double inverse; ///< 1 / temperature

    static constexpr part_kind kind = part_kind::temperature;

    template <class T> ESPALIER_FN T scaled(T const& z) const { return z * T(static_cast<scalar_of<T>>(inverse)); }
};

/// clean = z / Value: above 1 the weights are closer to each other, below 1 further apart. Noise is added afterwards
/// and is not divided. Value: a number or a schedule, at least 1e-6.
template <schedule::number_or_schedule auto Value> struct temperature {
    static constexpr schedule::bounds allowed{1e-6, std::numeric_limits<double>::max()};
    static_assert(diagnostic::holds<schedule::stays_within(Value, allowed), diagnostic::given<Value>>,
                  "espalier: gate::temperature must be finite and at least 1e-6: the logits are divided by it");
    static constexpr part_kind kind = part_kind::temperature;
    static constexpr std::string_view name = "temperature";

    using op = temperature_op;
    static op at(clock const& now) {
        return op{1.0 / schedule::value_within(Value, now, allowed, "gate", name, "temperature")};
    }
};

} // namespace espalier::gate
