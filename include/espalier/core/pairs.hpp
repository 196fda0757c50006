// SPDX-License-Identifier: Apache-2.0
// Where the rows of a batch stand with the experts of a mixture. Views: any device's memory.
#pragma once

#include <espalier/core/macros.hpp>
#include <espalier/core/view.hpp>

#include <cstdint>

namespace espalier {

/// Where the pairs (row, slot) of a batch went. Pair numbers run over the experts' blocks; each block starts at a
/// multiple of the row granule.
struct pair_table {
    std::int32_t* row = nullptr;     ///< [pairs] row of a pair
    std::uint32_t* origin = nullptr; ///< [pairs] its origin, for random bits
    std::int32_t* slot = nullptr;    ///< [pairs] its slot, the first one when several slots of a row share the pair
    std::int32_t* pair = nullptr;    ///< [rows][slots] pair of a slot, -1 for one without
    std::int32_t* first = nullptr;   ///< [experts] first pair of an expert
    std::int32_t* count = nullptr;   ///< [experts] pairs of an expert
};

/// What is asked of a `pair_table`.
struct pair_plan {
    int experts = 0;
    index_t granule = 1;  ///< blocks start at multiples of it
    index_t capacity = 0; ///< most pairs of an expert; 0: no limit
    bool shared = false;  ///< slots of one row with the same expert share a pair
    index_t block = 0;    ///< where the host cannot know the counts: expert e's pairs start at e * block, and what is
                          ///< left of its block has row and slot -1, origin 0; 0: blocks follow each other
};

/// The rows that the experts left: a function of (row, slot).
template <class T> struct expert_outputs {
    matrix_view<T const> all{};           ///< the experts' blocks, one after the other
    index_t slots = 0;                    ///< of a row of the batch: the stride of `pair` and `expert`
    index_t block = 0;                    ///< rows of `all` from one expert's block to the next; unused with pairs
    std::int32_t const* pair = nullptr;   ///< [rows][slots] row of `all`, when rows were gathered
    std::int32_t const* expert = nullptr; ///< [rows][slots] expert of a slot; null: slot s is expert s
    matrix_view<T const> instead{};       ///< rows that stand in for slots without a pair; no data: nothing does

    /// The row that slot s of row r is weighted with, or null.
    ESPALIER_FN T const* operator()(index_t r, index_t s) const {
        if (!pair) return all.row((expert ? expert[r * slots + s] : s) * block + r);
        std::int32_t const p = pair[r * slots + s];
        return p >= 0 ? all.row(p) : instead.data ? instead.row(r) : nullptr;
    }
    /// The same for slots from `first` on.
    ESPALIER_FN expert_outputs from_slot(index_t first) const {
        expert_outputs part = *this;
        if (part.pair) part.pair += first;
        if (part.expert) part.expert += first;
        return part;
    }
};

/// Numbers about the routing of one batch that do not depend on how many experts there are: experts that ran for a
/// row, on average; the share of the filled slots that found no room; the entropy of the experts' loads.
inline constexpr int mixture_measures = 3;

/// Whose slots are whose: the tasks of a mixture mix the same experts, each by a gate of its own. The slots of all
/// gates stand side by side, and so do the tasks' outputs.
struct mixture_tasks {
    static constexpr int most = 16;
    int count = 1;
    std::int32_t first_slot[most + 1] = {}; ///< of task t; that of the task behind the last one is the number of slots
};

/// One expert's block of pairs on the way back, or all rows in order when `row` is null.
struct expert_pairs {
    std::int32_t const* row = nullptr;  ///< of the block's pairs
    std::int32_t const* slot = nullptr; ///< of the block's pairs
    std::int32_t const* pair = nullptr; ///< [rows][slots] of the whole table, when slots share pairs
    std::int32_t first = 0;             ///< number of the block's first pair
    std::int32_t expert = 0;

    /// Whether slot s of row r is weighted with row i of the block.
    ESPALIER_FN bool holds(index_t r, index_t s, index_t i, index_t slots,
                           matrix_view<std::int32_t const> experts) const {
        if (pair) return pair[r * slots + s] == first + i;
        return (experts.data ? experts(r, s) : s) == expert;
    }
};

} // namespace espalier
