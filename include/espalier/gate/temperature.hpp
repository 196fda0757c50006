// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <espalier/core/fields.hpp>
#include <espalier/core/macros.hpp>
#include <espalier/core/pack.hpp>
#include <espalier/gate/part.hpp>
#include <espalier/schedule/concept.hpp>
#include <espalier/schedule/within.hpp>

#include <string_view>

namespace espalier::gate {

/// Number and row function of `temperature`.
struct temperature_op {
    double inverse; ///< 1 / temperature

    /// Kind of the temperature.
    struct number {
        static constexpr std::string_view name = "temperature";
        static constexpr schedule::bounds allowed{1e-6, schedule::not_negative.high};
    };
    static temperature_op of(double given) { return {1.0 / given}; }
    double temperature() const { return 1.0 / inverse; }
    static constexpr auto numbers = fields<&temperature_op::temperature>;

    static constexpr part_kind kind = part_kind::temperature;

    template <class T> ESPALIER_FN T scaled(T const& z) const { return z * T(static_cast<scalar_of<T>>(inverse)); }
};

/// clean = z / Value: above 1 the weights are closer to each other, below 1 further apart. Noise is added afterwards
/// and is not divided. Value: a number or a schedule, at least 1e-6.
template <schedule::number_or_schedule auto Value>
struct temperature : part_of<temperature<Value>, temperature_op, schedule::number<Value, temperature_op::number>> {
    static constexpr std::string_view name = "temperature";
};

} // namespace espalier::gate
