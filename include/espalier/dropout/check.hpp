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
        double sum = 0.0;
        auto check = to.over("factors are finite");
        for (std::uint32_t bits = 0; bits < 65536; ++bits) {
            double const factor = factor_of(op, about_element<double>(batch, bits, 5));
            if (!std::isfinite(factor)) check.fail("bits = " + std::to_string(bits), "given " + number_text(factor));
            sum += factor;
        }
        check.seen = 65536;
        if constexpr (espalier::dropout::detail::keeps_mean<P>())
            to.over("the mean factor over all draws is 1").compare("all 65536 draws", sum / 65536.0, 1.0, 1e-9);
        else
            to.leave_out("whether the mean factor is 1: it does without on purpose");
        to.packs("factor of a pack", [&](auto x, auto bits) {
            auto const about = about_element<decltype(x)>(batch, bits, 5);
            return shifted(op, decltype(x)(x * factor_of(op, about)), about);
        });
    }
}

} // namespace espalier
