// SPDX-License-Identifier: Apache-2.0
// Kernel bodies that move rows between a batch and the experts of a mixture. A slot of weight 0 is empty, and its row
// is not read.
#pragma once

#include <espalier/core/layout.hpp>
#include <espalier/core/live_window.hpp>
#include <espalier/core/macros.hpp>
#include <espalier/core/pairs.hpp>
#include <espalier/core/view.hpp>
#include <espalier/kernels/access.hpp>

#include <cstdint>

namespace espalier::kernels {

/// A block of pairs that begins where the window does.
ESPALIER_FN expert_pairs live_pairs(expert_pairs all, live_window live) {
    index_t const first = live_first(live);
    if (all.row) all.row += first;
    if (all.slot) all.slot += first;
    all.first += static_cast<std::int32_t>(first);
    return all;
}

/// y_r = sum over the slots s of weight(r, s) output(r, s), in slot order. Floor: (S + 1) b rows columns bytes. The
/// loads of two slots are under way before the first is used.
template <class Group, class T>
ESPALIER_FN void combine_experts(Group const& group, matrix_view<master_of<T> const> weights,
                                 expert_outputs<T> const& outputs, matrix_view<T> y) {
    using W = master_of<T>;
    bool const vector = aligned16(outputs.all) && aligned16(y) && (!outputs.instead.data || aligned16(outputs.instead));
    for (pair_walk at(grid_lane(group), grid_lanes(group), octets_of(y.columns)); at.line < y.rows; at.advance()) {
        index_t const c = at.place * octet;
        int const count = count8(c, y.columns);
        W sum[octet] = {};
        ESPALIER_KERNEL_LOOP
        for (index_t s = 0; s < weights.columns; s += 2) {
            W weight[2], v[2][octet];
            T const* from[2];
            weight[0] = weights(at.line, s);
            weight[1] = s + 1 < weights.columns ? weights(at.line, s + 1) : W(0);
            ESPALIER_KERNEL_UNROLL
            for (int k = 0; k < 2; ++k) {
                from[k] = weight[k] != W(0) ? outputs(at.line, s + k) : nullptr;
                if (from[k]) load8(from[k] + c, count, vector, v[k]);
            }
            ESPALIER_KERNEL_UNROLL
            for (int k = 0; k < 2; ++k) {
                if (!from[k]) continue;
                ESPALIER_KERNEL_UNROLL
                for (int j = 0; j < octet; ++j)
                    sum[j] += weight[k] * v[k][j];
            }
        }
        store8(y.row(at.line) + c, count, vector, sum);
    }
}

/// dweight(r, s) = <dy_r, output(r, s)>, 0 for slots without an output. Eight lanes a slot, whatever the launch. Floor:
/// (S + 1) b rows columns bytes.
template <class Block, class T>
ESPALIER_FN void weight_gradients(Block const& block, matrix_view<master_of<T> const> weights, matrix_view<T const> dy,
                                  expert_outputs<T> const& outputs, matrix_view<master_of<T>> dweights) {
    using W = master_of<T>;
    auto const tile = block.template tile<(Block::lanes < 8 ? Block::lanes : 8)>();
    bool const vector =
        aligned16(outputs.all) && aligned16(dy) && (!outputs.instead.data || aligned16(outputs.instead));
    for (pair_walk at(tile.group_rank(), tile.group_count(), weights.columns); at.line < dy.rows; at.advance()) {
        W sum(0);
        T const* const from = weights(at.line, at.place) != W(0) ? outputs(at.line, at.place) : nullptr;
        if (from) {
            for (index_t c = static_cast<index_t>(tile.thread_rank()) * octet; c < dy.columns;
                 c += static_cast<index_t>(tile.size()) * octet) {
                int const count = count8(c, dy.columns);
                W a[octet], b[octet];
                load8(dy.row(at.line) + c, count, vector, a);
                load8(from + c, count, vector, b);
                ESPALIER_KERNEL_UNROLL
                for (int j = 0; j < octet; ++j)
                    sum += a[j] * b[j];
            }
        }
        sum = tile.reduce_add(sum);
        if (tile.thread_rank() == 0) dweights(at.line, at.place) = sum;
    }
}

/// d_i = sum over the tasks of the weight of the block's expert in its row i * dy of that row and task, 0 where the
/// block has no row. `experts` has no data when slot s is expert s. Floor: (tasks + 1) b rows columns bytes.
template <class Group, class T>
ESPALIER_FN void expert_gradient(Group const& group, matrix_view<master_of<T> const> weights,
                                 matrix_view<std::int32_t const> experts, mixture_tasks const& tasks,
                                 expert_pairs const& block, matrix_view<T const> dy, matrix_view<T> d) {
    using W = master_of<T>;
    bool const vector = aligned16(dy) && aligned16(d) && (tasks.count == 1 || d.columns % octet == 0);
    bool const one_slot = tasks.count == 1 && block.row && block.slot && !block.pair;
    for (pair_walk at(grid_lane(group), grid_lanes(group), octets_of(d.columns)); at.line < d.rows; at.advance()) {
        index_t const c = at.place * octet, r = block.row ? block.row[at.line] : at.line;
        int const count = count8(c, d.columns);
        W sum[octet] = {};
        ESPALIER_KERNEL_LOOP
        for (int t = 0; t < tasks.count && r >= 0; ++t) {
            W factor(0);
            if (one_slot) {
                factor = weights(r, block.slot[at.line]);
            } else {
                ESPALIER_KERNEL_LOOP
                for (index_t s = tasks.first_slot[t]; s < tasks.first_slot[t + 1]; ++s)
                    factor += block.holds(r, s, at.line, weights.columns, experts) ? weights(r, s) : W(0);
            }
            if (factor == W(0)) continue;
            W v[octet];
            load8(dy.row(r) + t * d.columns + c, count, vector, v);
            ESPALIER_KERNEL_UNROLL
            for (int j = 0; j < octet; ++j)
                sum[j] += factor * v[j];
        }
        store8(d.row(at.line) + c, count, vector, sum);
    }
}

/// to_i = from_row[i], 0 where row[i] < 0. Floor: 2 b rows columns bytes.
template <class Group, class T>
ESPALIER_FN void gather_rows(Group const& group, matrix_view<T const> from, std::int32_t const* row,
                             matrix_view<T> to) {
    bool const vector = aligned16(from) && aligned16(to);
    for (pair_walk at(grid_lane(group), grid_lanes(group), octets_of(to.columns)); at.line < to.rows; at.advance()) {
        index_t const c = at.place * octet, r = row[at.line];
        int const count = count8(c, to.columns);
        master_of<T> v[octet] = {};
        if (r >= 0) load8(from.row(r) + c, count, vector, v);
        store8(to.row(at.line) + c, count, vector, v);
    }
}

/// to_r += from_p for the pairs p of row r, one after the other in the order of their numbers, which is that of the
/// experts; slots that share a pair add it once. `pair`: [rows][slots], -1 for a slot without one; `ordered`: the pairs
/// of a row ascend, and none is shared. Floor: (pairs of a row + 2) b rows columns bytes.
template <class Group, class T>
ESPALIER_FN void add_pairs(Group const& group, matrix_view<T const> from, std::int32_t const* pair, index_t slots,
                           bool ordered, matrix_view<T> to) {
    using W = master_of<T>;
    bool const vector = aligned16(from) && aligned16(to);
    for (pair_walk at(grid_lane(group), grid_lanes(group), octets_of(to.columns)); at.line < to.rows; at.advance()) {
        std::int32_t const* const own = pair + at.line * slots;
        index_t const c = at.place * octet;
        int const count = count8(c, to.columns);
        W sum[octet];
        load8(to.row(at.line) + c, count, vector, sum);
        std::int32_t last = -1;
        ESPALIER_KERNEL_LOOP
        for (index_t s = 0; s < slots; ++s) {
            std::int32_t next = own[s];
            if (!ordered) {
                next = -1; // the least one after the last
                ESPALIER_KERNEL_LOOP
                for (index_t other = 0; other < slots; ++other)
                    if (own[other] > last && (next < 0 || own[other] < next)) next = own[other];
                if (next < 0) break;
                last = next;
            }
            if (next < 0) continue;
            W v[octet];
            load8(from.row(next) + c, count, vector, v);
            ESPALIER_KERNEL_UNROLL
            for (int j = 0; j < octet; ++j)
                sum[j] += v[j];
        }
        store8(to.row(at.line) + c, count, vector, sum);
    }
}

/// to_row[i] += from_i where row[i] >= 0. The rows are distinct: nobody else adds to one. Floor: 3 b rows columns
/// bytes.
template <class Group, class T>
ESPALIER_FN void scatter_add_rows(Group const& group, matrix_view<T const> from, std::int32_t const* row,
                                  matrix_view<T> to) {
    bool const vector = aligned16(from) && aligned16(to);
    for (pair_walk at(grid_lane(group), grid_lanes(group), octets_of(to.columns)); at.line < from.rows; at.advance()) {
        index_t const c = at.place * octet, r = row[at.line];
        if (r < 0) continue;
        int const count = count8(c, to.columns);
        master_of<T> a[octet], b[octet];
        load8(from.row(at.line) + c, count, vector, a);
        load8(to.row(r) + c, count, vector, b);
        ESPALIER_KERNEL_UNROLL
        for (int j = 0; j < octet; ++j)
            b[j] += a[j];
        store8(to.row(r) + c, count, vector, b);
    }
}

/// to = from + to or = from, element by element; a row of `from` stands for all when its stride is 0. Floor: 2 b rows
/// columns bytes, 3 b when it is added to.
template <bool Add, class Group, class From, class To>
ESPALIER_FN void combine_rows(Group const& group, matrix_view<From const> from, matrix_view<To> to) {
    using W = master_of<To>;
    bool const vector = aligned16(from) && aligned16(to);
    for (pair_walk at(grid_lane(group), grid_lanes(group), octets_of(to.columns)); at.line < to.rows; at.advance()) {
        index_t const c = at.place * octet;
        int const count = count8(c, to.columns);
        W a[octet];
        load8(from.row(at.line) + c, count, vector, a);
        if constexpr (Add) {
            W b[octet];
            load8(to.row(at.line) + c, count, vector, b);
            ESPALIER_KERNEL_UNROLL
            for (int j = 0; j < octet; ++j)
                a[j] += b[j];
        }
        store8(to.row(at.line) + c, count, vector, a);
    }
}

/// to = 0. Floor: b rows columns bytes.
template <class Group, class T> ESPALIER_FN void clear_rows(Group const& group, matrix_view<T> to) {
    bool const vector = aligned16(to);
    master_of<T> const zeros[octet] = {};
    for (pair_walk at(grid_lane(group), grid_lanes(group), octets_of(to.columns)); at.line < to.rows; at.advance()) {
        index_t const c = at.place * octet;
        store8(to.row(at.line) + c, count8(c, to.columns), vector, zeros);
    }
}

/// dx_r += weight(r, s) dy_r of the task for the slots s that had no pair and took the row itself. Floor: 4 slots rows
/// bytes, and (tasks + 2) b columns for every row with such a slot.
template <class Group, class T>
ESPALIER_FN void pass_back(Group const& group, matrix_view<master_of<T> const> weights, mixture_tasks const& tasks,
                           std::int32_t const* pair, matrix_view<T const> dy, matrix_view<T> dx) {
    using W = master_of<T>;
    bool const vector = aligned16(dy) && aligned16(dx) && (tasks.count == 1 || dx.columns % octet == 0);
    for (pair_walk at(grid_lane(group), grid_lanes(group), octets_of(dx.columns)); at.line < dx.rows; at.advance()) {
        index_t const c = at.place * octet, r = at.line;
        int const count = count8(c, dx.columns);
        W sum[octet] = {};
        bool passed = false;
        ESPALIER_KERNEL_LOOP
        for (int t = 0; t < tasks.count; ++t) {
            W factor(0);
            ESPALIER_KERNEL_LOOP
            for (index_t s = tasks.first_slot[t]; s < tasks.first_slot[t + 1]; ++s)
                factor += pair[r * weights.columns + s] < 0 ? weights(r, s) : W(0);
            if (factor == W(0)) continue;
            passed = true;
            W v[octet];
            load8(dy.row(r) + t * dx.columns + c, count, vector, v);
            ESPALIER_KERNEL_UNROLL
            for (int j = 0; j < octet; ++j)
                sum[j] += factor * v[j];
        }
        if (!passed) continue;
        W own[octet];
        load8(dx.row(r) + c, count, vector, own);
        ESPALIER_KERNEL_UNROLL
        for (int j = 0; j < octet; ++j)
            sum[j] += own[j];
        store8(dx.row(r) + c, count, vector, sum);
    }
}

} // namespace espalier::kernels
