// SPDX-License-Identifier: Apache-2.0
// host only. What `check_policy` looks at in a pruning policy.
#pragma once

#include <espalier/core/clock.hpp>
#include <espalier/core/policy.hpp>
#include <espalier/core/view.hpp>
#include <espalier/prune/concept.hpp>
#include <espalier/train/policy_checker.hpp>
#include <espalier/weight/check.hpp>

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace espalier {

/// Which masks a rule selects, and when. Its weight map is checked as one.
template <class P> void axis::prune::check(policy_checker& to, clock const& now) {
    using namespace detail;
    to.over("sparsity lies in [0, 1]")
        .require(P::sparsity(now) >= 0.0 && P::sparsity(now) <= 1.0, "step " + std::to_string(now.step),
                 "given " + text_of(P::sparsity(now)));
    if constexpr (requires { typename P::criterion_type; }) {
        using criterion = typename P::criterion_type;
        constexpr std::size_t narrow = sizeof(criterion::key(0.5f)), wide = sizeof(criterion::key(0.5));
        to.over("a key is as wide as the weight")
            .require(narrow == sizeof(float) && wide == sizeof(double), "float and double",
                     "given " + std::to_string(narrow) + " and " + std::to_string(wide) + " bytes");
    }
    if constexpr (espalier::prune::selects_below<typename P::selection>) {
        to.over("a threshold is positive")
            .require(P::selection::threshold(now) > 0.0, "step " + std::to_string(now.step),
                     "given " + text_of(P::selection::threshold(now)));
    } else if constexpr (!P::selection::global) {
        constexpr bool groups = espalier::prune::selects_in_groups<typename P::selection>;
        index_t row_count = 480;
        if constexpr (groups) row_count = 16 * P::selection::at(now).group; // whole ones
        index_t const columns = 2, n = row_count * columns;
        std::vector<double> w;
        for (index_t i = 0; i < n; ++i)
            w.push_back(check_number(static_cast<std::uint64_t>(i), 5));
        auto const kept = [&](double share) {
            std::vector<std::uint32_t> mask(static_cast<std::size_t>(n / 32), 0xaaaaaaaau);
            P::template select<double>(now, contiguous_view<double const>(w.data(), row_count, columns), share,
                                       mask.data());
            index_t count = 0;
            for (std::uint32_t const word : mask)
                for (int bit = 0; bit < 32; ++bit)
                    count += word >> bit & 1u;
            return static_cast<double>(count) / static_cast<double>(n);
        };
        auto check = to.over("a selection leaves out the share that it was given");
        check.compare("sparsity 0", kept(0.0), 1.0, 0.0);
        if constexpr (groups)
            check.compare("its pattern", kept(1.0), 1.0 - P::selection::at(now).sparsity(), 1e-12);
        else if constexpr (requires { P::selection::sparsity; })
            check.compare("its own sparsity", kept(P::selection::sparsity), 1.0 - P::selection::sparsity, 0.02);
        else
            for (double const share : {0.25, 0.5, 0.9})
                check.compare("sparsity " + number_text(share), kept(share), 1.0 - share, 0.02);
    } else {
        to.leave_out("the selection, which is over all tensors: prune::select_largest");
    }
    check_weight_map<P>(to, now);
}

} // namespace espalier
