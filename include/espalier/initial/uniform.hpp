// SPDX-License-Identifier: Apache-2.0
// host only. Uniform numbers between two bounds.
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
template <class Low, class High> consteval bool rising_numbers(Low low, High high) {
    if constexpr (std::is_arithmetic_v<Low> && std::is_arithmetic_v<High>)
        return schedule::finite_number(low) && schedule::finite_number(high) &&
               static_cast<double>(low) <= static_cast<double>(high);
    else
        return false;
}
} // namespace detail

/// w ~ U(Low, High), both finite, Low <= High.
template <auto Low, auto High> struct uniform {
    static_assert(diagnostic::holds<detail::rising_numbers(Low, High), diagnostic::given<Low>, diagnostic::given<High>>,
                  "espalier: initial::uniform<Low, High> needs finite numbers with Low <= High; the next lines name "
                  "both");
    using axis = espalier::axis::initial;
    static constexpr std::string_view name = "uniform";
    static constexpr double low = static_cast<double>(Low), high = static_cast<double>(High);
    static constexpr auto numbers = fields<&uniform::low, &uniform::high>;

    template <class T> static void fill(matrix_view<T> w, index_t, index_t, random_site const& site) {
        detail::uniform_numbers(w, low, high, site);
    }
};

} // namespace espalier::initial
