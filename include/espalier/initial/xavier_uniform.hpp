// SPDX-License-Identifier: Apache-2.0
// host only. Uniform numbers whose variance is a compromise between forward and backward.
#pragma once

#include <espalier/core/random.hpp>
#include <espalier/core/view.hpp>
#include <espalier/initial/axis.hpp>
#include <espalier/initial/concept.hpp>

#include <cmath>
#include <string_view>

namespace espalier::initial {

/// w ~ U(-b, b) with b = sqrt(6 / (fan_in + fan_out)) (Glorot and Bengio 2010, eq. 16). Throws shape_error for a fan
/// below 1.
struct xavier_uniform {
    using axis = espalier::axis::initial;
    static constexpr std::string_view name = "xavier_uniform";

    template <class T> static void fill(matrix_view<T> w, index_t fan_in, index_t fan_out, random_site const& site) {
        detail::require_fan(fan_in, "fan_in", name);
        detail::require_fan(fan_out, "fan_out", name);
        double const bound = std::sqrt(6.0 / static_cast<double>(fan_in + fan_out));
        detail::uniform_numbers(w, -bound, bound, site);
    }
};

} // namespace espalier::initial
