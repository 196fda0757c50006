// SPDX-License-Identifier: Apache-2.0
// The term of a penalty over groups, from the groups' norms.
#pragma once

#include <espalier/core/macros.hpp>
#include <espalier/core/view.hpp>

namespace espalier::kernels {

/// result = sum over the groups of op.group_value(squared norm), by one block, in the order of its lanes. Floor: one
/// launch; the norms were left in memory by the update before.
template <class Block, class Op, class W>
ESPALIER_FN void group_value(Block const& block, Op const& op, W const* squared_norms, index_t groups, double* result) {
    double sum = 0.0;
    for (index_t g = static_cast<index_t>(block.thread_rank()); g < groups; g += static_cast<index_t>(block.size()))
        sum += static_cast<double>(op.group_value(squared_norms[g]));
    sum = block.reduce_add(sum);
    if (block.thread_rank() == 0) *result = sum;
}

} // namespace espalier::kernels
