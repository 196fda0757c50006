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

#include <espalier/core/library.hpp>
#include <espalier/core/members.hpp>
#include <espalier/core/policy.hpp>
#include <espalier/core/random.hpp>
#include <espalier/core/text.hpp>
#include <espalier/core/view.hpp>
#include <espalier/initial/axis.hpp>

#include <concepts>
#include <cstdint>
#include <string>
#include <string_view>

namespace espalier::initial {

template <class Initial, class T>
concept has_fill = requires(matrix_view<T> w, index_t n, random_site const& site) {
    Initial::fill(w, n, n, site);
};

template <class Initial>
concept initialiser = policy_on<Initial, axis::initial> && has_fill<Initial, float> && has_fill<Initial, double>;

namespace detail {

/// Element i of the matrix, i = r * columns + c, gets half i & 1 of pair_of(draw i / 2): the layout of `fill_uniform`
/// and `fill_normal` in core/random.hpp, for matrices whose rows may lie apart.
template <class T, class PairOf> void for_pairs(matrix_view<T> w, random_site const& site, PairOf const& pair_of) {
    index_t i = 0;
    double second = 0.0;
    for (index_t r = 0; r < w.rows; ++r)
        for (index_t c = 0; c < w.columns; ++c, ++i) {
            if (i & 1) {
                w(r, c) = static_cast<T>(second);
                continue;
            }
            auto const k = static_cast<std::uint64_t>(i) / 2;
            normal_pair const pair =
                pair_of(draw(site, static_cast<std::uint32_t>(k), static_cast<std::uint32_t>(k >> 32)));
            w(r, c) = static_cast<T>(pair.first);
            second = pair.second;
        }
}

/// Uniform numbers in [low, high).
template <class T> void uniform_numbers(matrix_view<T> w, double low, double high, random_site const& site) {
    for_pairs(w, site, [&](bits8 const& bits) {
        return normal_pair{uniform_between(low, high, uniform01(bits.word[0], bits.word[1])),
                           uniform_between(low, high, uniform01(bits.word[2], bits.word[3]))};
    });
}

/// Normal numbers of mean 0.
template <class T> void normal_numbers(matrix_view<T> w, double deviation, random_site const& site) {
    for_pairs(w, site, [&](bits8 const& bits) {
        normal_pair const z = standard_normal(bits);
        return normal_pair{deviation * z.first, deviation * z.second};
    });
}

/// Throws shape_error unless a fan is positive.
void require_fan(index_t fan, char const* which, std::string_view initial_name);

} // namespace detail
} // namespace espalier::initial

#if defined(ESPALIER_HEADER_ONLY)
#include <espalier/initial/detail/concept.hpp>
#endif

namespace espalier {

/// What a policy on the axis needs.
template <class Asked> consteval bool axis::initial::members() {
    using P = typename Asked::policy;
    constexpr bool fill = espalier::initial::has_fill<P, float> && espalier::initial::has_fill<P, double>;
    ESPALIER_NEEDS(fill, "an initialiser needs `template <class T> static void fill(matrix_view<T> w, index_t "
                         "fan_in, index_t fan_out, random_site const& site)`");
    return fill;
}

} // namespace espalier
