// SPDX-License-Identifier: Apache-2.0
// The passes (core/pass.hpp) that verbs are made of (kernels/verbs.hpp): on a GPU a launch each. docs/devices.md says
// what the verbs do, and the bodies what the passes do.
#pragma once

#include <espalier/core/about.hpp>
#include <espalier/core/layout.hpp>
#include <espalier/core/live_groups.hpp>
#include <espalier/core/live_window.hpp>
#include <espalier/core/macros.hpp>
#include <espalier/core/mask_selection.hpp>
#include <espalier/core/nested_groups.hpp>
#include <espalier/core/pairs.hpp>
#include <espalier/core/pass.hpp>
#include <espalier/core/rows.hpp>
#include <espalier/core/update.hpp>
#include <espalier/core/view.hpp>
#include <espalier/gate/concept.hpp>
#include <espalier/kernels/access.hpp>
#include <espalier/kernels/batch_norm.hpp>
#include <espalier/kernels/dispatch.hpp>
#include <espalier/kernels/embedding.hpp>
#include <espalier/kernels/epilogue.hpp>
#include <espalier/kernels/group_value.hpp>
#include <espalier/kernels/grouped.hpp>
#include <espalier/kernels/norms.hpp>
#include <espalier/kernels/pairs.hpp>
#include <espalier/kernels/routing.hpp>
#include <espalier/kernels/row_gate.hpp>
#include <espalier/kernels/row_loss.hpp>
#include <espalier/kernels/row_map.hpp>
#include <espalier/kernels/scale_columns.hpp>
#include <espalier/kernels/select.hpp>
#include <espalier/kernels/sums.hpp>
#include <espalier/kernels/update.hpp>

#include <cstdint>

namespace espalier::kernels {

/// Threads of a block that passes are planned for. Part of no result: bodies give the same bits for every block size
/// (rows wider than widest_tile_row excepted, which one block adds up).
inline constexpr unsigned block_threads = 256;

/// A pass that is to stay where the arguments of a kernel are.
template <class Pass>
concept whole = requires {
    requires Pass::whole;
};

/// Blocks that a multiprocessor shall hold at once; 0: as many as it may.
ESPALIER_MEMBER_OR(blocks_at_once, blocks, 0u)
/// Threads that rows of N columns keep busy.
template <int N> constexpr index_t row_threads(index_t row_count) {
    return row_count * static_cast<index_t>(N > widest_tile_row ? block_threads : row_lanes<N>());
}
/// Threads that rows of a gate's logits keep busy.
template <class Gate, class Op, class W> constexpr index_t gate_threads(index_t row_count) {
    return row_count * static_cast<index_t>(gate_takes_block<Gate, Op, W, block_threads>() ? block_threads
                                                                                           : gate_lanes<Gate, Op>());
}

namespace passes {

// ---- the layers' own

template <class Op, class T> struct epilogue_forward {
    numbers<Op> op;
    matrix_view<T const> z;
    matrix_view<T> y;
    site_numbers site;
    rows batch;
    error_word* error;
    master_of<T> const* units;

    index_t lanes() const { return (z.rows * octets_of(z.columns) + 1) / 2; }
    template <class Block> ESPALIER_FN void operator()(Block const& block, live_groups const& live, int group) const {
        grouped::epilogue_forward(block, live, group, op.get(), z, y, site.get(), batch, error, units);
    }
};
/// Also the parts of the column sums and of the terms of the penalties.
template <class Op, class T> struct epilogue_forward_strips {
    numbers<Op> op;
    matrix_view<T const> z;
    matrix_view<T> y;
    site_numbers site;
    rows batch;
    epilogue_scratch<master_of<T>> scratch;
    error_word* error;
    master_of<T> const* units;

    index_t lanes() const { return strips_of(z.rows).count * octets_of(z.columns); }
    template <class Block> ESPALIER_FN void operator()(Block const& block, live_groups const& live, int group) const {
        grouped::epilogue_forward_strips(block, live, group, op.get(), z, y, site.get(), batch, scratch, error, units);
    }
};
template <class Op, class W> struct epilogue_finish {
    numbers<Op> op;
    index_t row_count, columns;
    epilogue_scratch<W> scratch;
    epilogue_statistics<W> statistics;

    index_t lanes() const { return 1; }
    template <class Block> ESPALIER_FN void operator()(Block const& block, live_groups const& live, int group) const {
        grouped::epilogue_finish(block, live, group, op.get(), row_count, columns, scratch, statistics);
    }
};
/// `partial`: partial_size(rows, columns) numbers, or null when there is no bias.
template <class Op, class T> struct epilogue_backward {
    numbers<Op> op;
    matrix_view<T const> z, dy;
    matrix_view<T> dz;
    site_numbers site;
    rows batch;
    epilogue_statistics<master_of<T>> statistics;
    master_of<T>* partial;
    error_word* error;

    /// Sums of several columns at once need registers, double twice as many.
    static constexpr unsigned blocks = sizeof(T) > 4 || Op::column_penalties > 0 ? 2 : 3;
    index_t lanes() const { return (partial ? strips_of(z.rows).count : z.rows) * octets_of(z.columns); }
    template <class Block> ESPALIER_FN void operator()(Block const& block, live_groups const& live, int group) const {
        grouped::epilogue_backward(block, live, group, op.get(), z, dy, dz, site.get(), batch, statistics, partial,
                                   error);
    }
};
template <class T> struct column_partials {
    matrix_view<T const> m;
    master_of<T>* partial;

    index_t lanes() const { return strips_of(m.rows).count * octets_of(m.columns); }
    template <class Block> ESPALIER_FN void operator()(Block const& block, live_groups const& live, int group) const {
        grouped::column_partials(block, live, group, m, partial);
    }
};
/// Set `set` of the partial sums of so many rows.
template <class W> struct add_partial_rows {
    W const* partial;
    int set;
    index_t row_count, columns;
    W* out;
    bool accumulate;
    error_word const* error;

    index_t lanes() const { return columns; }
    template <class Block> ESPALIER_FN void operator()(Block const& block, live_groups const& live, int group) const {
        grouped::add_partial_rows(block, live, group, partial, set, row_count, columns, out, accumulate, error);
    }
};
/// `partial`: [groups][penalties][chunks], or null; `of_scalars`: [groups][trained numbers][chunks].
template <class Optimizer, class Rule, class Wide, class Narrow> struct update {
    numbers<Optimizer> optimizer;
    numbers<Rule> rule;
    update_segment<Wide, Narrow> segment;
    update_context context;
    double* partial;
    double* of_scalars;

    index_t lanes() const { return update_chunks(segment.rows * segment.columns) * 32; }
    template <class Block> ESPALIER_FN void operator()(Block const& block, live_groups const& live, int group) const {
        grouped::update_tensor(block, live, group, optimizer.get(), rule.get(), segment, context, partial, of_scalars);
    }
};
template <class Optimizer, class Rule, class Wide, class Narrow> struct update_grouped {
    numbers<Optimizer> optimizer;
    numbers<Rule> rule;
    update_segment<Wide, Narrow> segment;
    update_context context;
    group_scratch<Wide> scratch;

    index_t lanes() const { return strips_of(segment.rows).count * octets_of(segment.columns); }
    template <class Block> ESPALIER_FN void operator()(Block const& block) const {
        kernels::update_grouped(block, optimizer.get(), rule.get(), segment, context, scratch);
    }
};
template <class W> struct add_row_sums {
    W const* partial;
    index_t row_count, columns;
    W* out;
    error_word const* error;

    index_t lanes() const { return row_count * 32; }
    template <class Block> ESPALIER_FN void operator()(Block const& block) const {
        kernels::add_row_sums(block, partial, row_count, columns, out, error);
    }
};
/// Sums of `count` numbers for each of `sums` results, one block in turn; see kernels::add_penalty_values. A template
/// although one type fits: then a .cu that includes this header without using the pass has no copy of its own.
template <class Number> struct add_sums {
    Number const* partial;
    int sums;
    index_t count, stride;
    Number* results;
    bool accumulate;
    error_word const* error;

    index_t lanes() const { return sums == 0 ? 0 : 1; }
    template <class Block> ESPALIER_FN void operator()(Block const& block, live_groups const& live, int group) const {
        if (failed(error)) return;
        for (int k = 0; k < sums; ++k)
            kernels::sum_numbers(block, partial + (group * sums + k) * stride, count, live.term(results, group) + k,
                                 accumulate);
    }
};
/// The gradients of the `count` trained numbers of a map from `parts` partial sums of each; `gradients`: the first
/// one's.
template <class W> struct scalar_gradients {
    double const* partial;
    int count;
    index_t parts;
    W* gradients;
    error_word const* error;

    index_t lanes() const { return 1; }
    template <class Block> ESPALIER_FN void operator()(Block const& block, live_groups const& live, int group) const {
        if (failed(error)) return;
        for (int k = 0; k < count; ++k)
            kernels::sum_numbers(block, partial + (group * count + k) * parts, parts,
                                 live.tensor(gradients, group) + k * weight::detail::scalar_stride, false);
    }
};
template <class Op, class W> struct group_value {
    numbers<Op> op;
    W const* squared_norms;
    index_t groups;
    double* result;
    error_word const* error;

    index_t lanes() const { return 1; }
    template <class Block> ESPALIER_FN void operator()(Block const& block) const {
        if (!failed(error)) kernels::group_value(block, op.get(), squared_norms, groups, result);
    }
};
template <class Op, class W> struct nested_groups {
    numbers<Op> op;
    W const* squared_norms;
    index_t groups;
    W *tails, *pulls;
    error_word const* error;

    index_t lanes() const { return 1; }
    template <class Block> ESPALIER_FN void operator()(Block const& block) const {
        auto const tile = block.template tile<(Block::lanes < 32 ? Block::lanes : 32)>();
        if (!failed(error) && tile.group_rank() == 0)
            espalier::nested_groups(tile, op.get(), squared_norms, groups, tails, pulls);
    }
};
template <class Op, class T> struct scale_columns {
    numbers<Op> op;
    matrix_view<T const> factor;
    matrix_view<T> scaled, gradient;

    index_t lanes() const { return factor.columns; }
    template <class Block> ESPALIER_FN void operator()(Block const& block) const {
        kernels::scale_columns(block, op.get(), factor, scaled, gradient);
    }
};
template <int N, class Op, class T> struct row_forward {
    numbers<Op> op;
    matrix_view<T> y;
    error_word* error;

    index_t lanes() const { return row_threads<N>(y.rows); }
    template <class Block> ESPALIER_FN void operator()(Block const& block, live_groups const& live, int group) const {
        kernels::row_map_forward<N>(block, op.get(), live_rows(y, live.window(group)), error);
    }
};
template <int N, class Op, class T> struct row_backward {
    numbers<Op> op;
    matrix_view<T const> y;
    matrix_view<T> dy;
    error_word* error;

    index_t lanes() const { return row_threads<N>(y.rows); }
    template <class Block> ESPALIER_FN void operator()(Block const& block, live_groups const& live, int group) const {
        live_window const window = live.window(group);
        kernels::row_map_backward<N>(block, op.get(), live_rows(y, window), live_rows(dy, window), error);
    }
};

// ---- losses

template <class Loss> struct count_rows {
    rows batch;
    int columns;
    bool remembers;
    index_t samples;
    double denominator;
    row_loss_result* result;
    error_word* error;

    index_t lanes() const { return 1; }
    template <class Block> ESPALIER_FN void operator()(Block const& block) const {
        kernels::count_rows<Loss>(block, batch, columns, remembers, samples, denominator, result, error);
    }
};
template <int N, class Loss, class T> struct row_loss {
    numbers<Loss> loss;
    row_loss_arguments<T> arguments;
    row_loss_result const* result;
    double* weighted;
    error_word* error;

    static constexpr bool whole = true;
    static constexpr unsigned blocks = 2;
    index_t lanes() const { return row_threads<N>(arguments.z.rows); }
    template <class Block> ESPALIER_FN void operator()(Block const& block) const {
        kernels::row_loss<N>(block, loss.get(), arguments, result, weighted, error);
    }
};
template <class Number> struct finish_loss {
    Number const* weighted;
    index_t row_count;
    row_loss_result* result;

    index_t lanes() const { return 1; }
    template <class Block> ESPALIER_FN void operator()(Block const& block) const {
        kernels::finish_loss(block, weighted, row_count, result);
    }
};

// ---- numbers that are looked at

template <class T> struct square_partials {
    T const* x;
    index_t n;
    double* partial;

    index_t lanes() const { return norm_chunks(n) * 32; }
    template <class Block> ESPALIER_FN void operator()(Block const& block) const {
        kernels::square_partials(block, x, n, partial);
    }
};
template <class T> struct find_not_finite {
    T const* x;
    index_t n;
    std::uint32_t bit;
    error_word* error;

    index_t lanes() const { return error ? octets_of(n) : 0; }
    template <class Block> ESPALIER_FN void operator()(Block const& block) const {
        kernels::find_not_finite(block, x, n, bit, error);
    }
};
template <class T> struct find_rows_not_finite {
    matrix_view<T const> x;
    index_t blocks_of_rows, apart;
    std::uint32_t bit;
    error_word* error;

    index_t lanes() const { return error ? blocks_of_rows * x.rows * octets_of(x.columns) : 0; }
    template <class Block> ESPALIER_FN void operator()(Block const& block, live_groups const& live, int group) const {
        kernels::find_rows_not_finite(block, live_rows(x, live.window(group)), blocks_of_rows, apart, bit, error);
    }
};

// ---- batch normalisation

template <class T> struct moment_partials {
    matrix_view<T const> x;
    master_of<T>* partial;

    index_t lanes() const { return strips_of(x.rows).count * octets_of(x.columns); }
    template <class Block> ESPALIER_FN void operator()(Block const& block) const {
        kernels::moment_partials(block, x, partial);
    }
};
template <class W> struct finish_moments {
    W const* partial;
    index_t row_count, columns;
    W *mean, *variance;
    index_t* counted;
    error_word* error;

    index_t lanes() const { return columns; }
    template <class Block> ESPALIER_FN void operator()(Block const& block) const {
        kernels::finish_moments(block, partial, row_count, columns, mean, variance, counted, error);
    }
};
template <class T> struct normalise {
    matrix_view<T const> x;
    master_of<T> const *mean, *variance, *scale, *shift;
    double epsilon;
    matrix_view<T> y;

    index_t lanes() const { return pass_strips_of(x.rows).count * octets_of(x.columns); }
    template <class Block> ESPALIER_FN void operator()(Block const& block) const {
        kernels::normalise(block, x, mean, variance, scale, shift, epsilon, y);
    }
};
template <class T> struct normal_sum_partials {
    matrix_view<T const> x, dy;
    master_of<T> const *mean, *variance;
    double epsilon;
    master_of<T>* partial;

    index_t lanes() const { return strips_of(dy.rows).count * octets_of(dy.columns); }
    template <class Block> ESPALIER_FN void operator()(Block const& block) const {
        kernels::normal_sum_partials(block, x, dy, mean, variance, epsilon, partial);
    }
};
template <class W> struct finish_normal_sums {
    W const* partial;
    index_t row_count, columns;
    W *sums, *dscale, *dshift;

    index_t lanes() const { return columns; }
    template <class Block> ESPALIER_FN void operator()(Block const& block) const {
        kernels::finish_normal_sums(block, partial, row_count, columns, sums, dscale, dshift);
    }
};
/// `sums` null: the statistics do not depend on x.
template <class T> struct normalise_backward {
    matrix_view<T const> x, dy;
    master_of<T> const *mean, *variance, *scale;
    double epsilon;
    master_of<T> const* sums;
    matrix_view<T> dx;

    index_t lanes() const { return pass_strips_of(dy.rows).count * octets_of(dy.columns); }
    template <class Block> ESPALIER_FN void operator()(Block const& block) const {
        kernels::normalise_backward(block, x, dy, mean, variance, scale, epsilon, sums, dx);
    }
};
template <class W> struct running_moments {
    W const *mean, *variance;
    index_t columns;
    index_t const* row_count;
    double momentum;
    W* running;
    tape_copies copies;
    error_word const* error;

    index_t lanes() const { return columns; }
    template <class Block> ESPALIER_FN void operator()(Block const& block) const {
        kernels::running_moments(block, mean, variance, columns, row_count, momentum, running, copies, error);
    }
};

// ---- gates

template <class Gate, class Op, class T> struct row_gate_forward {
    numbers<Op> op;
    matrix_view<T const> logits;
    matrix_view<master_of<T>> weights;
    matrix_view<std::int32_t> experts;
    double* terms;
    gate_batch<master_of<T>> given;
    std::uint32_t const* step;
    error_word* error;

    /// Many columns in a lane, rows of noise and statistics beside the logits, or double need registers.
    static constexpr unsigned blocks = [] {
        constexpr bool by_block = gate_takes_block<Gate, Op, master_of<T>, block_threads>();
        constexpr int lanes = static_cast<int>(by_block ? block_threads : gate_lanes<Gate, Op>());
        constexpr bool wide = espalier::detail::gate_row_columns<Gate, Op>() > 16 * lanes;
        if (espalier::detail::gate_says_needs<Op>()) return sizeof(T) > 4 ? 1u : 2u;
        return wide || sizeof(T) > 4 ? 2u : 4u;
    }();
    index_t lanes() const { return gate_threads<Gate, Op, master_of<T>>(logits.rows); }
    template <class Block> ESPALIER_FN void operator()(Block const& block) const {
        kernels::row_gate_forward<Gate>(block, op.get(), logits, weights, experts, terms, at_step(given, step), error);
    }
    /// What a gate is given, with the step of its noise.
    ESPALIER_FN static gate_batch<master_of<T>> at_step(gate_batch<master_of<T>> given, std::uint32_t const* step) {
        if constexpr (gate_draws<Op>()) given.site = site_numbers{given.site, step}.get();
        return given;
    }
};
template <class Gate, class Op, class T> struct row_gate_backward {
    numbers<Op> op;
    matrix_view<T const> logits;
    matrix_view<master_of<T> const> weights;
    matrix_view<std::int32_t const> experts;
    matrix_view<master_of<T> const> dweights;
    matrix_view<T> dlogits;
    gate_batch<master_of<T>> given;
    std::uint32_t const* step;
    error_word* error;

    using forward = row_gate_forward<Gate, Op, T>;
    static constexpr unsigned blocks = forward::blocks;
    index_t lanes() const { return gate_threads<Gate, Op, master_of<T>>(logits.rows); }
    template <class Block> ESPALIER_FN void operator()(Block const& block) const {
        kernels::row_gate_backward<Gate>(block, op.get(), logits, weights, experts, dweights, dlogits,
                                         forward::at_step(given, step), error);
    }
};
template <class Number> struct gate_term {
    Number const* terms;
    index_t row_count;
    Number* term;

    index_t lanes() const { return 1; }
    template <class Block> ESPALIER_FN void operator()(Block const& block) const {
        kernels::gate_term(block, terms, row_count, term);
    }
};
template <int Columns, class Op, class W> struct gate_statistics {
    numbers<Op> op;
    W const* partial;
    double const* terms;
    index_t row_count;
    double *sums, *term;

    index_t lanes() const { return 1; }
    template <class Block> ESPALIER_FN void operator()(Block const& block) const {
        kernels::gate_statistics<Columns>(block, op.get(), partial, terms, row_count, sums, term);
    }
};
template <class Gate, class Op, class T> struct look_up {
    numbers<Op> op;
    rows batch;
    matrix_view<T const> x;
    master_of<T> const* table;
    matrix_view<master_of<T>> weights;
    matrix_view<std::int32_t> experts;
    error_word* error;

    index_t lanes() const { return weights.rows; }
    template <class Block> ESPALIER_FN void operator()(Block const& block) const {
        kernels::look_up<Gate>(block, op.get(), batch, x, table, weights, experts, error);
    }
};
template <class W> struct choose_rows {
    index_t count;
    matrix_view<W> weights;

    index_t lanes() const { return count < weights.rows ? weights.columns * index_t{block_threads} : 0; }
    template <class Block> ESPALIER_FN void operator()(Block const& block) const {
        kernels::choose_rows(block, count, weights);
    }
};
template <class Number> struct number_slots {
    matrix_view<Number> experts;

    index_t lanes() const { return experts.rows * experts.columns; }
    template <class Block> ESPALIER_FN void operator()(Block const& block) const {
        kernels::number_slots(block, experts);
    }
};
template <class W> struct spread_slots {
    matrix_view<W const> weights;
    matrix_view<std::int32_t const> experts;
    matrix_view<W> spread;

    index_t lanes() const { return spread.rows * octets_of(spread.columns); }
    template <class Block> ESPALIER_FN void operator()(Block const& block) const {
        kernels::spread_slots(block, weights, experts, spread);
    }
};
template <class W> struct gather_slots {
    matrix_view<W const> dspread, weights;
    matrix_view<std::int32_t const> experts;
    matrix_view<W> dweights;

    index_t lanes() const { return weights.rows * weights.columns; }
    template <class Block> ESPALIER_FN void operator()(Block const& block) const {
        kernels::gather_slots(block, dspread, weights, experts, dweights);
    }
};
template <class W> struct divide_by_sums {
    matrix_view<W> weights;
    W* sums;

    index_t lanes() const { return weights.rows * 8; }
    template <class Block> ESPALIER_FN void operator()(Block const& block) const {
        kernels::divide_by_sums(block, weights, sums);
    }
};
template <class W> struct divide_by_sums_backward {
    matrix_view<W const> weights, dweights;
    W const* sums;
    matrix_view<W> d;

    index_t lanes() const { return weights.rows * 8; }
    template <class Block> ESPALIER_FN void operator()(Block const& block) const {
        kernels::divide_by_sums_backward(block, weights, dweights, sums, d);
    }
};
/// The three passes of a search: one block each.
template <class Op, class W> struct soft_permutation {
    numbers<Op> op;
    int n;
    W const* scores;
    site_numbers site;
    double *noisy, *potentials, *soft;
    W* permutation;
    double* term;

    index_t lanes() const { return 1; }
    template <class Block> ESPALIER_FN void operator()(Block const& block) const {
        kernels::soft_permutation(block, op.get(), n, scores, site.get(), noisy, potentials, soft, permutation, term);
    }
};
template <class Op, class W> struct soft_permutation_backward {
    numbers<Op> op;
    int n;
    double const* noisy;
    double* potentials;
    double const* soft;
    W const* dpermutation;
    double* dsoft;
    W* dscores;

    index_t lanes() const { return 1; }
    template <class Block> ESPALIER_FN void operator()(Block const& block) const {
        kernels::soft_permutation_backward(block, op.get(), n, noisy, potentials, soft, dpermutation, dsoft, dscores);
    }
};
template <class W> struct round_permutation {
    int n;
    double const* soft;
    double* room;
    W* permutation;
    error_word const* error;

    index_t lanes() const { return 1; }
    template <class Block> ESPALIER_FN void operator()(Block const& block) const {
        kernels::round_permutation(block, n, soft, room, permutation, error);
    }
};

// ---- pairs of a row and an expert

/// Lanes for the chunks of a table of pairs.
template <class W> index_t pair_lanes(pair_work<W> const& work) {
    index_t const chunks = chunks_of(work.slots()).count;
    return chunks > 0 ? chunks * 32 : 1; // a table without pairs is written too
}
template <slot_order Order, bool Marked, class W> struct count_pairs {
    pair_work<W> work;
    std::int32_t const* served;

    static constexpr bool whole = true;
    static constexpr unsigned blocks = 4;
    index_t lanes() const { return pair_lanes(work); }
    template <class Block> ESPALIER_FN void operator()(Block const& block) const {
        kernels::count_pairs<Order, Marked>(block, work, served);
    }
};
template <bool Final, class W> struct scan_pairs {
    pair_work<W> work;

    static constexpr bool whole = true;
    index_t lanes() const { return 1; }
    template <class Block> ESPALIER_FN void operator()(Block const& block) const {
        kernels::scan_pairs<Final>(block, work);
    }
};
template <class W> struct mark_pairs {
    pair_work<W> work;

    static constexpr bool whole = true;
    static constexpr unsigned blocks = 4;
    index_t lanes() const { return pair_lanes(work); }
    template <class Block> ESPALIER_FN void operator()(Block const& block) const { kernels::mark_pairs(block, work); }
};
template <bool Marked, class W> struct fill_pairs {
    pair_work<W> work;
    rows batch;

    static constexpr bool whole = true;
    static constexpr unsigned blocks = 4;
    index_t lanes() const { return pair_lanes(work); }
    template <class Block> ESPALIER_FN void operator()(Block const& block) const {
        kernels::fill_pairs<Marked>(block, work, batch);
    }
};
template <class W> struct share_pairs {
    pair_work<W> work;

    static constexpr bool whole = true;
    index_t lanes() const { return work.slots(); }
    template <class Block> ESPALIER_FN void operator()(Block const& block) const { kernels::share_pairs(block, work); }
};
template <class W> struct finish_measures {
    pair_work<W> work;
    bool all_served;
    double* measures;

    static constexpr bool whole = true;
    index_t lanes() const { return 1; }
    template <class Block> ESPALIER_FN void operator()(Block const& block) const {
        kernels::finish_measures(block, work, all_served, measures);
    }
};

// ---- rows to experts and back

template <class T> struct combine {
    matrix_view<master_of<T> const> weights;
    expert_outputs<T> outputs;
    matrix_view<T> y;

    index_t lanes() const { return y.rows * octets_of(y.columns); }
    template <class Block> ESPALIER_FN void operator()(Block const& block) const {
        kernels::combine_experts(block, weights, outputs, y);
    }
};
template <class T> struct weight_gradients {
    matrix_view<master_of<T> const> weights;
    matrix_view<T const> dy;
    expert_outputs<T> outputs;
    matrix_view<master_of<T>> dweights;

    index_t lanes() const { return dy.rows * weights.columns * 8; }
    template <class Block> ESPALIER_FN void operator()(Block const& block) const {
        kernels::weight_gradients(block, weights, dy, outputs, dweights);
    }
};
template <class T> struct expert_gradient {
    matrix_view<master_of<T> const> weights;
    matrix_view<std::int32_t const> experts;
    mixture_tasks tasks;
    expert_pairs pairs;
    matrix_view<T const> dy;
    matrix_view<T> d;

    static constexpr bool whole = true;
    index_t lanes() const { return d.rows * octets_of(d.columns); }
    template <class Block> ESPALIER_FN void operator()(Block const& block, live_groups const& live, int group) const {
        live_window const window = live.window(group);
        kernels::expert_gradient(block, weights, experts, tasks, live_pairs(pairs, window), dy, live_rows(d, window));
    }
};
template <class T> struct gather {
    matrix_view<T const> from;
    std::int32_t const* row;
    matrix_view<T> to;

    index_t lanes() const { return to.rows * octets_of(to.columns); }
    template <class Block> ESPALIER_FN void operator()(Block const& block, live_groups const& live, int group) const {
        live_window const window = live.window(group);
        kernels::gather_rows(block, from, row + live_first(window), live_rows(to, window));
    }
};
template <class T> struct scatter_add {
    matrix_view<T const> from;
    std::int32_t const* row;
    matrix_view<T> to;

    index_t lanes() const { return from.rows * octets_of(to.columns); }
    template <class Block> ESPALIER_FN void operator()(Block const& block, live_groups const& live, int group) const {
        live_window const window = live.window(group);
        kernels::scatter_add_rows(block, live_rows(from, window), row + live_first(window), to);
    }
};
/// `pair` is [rows of to][slots].
template <class T> struct add_pairs {
    matrix_view<T const> from;
    std::int32_t const* pair;
    index_t slots;
    bool ordered;
    matrix_view<T> to;

    index_t lanes() const { return to.rows * octets_of(to.columns); }
    template <class Block> ESPALIER_FN void operator()(Block const& block) const {
        kernels::add_pairs(block, from, pair, slots, ordered, to);
    }
};
template <class T> struct pass_back {
    matrix_view<master_of<T> const> weights;
    mixture_tasks tasks;
    std::int32_t const* pair;
    matrix_view<T const> dy;
    matrix_view<T> dx;

    static constexpr bool whole = true;
    index_t lanes() const { return dx.rows * octets_of(dx.columns); }
    template <class Block> ESPALIER_FN void operator()(Block const& block) const {
        kernels::pass_back(block, weights, tasks, pair, dy, dx);
    }
};

// ---- embeddings

template <class T> struct embed {
    matrix_view<T const> ids;
    id_tables tables;
    T const* table;
    index_t width;
    matrix_view<T> y;
    error_word* error;

    static constexpr bool whole = true;
    index_t lanes() const { return ids.rows * ids.columns * octets_of(width); }
    template <class Block> ESPALIER_FN void operator()(Block const& block) const {
        kernels::embed(block, ids, tables, table, width, y, error);
    }
};
/// `gradient` is 0 before.
template <class T, class Wide> struct embed_backward {
    matrix_view<T const> ids;
    id_tables tables;
    matrix_view<T const> dy;
    index_t width;
    Wide* gradient;

    static constexpr bool whole = true;
    index_t lanes() const { return ids.rows * ids.columns * ((width + 31) / 32) * 32; } // a warp for 32 columns
    template <class Block> ESPALIER_FN void operator()(Block const& block) const {
        kernels::embed_backward(block, ids, tables, dy, width, gradient);
    }
};

// ---- selections of masks

struct start_selection {
    mask_request request;
    std::uint64_t largest_key;
    mask_survey* survey;

    index_t lanes() const { return 1; }
    template <class Block> ESPALIER_FN void operator()(Block const& block) const {
        kernels::start_selection(block, request, largest_key, survey);
    }
};
struct count_kept {
    std::uint32_t const* mask;
    index_t n;
    mask_survey* survey;

    index_t lanes() const { return (n + 31) / 32; }
    template <class Block> ESPALIER_FN void operator()(Block const& block) const {
        kernels::count_kept(block, mask, n, survey);
    }
};
template <class Key, class W> struct survey_keys {
    Key key;
    W const* w;
    index_t n;
    mask_survey* survey;

    /// Four octets a lane at least: every block empties a histogram.
    index_t lanes() const { return (octets_of(n) + 3) / 4; }
    template <class Block> ESPALIER_FN void operator()(Block const& block) const {
        kernels::survey_keys(block, key, w, n, survey);
    }
};
struct narrow_selection {
    bool begins;
    mask_survey* survey;

    index_t lanes() const { return 1; }
    template <class Block> ESPALIER_FN void operator()(Block const& block) const {
        kernels::narrow_selection(block, begins, survey);
    }
};
template <class Key, class W> struct count_places {
    Key key;
    W const* w;
    index_t n;
    index_t* counters;
    mask_survey const* survey;

    index_t lanes() const { return mask_counters(n) * 32; }
    template <class Block> ESPALIER_FN void operator()(Block const& block) const {
        kernels::count_places(block, key, w, n, counters, survey);
    }
};
struct scan_places {
    index_t chunks;
    index_t* counters;
    mask_survey* survey;

    index_t lanes() const { return 1; }
    template <class Block> ESPALIER_FN void operator()(Block const& block) const {
        kernels::scan_places(block, chunks, counters, survey);
    }
};
template <class Key, class W> struct write_mask {
    Key key;
    W const* w;
    index_t n;
    index_t const* counters;
    mask_survey const* survey;
    std::uint32_t* mask;
    error_word const* error;

    index_t lanes() const { return mask_counters(n) * 32; }
    template <class Block> ESPALIER_FN void operator()(Block const& block) const {
        kernels::write_mask(block, key, w, n, counters, survey, mask, error);
    }
};
struct clear_mask {
    std::uint32_t* mask;
    index_t n;
    mask_survey const* survey;
    error_word const* error;

    index_t lanes() const { return (n + 31) / 32; }
    template <class Block> ESPALIER_FN void operator()(Block const& block) const {
        kernels::clear_mask(block, mask, n, survey, error);
    }
};
template <class Key, class W> struct write_group_mask {
    Key key;
    group_pattern pattern;
    matrix_view<W const> w;
    std::uint32_t* mask;
    mask_survey const* survey;
    error_word const* error;

    index_t lanes() const { return (w.rows + pattern.group - 1) / pattern.group * round_up(w.columns, 32); }
    template <class Block> ESPALIER_FN void operator()(Block const& block) const {
        kernels::write_group_mask(block, key, pattern, w, mask, survey, error);
    }
};

// ---- memory

template <bool Add, class From, class To> struct combine_rows {
    matrix_view<From const> from;
    matrix_view<To> to;

    index_t lanes() const { return to.rows * octets_of(to.columns); }
    template <class Block> ESPALIER_FN void operator()(Block const& block, live_groups const& live, int group) const {
        live_window const window = live.window(group);
        // A row that stands for all is of a tensor, and each group has its own.
        kernels::combine_rows<Add>(block, from.stride == 0 ? live.tensor(from, group) : live_rows(from, window),
                                   live_rows(to, window));
    }
};
template <class T> struct clear {
    matrix_view<T> to;

    index_t lanes() const { return to.rows * octets_of(to.columns); }
    template <class Block> ESPALIER_FN void operator()(Block const& block, live_groups const& live, int group) const {
        kernels::clear_rows(block, live_rows(to, live.window(group)));
    }
};
template <class T> struct clear_left_out {
    T* x;
    std::uint32_t const* mask;
    index_t n;

    index_t lanes() const { return octets_of(n); }
    template <class Block> ESPALIER_FN void operator()(Block const& block) const {
        kernels::clear_left_out(block, x, mask, n);
    }
};
/// Bytes that travel with a launch: copied when it is made, so the host may change its own at once, and nobody waits.
template <unsigned Capacity> struct store_bytes {
    unsigned char bytes[Capacity];
    unsigned char* to;
    unsigned count;

    static constexpr bool whole = true;
    index_t lanes() const { return 1; }
    template <class Block> ESPALIER_FN void operator()(Block const& block) const {
        for (unsigned i = block.thread_rank(); i < count; i += Block::lanes)
            to[i] = bytes[i];
    }
};

} // namespace passes
} // namespace espalier::kernels
