// SPDX-License-Identifier: Apache-2.0
// host only. What `check_policy` looks at in a projection.
#pragma once

#include <espalier/core/clock.hpp>
#include <espalier/core/policy.hpp>
#include <espalier/core/update.hpp>
#include <espalier/projection/concept.hpp>
#include <espalier/train/policy_checker.hpp>

#include <cmath>
#include <string>
#include <type_traits>

namespace espalier {

template <class P> void axis::projection::check(policy_checker& to, clock const& now) {
    using namespace detail;
    auto const op = op_at<P>(now);
    using op_type = std::remove_cvref_t<decltype(op)>;
    auto const apply = [&]<class T>(T next, std::type_identity_t<T> square) {
        return espalier::projection::detail::apply(
            op, element_about<T>{.weight = T(0.3f), .rate = T(0.1f), .squared_norm = square}, next);
    };
    constexpr bool grouped = penalty_groups<op_type>() != group_scope::element;
    {
        auto check = to.over("finite weights stay finite");
        for (double const w : {-70.0, -3.0, -1e-8, 0.0, 0.2, 7.0}) {
            double const given = apply(w, w * w);
            check.require(std::isfinite(given), "w = " + number_text(w), "given " + number_text(given));
        }
    }
    {
        auto check = to.over("applied twice it gives what it gives once");
        for (double const a : {-70.0, -3.0, -0.4, 0.0, 0.02, 0.7, 90.0})
            for (double const b : {0.0, 0.03, 1.9}) {
                if (!grouped && b > 0.0) continue;
                double const square = a * a + b * b, u = apply(a, square), v = apply(b, square);
                double const again = apply(u, u * u + v * v);
                check.require(std::fabs(again - u) <= 1e-12 * (1.0 + std::fabs(u)), "w = " + number_text(a),
                              "given " + number_text(u) + " and then " + number_text(again));
            }
    }
    if constexpr (!grouped) {
        // A flag that is not declared means: nothing is delivered.
        auto check = to.over("reads what it declares, no more");
        for (double const w : {-3.0, 0.2, 7.0})
            for (double const square : {4.0, 1e6})
                check.require(apply(w, square) == apply(w, 0.0), "w = " + number_text(w),
                              "the result depends on about.squared_norm, but `groups` is not declared");
    }
    to.packs("apply of a pack", [&](auto w, auto) { return apply(w, w * w + decltype(w)(0.5f)); });
}

} // namespace espalier
