// SPDX-License-Identifier: Apache-2.0
// Kernel bodies of gates that do more than read a row of logits: rows looked up by what is known of them, experts that
// choose their rows, weights that a permutation moves to other experts, and what a batch's routing looked like.
#pragma once

#include <espalier/core/layout.hpp>
#include <espalier/core/macros.hpp>
#include <espalier/core/math.hpp>
#include <espalier/core/pairs.hpp>
#include <espalier/core/random.hpp>
#include <espalier/core/rows.hpp>
#include <espalier/core/view.hpp>
#include <espalier/gate/linear_assignment.hpp>
#include <espalier/gate/sinkhorn.hpp>
#include <espalier/kernels/access.hpp>
#include <espalier/kernels/sums.hpp>

#include <cstdint>

namespace espalier::kernels {

// ---- keys

/// Weight 1 and the expert that a keyed gate names for every row. A row without one is reported, and goes to expert 0
/// so that nothing outside the experts is touched before the host can throw. Floor: rows (what the gate reads + 8)
/// bytes.
template <class Gate, class Group, class Op, class T>
ESPALIER_FN void look_up(Group const& group, Op const& op, rows const& batch, matrix_view<T const> x,
                         master_of<T> const* table, matrix_view<master_of<T>> weights,
                         matrix_view<std::int32_t> experts, error_word* error) {
    for (index_t r = grid_lane(group); r < weights.rows; r += grid_lanes(group)) {
        std::int32_t const e = op.expert(batch, r, x.row(r), table);
        bool const known = e >= 0 && e < Gate::experts;
        if (!known) report(error, expert_out_of_range, r);
        weights(r, 0) = master_of<T>(1);
        experts(r, 0) = known ? e : 0;
    }
}

// ---- weights by slot and by expert

/// Slot s of every row belongs to expert s. Floor: 4 rows slots bytes.
template <class Group> ESPALIER_FN void number_slots(Group const& group, matrix_view<std::int32_t> experts) {
    for (pair_walk at(grid_lane(group), grid_lanes(group), experts.columns); at.line < experts.rows; at.advance())
        experts(at.line, at.place) = static_cast<std::int32_t>(at.place);
}

/// Weights by slot as weights by expert. Floor: rows (S (4 + W) + E W) bytes.
template <class Group, class W>
ESPALIER_FN void spread_slots(Group const& group, matrix_view<W const> weights, matrix_view<std::int32_t const> experts,
                              matrix_view<W> spread) {
    bool const vector = aligned16(spread);
    for (pair_walk at(grid_lane(group), grid_lanes(group), octets_of(spread.columns)); at.line < spread.rows;
         at.advance()) {
        index_t const c = at.place * octet;
        W sum[octet] = {};
        ESPALIER_KERNEL_LOOP
        for (index_t s = 0; s < weights.columns; ++s) {
            W const weight = weights(at.line, s);
            if (weight == W(0)) continue; // the expert of an empty slot may be anything
            index_t const place = experts(at.line, s) - c;
            ESPALIER_KERNEL_UNROLL
            for (int j = 0; j < octet; ++j)
                sum[j] += place == j ? weight : W(0);
        }
        store8(spread.row(at.line) + c, count8(c, spread.columns), vector, sum);
    }
}

/// The gradients of the slots' weights from those of the weights by expert, 0 for empty slots. Floor: rows S (4 + 3 W)
/// bytes.
template <class Group, class W>
ESPALIER_FN void gather_slots(Group const& group, matrix_view<W const> dspread, matrix_view<W const> weights,
                              matrix_view<std::int32_t const> experts, matrix_view<W> dweights) {
    for (pair_walk at(grid_lane(group), grid_lanes(group), weights.columns); at.line < weights.rows; at.advance())
        dweights(at.line, at.place) =
            weights(at.line, at.place) != W(0) ? dspread(at.line, experts(at.line, at.place)) : W(0);
}

namespace detail {
/// Eight lanes for a row, whatever the launch: the order of its sums.
template <class Block> ESPALIER_FN auto eight_lanes(Block const& block) {
    return block.template tile<(Block::lanes < 8 ? Block::lanes : 8)>();
}
} // namespace detail

/// Divides every row by its sum, which goes to `sums`. Floor: 2 rows E W bytes.
template <class Block, class W> ESPALIER_FN void divide_by_sums(Block const& block, matrix_view<W> weights, W* sums) {
    auto const tile = detail::eight_lanes(block);
    auto const lane = static_cast<index_t>(tile.thread_rank()), lanes = static_cast<index_t>(tile.size());
    for (index_t r = tile.group_rank(); r < weights.rows; r += tile.group_count()) {
        W* const w = weights.row(r);
        W sum(0);
        for (index_t e = lane; e < weights.columns; e += lanes)
            sum += w[e];
        sum = tile.reduce_add(sum);
        for (index_t e = lane; e < weights.columns; e += lanes)
            w[e] /= sum;
        if (lane == 0) sums[r] = sum;
    }
}

/// With g = h / sum(h): dh = (dg - <dg, g>) / sum(h). Floor: 3 rows E W bytes.
template <class Block, class W>
ESPALIER_FN void divide_by_sums_backward(Block const& block, matrix_view<W const> weights,
                                         matrix_view<W const> dweights, W const* sums, matrix_view<W> d) {
    auto const tile = detail::eight_lanes(block);
    auto const lane = static_cast<index_t>(tile.thread_rank()), lanes = static_cast<index_t>(tile.size());
    for (index_t r = tile.group_rank(); r < weights.rows; r += tile.group_count()) {
        W mean(0);
        for (index_t e = lane; e < weights.columns; e += lanes)
            mean += weights(r, e) * dweights(r, e);
        mean = tile.reduce_add(mean);
        W const sum = sums[r];
        for (index_t e = lane; e < weights.columns; e += lanes)
            d(r, e) = (dweights(r, e) - mean) / sum;
    }
}

// ---- experts choose rows

namespace detail {

/// A number whose order among unsigned numbers is that of the weights: -0 as +0, a NaN above all.
ESPALIER_FN std::uint32_t ordered_bits(float w) {
    if (!(w == w)) return 0xffffffffu;
    if (w == 0.0f) w = 0.0f;
    std::uint32_t bits;
    __builtin_memcpy(&bits, &w, sizeof bits);
    return bits & 0x80000000u ? ~bits : bits | 0x80000000u;
}
ESPALIER_FN std::uint64_t ordered_bits(double w) {
    if (!(w == w)) return ~std::uint64_t{0};
    if (w == 0.0) w = 0.0;
    std::uint64_t bits;
    __builtin_memcpy(&bits, &w, sizeof bits);
    return bits >> 63 != 0 ? ~bits : bits | std::uint64_t{1} << 63;
}

} // namespace detail

/// Keeps the `count` largest weights of every column, the lower row of equal ones; the others become 0. A NaN counts as
/// the largest and stays. One block a column: the bits of the smallest weight that stays are found one after the other,
/// highest first, by counting. Floor: rows E W bytes read and written; the column is read at most as often as a weight
/// has bits, from the second-level cache.
template <class Block, class W>
ESPALIER_FN void choose_rows(Block const& block, index_t count, matrix_view<W> weights) {
    using bits_type = decltype(detail::ordered_bits(W(0)));
    if (count >= weights.rows) return;
    auto const lane = static_cast<index_t>(block.thread_rank()), lanes = static_cast<index_t>(block.size());
    // Infinity and NaN are equally large, as on the CPU.
    bits_type const highest = detail::ordered_bits(static_cast<W>(__builtin_inf()));
    auto const rank_of = [&](index_t r, index_t e) {
        bits_type const bits = detail::ordered_bits(weights(r, e));
        return bits < highest ? bits : highest;
    };
    for (index_t e = block.block_rank(); e < weights.columns; e += block.block_count()) {
        // The largest number that at least `count` ranks reach, which is the rank of the last row that stays; or one
        // that exactly `count` ranks reach, which does as well.
        bits_type last = 0;
        ESPALIER_KERNEL_LOOP
        for (bits_type bit = bits_type{1} << (8 * sizeof(bits_type) - 1); bit != 0; bit >>= 1) {
            bits_type const tried = last | bit;
            int reach = 0;
            for (index_t r = lane; r < weights.rows; r += lanes)
                reach += rank_of(r, e) >= tried;
            reach = block.reduce_add(reach);
            if (reach >= count) last = tried;
            if (reach == count) break;
        }
        int above = 0;
        for (index_t r = lane; r < weights.rows; r += lanes)
            above += rank_of(r, e) > last;
        index_t room = count - block.reduce_add(above); // for rows with the weight of the last one
        for (index_t first = 0; first < weights.rows; first += lanes) {
            index_t const r = first + lane;
            bits_type const rank = r < weights.rows ? rank_of(r, e) : bits_type{0};
            int const equal = r < weights.rows && rank == last ? 1 : 0;
            int const before = block.exclusive_scan_add(equal);
            if (r < weights.rows && !(rank > last || (equal != 0 && before < room))) weights(r, e) = W(0);
            room -= block.reduce_add(equal);
        }
    }
}

// ---- a search for a permutation: one block

/// P = Sinkhorn((R + noise * Gumbel) / temperature), in double, and as W for the product with the weights.
template <class Block, class Op, class W>
ESPALIER_FN void soft_permutation(Block const& block, Op const& op, int n, W const* scores, random_site const& site,
                                  double* noisy, double* potentials, double* soft, W* permutation, double* term) {
    int const count = n * n;
    for (int i = static_cast<int>(block.thread_rank()); i < count; i += static_cast<int>(block.size())) {
        double score = static_cast<double>(scores[i]);
        if (op.noise > 0.0) {
            bits8 const bits = draw(site, static_cast<std::uint32_t>(i), 0);
            double const u = (static_cast<double>(bits.word[0]) + 0.5) / 4294967296.0;
            score -= op.noise * log(-log(u));
        }
        noisy[i] = score;
    }
    block.sync();
    gate::sinkhorn(block, n, static_cast<double const*>(noisy), op.temperature, op.iterations, potentials, soft);
    for (int i = static_cast<int>(block.thread_rank()); i < count; i += static_cast<int>(block.size()))
        permutation[i] = static_cast<W>(soft[i]);
    double const entropy = gate::permutation_entropy(block, n, static_cast<double const*>(soft));
    if (term && block.thread_rank() == 0) *term = op.entropy * entropy;
}

/// The gradient of the scores from that of the permutation; `dsoft` is scratch.
template <class Block, class Op, class W>
ESPALIER_FN void soft_permutation_backward(Block const& block, Op const& op, int n, double const* noisy,
                                           double* potentials, double const* soft, W const* dpermutation, double* dsoft,
                                           W* dscores) {
    int const count = n * n;
    for (int i = static_cast<int>(block.thread_rank()); i < count; i += static_cast<int>(block.size()))
        dsoft[i] = static_cast<double>(dpermutation[i]);
    block.sync();
    gate::permutation_entropy_backward(block, n, soft, op.entropy, dsoft);
    gate::sinkhorn_backward(block, n, noisy, op.temperature, op.iterations, potentials, soft, dsoft);
    for (int i = static_cast<int>(block.thread_rank()); i < count; i += static_cast<int>(block.size()))
        dscores[i] = static_cast<W>(dsoft[i]);
}

/// The permutation nearest to a soft one as a matrix of zeros and ones, unless the step has an error. By one block.
/// `room`: linear_assignment_scratch(n) doubles, then room for n numbers of experts.
template <class Block, class W>
ESPALIER_FN void round_permutation(Block const& block, int n, double const* soft, double* room, W* permutation,
                                   error_word const* error) {
    if (failed(error)) return;
    constexpr std::uint32_t lanes = Block::lanes < 32 ? Block::lanes : 32;
    auto const tile = block.template tile<lanes>();
    auto* const choice = reinterpret_cast<std::int32_t*>(room + gate::linear_assignment_scratch(n));
    if (block.thread_rank() < lanes) gate::linear_assignment(tile, n, soft, choice, room);
    block.sync();
    for (int i = static_cast<int>(block.thread_rank()); i < n * n; i += static_cast<int>(block.size()))
        permutation[i] = choice[i / n] == i % n ? W(1) : W(0);
}

} // namespace espalier::kernels
