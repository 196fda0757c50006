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

/// The permutation c with the largest sum_u gain[u][c(u)]: choice[u] = c(u), gain [n][n] row-major and dense. Shortest
/// augmenting paths with potentials, O(n^3) (Jonker and Volgenant 1987; the form of Crouse 2016, "On implementing 2D
/// rectangular assignment algorithms", section III). One lane; no allocation; `scratch` has
/// linear_assignment_scratch(n) doubles.
///
/// Permutations whose sums differ by rounding only (a few units in the last place of n times the largest |gain|) tie.
/// Which of them is chosen is the same in every run but otherwise unspecified, with one exception: when all entries are
/// equal, it is the identity.
///
/// The entries are finite: the caller refuses NaN and infinities. With them the choice is still a permutation, and
/// nothing outside the arrays is touched, but it means nothing.
ESPALIER_FN void linear_assignment(int n, double const* gain, std::int32_t* choice, double* scratch) {
    double* const row_price = scratch;
    double* const column_price = row_price + n;
    double* const distance = column_price + n;
    // whole numbers, which doubles hold exactly: memory of doubles need not become memory of integers
    double* const owner = distance + n; // the row that has the column, -1: none
    double* const before = owner + n;   // the row from which the shortest path reaches the column
    double* const settled = before + n; // 1 when that path is final
    for (int j = 0; j < n; ++j) {
        row_price[j] = 0.0;
        column_price[j] = 0.0;
        owner[j] = -1.0;
        choice[j] = -1;
    }
    for (int start = 0; start < n; ++start) {
        for (int j = 0; j < n; ++j) {
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
            int nearest = -1;
            for (int j = 0; j < n; ++j) {
                if (settled[j] != 0.0) continue;
                double const through = base - gains[j] - column_price[j];
                if (through < distance[j]) {
                    distance[j] = through;
                    before[j] = row;
                }
                // of equally near columns the first free one, which ends the search
                if (nearest < 0 || distance[j] < distance[nearest] ||
                    (distance[j] == distance[nearest] && owner[j] < 0.0 && owner[nearest] >= 0.0))
                    nearest = j;
            }
            length = distance[nearest];
            settled[nearest] = 1.0;
            if (owner[nearest] < 0.0)
                last = nearest;
            else
                row = static_cast<int>(owner[nearest]);
        }
        // Prices under which every edge of the tree costs nothing and no edge less.
        row_price[start] += length;
        for (int j = 0; j < n; ++j)
            if (settled[j] != 0.0 && owner[j] >= 0.0) {
                double const slack = length - distance[j];
                row_price[static_cast<int>(owner[j])] += slack;
                column_price[j] -= slack;
            }
        // The rows along the path each take the column that the path goes through.
        for (int column = last;;) {
            int const taker = static_cast<int>(before[column]);
            owner[column] = taker;
            int const given_up = choice[taker];
            choice[taker] = column;
            if (taker == start) break;
            column = given_up;
        }
    }
}

} // namespace espalier::gate
