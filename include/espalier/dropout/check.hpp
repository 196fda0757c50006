// SPDX-License-Identifier: Apache-2.0
// host only. What `check_policy` looks at in a dropout.
#pragma once

#include <espalier/core/clock.hpp>
#include <espalier/core/epilogue.hpp>
#include <espalier/core/policy.hpp>
#include <espalier/dropout/concept.hpp>
#include <espalier/train/policy_checker.hpp>

#include <cmath>
#include <cstdint>
#include <string>
#include <type_traits>

namespace espalier {

template <class P> void axis::dropout::check(policy_checker& to, clock const& now) {
    using namespace detail;
    auto const op = op_at<P>(now);
    rows const batch{.count = 4};
    if constexpr (std::remove_cvref_t<decltype(op)>::scope == random_scope::none) {
        to.line(true, "draws nothing");
    } else {
        using op_type = std::remove_cvref_t<decltype(op)>;
        constexpr bool moves = shifts<op_type, double, std::uint32_t>;
        double sum = 0.0, sum_of_shifts = 0.0;
        {
            auto check = to.over(moves ? "factors and shifts are finite" : "factors are finite");
            for (std::uint32_t bits = 0; bits < 65536; ++bits) {
                auto const about = about_element<double>(batch, bits, 5);
                double const factor = factor_of(op, about), shift = shifted(op, 0.0, about);
                if (!std::isfinite(factor) || !std::isfinite(shift))
                    check.fail("bits = " + std::to_string(bits),
                               "given " + number_text(factor) + (moves ? " and " + number_text(shift) : ""));
                sum += factor;
                sum_of_shifts += shift;
            }
            check.seen = 65536;
        }
        if constexpr (espalier::dropout::detail::keeps_mean<P>()) {
            // E[factor x + shift] = x for every x
            to.over("the mean factor over all draws is 1").compare("all 65536 draws", sum / 65536.0, 1.0, 1e-9);
            if constexpr (moves)
                to.over("the mean shift over all draws is 0")
                    .compare("all 65536 draws", sum_of_shifts / 65536.0, 0.0, 1e-9);
        } else
            to.leave_out(moves ? "whether the mean of factor x + shift is x: it does without on purpose"
                               : "whether the mean factor is 1: it does without on purpose");
        to.packs("factor of a pack", [&](auto x, auto bits) {
            auto const about = about_element<decltype(x)>(batch, bits, 5);
            return shifted(op, decltype(x)(x * factor_of(op, about)), about);
        });
    }
}

} // namespace espalier
