// SPDX-License-Identifier: Apache-2.0
// host only. What `check_policy` looks at in an initialiser.
#pragma once

#include <espalier/core/clock.hpp>
#include <espalier/core/policy.hpp>
#include <espalier/core/random.hpp>
#include <espalier/core/view.hpp>
#include <espalier/initial/concept.hpp>
#include <espalier/train/policy_checker.hpp>

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace espalier {

namespace detail {

/// A matrix is filled by place and site, whatever lies between its rows.
template <class P, index_t Columns = 5> void check_initial(policy_checker& to) {
    constexpr index_t row_count = 6, columns = Columns, apart = Columns + 3;
    auto const filled = [](auto zero, index_t stride, std::uint64_t stream) {
        std::vector<decltype(zero)> w(static_cast<std::size_t>(row_count * stride), decltype(zero)(77));
        P::fill(matrix_view<decltype(zero)>{w.data(), row_count, columns, stride}, row_count, columns,
                make_site(11, stream));
        return w;
    };
    auto const near = filled(0.0, columns, 1), far = filled(0.0, apart, 1), again = filled(0.0, columns, 1);
    auto const narrow = filled(0.0f, columns, 1);
    auto values = to.over("values are finite, and those of float are those of double rounded");
    auto places = to.over("an element depends on its place and the site alone");
    auto between = to.over("what lies between the rows is left alone");
    for (index_t r = 0; r < row_count; ++r) {
        for (index_t c = 0; c < columns; ++c) {
            std::string const place = "row " + std::to_string(r) + ", column " + std::to_string(c);
            auto const at = static_cast<std::size_t>(r * columns + c);
            values.require(std::isfinite(near[at]), place, "given " + number_text(near[at]));
            values.compare(place + " in float", static_cast<double>(narrow[at]), near[at],
                           1e-5 * (1.0 + std::fabs(near[at])));
            places.compare(place + " of rows that lie apart", far[static_cast<std::size_t>(r * apart + c)], near[at],
                           0.0);
            places.compare(place + " filled again", again[at], near[at], 0.0);
        }
        for (index_t c = columns; c < apart; ++c)
            between.compare("row " + std::to_string(r), far[static_cast<std::size_t>(r * apart + c)], 77.0, 0.0);
    }
}

} // namespace detail

template <class P> void axis::initial::check(policy_checker& to, clock const&) {
    detail::check_initial<P>(to);
}

} // namespace espalier
