// SPDX-License-Identifier: Apache-2.0
// host only. Normal numbers of a given deviation.
#pragma once

#include <espalier/core/diagnostic.hpp>
#include <espalier/core/fields.hpp>
#include <espalier/core/random.hpp>
#include <espalier/core/view.hpp>
#include <espalier/initial/axis.hpp>
#include <espalier/initial/concept.hpp>
#include <espalier/schedule/concept.hpp>

#include <string_view>
#include <type_traits>

namespace espalier::initial {

namespace detail {
template <class Number> consteval bool finite_and_not_negative(Number x) {
    if constexpr (std::is_arithmetic_v<Number>)
        return schedule::finite_number(x) && static_cast<double>(x) >= 0.0;
    else
        return false;
}
} // namespace detail

/// w ~ N(0, Deviation^2), Deviation finite and not negative.
template <auto Deviation> struct normal {
    static_assert(diagnostic::holds<detail::finite_and_not_negative(Deviation), diagnostic::given<Deviation>>,
                  "espalier: initial::normal<Deviation> needs a finite number that is not negative; the next line "
                  "names what was given");
    using axis = espalier::axis::initial;
    static constexpr std::string_view name = "normal";
    static constexpr double deviation = static_cast<double>(Deviation);
    static constexpr auto numbers = fields<&normal::deviation>;

    template <class T> static void fill(matrix_view<T> w, index_t, index_t, random_site const& site) {
        detail::normal_numbers(w, deviation, site);
    }
};

} // namespace espalier::initial
