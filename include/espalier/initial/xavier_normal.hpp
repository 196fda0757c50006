// SPDX-License-Identifier: Apache-2.0
// host only. Normal numbers whose variance is a compromise between forward and backward.
#pragma once

#include <espalier/core/random.hpp>
#include <espalier/core/view.hpp>
#include <espalier/initial/axis.hpp>
#include <espalier/initial/concept.hpp>

#include <cmath>
#include <string_view>

namespace espalier::initial {

/// w ~ N(0, 2 / (fan_in + fan_out)) (Glorot and Bengio 2010, eq. 12). Throws shape_error for a fan below 1.
struct xavier_normal {
    using axis = espalier::axis::initial;
    static constexpr std::string_view name = "xavier_normal";

    template <class T> static void fill(matrix_view<T> w, index_t fan_in, index_t fan_out, random_site const& site) {
        detail::require_fan(fan_in, "fan_in", name);
        detail::require_fan(fan_out, "fan_out", name);
        detail::normal_numbers(w, std::sqrt(2.0 / static_cast<double>(fan_in + fan_out)), site);
    }
};

} // namespace espalier::initial
