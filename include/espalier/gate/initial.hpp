// SPDX-License-Identifier: Apache-2.0
// host only. First values of a gate's tensors, where the columns of one product mean different things.
#pragma once

#include <espalier/core/random.hpp>
#include <espalier/core/view.hpp>
#include <espalier/gate/axis.hpp>
#include <espalier/initial/concept.hpp>

#include <string_view>

namespace espalier::gate {

/// w(r, c) ~ U(-b, b) with b = Gate::first_values(c), in the kernel and in the bias.
template <class Gate> struct uniform_by_column {
    using axis = espalier::axis::initial;
    static constexpr std::string_view name = "uniform_by_column";

    template <class T> static void fill(matrix_view<T> w, index_t, index_t, random_site const& site) {
        initial::detail::uniform_numbers(w, -1.0, 1.0, site);
        for (index_t r = 0; r < w.rows; ++r)
            for (index_t c = 0; c < w.columns; ++c)
                w(r, c) = static_cast<T>(Gate::first_values(static_cast<int>(c)) * static_cast<double>(w(r, c)));
    }
};

} // namespace espalier::gate
