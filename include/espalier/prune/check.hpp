// SPDX-License-Identifier: Apache-2.0
// host only. What `check_policy` looks at in a pruning policy.
#pragma once

#include <espalier/core/clock.hpp>
#include <espalier/core/policy.hpp>
#include <espalier/core/view.hpp>
#include <espalier/prune/concept.hpp>
#include <espalier/prune/plan.hpp>
#include <espalier/train/policy_checker.hpp>
#include <espalier/weight/check.hpp>
#include <espalier/weight/identity.hpp>

#include <bit>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace espalier {

namespace prune::detail {
template <class Criterion, class T> constexpr auto checked_key(T w) {
    if constexpr (sees_gradients<Criterion>)
        return Criterion::key(w, about<T>{w, w});
    else
        return Criterion::key(w);
}
} // namespace prune::detail

/// Which masks a rule selects, and when. Its weight map is checked as one.
template <class P> void axis::prune::check(policy_checker& to, clock const& now) {
    using namespace detail;
    using espalier::prune::detail::checked_key;
    to.over("sparsity lies in [0, 1]")
        .require(P::sparsity(now) >= 0.0 && P::sparsity(now) <= 1.0, "step " + std::to_string(now.step),
                 "given " + text_of(P::sparsity(now)));
    if constexpr (requires { typename P::criterion_type; }) {
        using criterion = typename P::criterion_type;
        constexpr std::size_t narrow = sizeof(checked_key<criterion>(0.5f)), wide = sizeof(checked_key<criterion>(0.5));
        to.over("a key is as wide as the weight")
            .require(narrow == sizeof(float) && wide == sizeof(double), "float and double",
                     "given " + std::to_string(narrow) + " and " + std::to_string(wide) + " bytes");
    }
    if constexpr (espalier::prune::selects_below<typename P::selection>) {
        to.over("a threshold is positive")
            .require(P::selection::threshold(now) > 0.0, "step " + std::to_string(now.step),
                     "given " + text_of(P::selection::threshold(now)));
    } else if constexpr (espalier::prune::exchanges<typename P::selection>) {
        double const share = P::selection::share(now);
        to.over("the share that is exchanged lies in [0, 1]")
            .require(share >= 0.0 && share <= 1.0, "step " + std::to_string(now.step), "given " + text_of(share));
        constexpr index_t n = 960;
        std::vector<double> w, g, room(std::size_t{n});
        for (std::uint64_t i = 0; i < n; ++i) {
            w.push_back(check_number(i, 5));
            g.push_back(check_number(i, 6));
        }
        std::vector<std::uint32_t> mask(std::size_t{n / 32}, 0xaaaaaaaau), before = mask;
        espalier::prune::detail::exchange_weights<P, espalier::weight::identity, double>(
            now, {w.data(), g.data(), g.data()}, n, 360, 480, room.data(), mask.data());
        index_t stayed = 0;
        for (std::size_t i = 0; i < mask.size(); ++i)
            stayed += std::popcount(mask[i] & before[i]);
        to.over("an exchange keeps as many weights, some of them others")
            .require(espalier::prune::count_kept(mask.data(), n) == 480 && stayed >= 360, "360 of 480 stay",
                     "given " + std::to_string(espalier::prune::count_kept(mask.data(), n)) + ", of which " +
                         std::to_string(stayed) + " were there");
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
