// SPDX-License-Identifier: Apache-2.0
// host only. Normal numbers whose variance survives rectified linear units.
#pragma once

#include <espalier/core/random.hpp>
#include <espalier/core/view.hpp>
#include <espalier/initial/axis.hpp>
#include <espalier/initial/concept.hpp>

#include <cmath>
#include <string_view>

namespace espalier::initial {

/// w ~ N(0, 2 / fan_in) (He et al. 2015, eq. 10). The default of dense layers. Throws shape_error for fan_in < 1.
struct he_normal {
    using axis = espalier::axis::initial;
    static constexpr std::string_view name = "he_normal";

    template <class T> static void fill(matrix_view<T> w, index_t fan_in, index_t, random_site const& site) {
        detail::require_fan(fan_in, "fan_in", name);
        detail::normal_numbers(w, std::sqrt(2.0 / static_cast<double>(fan_in)), site);
    }
};

} // namespace espalier::initial
