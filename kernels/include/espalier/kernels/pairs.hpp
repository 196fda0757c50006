// SPDX-License-Identifier: Apache-2.0
// Kernel bodies that build the table of pairs (row, slot) of a gathering dispatch (core/pairs.hpp), and count the loads
// of the experts: a stable counting sort by expert in three launches, six with a capacity. Nothing waits for the host.
//
// The slots of a batch, in order, are cut into chunks whose number depends on their number alone. A tile of 32 lanes
// walks a chunk in order: a slot's place among the chunk's slots of its expert is what the tile has counted so far plus
// the lanes below it with the same expert. So the table has the same bits for every launch.
//
//     count     slots of every expert in every chunk
//     scan      places of the chunks' first slots, the experts' counts and first pairs
//     fill      pairs
//
// With a capacity and several slots a row, count, scan and `mark` come before: in the order of the choices (all first
// slots, then all second ones) a slot whose place is past the capacity is left without a pair. With one slot a row that
// order is the order of the rows, and `fill` leaves out what is past the capacity.
#pragma once

#include <espalier/core/layout.hpp>
#include <espalier/core/macros.hpp>
#include <espalier/core/math.hpp>
#include <espalier/core/pairs.hpp>
#include <espalier/core/rows.hpp>
#include <espalier/core/view.hpp>
#include <espalier/kernels/access.hpp>
#include <espalier/kernels/sums.hpp>

#include <cstdint>

namespace espalier::kernels {

/// Chunks of the slots of a batch. Each has `experts + 1` counters.
struct slot_chunks {
    index_t length = 32;
    index_t count = 0;
};
inline constexpr index_t shortest_chunk = 256, most_chunks = 256;

ESPALIER_FN constexpr slot_chunks chunks_of(index_t slots) {
    index_t const even = ((slots + most_chunks - 1) / most_chunks + 31) / 32 * 32;
    index_t const length = even < shortest_chunk ? shortest_chunk : even;
    return {length, (slots + length - 1) / length};
}
/// Counters that so many slots, or fewer, need.
ESPALIER_FN constexpr index_t counters_of(index_t slots, int experts) {
    index_t const chunks = (slots + shortest_chunk - 1) / shortest_chunk;
    return (chunks < most_chunks ? chunks : most_chunks) * (experts + 1);
}

/// The order in which slots are counted: row after row, or all first slots, then all second ones.
enum class slot_order { by_row, by_choice };

/// Whether slots are marked before they are counted again.
ESPALIER_FN constexpr bool marks_first(pair_plan const& plan, index_t slots_of_row) {
    return plan.capacity > 0 && slots_of_row > 1;
}

/// What the bodies read and write.
template <class W> struct pair_work {
    matrix_view<W const> weights{};
    matrix_view<std::int32_t const> experts{}; ///< no data: slot s is expert s
    pair_plan plan{};
    pair_table table{};
    std::int32_t* counters = nullptr; ///< [chunks][experts + 1]

    ESPALIER_FN index_t slots() const { return weights.rows * weights.columns; }
    ESPALIER_FN std::int32_t expert_of(index_t r, index_t s) const {
        return experts.data ? experts(r, s) : static_cast<std::int32_t>(s);
    }
    /// The first slot of row r that goes to the expert of slot s: s itself, unless slots share pairs.
    ESPALIER_FN index_t leader_of(index_t r, index_t s) const {
        if (plan.shared)
            for (index_t before = 0; before < s; ++before)
                if (weights(r, before) != W(0) && expert_of(r, before) == expert_of(r, s)) return before;
        return s;
    }
    /// Expert of a slot that gets a pair of its own if there is room, or -1.
    ESPALIER_FN std::int32_t wanted(index_t r, index_t s) const {
        return weights(r, s) != W(0) && leader_of(r, s) == s ? expert_of(r, s) : -1;
    }
};

namespace detail {

/// Calls body(r, s, e, place) for every slot of a chunk, e = expert(r, s), which may be -1; `place` counts the slots of
/// the same expert before it on top of counters[e], and the counters go on.
template <slot_order Order, class Tile, class W, class Expert, class Body>
ESPALIER_FN void walk_chunk(Tile const& tile, pair_work<W> const& work, index_t first, index_t last,
                            std::int32_t* counters, Expert const& expert, Body const& body) {
    auto const lane = static_cast<index_t>(tile.thread_rank()), lanes = static_cast<index_t>(tile.size());
    // The number of a pair is 32 bits wide, so is that of a slot.
    auto const fast =
        static_cast<std::uint32_t>(Order == slot_order::by_row ? work.weights.columns : work.weights.rows);
    for (index_t base = first; base < last; base += lanes) {
        index_t const k = base + lane;
        bool const exists = k < last;
        std::uint32_t const outer = static_cast<std::uint32_t>(k) / fast, inner = static_cast<std::uint32_t>(k) % fast;
        index_t const r = Order == slot_order::by_row ? outer : inner, s = Order == slot_order::by_row ? inner : outer;
        std::int32_t const e = exists ? expert(r, s) : -1;
        // Lanes with the same expert, by its bits.
        std::uint32_t same = tile.ballot(e >= 0);
        for (int bits = work.plan.experts - 1, b = 0; bits != 0; bits >>= 1, ++b) {
            bool const one = (e >> b & 1) != 0;
            std::uint32_t const ones = tile.ballot(one);
            same &= one ? ones : ~ones;
        }
        int const below = count_bits(same & ((std::uint32_t{1} << lane) - 1)), all = count_bits(same);
        std::int32_t const counted = e >= 0 ? counters[e] : 0;
        tile.sync();
        if (e >= 0 && below == 0) counters[e] = counted + all;
        tile.sync();
        if (exists) body(r, s, e, counted + below);
    }
}

template <class Block, class W, class Body>
ESPALIER_FN void for_chunks(Block const& block, pair_work<W> const& work, Body const& body) {
    auto const tile = tile_of_32(block);
    slot_chunks const cut = chunks_of(work.slots());
    for (index_t chunk = tile.group_rank(); chunk < cut.count; chunk += tile.group_count()) {
        index_t const first = chunk * cut.length, end = first + cut.length;
        body(tile, first, end < work.slots() ? end : work.slots(),
             work.counters + chunk * (index_t{work.plan.experts} + 1));
    }
}

} // namespace detail

/// Slots of every expert in every chunk; with `Marked` those that `mark_pairs` found room for. `served`, unless it is
/// null, are the slots' pairs: the last counter says how many of the counted slots have one. The first launch of a
/// table with places of its own for every expert (plan.block) marks them all as without a row. Floor: (4 + W) slots
/// bytes.
template <slot_order Order, bool Marked, class Block, class W>
ESPALIER_FN void count_pairs(Block const& block, pair_work<W> const& work, std::int32_t const* served = nullptr) {
    int const experts = work.plan.experts;
    index_t const slots = work.weights.columns;
    if (!Marked && work.table.row)
        for (index_t i = grid_lane(block); i < experts * work.plan.block; i += grid_lanes(block)) {
            work.table.row[i] = work.table.slot[i] = -1;
            work.table.origin[i] = 0;
        }
    detail::for_chunks(block, work, [&](auto const& tile, index_t first, index_t last, std::int32_t* counters) {
        int const lane = static_cast<int>(tile.thread_rank()), lanes = static_cast<int>(tile.size());
        for (int e = lane; e <= experts; e += lanes)
            counters[e] = 0;
        tile.sync();
        int found = 0;
        detail::walk_chunk<Order>(
            tile, work, first, last, counters,
            [&](index_t r, index_t s) {
                if constexpr (Marked)
                    return work.table.pair[r * slots + s] >= 0 ? work.expert_of(r, s) : -1;
                else
                    return work.wanted(r, s);
            },
            [&](index_t r, index_t s, std::int32_t e, std::int32_t) {
                if (served) found += e >= 0 && served[r * slots + s] >= 0;
            });
        if (served) {
            found = tile.reduce_add(found);
            if (lane == 0) counters[experts] = found;
        }
    });
}

/// Counters become places of the chunks' first slots; with `Final` also the experts' counts and first pairs. By one
/// block. Floor: 8 chunks experts bytes.
template <bool Final, class Block, class W> ESPALIER_FN void scan_pairs(Block const& block, pair_work<W> const& work) {
    constexpr int at_once = 8;
    int const experts = work.plan.experts;
    index_t const chunks = chunks_of(work.slots()).count, stride = index_t{experts} + 1;
    std::int32_t end = 0;
    for (int first = 0; first < experts; first += static_cast<int>(block.size())) {
        int const e = first + static_cast<int>(block.thread_rank());
        std::int32_t total = 0;
        if (e < experts) {
            std::int32_t* const p = work.counters;
            ESPALIER_KERNEL_LOOP
            for (index_t chunk = 0; chunk < chunks; chunk += at_once) { // loads first: the stores may not overtake them
                std::int32_t n[at_once];
                ESPALIER_KERNEL_UNROLL
                for (int i = 0; i < at_once; ++i)
                    n[i] = chunk + i < chunks ? p[e + (chunk + i) * stride] : 0;
                ESPALIER_KERNEL_UNROLL
                for (int i = 0; i < at_once; ++i) {
                    if (chunk + i < chunks) p[e + (chunk + i) * stride] = total;
                    total += n[i];
                }
            }
        }
        if constexpr (Final) {
            if (work.plan.capacity > 0 && total > work.plan.capacity)
                total = static_cast<std::int32_t>(work.plan.capacity);
            auto const granule = static_cast<std::int32_t>(work.plan.granule);
            std::int32_t const room = (total + granule - 1) / granule * granule;
            std::int32_t const before = end + block.exclusive_scan_add(room);
            if (e < experts) {
                work.table.count[e] = total;
                work.table.first[e] = work.plan.block > 0 ? static_cast<std::int32_t>(e * work.plan.block) : before;
            }
            end += block.reduce_add(room);
        }
    }
}

/// Slots with room get the pair 0 for now, all others -1. Floor: (8 + W) slots bytes.
template <class Block, class W> ESPALIER_FN void mark_pairs(Block const& block, pair_work<W> const& work) {
    index_t const slots = work.weights.columns;
    detail::for_chunks(block, work, [&](auto const& tile, index_t first, index_t last, std::int32_t* counters) {
        detail::walk_chunk<slot_order::by_choice>(
            tile, work, first, last, counters, [&](index_t r, index_t s) { return work.wanted(r, s); },
            [&](index_t r, index_t s, std::int32_t e, std::int32_t place) {
                work.table.pair[r * slots + s] = e >= 0 && place < work.plan.capacity ? 0 : -1;
            });
    });
}

/// The table. Slots that share another one's pair have -1 until `share_pairs`. Floor: (20 + W) slots bytes.
template <bool Marked, class Block, class W>
ESPALIER_FN void fill_pairs(Block const& block, pair_work<W> const& work, rows const& batch) {
    index_t const slots = work.weights.columns;
    detail::for_chunks(block, work, [&](auto const& tile, index_t first, index_t last, std::int32_t* counters) {
        detail::walk_chunk<slot_order::by_row>(
            tile, work, first, last, counters,
            [&](index_t r, index_t s) {
                if constexpr (Marked)
                    return work.table.pair[r * slots + s] >= 0 ? work.expert_of(r, s) : -1;
                else
                    return work.wanted(r, s);
            },
            [&](index_t r, index_t s, std::int32_t e, std::int32_t place) {
                bool const fits = e >= 0 && (work.plan.capacity == 0 || place < work.plan.capacity);
                std::int32_t const pair = fits ? work.table.first[e] + place : -1;
                work.table.pair[r * slots + s] = pair;
                if (pair < 0) return;
                work.table.row[pair] = static_cast<std::int32_t>(r);
                work.table.slot[pair] = static_cast<std::int32_t>(s);
                work.table.origin[pair] = batch.origin_of(r);
            });
    });
}

/// The pairs of slots that share another one's.
template <class Group, class W> ESPALIER_FN void share_pairs(Group const& group, pair_work<W> const& work) {
    index_t const slots = work.weights.columns;
    for (pair_walk at(grid_lane(group), grid_lanes(group), slots); at.line < work.weights.rows; at.advance()) {
        if (work.weights(at.line, at.place) == W(0)) continue;
        index_t const leader = work.leader_of(at.line, at.place);
        if (leader != at.place) work.table.pair[at.line * slots + at.place] = work.table.pair[at.line * slots + leader];
    }
}

/// What `mixture_measures` lists, then every expert's share of the rows that were sent to experts, from the counters
/// that count_pairs<by_row, false> left. `all_served`: every counted slot has a pair. By one block.
template <class Block, class W>
ESPALIER_FN void finish_measures(Block const& block, pair_work<W> const& work, bool all_served, double* measures) {
    int const experts = work.plan.experts;
    index_t const chunks = chunks_of(work.slots()).count, stride = index_t{experts} + 1;
    double* const load = measures + mixture_measures;
    std::int64_t own_filled = 0, own_served = 0;
    for (int e = static_cast<int>(block.thread_rank()); e <= experts; e += static_cast<int>(block.size())) {
        std::int64_t total = 0;
        for (index_t chunk = 0; chunk < chunks; ++chunk)
            total += work.counters[chunk * stride + e];
        if (e < experts) {
            load[e] = static_cast<double>(total);
            own_filled += total;
        } else
            own_served = total;
    }
    std::int64_t const filled = block.reduce_add(own_filled), counted = block.reduce_add(own_served);
    std::int64_t const served = all_served ? filled : counted;
    for (int e = static_cast<int>(block.thread_rank()); e < experts && filled > 0; e += static_cast<int>(block.size()))
        load[e] /= static_cast<double>(filled);
    block.sync();
    double const entropy =
        fixed_sum(block, experts, [&](index_t e) { return load[e] > 0.0 ? -load[e] * log(load[e]) : 0.0; });
    if (block.thread_rank() != 0) return;
    index_t const row_count = work.weights.rows;
    measures[0] = row_count > 0 ? static_cast<double>(served) / static_cast<double>(row_count) : 0.0;
    measures[1] = filled > 0 ? static_cast<double>(filled - served) / static_cast<double>(filled) : 0.0;
    measures[2] = entropy;
}

} // namespace espalier::kernels
