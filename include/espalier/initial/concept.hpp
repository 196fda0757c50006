// SPDX-License-Identifier: Apache-2.0
// host only. What an initialiser is: the first values of a tensor, a pure function of its site.
//
// Archetype:
//
//     struct my_initial {
//         using axis = espalier::axis::initial;
//         template <class T>
//         static void fill(matrix_view<T> w, index_t fan_in, index_t fan_out, random_site const& site);
//     };
//
// Element (r, c) depends on its place r * columns + c and on the site alone: not on the stride, not on the number of
// threads, and float and double get the same numbers up to rounding.
#pragma once

#include <espalier/core/axis.hpp>
#include <espalier/core/error.hpp>
#include <espalier/core/policy.hpp>
#include <espalier/core/random.hpp>
#include <espalier/core/view.hpp>

#include <cmath>
#include <concepts>
#include <cstdint>
#include <numbers>
#include <string>
#include <string_view>

namespace espalier::initial {

template <class I, class T>
concept has_fill = requires(matrix_view<T> w, index_t n, random_site const& site) {
    I::fill(w, n, n, site);
};

template <class I>
concept initialiser = policy_on<I, axis::initial> && has_fill<I, float> && has_fill<I, double>;

namespace detail {

/// Calls body(element, uniform) for all elements in order, where `uniform(k)` is the k-th of four draws in (0, 1) that
/// elements 4 b, ..., 4 b + 3 share.
template <class T, class Body> void for_blocks_of_four(matrix_view<T> w, random_site const& site, Body const& body) {
    index_t const n = w.rows * w.columns;
    index_t r = 0, c = 0;
    for (index_t first = 0; first < n; first += 4) {
        auto const block = static_cast<std::uint64_t>(first / 4);
        auto const words = draw(site, static_cast<std::uint32_t>(block >> 32), static_cast<std::uint32_t>(block));
        double uniform[4];
        for (int k = 0; k < 4; ++k)
            uniform[k] = (static_cast<double>(words[k]) + 0.5) * 0x1p-32;
        double value[4];
        body(uniform, value);
        for (int k = 0; k < 4 && first + k < n; ++k) {
            w(r, c) = static_cast<T>(value[k]);
            if (++c == w.columns) c = 0, ++r;
        }
    }
}

/// Uniform numbers in (low, high).
template <class T> void fill_uniform(matrix_view<T> w, double low, double high, random_site const& site) {
    for_blocks_of_four(w, site, [&](double const* uniform, double* value) {
        for (int k = 0; k < 4; ++k)
            value[k] = low + (high - low) * uniform[k];
    });
}

/// Normal numbers of mean 0 by the Box-Muller transform; the largest possible one is 6.8 deviations.
template <class T> void fill_normal(matrix_view<T> w, double deviation, random_site const& site) {
    for_blocks_of_four(w, site, [&](double const* uniform, double* value) {
        for (int k = 0; k < 4; k += 2) {
            double const radius = deviation * std::sqrt(-2.0 * std::log(uniform[k]));
            double const angle = 2.0 * std::numbers::pi * uniform[k + 1];
            value[k] = radius * std::cos(angle);
            value[k + 1] = radius * std::sin(angle);
        }
    });
}

/// Throws shape_error unless a fan is positive.
inline void require_fan(index_t fan, char const* which, std::string_view initial_name) {
    if (fan <= 0)
        throw shape_error("initial " + std::string(initial_name) + ": " + which + " is " + std::to_string(fan) +
                          ", needed is at least 1");
}

} // namespace detail
} // namespace espalier::initial
