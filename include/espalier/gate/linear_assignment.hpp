// SPDX-License-Identifier: Apache-2.0
// Linear assignment: the permutation that gains most, which rounds a soft permutation of experts to a hard one.
#pragma once

#include <espalier/core/macros.hpp>
#include <espalier/core/view.hpp>

#include <cstdint>

namespace espalier::gate {

/// Numbers of doubles in the scratch of `linear_assignment`.
ESPALIER_FN constexpr index_t linear_assignment_scratch(int n) {
    return index_t(6) * n;
}

namespace detail {

/// A column and its distance from the tree of shortest paths.
struct nearest_column {
    double distance;
    std::int32_t column; ///< below 0: none
    std::int32_t taken;  ///< 1 when a row has it
};

/// The nearer one; of equally near ones a free one, which ends the search, then the lower one. One that exists beats
/// none.
struct nearer {
    ESPALIER_FN nearest_column operator()(nearest_column const& a, nearest_column const& b) const {
        bool const equal = a.distance == b.distance || (a.distance != a.distance && b.distance != b.distance);
        bool const first = a.distance < b.distance || (b.distance != b.distance && a.distance == a.distance) ||
                           (equal && (a.taken != b.taken ? a.taken < b.taken : a.column < b.column));
        return b.column < 0 || (a.column >= 0 && first) ? a : b;
    }
};

} // namespace detail

/// The permutation c with the largest sum_u gain[u][c(u)]: choice[u] = c(u), gain [n][n] row-major and dense. Shortest
/// augmenting paths with potentials, O(n^3) (Jonker and Volgenant 1987; the form of Crouse 2016, "On implementing 2D
/// rectangular assignment algorithms", section III). The columns are spread over the lanes of a group (one thread, or a
/// tile of a warp at most); the choice is the same for every number of lanes. No allocation: `scratch` has
/// linear_assignment_scratch(n) doubles. Ends with a barrier of the group.
///
/// Permutations whose sums differ by rounding only (a few units in the last place of n times the largest |gain|) tie.
/// Which of them is chosen is the same in every run but otherwise unspecified, with one exception: when all entries are
/// equal, it is the identity.
///
/// The entries are finite: the caller refuses NaN and infinities. With them the choice is still a permutation, and
/// nothing outside the arrays is touched, but it means nothing.
template <class Group>
ESPALIER_FN void linear_assignment(Group const& group, int n, double const* gain, std::int32_t* choice,
                                   double* scratch) {
    double* const row_price = scratch;
    double* const column_price = row_price + n;
    double* const distance = column_price + n;
    // whole numbers, which doubles hold exactly: memory of doubles need not become memory of integers
    double* const owner = distance + n; // the row that has the column, -1: none
    double* const before = owner + n;   // the row from which the shortest path reaches the column
    double* const settled = before + n; // 1 when that path is final
    int const lane = static_cast<int>(group.thread_rank()), lanes = static_cast<int>(group.size());
    for (int j = lane; j < n; j += lanes) {
        row_price[j] = 0.0;
        column_price[j] = 0.0;
        owner[j] = -1.0;
        choice[j] = -1;
    }
    group.sync();
    for (int start = 0; start < n; ++start) {
        for (int j = lane; j < n; j += lanes) {
            distance[j] = __builtin_inf();
            before[j] = start;
            settled[j] = 0.0;
        }
        // Grow the tree of shortest paths from row `start` until it reaches a column that nobody has.
        int row = start, last = -1;
        double length = 0.0;
        while (last < 0) {
            double const* const gains = gain + static_cast<index_t>(row) * n;
            double const base = length - row_price[row];
            detail::nearest_column nearest{__builtin_inf(), -1, 0};
            for (int j = lane; j < n; j += lanes) { // a lane's columns are its own: no barrier
                if (settled[j] != 0.0) continue;
                double const through = base - gains[j] - column_price[j];
                if (through < distance[j]) {
                    distance[j] = through;
                    before[j] = row;
                }
                nearest = detail::nearer{}(nearest, detail::nearest_column{distance[j], j, owner[j] < 0.0 ? 0 : 1});
            }
            nearest = group.reduce(nearest, detail::nearer{});
            length = nearest.distance;
            if (nearest.column % lanes == lane) settled[nearest.column] = 1.0;
            if (nearest.taken == 0)
                last = nearest.column;
            else
                row = static_cast<int>(owner[nearest.column]);
        }
        // Prices under which every edge of the tree costs nothing and no edge less.
        group.sync();
        if (lane == 0) row_price[start] += length;
        group.sync();
        for (int j = lane; j < n; j += lanes)
            if (settled[j] != 0.0 && owner[j] >= 0.0) {
                double const slack = length - distance[j];
                row_price[static_cast<int>(owner[j])] += slack; // every row owns one column at most
                column_price[j] -= slack;
            }
        group.sync();
        // The rows along the path each take the column that the path goes through.
        if (lane == 0)
            for (int column = last;;) {
                int const taker = static_cast<int>(before[column]);
                owner[column] = taker;
                int const given_up = choice[taker];
                choice[taker] = column;
                if (taker == start) break;
                column = given_up;
            }
        group.sync();
    }
}

} // namespace espalier::gate
