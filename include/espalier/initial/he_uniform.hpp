// SPDX-License-Identifier: Apache-2.0
// host only. Uniform numbers whose variance survives rectified linear units.
#pragma once

#include <espalier/core/random.hpp>
#include <espalier/core/view.hpp>
#include <espalier/initial/axis.hpp>
#include <espalier/initial/concept.hpp>

#include <cmath>
#include <string_view>

namespace espalier::initial {

/// w ~ U(-b, b) with b = sqrt(6 / fan_in), of variance 2 / fan_in (He et al. 2015, eq. 10). Throws shape_error for
/// fan_in < 1.
struct he_uniform {
    using axis = espalier::axis::initial;
    static constexpr std::string_view name = "he_uniform";

    template <class T> static void fill(matrix_view<T> w, index_t fan_in, index_t, random_site const& site) {
        detail::require_fan(fan_in, "fan_in", name);
        double const bound = std::sqrt(6.0 / static_cast<double>(fan_in));
        detail::uniform_numbers(w, -bound, bound, site);
    }
};

} // namespace espalier::initial
