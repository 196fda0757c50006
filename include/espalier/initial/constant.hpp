// SPDX-License-Identifier: Apache-2.0
// host only. The same number everywhere.
#pragma once

#include <espalier/core/diagnostic.hpp>
#include <espalier/core/fields.hpp>
#include <espalier/core/random.hpp>
#include <espalier/core/view.hpp>
#include <espalier/initial/axis.hpp>
#include <espalier/schedule/concept.hpp>

#include <string_view>
#include <type_traits>

namespace espalier::initial {

/// w = Value, a finite number.
template <auto Value> struct constant {
    static_assert(diagnostic::holds<schedule::finite_number(Value), diagnostic::given<Value>>,
                  "espalier: initial::constant needs a finite number; the next line names what was given");
    using axis = espalier::axis::initial;
    static constexpr std::string_view name = "constant";
    static constexpr double value = static_cast<double>(Value);
    static constexpr auto numbers = fields<&constant::value>;

    template <class T> static void fill(matrix_view<T> w, index_t, index_t, random_site const&) {
        for (index_t r = 0; r < w.rows; ++r)
            for (index_t c = 0; c < w.columns; ++c)
                w(r, c) = static_cast<T>(Value);
    }
};

} // namespace espalier::initial
