// SPDX-License-Identifier: Apache-2.0
// What an expert is run on: the rows of the batch, or those that a gate sent to it, in its block of the pairs.
#pragma once

#include <espalier/core/layout.hpp>
#include <espalier/core/pairs.hpp>
#include <espalier/core/rows.hpp>
#include <espalier/core/view.hpp>
#include <espalier/layer/mixture/facts.hpp>
#include <espalier/layer/mixture/memory.hpp>

#include <cstdint>

namespace espalier::detail {

/// An expert's rows: where they begin among all experts' rows, how many, what its memory is sized for, and where they
/// begin among those that are kept.
struct expert_rows {
    index_t first;
    index_t count;
    index_t capacity;
    index_t kept;
};

/// What an expert is run on.
template <class T> struct expert_batch {
    expert_rows at;
    matrix_view<T const> x;
    rows tags;
    expert_pairs block; ///< of its rows; without rows of its own where they are the batch's
};

/// Expert e of a batch of n rows where every expert runs on every row.
struct dense_rows {
    template <class T> static expert_rows place(layer_memory<T> const& m, int e, index_t n) {
        return {e * m.capacity, n, m.capacity, e * m.capacity};
    }
    template <class T>
    static expert_batch<T> batch_of(layer_memory<T> const& m, int e, rows const& batch, matrix_view<T const> x) {
        expert_batch<T> its{place(m, e, x.rows), x, batch, {}};
        its.block.expert = e;
        return its;
    }
};

/// The same where rows are gathered: of a batch whose pairs were built.
template <class Mixture, class Context> struct gathered_rows {
    using memory = mixture_memory<Mixture>;
    using in_context = mixture_facts_in<Mixture, Context>;

    template <class T> static expert_rows place(layer_memory<T> const& m, int e, index_t n) {
        if constexpr (in_context::in_blocks) {
            index_t const count = in_context::bounded ? in_context::block_rows(n) : n;
            if constexpr (in_context::together) return {0, count, memory::pairs_in(m.capacity), 0};
            index_t const room = in_context::block_rows(m.capacity);
            return {e * room, count, room, e * room};
        } else {
            pair_table const table = memory::pairs(m);
            index_t kept = table.first[e];
            if constexpr (Mixture::in_chunks) kept = m.tape_block(memory::template tape<T>.kept_at)[e];
            return {table.first[e], table.count[e], round_up(table.count[e], row_granule), kept};
        }
    }
    template <class T> static matrix_view<T> inputs(layer_memory<T> const& m, expert_rows const& at) {
        return {m.tape_block(memory::template tape<T>.expert_inputs) + at.kept * Mixture::in, at.count, Mixture::in,
                Mixture::in};
    }
    /// Its inputs and their tags are there once `gather` was called.
    template <class T>
    static expert_batch<T> batch_of(layer_memory<T> const& m, int e, rows const& batch, matrix_view<T const> x) {
        expert_rows const at = place(m, e, x.rows);
        pair_table const table = memory::pairs(m);
        expert_batch<T> its{at, inputs(m, at), {}, {}};
        its.tags.count = at.count;
        its.tags.origin = table.origin + at.first;
        if constexpr (Mixture::maps_tags) memory::template tape<T>.tags.show(m, batch, at.first, its.tags);
        its.block.row = table.row + at.first;
        its.block.slot = table.slot + at.first;
        its.block.pair = Mixture::tasks_count > 1 ? table.pair : nullptr;
        its.block.first = static_cast<std::int32_t>(at.first);
        its.block.expert = e;
        return its;
    }
    template <class Device, class T>
    static void gather(Device& device, layer_memory<T> const& m, rows const& batch, matrix_view<T const> x,
                       expert_batch<T> const& its) {
        device.gather(x, its.block.row, inputs(m, its.at));
        if constexpr (Mixture::maps_tags)
            memory::template tape<T>.tags.gather(device, m, batch, its.block.row, its.at.first, its.at.count);
    }
};

} // namespace espalier::detail
