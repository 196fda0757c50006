// SPDX-License-Identifier: Apache-2.0
// host only. Zeros: the default of biases.
#pragma once

#include <espalier/core/random.hpp>
#include <espalier/core/view.hpp>
#include <espalier/initial/axis.hpp>

#include <string_view>

namespace espalier::initial {

/// w = 0.
struct zeros {
    using axis = espalier::axis::initial;
    static constexpr std::string_view name = "zeros";

    template <class T> static void fill(matrix_view<T> w, index_t, index_t, random_site const&) {
        for (index_t r = 0; r < w.rows; ++r)
            for (index_t c = 0; c < w.columns; ++c)
                w(r, c) = T(0);
    }
};

} // namespace espalier::initial
