// SPDX-License-Identifier: Apache-2.0
// A binary tree of soft splits over any number of leaves.
#pragma once

#include <espalier/core/macros.hpp>
#include <espalier/core/pack.hpp>
#include <espalier/core/row.hpp>

namespace espalier::gate {

namespace detail {
/// The smallest power of two that is at least n.
consteval int power_of_two_from(int n) {
    int p = 1;
    while (p < n)
        p *= 2;
    return p;
}
} // namespace detail

/// The full binary tree with `Leaves` leaves in heap order: inner nodes 0 ... Leaves - 2, node q has the children
/// 2 q + 1 (taken with probability s_q) and 2 q + 2 (with 1 - s_q). Leaf l is the l-th that a depth-first, left-first
/// walk meets: first those of the lowest level, then those one level above. There is no special case for numbers that
/// are not powers of two. T is a number, or a pack with one row in each element.
template <int Leaves> struct soft_tree {
    static_assert(Leaves >= 2, "espalier: a soft tree has at least two leaves");
    static constexpr int splits = Leaves - 1;
    static constexpr int nodes = 2 * Leaves - 1;

    /// Heap number of leaf l.
    static constexpr ESPALIER_FN int leaf(int l) { return l < lowest ? bottom - 1 + l : Leaves - 1 + l - lowest; }

    /// Probability of every node: 1 at the root, product of the splits above it elsewhere. A level after the other, the
    /// lanes of the group side by side; `s` and `node` are memory that all of them see.
    template <class Group, class T> static ESPALIER_FN void reach(Group const& group, T const* s, T* node) {
        T const one(scalar_of<T>(1));
        int const rank = static_cast<int>(group.thread_rank());
        if (rank == 0) node[0] = one;
        group.sync();
        for (int first = 0; first < splits; first = 2 * first + 1) {
            for (int q = first + rank; q < end_of_level(first); q += static_cast<int>(Group::lanes)) {
                node[2 * q + 1] = node[q] * s[q];
                node[2 * q + 2] = node[q] * (one - s[q]);
            }
            group.sync();
        }
    }

    /// d / d s_q = reach_q (D_left - D_right) with D_q = s_q D_left + (1 - s_q) D_right, from the leaves up; no
    /// division by a split. `below` holds d / d reach at the leaves (heap numbers) and is filled for the inner nodes;
    /// the derivatives take the place of the splits.
    template <class Group, class T>
    static ESPALIER_FN void backward(Group const& group, T* s, T const* node, T* below) {
        group.sync();
        for (int first = last_level; first >= 0; first = first > 0 ? (first - 1) / 2 : -1) {
            int const rank = static_cast<int>(group.thread_rank()), lanes = static_cast<int>(Group::lanes);
            for (int q = first + rank; q < end_of_level(first); q += lanes) {
                T const difference = below[2 * q + 1] - below[2 * q + 2];
                below[q] = fma(s[q], difference, below[2 * q + 2]);
                s[q] = node[q] * difference;
            }
            group.sync();
        }
    }

private:
    static constexpr int bottom = detail::power_of_two_from(Leaves);
    static constexpr int lowest = 2 * Leaves - bottom; ///< leaves of the lowest level
    /// First split of the lowest level that has splits.
    static constexpr int last_level = bottom / 2 - 1;
    /// One past the last split of the level that begins with split `first`.
    static constexpr ESPALIER_FN int end_of_level(int first) { return 2 * first + 1 < splits ? 2 * first + 1 : splits; }
};

} // namespace espalier::gate
