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
    std::int32_t* pair = nullptr;    ///< [rows][slots] pair of a slot, -1 for an empty one
    std::int32_t* first = nullptr;   ///< [experts] first pair of an expert
    std::int32_t* count = nullptr;   ///< [experts] pairs of an expert
};

/// The rows that the experts left: a function of (row, slot) for slots that are not empty.
template <class T> struct expert_outputs {
    matrix_view<T const> all{};           ///< the experts' blocks, one after the other
    index_t slots = 0;                    ///< of a row of the batch
    index_t block = 0;                    ///< rows of `all` from one expert's block to the next; unused with pairs
    std::int32_t const* pair = nullptr;   ///< [rows][slots] row of `all`, when rows were gathered
    std::int32_t const* expert = nullptr; ///< [rows][slots] expert of a slot; null: slot s is expert s

    ESPALIER_FN T const* operator()(index_t r, index_t s) const {
        if (pair) return all.row(pair[r * slots + s]);
        return all.row((expert ? expert[r * slots + s] : s) * block + r);
    }
};

} // namespace espalier
