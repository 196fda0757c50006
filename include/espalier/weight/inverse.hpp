// SPDX-License-Identifier: Apache-2.0
// host only. How raw weights are found from what products are to read.
#pragma once

#include <espalier/core/clock.hpp>
#include <espalier/core/policy.hpp>
#include <espalier/core/view.hpp>
#include <espalier/weight/concept.hpp>

#include <cmath>
#include <concepts>

namespace espalier::weight {

/// The inverse of a map, for weights in host memory: the raw weights of n effective ones, with the map that the trained
/// numbers behind `scalars` make at that time. Gives the place of the first weight that no raw one has, or n.
struct inverse {
    index_t (*of_float)(clock const& now, float const* scalars, float const* effective, index_t n, float* raw);
    index_t (*of_double)(clock const& now, double const* scalars, double const* effective, index_t n, double* raw);

    template <class W> auto of() const {
        if constexpr (std::is_same_v<W, float>)
            return of_float;
        else
            return of_double;
    }
};

template <class M>
concept has_raw = requires(M const& map) {
    { map.raw(1.0) } -> std::same_as<double>;
};

namespace detail {

template <class Map, class W>
index_t find_raw(clock const& now, W const* scalars, W const* effective, index_t n, W* raw) {
    auto const map = with_scalars(op_at<Map>(now), scalars);
    for (index_t i = 0; i < n; ++i) {
        raw[i] = static_cast<W>(map.raw(static_cast<double>(effective[i])));
        if (!std::isfinite(static_cast<double>(raw[i]))) return i;
    }
    return n;
}
template <class Map> inline constexpr inverse inverse_object{&find_raw<Map, float>, &find_raw<Map, double>};

template <class Map> constexpr inverse const* find_inverse() {
    if constexpr (has_raw<op_of<Map>>)
        return &inverse_object<Map>;
    else
        return nullptr;
}

} // namespace detail

/// That of a weight policy; null when its op has no `raw`.
template <class Map> inline constexpr inverse const* inverse_of = detail::find_inverse<Map>();

} // namespace espalier::weight
