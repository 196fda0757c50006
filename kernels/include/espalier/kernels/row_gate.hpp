// SPDX-License-Identifier: Apache-2.0
// Kernel bodies of gates: one row of logits a group of lanes. What a gate decides about a row is its policy's op
// (gate/concept.hpp), the same one that the CPU runs sixteen rows at once.
#pragma once

#include <espalier/core/layout.hpp>
#include <espalier/core/macros.hpp>
#include <espalier/core/normals.hpp>
#include <espalier/core/random.hpp>
#include <espalier/core/row.hpp>
#include <espalier/core/rows.hpp>
#include <espalier/core/view.hpp>
#include <espalier/gate/concept.hpp>
#include <espalier/kernels/access.hpp>
#include <espalier/kernels/row_map.hpp>
#include <espalier/kernels/sums.hpp>

#include <cstddef>
#include <cstdint>
#include <type_traits>

namespace espalier::kernels {

/// Lanes of a row of logits, and of weights where a slot is its expert, unless a block works on it.
template <class Gate, class Op> consteval std::uint32_t gate_lanes() {
    constexpr int columns = espalier::detail::gate_row_columns<Gate, Op>();
    return row_lanes<(Gate::slot_is_expert && Gate::experts > columns ? Gate::experts : columns)>();
}

/// Shared memory of a block that rows of a tile each may take; 2048 threads of a multiprocessor then fit.
inline constexpr std::size_t widest_row_space = 24 * 1024;

/// Whether a row of logits takes a block of `Lanes` threads: it is too wide for a tile, or what its lanes share is.
template <class Gate, class Op, class W, std::uint32_t Lanes> consteval bool gate_takes_block() {
    constexpr std::uint32_t lanes = gate_lanes<Gate, Op>() < Lanes ? gate_lanes<Gate, Op>() : Lanes;
    constexpr std::size_t bytes = espalier::detail::gate_row_space<Op>() * sizeof(W);
    return (espalier::detail::gate_row_columns<Gate, Op>() > widest_tile_row ||
            (lanes == 32 && bytes * (Lanes / lanes) > widest_row_space));
}

/// The group that works on one row of logits, from the block.
template <class Gate, class Op, class W, class Block> ESPALIER_FN auto gate_group(Block const& block) {
    constexpr std::uint32_t lanes = gate_lanes<Gate, Op>();
    if constexpr (gate_takes_block<Gate, Op, W, Block::lanes>())
        return block;
    else
        return block.template tile<(lanes < Block::lanes ? lanes : Block::lanes)>();
}

namespace detail {

template <class W, int Count, std::uint32_t Groups> struct row_spaces { W value[Groups][std::size_t{Count}]; };

/// Hands out what the lanes of a row share: a part of the block's storage, or, to a lane alone, its own.
template <int Count, class W, class Group> struct row_space {
    W own[Group::lanes == 1 ? Count : 1];

    template <class Block> ESPALIER_FN W* of(Block const& block) {
        if constexpr (Group::lanes == 1)
            return own;
        else
            return block.template shared<row_spaces<W, Count, Block::lanes / Group::lanes>>()
                .value[block.thread_rank() / Group::lanes];
    }
};
template <class W, class Group> struct row_space<0, W, Group> {
    template <class Block> ESPALIER_FN W* of(Block const&) { return nullptr; }
};

} // namespace detail

/// Whether the gate draws random numbers.
template <class Op> consteval bool gate_draws() {
    return espalier::detail::gate_needs_of<Op>().noise;
}

/// What a gate that needs more than the logits (gate_needs) reads beside them, and leaves beside the weights.
template <class W> struct gate_batch {
    random_site site{}; ///< of the noise
    rows batch{};
    bool draws = false;             ///< noise is drawn; 0 otherwise
    W* statistics = nullptr;        ///< forward: [rows][statistics][experts], every row's; null: nobody asks
    double const* slopes = nullptr; ///< backward: [statistics][experts]
};

namespace detail {

/// The noise of row r, the second half of its logits and the slopes of the terms over the batch.
template <class Gate, class Op, bool Backward, class Group, class About, class T, class W>
ESPALIER_FN void load_about(Group const& group, [[maybe_unused]] gate_batch<W> const& given,
                            [[maybe_unused]] matrix_view<T const> logits, [[maybe_unused]] index_t r,
                            [[maybe_unused]] About& about) {
    constexpr int experts = Gate::experts;
    constexpr gate_needs needs = espalier::detail::gate_needs_of<Op>();
    if constexpr (needs.noise) {
        std::uint32_t const origin = given.batch.origin_of(r);
        ESPALIER_ROW_UNROLL
        for (int i = 0; i < about.noise.local; ++i)
            about.noise.v[i] = given.draws ? normal_at<W>(given.site, origin,
                                                          static_cast<std::uint32_t>(row_column<experts>(group, i)))
                                           : W(0);
    }
    if constexpr (needs.noise_logits) load_row(group, logits.row(r) + experts, about.noise_logits);
    if constexpr (Backward && needs.statistics > 0) {
        ESPALIER_ROW_UNROLL
        for (int k = 0; k < needs.statistics; ++k)
            load_row(group, given.slopes + k * experts, about.slope[k]);
    }
}

} // namespace detail

/// Weights of all rows, [rows][slots], and the experts, [rows][slots], which may have no data where a slot is its
/// expert; with `terms` each row's share of the gate's own term. Floor: rows (E b + S (4 + W)) bytes; a row is read
/// once and held in registers, every index into it is known when compiling. Noise costs a Philox draw an expert;
/// statistics another W rows E bytes each.
template <class Gate, class Block, class Op, class T>
ESPALIER_FN void row_gate_forward(Block const& block, Op const& op, matrix_view<T const> logits,
                                  matrix_view<master_of<T>> weights, matrix_view<std::int32_t> experts, double* terms,
                                  [[maybe_unused]] gate_batch<master_of<T>> const& given = {},
                                  error_word* error = nullptr) {
    using W = master_of<T>;
    constexpr int slots = Gate::slots;
    constexpr gate_needs needs = espalier::detail::gate_needs_of<Op>();
    auto const group = gate_group<Gate, Op, W>(block);
    using group_type = std::remove_cvref_t<decltype(group)>;
    detail::row_space<espalier::detail::gate_row_space<Op>(), W, group_type> spaces;
    gate_about<group_type, W, Gate::experts, needs.statistics> about;
    about.space = spaces.of(block);
    constexpr int lanes = static_cast<int>(group_type::lanes);
    for (index_t r = group.group_rank(); r < logits.rows; r += group.group_count()) {
        row<group_type, W, espalier::detail::gate_row_columns<Gate, Op>()> z;
        load_row(group, logits.row(r), z);
        report_row(error, gate_not_finite, r, z);
        detail::load_about<Gate, Op, false>(group, given, logits, r, about);
        if constexpr (needs.noise_logits) report_row(error, gate_not_finite, r, about.noise_logits);
        [[maybe_unused]] W share;
        if constexpr (Gate::slot_is_expert) {
            row<group_type, W, slots> chosen;
            share = gate::detail::route(op, about, group, z, chosen);
            report_row(error, gate_not_finite, r, chosen);
            store_row(group, chosen, weights.row(r));
            if (experts.data) { // beside another gate's slots
                ESPALIER_ROW_UNROLL
                for (int i = 0; i < chosen.local; ++i)
                    if (int const e = row_column<slots>(group, i); e < slots) experts(r, e) = e;
            }
        } else {
            gate_slots<W, slots> chosen;
            share = gate::detail::route(op, about, group, z, chosen);
            // Lane s writes slot s; the choice of the slot is by comparison, not by an index at run time.
            ESPALIER_ROW_UNROLL
            for (int s = 0; s < slots; ++s)
                if (static_cast<int>(group.thread_rank()) == s % lanes) {
                    weights(r, s) = chosen.weight[s];
                    if (!(chosen.weight[s] - chosen.weight[s] == W(0))) report(error, gate_not_finite, r);
                    experts(r, s) = static_cast<std::int32_t>(chosen.expert[s]);
                }
        }
        if constexpr (espalier::detail::gate_has_term<Op>())
            if (terms && group.thread_rank() == 0) terms[r] = static_cast<double>(share);
        if constexpr (needs.statistics > 0)
            if (given.statistics) {
                ESPALIER_ROW_UNROLL
                for (int k = 0; k < needs.statistics; ++k)
                    store_row(group, about.statistic[k],
                              given.statistics + (r * needs.statistics + k) * index_t{Gate::experts});
            }
    }
}

/// term = the mean of the rows' shares, 0 without rows, by one block in a fixed order.
template <class Block>
ESPALIER_FN void gate_term(Block const& block, double const* terms, index_t row_count, double* term) {
    double const sum = fixed_sum(block, row_count, [&](index_t i) { return terms[i]; });
    if (block.block_rank() == 0 && block.thread_rank() == 0)
        *term = row_count > 0 ? sum / static_cast<double>(row_count) : 0.0;
}

/// sums[c] = the sum over the batch of statistic c (`partial`: the strips' sums that column_partials left of the rows'
/// statistics) and the derivatives after them; term = (when `terms` is given: the mean of the rows' shares) + what the
/// op makes of the sums. By one block, in a fixed order.
template <int Columns, class Block, class Op, class W>
ESPALIER_FN void gate_statistics(Block const& block, Op const& op, W const* partial, double const* terms,
                                 index_t row_count, double* sums, double* term) {
    index_t const strip_count = strips_of(row_count).count;
    constexpr index_t stride = octets_of(Columns) * octet;
    for (int c = static_cast<int>(block.thread_rank()); c < Columns; c += static_cast<int>(block.size())) {
        double sum = 0.0;
        for (index_t s = 0; s < strip_count; ++s)
            sum += static_cast<double>(partial[s * stride + c]);
        sums[c] = sum;
    }
    double const shares = terms ? fixed_sum(block, row_count, [&](index_t i) { return terms[i]; }) : 0.0;
    block.sync();
    if (block.block_rank() == 0 && block.thread_rank() == 0) {
        double const mean = row_count > 0 ? shares / static_cast<double>(row_count) : 0.0;
        *term = mean + op.finish(static_cast<double const*>(sums), row_count, sums + Columns);
    }
}

/// dlogits from the gradients of the weights. Floor: rows (2 E b + S (4 + 2 W)) bytes.
template <class Gate, class Block, class Op, class T>
ESPALIER_FN void row_gate_backward(Block const& block, Op const& op, matrix_view<T const> logits,
                                   matrix_view<master_of<T> const> weights, matrix_view<std::int32_t const> experts,
                                   matrix_view<master_of<T> const> dweights, matrix_view<T> dlogits,
                                   [[maybe_unused]] gate_batch<master_of<T>> const& given = {},
                                   error_word* error = nullptr) {
    using W = master_of<T>;
    constexpr int slots = Gate::slots;
    constexpr gate_needs needs = espalier::detail::gate_needs_of<Op>();
    auto const group = gate_group<Gate, Op, W>(block);
    using group_type = std::remove_cvref_t<decltype(group)>;
    detail::row_space<espalier::detail::gate_row_space<Op>(), W, group_type> spaces;
    gate_about<group_type, W, Gate::experts, needs.statistics> about;
    about.space = spaces.of(block);
    W const term_scale = W(1) / static_cast<W>(logits.rows > 0 ? logits.rows : 1);
    for (index_t r = group.group_rank(); r < logits.rows; r += group.group_count()) {
        row<group_type, W, espalier::detail::gate_row_columns<Gate, Op>()> z, dz;
        load_row(group, logits.row(r), z);
        detail::load_about<Gate, Op, true>(group, given, logits, r, about);
        if constexpr (Gate::slot_is_expert) {
            row<group_type, W, slots> chosen, gradient;
            load_row(group, weights.row(r), chosen);
            load_row(group, dweights.row(r), gradient);
            report_row(error, gate_not_finite, r, gradient);
            gate::detail::backward(op, about, group, z, chosen, gradient, term_scale, dz);
        } else {
            gate_slots<W, slots> chosen;
            W gradient[std::size_t{slots}];
            ESPALIER_ROW_UNROLL
            for (int s = 0; s < slots; ++s) {
                chosen.expert[s] = static_cast<W>(experts(r, s));
                chosen.weight[s] = weights(r, s);
                gradient[s] = dweights(r, s);
                if (!(gradient[s] - gradient[s] == W(0))) report(error, gate_not_finite, r);
            }
            gate::detail::backward(op, about, group, z, chosen, gradient, term_scale, dz);
        }
        store_row(group, dz, dlogits.row(r));
        if constexpr (needs.noise_logits) store_row(group, about.dnoise_logits, dlogits.row(r) + Gate::experts);
    }
}

} // namespace espalier::kernels
