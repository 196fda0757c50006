// SPDX-License-Identifier: Apache-2.0
// host only. What `check_policy` looks at in a penalty on activations.
#pragma once

#include <espalier/activation_penalty/concept.hpp>
#include <espalier/core/clock.hpp>
#include <espalier/core/epilogue.hpp>
#include <espalier/core/policy.hpp>
#include <espalier/train/policy_checker.hpp>

#include <algorithm>
#include <cmath>
#include <string>
#include <type_traits>

namespace espalier {

template <class P> void axis::activation_penalty::check(policy_checker& to, clock const& now) {
    using namespace detail;
    auto const op = op_at<P>(now);
    constexpr bool by_column = std::remove_cvref_t<decltype(op)>::scope == penalty_scope::column;
    constexpr int row_count = 4, columns = 3;
    rows const batch{.count = row_count};
    auto const share = [&](double y, int c) {
        return contribution_of(op, y, about_element<double>(batch, 0, static_cast<std::uint32_t>(c)));
    };
    to.packs("contribution of a pack",
             [&](auto y, auto bits) { return contribution_of(op, y, about_element<decltype(y)>(batch, bits, 2)); });
    to.packs("gradient of a pack", [&](auto y, auto bits) {
        using T = decltype(y);
        return gradient_of(op, y, about_element<T>(batch, bits, 2, T(1.7f)));
    });
    auto check = to.over("gradient is the derivative of the term");
    for (int round = 0; round < 6; ++round) {
        double y[row_count][columns];
        for (int r = 0; r < row_count; ++r)
            for (int c = 0; c < columns; ++c)
                y[r][c] = 1.5 * std::sin(1.3 * (r * columns + c) + 0.7 * round);
        auto const sum_of = [&](int c) {
            double sum = 0.0;
            for (int r = 0; r < row_count; ++r)
                sum += share(y[r][c], c);
            return sum;
        };
        auto const term = [&] {
            double all = 0.0, finished = 0.0;
            for (int c = 0; c < columns; ++c) {
                all += sum_of(c);
                finished += op.finish(sum_of(c), double(row_count));
            }
            return by_column ? finished : op.finish(all, double(row_count));
        };
        double gradients[row_count][columns], scale = 0.0;
        for (int r = 0; r < row_count; ++r)
            for (int c = 0; c < columns; ++c) {
                gradients[r][c] =
                    gradient_of(op, y[r][c], about_element<double>(batch, 0, static_cast<std::uint32_t>(c), sum_of(c)));
                scale = std::max(scale, std::fabs(gradients[r][c]));
            }
        for (int r = 0; r < row_count; ++r)
            for (int c = 0; c < columns; ++c) {
                double const numeric = central_difference(&y[r][c], 1e-4, term);
                if (std::isnan(numeric)) {
                    ++check.skipped;
                    continue;
                }
                check.compare("y = " + number_text(y[r][c]) + " (row " + std::to_string(r) + ", column " +
                                  std::to_string(c) + " of 4 x 3)",
                              gradients[r][c], numeric, 1e-6 * (scale + std::fabs(numeric)) + 1e-12);
            }
    }
}

} // namespace espalier
