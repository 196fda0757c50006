// SPDX-License-Identifier: Apache-2.0
// Kernel bodies of gates: one row of logits a group of lanes. What a gate decides about a row is its policy's op
// (gate/concept.hpp), the same one that the CPU runs sixteen rows at once.
#pragma once

#include <espalier/core/layout.hpp>
#include <espalier/core/macros.hpp>
#include <espalier/core/row.hpp>
#include <espalier/core/view.hpp>
#include <espalier/gate/concept.hpp>
#include <espalier/kernels/row_map.hpp>
#include <espalier/kernels/sums.hpp>

#include <cstdint>
#include <type_traits>

namespace espalier::kernels {

/// Lanes of a row of logits, unless it is wider than a tile takes.
template <class Gate, class Op> consteval std::uint32_t gate_lanes() {
    return espalier::detail::gate_whole_row<Op>() ? 1 : row_lanes<Gate::logits>();
}

/// The group that works on one row of logits, from the block.
template <class Gate, class Op, class Block> ESPALIER_FN auto gate_group(Block const& block) {
    if constexpr (espalier::detail::gate_whole_row<Op>())
        return block.template tile<1>();
    else
        return row_group<Gate::logits>(block);
}

/// Weights of all rows, [rows][slots], and unless a slot is its expert the experts, [rows][slots]; with `terms` each
/// row's share of the gate's own term. Floor: rows (E b + S (4 + W)) bytes; a row is read once and held in registers,
/// every index into it is known when compiling.
template <class Gate, class Block, class Op, class T>
ESPALIER_FN void row_gate_forward(Block const& block, Op const& op, matrix_view<T const> logits,
                                  matrix_view<master_of<T>> weights, matrix_view<std::int32_t> experts, double* terms) {
    using W = master_of<T>;
    constexpr int slots = Gate::slots;
    auto const group = gate_group<Gate, Op>(block);
    using group_type = std::remove_cvref_t<decltype(group)>;
    constexpr int lanes = static_cast<int>(group_type::lanes);
    for (index_t r = group.group_rank(); r < logits.rows; r += group.group_count()) {
        row<group_type, W, Gate::logits> z;
        load_row(group, logits.row(r), z);
        [[maybe_unused]] W share;
        if constexpr (Gate::slot_is_expert) {
            row<group_type, W, slots> chosen;
            share = op.route(group, z, chosen);
            store_row(group, chosen, weights.row(r));
        } else {
            gate_slots<W, slots> chosen;
            share = op.route(group, z, chosen);
            // Lane s writes slot s; the choice of the slot is by comparison, not by an index at run time.
            ESPALIER_ROW_UNROLL
            for (int s = 0; s < slots; ++s)
                if (static_cast<int>(group.thread_rank()) == s % lanes) {
                    weights(r, s) = chosen.weight[s];
                    experts(r, s) = static_cast<std::int32_t>(chosen.expert[s]);
                }
        }
        if constexpr (espalier::detail::gate_has_term<Op>())
            if (terms && group.thread_rank() == 0) terms[r] = static_cast<double>(share);
    }
}

/// term = the mean of the rows' shares, 0 without rows, by one block in a fixed order.
template <class Block>
ESPALIER_FN void gate_term(Block const& block, double const* terms, index_t row_count, double* term) {
    double const sum = fixed_sum(block, row_count, [&](index_t i) { return terms[i]; });
    if (block.block_rank() == 0 && block.thread_rank() == 0)
        *term = row_count > 0 ? sum / static_cast<double>(row_count) : 0.0;
}

/// dlogits from the gradients of the weights. Floor: rows (2 E b + S (4 + 2 W)) bytes.
template <class Gate, class Block, class Op, class T>
ESPALIER_FN void row_gate_backward(Block const& block, Op const& op, matrix_view<T const> logits,
                                   matrix_view<master_of<T> const> weights, matrix_view<std::int32_t const> experts,
                                   matrix_view<master_of<T> const> dweights, matrix_view<T> dlogits) {
    using W = master_of<T>;
    constexpr int slots = Gate::slots;
    auto const group = gate_group<Gate, Op>(block);
    using group_type = std::remove_cvref_t<decltype(group)>;
    W const term_scale = W(1) / static_cast<W>(logits.rows > 0 ? logits.rows : 1);
    for (index_t r = group.group_rank(); r < logits.rows; r += group.group_count()) {
        row<group_type, W, Gate::logits> z, dz;
        load_row(group, logits.row(r), z);
        if constexpr (Gate::slot_is_expert) {
            row<group_type, W, slots> chosen, gradient;
            load_row(group, weights.row(r), chosen);
            load_row(group, dweights.row(r), gradient);
            op.backward(group, z, chosen, gradient, term_scale, dz);
        } else {
            gate_slots<W, slots> chosen;
            W gradient[slots];
            ESPALIER_ROW_UNROLL
            for (int s = 0; s < slots; ++s) {
                chosen.expert[s] = static_cast<W>(experts(r, s));
                chosen.weight[s] = weights(r, s);
                gradient[s] = dweights(r, s);
            }
            op.backward(group, z, chosen, gradient, term_scale, dz);
        }
        store_row(group, dz, dlogits.row(r));
    }
}

} // namespace espalier::kernels
