// SPDX-License-Identifier: Apache-2.0
// host only. What `check_policy` looks at in a gradient transform.
#pragma once

#include <espalier/core/clock.hpp>
#include <espalier/core/policy.hpp>
#include <espalier/core/update.hpp>
#include <espalier/train/policy_checker.hpp>
#include <espalier/transform/concept.hpp>

#include <cmath>
#include <cstdint>
#include <string>
#include <type_traits>

namespace espalier {

template <class P> void axis::transform::check(policy_checker& to, clock const& now) {
    using namespace detail;
    auto const op = op_at<P>(now);
    using op_type = std::remove_cvref_t<decltype(op)>;
    auto const apply = [&](double g, double reference, std::uint32_t bits, double norm) {
        return espalier::transform::detail::apply(
            op, element_about<double>{.weight = 0.3, .reference = reference, .bits = bits, .global_norm = norm}, g);
    };
    {
        auto check = to.over("finite gradients stay finite");
        for (double const g : {-3.0, -1e-8, 0.0, 0.2, 7.0})
            for (double const reference : {-1.0, 0.0, 0.4})
                for (std::uint32_t const bits : {0u, 30000u, 65535u})
                    for (double const norm : {0.0, 1.0, 50.0}) {
                        double const given = apply(g, reference, bits, norm);
                        check.require(std::isfinite(given), "g = " + number_text(g), "given " + number_text(given));
                    }
    }
    {
        // A flag that is not declared means: nothing is delivered.
        auto check = to.over("reads what it declares, no more");
        for (double const g : {-3.0, 0.2, 7.0}) {
            double const plain = apply(g, 0.1, 30000, 9.0);
            std::string const where = "g = " + number_text(g);
            ++check.seen;
            if constexpr (!op_draws<op_type>())
                for (std::uint32_t const bits : {0u, 65535u})
                    check.require(apply(g, 0.1, bits, 9.0) == plain, where,
                                  "the result depends on about.bits, but `draws` is not declared");
            if constexpr (!op_needs_reference<op_type>())
                for (double const reference : {-5.0, 5.0})
                    check.require(apply(g, reference, 30000, 9.0) == plain, where,
                                  "the result depends on about.reference, but `needs_reference` is not declared");
            if constexpr (!op_needs_global_norm<op_type>())
                for (double const norm : {0.0, 1e6})
                    check.require(apply(g, 0.1, 30000, norm) == plain, where,
                                  "the result depends on about.global_norm, but `needs_global_norm` is not declared");
        }
    }
    to.packs("apply of a pack", [&](auto g, auto bits) {
        using T = decltype(g);
        return espalier::transform::detail::apply(
            op, element_about<T>{.weight = T(0.3f), .reference = T(-0.7f), .bits = bits, .global_norm = T(2.0f)}, g);
    });
}

} // namespace espalier
