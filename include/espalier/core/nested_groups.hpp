// SPDX-License-Identifier: Apache-2.0
// Norms of nested groups, and what all groups that a weight is in do to it together: two scans over few numbers.
#pragma once

#include <espalier/core/layout.hpp>
#include <espalier/core/macros.hpp>
#include <espalier/core/view.hpp>

#include <cstdint>

namespace espalier {

/// Vectors that are kept of nested groups: squares, squared norms, pulls.
inline constexpr index_t nested_parts = 3;
/// Where the squared norms of so many groups begin.
constexpr index_t nested_norms(index_t groups) {
    return padded(groups);
}
/// Where the pulls begin.
constexpr index_t nested_pulls(index_t groups) {
    return 2 * padded(groups);
}

/// Groups 0, 1, ... of which each contains the next: with s_j the squares of what group j has and group j + 1 has not,
///     tails_k = sum_{j >= k} s_j, the squared norm of group k,
///     pulls_j = sum_{k <= j} op.group_pull(tails_k), what a weight of j and not of j + 1 is multiplied by in the
///               gradient of sum_k op.group_value(tails_k).
/// By the lanes of one tile, each with neighbouring groups; sums in double, in the order of its lanes. Floor: a launch,
/// and 5 numbers a group.
template <class Tile, class Op, class W>
ESPALIER_FN void nested_groups(Tile const& tile, Op const& op, W const* squares, index_t groups, W* tails, W* pulls) {
    auto const lanes = static_cast<std::uint32_t>(tile.size()), lane = tile.thread_rank();
    index_t const share = (groups + static_cast<index_t>(lanes) - 1) / static_cast<index_t>(lanes);
    index_t const wanted = static_cast<index_t>(lane) * share, first = wanted < groups ? wanted : groups;
    index_t const last = first + share < groups ? first + share : groups;

    double sum = 0.0;
    for (index_t g = last; g-- > first;)
        sum += static_cast<double>(squares[g]);
    for (std::uint32_t m = 1; m < lanes; m *= 2) {
        double const other = tile.shuffle_down(sum, m);
        if (lane + m < lanes) sum += other;
    }
    double const behind = tile.shuffle_down(sum, 1);
    double tail = lane + 1 < lanes ? behind : 0.0;
    for (index_t g = last; g-- > first;) {
        tail += static_cast<double>(squares[g]);
        tails[g] = static_cast<W>(tail);
    }

    sum = 0.0;
    for (index_t g = first; g < last; ++g)
        sum += static_cast<double>(op.group_pull(tails[g]));
    for (std::uint32_t m = 1; m < lanes; m *= 2) {
        double const other = tile.shuffle_up(sum, m);
        if (lane >= m) sum += other;
    }
    double const before = tile.shuffle_up(sum, 1);
    double pull = lane > 0 ? before : 0.0;
    for (index_t g = first; g < last; ++g) {
        pull += static_cast<double>(op.group_pull(tails[g]));
        pulls[g] = static_cast<W>(pull);
    }
}

} // namespace espalier
