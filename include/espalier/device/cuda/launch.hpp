// SPDX-License-Identifier: Apache-2.0
// Kernels, one for each body, and the functions that launch them. A launch function decides the number of blocks,
// checks the status and never waits. Include it from .cu files.
#pragma once

#include <espalier/core/epilogue.hpp>
#include <espalier/core/layout.hpp>
#include <espalier/core/live_groups.hpp>
#include <espalier/core/live_window.hpp>
#include <espalier/core/macros.hpp>
#include <espalier/core/pairs.hpp>
#include <espalier/core/rows.hpp>
#include <espalier/core/update.hpp>
#include <espalier/core/view.hpp>
#include <espalier/device/cuda/check.hpp>
#include <espalier/device/cuda/group.hpp>
#include <espalier/device/cuda/launched_group.hpp>
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
#include <espalier/kernels/sums.hpp>
#include <espalier/kernels/update.hpp>

#include <cuda_runtime_api.h>

#include <cstdint>
#include <type_traits>

namespace espalier::cuda {

/// Threads of a block. Part of no result: bodies give the same bits for every block size (rows wider than
/// kernels::widest_tile_row excepted, which one block adds up).
inline constexpr unsigned block_threads = 256;
using block = block_group<block_threads>;

/// Where kernels go, and the most blocks of one launch.
struct launch_target {
    cudaStream_t stream = nullptr;
    index_t most_blocks = 1024;
    /// Only the layers' own passes heed it: the epilogue, row maps, column sums, copies, gathering, scattering, updates
    /// without grouped penalties.
    live_groups live{};
    /// Where kernels report what is not finite; null: nobody asks.
    kernels::error_word* error = nullptr;

    /// Blocks for so many threads' worth of work: enough, but no more than run at once; the bodies loop over the rest.
    unsigned blocks(index_t threads) const {
        index_t const needed = (threads + block_threads - 1) / block_threads;
        return static_cast<unsigned>(needed < 1 ? 1 : needed < most_blocks ? needed : most_blocks);
    }
    /// The same for every group, each with a row of the grid.
    dim3 grid(index_t threads) const {
        index_t const all = blocks(threads), most = live.blocks_each(most_blocks);
        return dim3(static_cast<unsigned>(all < most ? all : most), static_cast<unsigned>(live.groups));
    }
};

// ---- kernels
//
// The second launch bound is the number of blocks a multiprocessor shall hold at once. Left to itself, ptxas takes 64
// registers for some of these kernels and spills a few bytes.

/// Sums of several columns at once need registers, double twice as many.
template <class Op, class T>
inline constexpr unsigned backward_blocks = sizeof(T) > 4 || Op::column_penalties > 0 ? 2 : 3;

template <class Op, class T>
ESPALIER_KERNEL void __launch_bounds__(block_threads)
    epilogue_forward_kernel(kernels::numbers<Op> op, matrix_view<T const> z, matrix_view<T> y,
                            kernels::site_numbers site, rows batch, live_groups groups, kernels::error_word* error) {
    kernels::grouped::epilogue_forward(block{}, groups, launched_group(), op.get(), z, y, site.get(), batch, error);
}

template <class Op, class T>
ESPALIER_KERNEL void __launch_bounds__(block_threads)
    epilogue_forward_strips_kernel(kernels::numbers<Op> op, matrix_view<T const> z, matrix_view<T> y,
                                   kernels::site_numbers site, rows batch,
                                   kernels::epilogue_scratch<master_of<T>> scratch, live_groups groups,
                                   kernels::error_word* error) {
    kernels::grouped::epilogue_forward_strips(block{}, groups, launched_group(), op.get(), z, y, site.get(), batch,
                                              scratch, error);
}

template <class Op, class W>
ESPALIER_KERNEL void __launch_bounds__(block_threads)
    epilogue_finish_kernel(kernels::numbers<Op> op, index_t row_count, index_t columns,
                           kernels::epilogue_scratch<W> scratch, epilogue_statistics<W> statistics,
                           live_groups groups) {
    kernels::grouped::epilogue_finish(block{}, groups, launched_group(), op.get(), row_count, columns, scratch,
                                      statistics);
}

template <class Op, class T>
ESPALIER_KERNEL void __launch_bounds__(block_threads, backward_blocks<Op, T>)
    epilogue_backward_kernel(kernels::numbers<Op> op, matrix_view<T const> z, matrix_view<T const> dy,
                             matrix_view<T> dz, kernels::site_numbers site, rows batch,
                             epilogue_statistics<master_of<T>> statistics, master_of<T>* partial, live_groups groups,
                             kernels::error_word* error) {
    kernels::grouped::epilogue_backward(block{}, groups, launched_group(), op.get(), z, dy, dz, site.get(), batch,
                                        statistics, partial, error);
}

template <class W>
ESPALIER_KERNEL void __launch_bounds__(block_threads)
    add_partial_rows_kernel(W const* partial, int set, index_t row_count, index_t columns, W* out, bool accumulate,
                            kernels::error_word const* error, live_groups groups) {
    kernels::grouped::add_partial_rows(block{}, groups, launched_group(), partial, set, row_count, columns, out,
                                       accumulate, error);
}

template <class T>
ESPALIER_KERNEL void __launch_bounds__(block_threads)
    column_partials_kernel(matrix_view<T const> m, master_of<T>* partial, live_groups groups) {
    kernels::grouped::column_partials(block{}, groups, launched_group(), m, partial);
}

template <class Optimizer, class Rule, class Wide, class Narrow>
ESPALIER_KERNEL void __launch_bounds__(block_threads)
    update_kernel(kernels::numbers<Optimizer> optimizer, kernels::numbers<Rule> rule,
                  update_segment<Wide, Narrow> segment, kernels::update_context context, double* partial,
                  live_groups groups) {
    kernels::grouped::update_tensor(block{}, groups, launched_group(), optimizer.get(), rule.get(), segment, context,
                                    partial);
}

template <class Optimizer, class Rule, class Wide, class Narrow>
ESPALIER_KERNEL void __launch_bounds__(block_threads)
    update_grouped_kernel(kernels::numbers<Optimizer> optimizer, kernels::numbers<Rule> rule,
                          update_segment<Wide, Narrow> segment, kernels::update_context context,
                          kernels::group_scratch<Wide> scratch) {
    kernels::update_grouped(block{}, optimizer.get(), rule.get(), segment, context, scratch);
}

template <class W>
ESPALIER_KERNEL void __launch_bounds__(block_threads)
    add_row_sums_kernel(W const* partial, index_t row_count, index_t columns, W* out,
                        kernels::error_word const* error) {
    kernels::add_row_sums(block{}, partial, row_count, columns, out, error);
}

template <int N, class Op, class T>
ESPALIER_KERNEL void __launch_bounds__(block_threads)
    row_forward_kernel(kernels::numbers<Op> op, matrix_view<T> y, live_groups groups, kernels::error_word* error) {
    kernels::row_map_forward<N>(block{}, op.get(), kernels::live_rows(y, groups.window(launched_group())), error);
}
template <int N, class Op, class T>
ESPALIER_KERNEL void __launch_bounds__(block_threads)
    row_backward_kernel(kernels::numbers<Op> op, matrix_view<T const> y, matrix_view<T> dy, live_groups groups,
                        kernels::error_word* error) {
    live_window const live = groups.window(launched_group());
    kernels::row_map_backward<N>(block{}, op.get(), kernels::live_rows(y, live), kernels::live_rows(dy, live), error);
}

template <class Loss>
ESPALIER_KERNEL void __launch_bounds__(block_threads)
    count_rows_kernel(rows batch, int columns, bool remembers, index_t samples, double denominator,
                      kernels::row_loss_result* result, kernels::error_word* error) {
    kernels::count_rows<Loss>(block{}, batch, columns, remembers, samples, denominator, result, error);
}
template <int N, class Loss, class T>
ESPALIER_KERNEL void __launch_bounds__(block_threads, 2)
    row_loss_kernel(kernels::numbers<Loss> loss, kernels::row_loss_arguments<T> arguments,
                    kernels::row_loss_result const* result, double* weighted, kernels::error_word* error) {
    kernels::row_loss<N>(block{}, loss.get(), arguments, result, weighted, error);
}

/// Many columns in a lane, rows of noise and statistics beside the logits, or double need registers.
template <class Gate, class Op, class T>
inline constexpr unsigned gate_blocks = [] {
    constexpr bool by_block = kernels::gate_takes_block<Gate, Op, master_of<T>, block_threads>();
    constexpr int lanes =
        by_block ? static_cast<int>(block_threads) : static_cast<int>(kernels::gate_lanes<Gate, Op>());
    constexpr bool wide = detail::gate_row_columns<Gate, Op>() > 16 * lanes;
    if (detail::gate_says_needs<Op>()) return sizeof(T) > 4 ? 1u : 2u;
    return wide || sizeof(T) > 4 ? 2u : 4u;
}();

template <class Gate, class Op, class T>
ESPALIER_KERNEL void __launch_bounds__(block_threads, gate_blocks<Gate, Op, T>)
    row_gate_forward_kernel(kernels::numbers<Op> op, matrix_view<T const> logits, matrix_view<master_of<T>> weights,
                            matrix_view<std::int32_t> experts, double* terms, kernels::gate_batch<master_of<T>> given,
                            std::uint32_t const* step, kernels::error_word* error) {
    if constexpr (kernels::gate_draws<Op>()) given.site = kernels::site_numbers{given.site, step}.get();
    kernels::row_gate_forward<Gate>(block{}, op.get(), logits, weights, experts, terms, given, error);
}
template <class Number>
ESPALIER_KERNEL void __launch_bounds__(block_threads)
    gate_term_kernel(Number const* terms, index_t row_count, Number* term) {
    kernels::gate_term(block{}, terms, row_count, term);
}
template <int Columns, class Op, class W>
ESPALIER_KERNEL void __launch_bounds__(block_threads)
    gate_statistics_kernel(kernels::numbers<Op> op, W const* partial, double const* terms, index_t row_count,
                           double* sums, double* term) {
    kernels::gate_statistics<Columns>(block{}, op.get(), partial, terms, row_count, sums, term);
}
template <class Gate, class Op, class T>
ESPALIER_KERNEL void __launch_bounds__(block_threads, gate_blocks<Gate, Op, T>)
    row_gate_backward_kernel(kernels::numbers<Op> op, matrix_view<T const> logits,
                             matrix_view<master_of<T> const> weights, matrix_view<std::int32_t const> experts,
                             matrix_view<master_of<T> const> dweights, matrix_view<T> dlogits,
                             kernels::gate_batch<master_of<T>> given, std::uint32_t const* step,
                             kernels::error_word* error) {
    if constexpr (kernels::gate_draws<Op>()) given.site = kernels::site_numbers{given.site, step}.get();
    kernels::row_gate_backward<Gate>(block{}, op.get(), logits, weights, experts, dweights, dlogits, given, error);
}

template <class T>
ESPALIER_KERNEL void __launch_bounds__(block_threads)
    combine_experts_kernel(matrix_view<master_of<T> const> weights, expert_outputs<T> outputs, matrix_view<T> y) {
    kernels::combine_experts(block{}, weights, outputs, y);
}
template <class T>
ESPALIER_KERNEL void __launch_bounds__(block_threads)
    weight_gradients_kernel(matrix_view<master_of<T> const> weights, matrix_view<T const> dy, expert_outputs<T> outputs,
                            matrix_view<master_of<T>> dweights) {
    kernels::weight_gradients(block{}, weights, dy, outputs, dweights);
}
template <class T>
ESPALIER_KERNEL void __launch_bounds__(block_threads)
    expert_gradient_kernel(matrix_view<master_of<T> const> weights, matrix_view<std::int32_t const> experts,
                           mixture_tasks const __grid_constant__ tasks, expert_pairs pairs, matrix_view<T const> dy,
                           matrix_view<T> d, live_groups groups) {
    live_window const live = groups.window(launched_group());
    kernels::expert_gradient(block{}, weights, experts, tasks, kernels::live_pairs(pairs, live), dy,
                             kernels::live_rows(d, live));
}

template <class Gate, class Op, class T>
ESPALIER_KERNEL void __launch_bounds__(block_threads)
    look_up_kernel(kernels::numbers<Op> op, rows batch, matrix_view<T const> x, master_of<T> const* table,
                   matrix_view<master_of<T>> weights, matrix_view<std::int32_t> experts, kernels::error_word* error) {
    kernels::look_up<Gate>(block{}, op.get(), batch, x, table, weights, experts, error);
}
// A table of a launch that is indexed at run time must stay where arguments are, or it is copied to local memory.
template <class T>
ESPALIER_KERNEL void __launch_bounds__(block_threads)
    embed_kernel(matrix_view<T const> ids, kernels::id_tables const __grid_constant__ tables, T const* table,
                 index_t width, matrix_view<T> y, kernels::error_word* error) {
    kernels::embed(block{}, ids, tables, table, width, y, error);
}
template <class T, class Wide>
ESPALIER_KERNEL void __launch_bounds__(block_threads)
    embed_backward_kernel(matrix_view<T const> ids, kernels::id_tables const __grid_constant__ tables,
                          matrix_view<T const> dy, index_t width, Wide* gradient) {
    kernels::embed_backward(block{}, ids, tables, dy, width, gradient);
}
template <class Number>
ESPALIER_KERNEL void __launch_bounds__(block_threads) number_slots_kernel(matrix_view<Number> experts) {
    kernels::number_slots(block{}, experts);
}
template <class W>
ESPALIER_KERNEL void __launch_bounds__(block_threads)
    spread_slots_kernel(matrix_view<W const> weights, matrix_view<std::int32_t const> experts, matrix_view<W> spread) {
    kernels::spread_slots(block{}, weights, experts, spread);
}
template <class W>
ESPALIER_KERNEL void __launch_bounds__(block_threads)
    gather_slots_kernel(matrix_view<W const> dspread, matrix_view<W const> weights,
                        matrix_view<std::int32_t const> experts, matrix_view<W> dweights) {
    kernels::gather_slots(block{}, dspread, weights, experts, dweights);
}
template <class W>
ESPALIER_KERNEL void __launch_bounds__(block_threads) divide_by_sums_kernel(matrix_view<W> weights, W* sums) {
    kernels::divide_by_sums(block{}, weights, sums);
}
template <class W>
ESPALIER_KERNEL void __launch_bounds__(block_threads)
    divide_by_sums_backward_kernel(matrix_view<W const> weights, matrix_view<W const> dweights, W const* sums,
                                   matrix_view<W> d) {
    kernels::divide_by_sums_backward(block{}, weights, dweights, sums, d);
}
template <class W>
ESPALIER_KERNEL void __launch_bounds__(block_threads) choose_rows_kernel(index_t count, matrix_view<W> weights) {
    kernels::choose_rows(block{}, count, weights);
}
template <class Op, class W>
ESPALIER_KERNEL void __launch_bounds__(block_threads)
    soft_permutation_kernel(kernels::numbers<Op> op, int n, W const* scores, kernels::site_numbers site, double* noisy,
                            double* potentials, double* soft, W* permutation, double* term) {
    kernels::soft_permutation(block{}, op.get(), n, scores, site.get(), noisy, potentials, soft, permutation, term);
}
template <class Op, class W>
ESPALIER_KERNEL void __launch_bounds__(block_threads)
    soft_permutation_backward_kernel(kernels::numbers<Op> op, int n, double const* noisy, double* potentials,
                                     double const* soft, W const* dpermutation, double* dsoft, W* dscores) {
    kernels::soft_permutation_backward(block{}, op.get(), n, noisy, potentials, soft, dpermutation, dsoft, dscores);
}
template <class W>
ESPALIER_KERNEL void __launch_bounds__(block_threads)
    round_permutation_kernel(int n, double const* soft, double* room, W* permutation,
                             kernels::error_word const* error) {
    kernels::round_permutation(block{}, n, soft, room, permutation, error);
}

template <kernels::slot_order Order, bool Marked, class W>
ESPALIER_KERNEL void __launch_bounds__(block_threads, 4)
    count_pairs_kernel(kernels::pair_work<W> work, std::int32_t const* served) {
    kernels::count_pairs<Order, Marked>(block{}, work, served);
}
template <bool Final, class W>
ESPALIER_KERNEL void __launch_bounds__(block_threads) scan_pairs_kernel(kernels::pair_work<W> work) {
    kernels::scan_pairs<Final>(block{}, work);
}
template <class W>
ESPALIER_KERNEL void __launch_bounds__(block_threads, 4) mark_pairs_kernel(kernels::pair_work<W> work) {
    kernels::mark_pairs(block{}, work);
}
template <bool Marked, class W>
ESPALIER_KERNEL void __launch_bounds__(block_threads, 4) fill_pairs_kernel(kernels::pair_work<W> work, rows batch) {
    kernels::fill_pairs<Marked>(block{}, work, batch);
}
template <class W>
ESPALIER_KERNEL void __launch_bounds__(block_threads) share_pairs_kernel(kernels::pair_work<W> work) {
    kernels::share_pairs(block{}, work);
}
template <class W>
ESPALIER_KERNEL void __launch_bounds__(block_threads)
    finish_measures_kernel(kernels::pair_work<W> work, bool all_served, double* measures) {
    kernels::finish_measures(block{}, work, all_served, measures);
}
template <class T>
ESPALIER_KERNEL void __launch_bounds__(block_threads)
    gather_rows_kernel(matrix_view<T const> from, std::int32_t const* row, matrix_view<T> to, live_groups groups) {
    live_window const live = groups.window(launched_group());
    kernels::gather_rows(block{}, from, row + kernels::live_first(live), kernels::live_rows(to, live));
}
template <class T>
ESPALIER_KERNEL void __launch_bounds__(block_threads)
    scatter_add_rows_kernel(matrix_view<T const> from, std::int32_t const* row, matrix_view<T> to, live_window live) {
    kernels::scatter_add_rows(block{}, kernels::live_rows(from, live), row + kernels::live_first(live), to);
}
template <class T>
ESPALIER_KERNEL void __launch_bounds__(block_threads)
    add_pairs_kernel(matrix_view<T const> from, std::int32_t const* pair, index_t slots, bool ordered,
                     matrix_view<T> to) {
    kernels::add_pairs(block{}, from, pair, slots, ordered, to);
}
template <class T>
ESPALIER_KERNEL void __launch_bounds__(block_threads)
    pass_back_kernel(matrix_view<master_of<T> const> weights, mixture_tasks const __grid_constant__ tasks,
                     std::int32_t const* pair, matrix_view<T const> dy, matrix_view<T> dx) {
    kernels::pass_back(block{}, weights, tasks, pair, dy, dx);
}

template <class T>
ESPALIER_KERNEL void __launch_bounds__(block_threads) square_partials_kernel(T const* x, index_t n, double* partial) {
    kernels::square_partials(block{}, x, n, partial);
}
template <class T>
ESPALIER_KERNEL void __launch_bounds__(block_threads)
    find_not_finite_kernel(T const* x, index_t n, std::uint32_t bit, kernels::error_word* error) {
    kernels::find_not_finite(block{}, x, n, bit, error);
}
template <class T>
ESPALIER_KERNEL void __launch_bounds__(block_threads)
    find_rows_not_finite_kernel(matrix_view<T const> x, index_t blocks, index_t apart, std::uint32_t bit,
                                live_groups groups, kernels::error_word* error) {
    kernels::find_rows_not_finite(block{}, kernels::live_rows(x, groups.window(launched_group())), blocks, apart, bit,
                                  error);
}
template <class T>
ESPALIER_KERNEL void __launch_bounds__(block_threads)
    clear_left_out_kernel(T* x, std::uint32_t const* mask, index_t n) {
    kernels::clear_left_out(block{}, x, mask, n);
}
template <class T>
ESPALIER_KERNEL void __launch_bounds__(block_threads)
    row_square_sums_kernel(matrix_view<T const> m, master_of<T>* norms) {
    kernels::row_square_sums(block{}, m, norms);
}
template <class T>
ESPALIER_KERNEL void __launch_bounds__(block_threads)
    column_square_partials_kernel(matrix_view<T const> m, master_of<T>* partial) {
    kernels::column_square_partials(block{}, m, partial);
}

template <class T>
ESPALIER_KERNEL void __launch_bounds__(block_threads)
    moment_partials_kernel(matrix_view<T const> x, master_of<T>* partial) {
    kernels::moment_partials(block{}, x, partial);
}
template <class W>
ESPALIER_KERNEL void __launch_bounds__(block_threads)
    finish_moments_kernel(W const* partial, index_t row_count, index_t columns, W* mean, W* variance, index_t* counted,
                          kernels::error_word* error) {
    kernels::finish_moments(block{}, partial, row_count, columns, mean, variance, counted, error);
}
template <class T>
ESPALIER_KERNEL void __launch_bounds__(block_threads)
    normalise_kernel(matrix_view<T const> x, master_of<T> const* mean, master_of<T> const* variance,
                     master_of<T> const* scale, master_of<T> const* shift, double epsilon, matrix_view<T> y) {
    kernels::normalise(block{}, x, mean, variance, scale, shift, epsilon, y);
}
template <class T>
ESPALIER_KERNEL void __launch_bounds__(block_threads)
    normal_sum_partials_kernel(matrix_view<T const> x, matrix_view<T const> dy, master_of<T> const* mean,
                               master_of<T> const* variance, double epsilon, master_of<T>* partial) {
    kernels::normal_sum_partials(block{}, x, dy, mean, variance, epsilon, partial);
}
template <class W>
ESPALIER_KERNEL void __launch_bounds__(block_threads)
    finish_normal_sums_kernel(W const* partial, index_t row_count, index_t columns, W* sums, W* dscale, W* dshift) {
    kernels::finish_normal_sums(block{}, partial, row_count, columns, sums, dscale, dshift);
}
template <class T>
ESPALIER_KERNEL void __launch_bounds__(block_threads)
    normalise_backward_kernel(matrix_view<T const> x, matrix_view<T const> dy, master_of<T> const* mean,
                              master_of<T> const* variance, master_of<T> const* scale, double epsilon,
                              master_of<T> const* sums, matrix_view<T> dx) {
    kernels::normalise_backward(block{}, x, dy, mean, variance, scale, epsilon, sums, dx);
}
template <class W>
ESPALIER_KERNEL void __launch_bounds__(block_threads)
    running_moments_kernel(W const* mean, W const* variance, index_t columns, index_t const* row_count, double momentum,
                           W* running, tape_copies copies, kernels::error_word const* error) {
    kernels::running_moments(block{}, mean, variance, columns, row_count, momentum, running, copies, error);
}

template <bool Add, class From, class To>
ESPALIER_KERNEL void __launch_bounds__(block_threads)
    combine_kernel(matrix_view<From const> from, matrix_view<To> to, live_groups groups) {
    live_window const live = groups.window(launched_group());
    kernels::combine_rows<Add>(block{}, kernels::live_rows(from, live), kernels::live_rows(to, live));
}

template <class T>
ESPALIER_KERNEL void __launch_bounds__(block_threads) clear_kernel(matrix_view<T> to, live_groups groups) {
    kernels::clear_rows(block{}, kernels::live_rows(to, groups.window(launched_group())));
}

// Templates although one type fits: then a .cu that includes this header without using them has no copy of its own.

/// Sums of `count` numbers for each of `sums` results, one block each in turn; see kernels::add_penalty_values.
template <class Number>
ESPALIER_KERNEL void __launch_bounds__(block_threads)
    add_sums_kernel(Number const* partial, int sums, index_t count, index_t stride, Number* results, bool accumulate,
                    kernels::error_word const* error, live_groups groups) {
    if (kernels::failed(error)) return;
    int const g = launched_group();
    partial += g * sums * stride;
    results = groups.term(results, g);
    for (int k = 0; k < sums; ++k)
        kernels::sum_numbers(block{}, partial + k * stride, count, results + k, accumulate);
}

template <class Number>
ESPALIER_KERNEL void __launch_bounds__(block_threads)
    finish_loss_kernel(Number const* weighted, index_t row_count, kernels::row_loss_result* result) {
    kernels::finish_loss(block{}, weighted, row_count, result);
}

template <class Op, class W>
ESPALIER_KERNEL void __launch_bounds__(block_threads)
    group_value_kernel(kernels::numbers<Op> op, W const* squared_norms, index_t groups, double* result,
                       kernels::error_word const* error) {
    if (kernels::failed(error)) return;
    kernels::group_value(block{}, op.get(), squared_norms, groups, result);
}

/// Bytes that travel as a kernel argument: copied when the launch is made, so the host may change its own copy at once,
/// and nobody waits.
struct step_payload {
    static constexpr unsigned capacity = 2048;
    unsigned char bytes[capacity];
};
template <class Payload>
ESPALIER_KERNEL void __launch_bounds__(block_threads)
    store_bytes_kernel(Payload const __grid_constant__ payload, unsigned char* to, unsigned count) {
    for (unsigned i = threadIdx.x; i < count; i += block_threads)
        to[i] = payload.bytes[i];
}

// ---- launches

/// Set `set` of the partial sums of so many rows.
template <class W>
void launch_add_partial_rows(launch_target const& target, W const* partial, int set, index_t row_count, index_t columns,
                             W* out, bool accumulate, kernels::error_word const* error) {
    if (columns == 0) return;
    add_partial_rows_kernel<<<target.grid(columns), block_threads, 0, target.stream>>>(
        partial, set, row_count, columns, out, accumulate, error, target.live);
    check_launch("add_partial_rows");
}

inline void launch_add_sums(launch_target const& target, double const* partial, int sums, index_t count, index_t stride,
                            double* results, bool accumulate, kernels::error_word const* error) {
    if (sums == 0) return;
    add_sums_kernel<<<target.grid(1), block_threads, 0, target.stream>>>(partial, sums, count, stride, results,
                                                                         accumulate, error, target.live);
    check_launch("add_sums");
}

template <class Op, class W>
void launch_group_value(launch_target const& target, kernels::numbers<Op> const& op, W const* squared_norms,
                        index_t groups, double* result, kernels::error_word const* error) {
    group_value_kernel<<<1, block_threads, 0, target.stream>>>(op, squared_norms, groups, result, error);
    check_launch("group_value");
}

template <class Op, class T>
void launch_epilogue_forward(launch_target const& target, kernels::numbers<Op> const& op, matrix_view<T const> z,
                             matrix_view<T> y, kernels::site_numbers const& site, rows const& batch) {
    index_t const octets = kernels::octets_of(z.columns);
    if (z.rows * octets == 0) return;
    epilogue_forward_kernel<<<target.grid((z.rows * octets + 1) / 2), block_threads, 0, target.stream>>>(
        op, z, y, site, batch, target.live, target.error);
    check_launch("epilogue_forward");
}

/// Also the column sums and the terms of the penalties.
template <class Op, class T>
void launch_epilogue_forward(launch_target const& target, kernels::numbers<Op> const& op, matrix_view<T const> z,
                             matrix_view<T> y, kernels::site_numbers const& site, rows const& batch,
                             epilogue_statistics<master_of<T>> const& statistics,
                             kernels::epilogue_scratch<master_of<T>> const& scratch) {
    kernels::strips const cut = kernels::strips_of(z.rows);
    index_t const octets = kernels::octets_of(z.columns);
    if (cut.count * octets > 0) {
        epilogue_forward_strips_kernel<<<target.grid(cut.count * octets), block_threads, 0, target.stream>>>(
            op, z, y, site, batch, scratch, target.live, target.error);
        check_launch("epilogue_forward_strips");
    }
    for (int i = 0; i < Op::column_penalties; ++i)
        launch_add_partial_rows(target, static_cast<master_of<T> const*>(scratch.columns), i, z.rows, z.columns,
                                statistics.column_sums + i * statistics.column_stride, false, nullptr);
    if (statistics.value) {
        epilogue_finish_kernel<<<target.grid(1), block_threads, 0, target.stream>>>(op, z.rows, z.columns, scratch,
                                                                                    statistics, target.live);
        check_launch("epilogue_finish");
    }
}

/// `partial`: room for kernels::partial_size(rows, columns) numbers when there is a bias gradient.
template <class Op, class T>
void launch_epilogue_backward(launch_target const& target, kernels::numbers<Op> const& op, matrix_view<T const> z,
                              matrix_view<T const> dy, matrix_view<T> dz, kernels::site_numbers const& site,
                              rows const& batch, epilogue_statistics<master_of<T>> const& statistics,
                              master_of<T>* bias_gradient, master_of<T>* partial) {
    index_t const octets = kernels::octets_of(z.columns), count = kernels::strips_of(z.rows).count;
    index_t const lines = bias_gradient ? count : z.rows;
    if (lines * octets > 0) {
        epilogue_backward_kernel<<<target.grid(lines * octets), block_threads, 0, target.stream>>>(
            op, z, dy, dz, site, batch, statistics, bias_gradient ? partial : nullptr, target.live, target.error);
        check_launch("epilogue_backward");
    }
    if (bias_gradient)
        launch_add_partial_rows(target, static_cast<master_of<T> const*>(partial), 0, z.rows, z.columns, bias_gradient,
                                false, nullptr);
}

template <class T>
void launch_column_sums(launch_target const& target, matrix_view<T const> m, master_of<T>* sums,
                        master_of<T>* partial) {
    index_t const octets = kernels::octets_of(m.columns), count = kernels::strips_of(m.rows).count;
    if (count * octets > 0) {
        column_partials_kernel<<<target.grid(count * octets), block_threads, 0, target.stream>>>(m, partial,
                                                                                                 target.live);
        check_launch("column_partials");
    }
    launch_add_partial_rows(target, static_cast<master_of<T> const*>(partial), 0, m.rows, m.columns, sums, false,
                            nullptr);
}

/// `partial`: [groups][penalties][chunks], needed when the segment has values.
template <class Optimizer, class Rule, class Wide, class Narrow>
void launch_update(launch_target const& target, kernels::numbers<Optimizer> const& optimizer,
                   kernels::numbers<Rule> const& rule, update_segment<Wide, Narrow> const& segment,
                   kernels::update_context const& context, double* partial) {
    index_t const chunks = kernels::update_chunks(segment.rows * segment.columns);
    if (chunks == 0) return;
    double* const values = segment.values ? partial : nullptr;
    update_kernel<<<target.grid(chunks * 32), block_threads, 0, target.stream>>>(optimizer, rule, segment, context,
                                                                                 values, target.live);
    check_launch("update");
    if (values)
        launch_add_sums(target, values, Rule::penalty_count, chunks, chunks, segment.values, true, context.error);
}

/// A rule with grouped penalties: the update, the next norms, the values.
template <class Optimizer, class Rule, class Wide, class Narrow>
void launch_update_grouped(launch_target const& target, kernels::numbers<Optimizer> const& optimizer,
                           kernels::numbers<Rule> const& rule, update_segment<Wide, Narrow> const& segment,
                           kernels::update_context const& context, kernels::group_scratch<Wide> scratch) {
    index_t const octets = kernels::octets_of(segment.columns), count = kernels::strips_of(segment.rows).count;
    if (count * octets == 0) return;
    if (!segment.values) scratch.values = nullptr;
    update_grouped_kernel<<<target.blocks(count * octets), block_threads, 0, target.stream>>>(optimizer, rule, segment,
                                                                                              context, scratch);
    check_launch("update_grouped");
    for (int g = 0; g < Rule::group_sets; ++g) {
        if (Rule::scope(g) == group_scope::columns) {
            launch_add_partial_rows(target, static_cast<Wide const*>(scratch.columns), 0, segment.rows, segment.columns,
                                    segment.next_norms[g], true, context.error);
        } else {
            add_row_sums_kernel<<<target.blocks(segment.rows * 32), block_threads, 0, target.stream>>>(
                static_cast<Wide const*>(scratch.rows), segment.rows, octets, segment.next_norms[g], context.error);
            check_launch("add_row_sums");
        }
    }
    if (scratch.values)
        launch_add_sums(target, scratch.values, Rule::penalty_count, count * octets, count * octets, segment.values,
                        true, context.error);
}

/// Threads that rows of N columns keep busy.
template <int N> constexpr index_t row_threads(index_t row_count) {
    if constexpr (N > kernels::widest_tile_row)
        return row_count * block_threads;
    else
        return row_count * kernels::row_lanes<N>();
}

template <int N, class Op, class T>
void launch_row_forward(launch_target const& target, kernels::numbers<Op> const& op, matrix_view<T> y) {
    if (y.rows == 0) return;
    row_forward_kernel<N>
        <<<target.grid(row_threads<N>(y.rows)), block_threads, 0, target.stream>>>(op, y, target.live, target.error);
    check_launch("row_forward");
}
template <int N, class Op, class T>
void launch_row_backward(launch_target const& target, kernels::numbers<Op> const& op, matrix_view<T const> y,
                         matrix_view<T> dy) {
    if (y.rows == 0) return;
    row_backward_kernel<N><<<target.grid(row_threads<N>(y.rows)), block_threads, 0, target.stream>>>(
        op, y, dy, target.live, target.error);
    check_launch("row_backward");
}

/// `weighted`: room for one number a row.
template <int N, class Loss, class T>
void launch_row_loss(launch_target const& target, kernels::numbers<Loss> const& loss,
                     kernels::row_loss_arguments<T> const& arguments, kernels::row_loss_result* result,
                     double* weighted, kernels::error_word* error) {
    bool const remembers = loss::per_sample_state<Loss> && arguments.state.data != nullptr;
    count_rows_kernel<Loss><<<1, block_threads, 0, target.stream>>>(arguments.batch, N, remembers, arguments.state.rows,
                                                                    arguments.denominator, result, error);
    check_launch("count_rows");
    index_t const row_count = arguments.z.rows;
    if (row_count > 0) {
        row_loss_kernel<N><<<target.blocks(row_threads<N>(row_count)), block_threads, 0, target.stream>>>(
            loss, arguments, static_cast<kernels::row_loss_result const*>(result), weighted, error);
        check_launch("row_loss");
    }
    finish_loss_kernel<<<1, block_threads, 0, target.stream>>>(static_cast<double const*>(weighted), row_count, result);
    check_launch("finish_loss");
}

/// Threads that rows of a gate's logits keep busy.
template <class Gate, class Op, class W> constexpr index_t gate_threads(index_t row_count) {
    if constexpr (kernels::gate_takes_block<Gate, Op, W, block_threads>())
        return row_count * block_threads;
    else
        return row_count * kernels::gate_lanes<Gate, Op>();
}

/// Memory that a forward pass of a gate leaves its terms in; what the gate does not have, or nobody asks for, is null.
template <class W> struct gate_scratch {
    double* terms = nullptr; ///< [rows]
    W* statistics = nullptr; ///< [rows][statistics][experts]
    W* partial = nullptr;    ///< kernels::partial_size(rows, statistics * experts)
    double* sums = nullptr;  ///< [2][statistics][experts]: the sums over the batch, then the slopes; kept
    double* term = nullptr;  ///< the gate's own term
};

template <class Gate, class Op, class T>
void launch_row_gate_forward(launch_target const& target, kernels::numbers<Op> const& op, matrix_view<T const> logits,
                             matrix_view<master_of<T>> weights, matrix_view<std::int32_t> experts,
                             kernels::gate_batch<master_of<T>> given, std::uint32_t const* step,
                             gate_scratch<master_of<T>> const& scratch) {
    using W = master_of<T>;
    constexpr int columns = detail::gate_needs_of<Op>().statistics * Gate::experts;
    given.statistics = scratch.statistics;
    if (logits.rows > 0) {
        row_gate_forward_kernel<Gate>
            <<<target.blocks(gate_threads<Gate, Op, master_of<T>>(logits.rows)), block_threads, 0, target.stream>>>(
                op, logits, weights, experts, scratch.terms, given, step, target.error);
        check_launch("row_gate_forward");
    }
    if (!scratch.term) return;
    if constexpr (columns > 0) {
        index_t const lanes = kernels::strips_of(logits.rows).count * kernels::octets_of(columns);
        if (lanes > 0) {
            column_partials_kernel<<<target.blocks(lanes), block_threads, 0, target.stream>>>(
                matrix_view<W const>{scratch.statistics, logits.rows, columns, columns}, scratch.partial, {});
            check_launch("column_partials");
        }
        gate_statistics_kernel<columns><<<1, block_threads, 0, target.stream>>>(
            op, static_cast<W const*>(scratch.partial), static_cast<double const*>(scratch.terms), logits.rows,
            scratch.sums, scratch.term);
        check_launch("gate_statistics");
    } else if constexpr (detail::gate_has_term<Op>()) {
        gate_term_kernel<<<1, block_threads, 0, target.stream>>>(static_cast<double const*>(scratch.terms), logits.rows,
                                                                 scratch.term);
        check_launch("gate_term");
    }
}
template <class Gate, class Op, class T>
void launch_row_gate_backward(launch_target const& target, kernels::numbers<Op> const& op, matrix_view<T const> logits,
                              matrix_view<master_of<T> const> weights, matrix_view<std::int32_t const> experts,
                              matrix_view<master_of<T> const> dweights, matrix_view<T> dlogits,
                              kernels::gate_batch<master_of<T>> const& given, std::uint32_t const* step) {
    if (logits.rows == 0) return;
    row_gate_backward_kernel<Gate>
        <<<target.blocks(gate_threads<Gate, Op, master_of<T>>(logits.rows)), block_threads, 0, target.stream>>>(
            op, logits, weights, experts, dweights, dlogits, given, step, target.error);
    check_launch("row_gate_backward");
}

template <class T>
void launch_combine_experts(launch_target const& target, matrix_view<master_of<T> const> weights,
                            expert_outputs<T> const& outputs, matrix_view<T> y) {
    index_t const lanes = y.rows * kernels::octets_of(y.columns);
    if (lanes == 0) return;
    combine_experts_kernel<<<target.blocks(lanes), block_threads, 0, target.stream>>>(weights, outputs, y);
    check_launch("combine_experts");
}
template <class T>
void launch_weight_gradients(launch_target const& target, matrix_view<master_of<T> const> weights,
                             matrix_view<T const> dy, expert_outputs<T> const& outputs,
                             matrix_view<master_of<T>> dweights) {
    if (dy.rows == 0) return;
    weight_gradients_kernel<<<target.blocks(dy.rows * weights.columns * 8), block_threads, 0, target.stream>>>(
        weights, dy, outputs, dweights);
    check_launch("weight_gradients");
}
template <class T>
void launch_expert_gradient(launch_target const& target, matrix_view<master_of<T> const> weights,
                            matrix_view<std::int32_t const> experts, mixture_tasks const& tasks,
                            expert_pairs const& pairs, matrix_view<T const> dy, matrix_view<T> d) {
    index_t const lanes = d.rows * kernels::octets_of(d.columns);
    if (lanes == 0) return;
    expert_gradient_kernel<<<target.grid(lanes), block_threads, 0, target.stream>>>(weights, experts, tasks, pairs, dy,
                                                                                    d, target.live);
    check_launch("expert_gradient");
}

template <class Gate, class Op, class T>
void launch_look_up(launch_target const& target, kernels::numbers<Op> const& op, rows const& batch,
                    matrix_view<T const> x, master_of<T> const* table, matrix_view<master_of<T>> weights,
                    matrix_view<std::int32_t> experts, kernels::error_word* error) {
    if (weights.rows == 0) return;
    look_up_kernel<Gate><<<target.blocks(weights.rows), block_threads, 0, target.stream>>>(op, batch, x, table, weights,
                                                                                           experts, error);
    check_launch("look_up");
}
template <class T>
void launch_embed(launch_target const& target, matrix_view<T const> ids, kernels::id_tables const& tables,
                  T const* table, index_t width, matrix_view<T> y, kernels::error_word* error) {
    index_t const octets = ids.columns * kernels::octets_of(width);
    if (ids.rows * octets == 0) return;
    embed_kernel<<<target.blocks(ids.rows * octets), block_threads, 0, target.stream>>>(ids, tables, table, width, y,
                                                                                        error);
    check_launch("embed");
}
/// `gradient` is 0 before.
template <class T, class Wide>
void launch_embed_backward(launch_target const& target, matrix_view<T const> ids, kernels::id_tables const& tables,
                           matrix_view<T const> dy, index_t width, Wide* gradient) {
    index_t const slices = ids.columns * ((width + 31) / 32); // a warp each
    if (ids.rows * slices == 0) return;
    embed_backward_kernel<<<target.blocks(ids.rows * slices * 32), block_threads, 0, target.stream>>>(ids, tables, dy,
                                                                                                      width, gradient);
    check_launch("embed_backward");
}
template <class Number> void launch_number_slots(launch_target const& target, matrix_view<Number> experts) {
    if (experts.rows == 0) return;
    number_slots_kernel<<<target.blocks(experts.rows * experts.columns), block_threads, 0, target.stream>>>(experts);
    check_launch("number_slots");
}
template <class W>
void launch_spread_slots(launch_target const& target, matrix_view<W const> weights,
                         matrix_view<std::int32_t const> experts, matrix_view<W> spread) {
    if (spread.rows == 0) return;
    spread_slots_kernel<<<target.blocks(spread.rows * kernels::octets_of(spread.columns)), block_threads, 0,
                          target.stream>>>(weights, experts, spread);
    check_launch("spread_slots");
}
template <class W>
void launch_gather_slots(launch_target const& target, matrix_view<W const> dspread, matrix_view<W const> weights,
                         matrix_view<std::int32_t const> experts, matrix_view<W> dweights) {
    if (weights.rows == 0) return;
    gather_slots_kernel<<<target.blocks(weights.rows * weights.columns), block_threads, 0, target.stream>>>(
        dspread, weights, experts, dweights);
    check_launch("gather_slots");
}
template <class W> void launch_divide_by_sums(launch_target const& target, matrix_view<W> weights, W* sums) {
    if (weights.rows == 0) return;
    divide_by_sums_kernel<<<target.blocks(weights.rows * 8), block_threads, 0, target.stream>>>(weights, sums);
    check_launch("divide_by_sums");
}
template <class W>
void launch_divide_by_sums_backward(launch_target const& target, matrix_view<W const> weights,
                                    matrix_view<W const> dweights, W const* sums, matrix_view<W> d) {
    if (weights.rows == 0) return;
    divide_by_sums_backward_kernel<<<target.blocks(weights.rows * 8), block_threads, 0, target.stream>>>(
        weights, dweights, sums, d);
    check_launch("divide_by_sums_backward");
}
template <class W> void launch_choose_rows(launch_target const& target, index_t count, matrix_view<W> weights) {
    if (count >= weights.rows) return;
    choose_rows_kernel<<<target.blocks(weights.columns * block_threads), block_threads, 0, target.stream>>>(count,
                                                                                                            weights);
    check_launch("choose_rows");
}
template <class Op, class W>
void launch_soft_permutation(launch_target const& target, kernels::numbers<Op> const& op, int n, W const* scores,
                             kernels::site_numbers const& site, double* noisy, double* potentials, double* soft,
                             W* permutation, double* term) {
    soft_permutation_kernel<<<1, block_threads, 0, target.stream>>>(op, n, scores, site, noisy, potentials, soft,
                                                                    permutation, term);
    check_launch("soft_permutation");
}
template <class Op, class W>
void launch_soft_permutation_backward(launch_target const& target, kernels::numbers<Op> const& op, int n,
                                      double const* noisy, double* potentials, double const* soft,
                                      W const* dpermutation, double* dsoft, W* dscores) {
    soft_permutation_backward_kernel<<<1, block_threads, 0, target.stream>>>(op, n, noisy, potentials, soft,
                                                                             dpermutation, dsoft, dscores);
    check_launch("soft_permutation_backward");
}
template <class W>
void launch_round_permutation(launch_target const& target, int n, double const* soft, double* room, W* permutation,
                              kernels::error_word const* error) {
    round_permutation_kernel<<<1, block_threads, 0, target.stream>>>(n, soft, room, permutation, error);
    check_launch("round_permutation");
}

/// The table of pairs. work.counters: room for kernels::counters_of numbers.
template <class W>
void launch_build_pairs(launch_target const& target, kernels::pair_work<W> const& work, rows const& batch) {
    using kernels::slot_order;
    unsigned const blocks = target.blocks(kernels::chunks_of(work.slots()).count * 32);
    std::int32_t const* const nobody = nullptr;
    auto const count_and_scan = [&]<slot_order Order, bool Marked, bool Final>() {
        count_pairs_kernel<Order, Marked><<<blocks, block_threads, 0, target.stream>>>(work, nobody);
        check_launch("count_pairs");
        scan_pairs_kernel<Final><<<1, block_threads, 0, target.stream>>>(work);
        check_launch("scan_pairs");
    };
    if (kernels::marks_first(work.plan, work.weights.columns)) {
        count_and_scan.template operator()<slot_order::by_choice, false, false>();
        mark_pairs_kernel<<<blocks, block_threads, 0, target.stream>>>(work);
        check_launch("mark_pairs");
        count_and_scan.template operator()<slot_order::by_row, true, true>();
        fill_pairs_kernel<true><<<blocks, block_threads, 0, target.stream>>>(work, batch);
    } else {
        count_and_scan.template operator()<slot_order::by_row, false, true>();
        fill_pairs_kernel<false><<<blocks, block_threads, 0, target.stream>>>(work, batch);
    }
    check_launch("fill_pairs");
    if (work.plan.shared && work.slots() > 0) {
        share_pairs_kernel<<<target.blocks(work.slots()), block_threads, 0, target.stream>>>(work);
        check_launch("share_pairs");
    }
}
/// work.table is not used; `pair` null: every filled slot was served.
template <class W>
void launch_measure_mixture(launch_target const& target, kernels::pair_work<W> const& work, std::int32_t const* pair,
                            double* measures) {
    count_pairs_kernel<kernels::slot_order::by_row, false>
        <<<target.blocks(kernels::chunks_of(work.slots()).count * 32), block_threads, 0, target.stream>>>(work, pair);
    check_launch("count_pairs");
    finish_measures_kernel<<<1, block_threads, 0, target.stream>>>(work, pair == nullptr, measures);
    check_launch("finish_measures");
}
template <class T>
void launch_gather_rows(launch_target const& target, matrix_view<T const> from, std::int32_t const* row,
                        matrix_view<T> to) {
    index_t const lanes = to.rows * kernels::octets_of(to.columns);
    if (lanes == 0) return;
    gather_rows_kernel<<<target.grid(lanes), block_threads, 0, target.stream>>>(from, row, to, target.live);
    check_launch("gather_rows");
}
template <class T>
void launch_scatter_add_rows(launch_target const& target, matrix_view<T const> from, std::int32_t const* row,
                             matrix_view<T> to) {
    index_t const lanes = from.rows * kernels::octets_of(to.columns);
    if (lanes == 0) return;
    scatter_add_rows_kernel<<<target.blocks(lanes), block_threads, 0, target.stream>>>(from, row, to,
                                                                                       target.live.window(0));
    check_launch("scatter_add_rows");
}
/// `pair` is [rows of to][slots].
template <class T>
void launch_add_pairs(launch_target const& target, matrix_view<T const> from, std::int32_t const* pair, index_t slots,
                      bool ordered, matrix_view<T> to) {
    index_t const lanes = to.rows * kernels::octets_of(to.columns);
    if (lanes == 0) return;
    add_pairs_kernel<<<target.blocks(lanes), block_threads, 0, target.stream>>>(from, pair, slots, ordered, to);
    check_launch("add_pairs");
}
template <class T>
void launch_pass_back(launch_target const& target, matrix_view<master_of<T> const> weights, mixture_tasks const& tasks,
                      std::int32_t const* pair, matrix_view<T const> dy, matrix_view<T> dx) {
    index_t const lanes = dx.rows * kernels::octets_of(dx.columns);
    if (lanes == 0) return;
    pass_back_kernel<<<target.blocks(lanes), block_threads, 0, target.stream>>>(weights, tasks, pair, dy, dx);
    check_launch("pass_back");
}

/// result = (or +=) sum of squares. `partial`: room for kernels::norm_chunks(n) numbers.
template <class T>
void launch_sum_of_squares(launch_target const& target, T const* x, index_t n, double* result, bool accumulate,
                           double* partial) {
    index_t const chunks = kernels::norm_chunks(n);
    if (chunks > 0) {
        square_partials_kernel<<<target.blocks(chunks * 32), block_threads, 0, target.stream>>>(x, n, partial);
        check_launch("square_partials");
    }
    launch_add_sums(target, partial, 1, chunks, chunks, result, accumulate, nullptr);
}

template <class T>
void launch_find_rows_not_finite(launch_target const& target, matrix_view<T const> x, index_t blocks, index_t apart,
                                 std::uint32_t bit) {
    index_t const octets = blocks * x.rows * kernels::octets_of(x.columns);
    if (octets == 0 || !target.error) return;
    find_rows_not_finite_kernel<<<target.grid(octets), block_threads, 0, target.stream>>>(x, blocks, apart, bit,
                                                                                          target.live, target.error);
    check_launch("find_rows_not_finite");
}
template <class T> void launch_find_not_finite(launch_target const& target, T const* x, index_t n, std::uint32_t bit) {
    index_t const octets = kernels::octets_of(n);
    if (octets == 0 || !target.error) return;
    find_not_finite_kernel<<<target.blocks(octets), block_threads, 0, target.stream>>>(x, n, bit, target.error);
    check_launch("find_not_finite");
}

template <class T> void launch_clear_left_out(launch_target const& target, T* x, std::uint32_t const* mask, index_t n) {
    index_t const octets = kernels::octets_of(n);
    if (octets == 0) return;
    clear_left_out_kernel<<<target.blocks(octets), block_threads, 0, target.stream>>>(x, mask, n);
    check_launch("clear_left_out");
}

/// `partial`: room for kernels::pair_partial_size(rows, columns) numbers; `counted` may be null.
template <class T>
void launch_column_moments(launch_target const& target, matrix_view<T const> x, master_of<T>* mean,
                           master_of<T>* variance, index_t* counted, master_of<T>* partial) {
    index_t const lanes = kernels::strips_of(x.rows).count * kernels::octets_of(x.columns);
    if (lanes > 0) {
        moment_partials_kernel<<<target.blocks(lanes), block_threads, 0, target.stream>>>(x, partial);
        check_launch("moment_partials");
    }
    finish_moments_kernel<<<target.blocks(x.columns), block_threads, 0, target.stream>>>(
        static_cast<master_of<T> const*>(partial), x.rows, x.columns, mean, variance, counted, target.error);
    check_launch("finish_moments");
}
template <class T>
void launch_normalise(launch_target const& target, matrix_view<T const> x, master_of<T> const* mean,
                      master_of<T> const* variance, master_of<T> const* scale, master_of<T> const* shift,
                      double epsilon, matrix_view<T> y) {
    index_t const lanes = kernels::pass_strips_of(x.rows).count * kernels::octets_of(x.columns);
    if (lanes == 0) return;
    normalise_kernel<<<target.blocks(lanes), block_threads, 0, target.stream>>>(x, mean, variance, scale, shift,
                                                                                epsilon, y);
    check_launch("normalise");
}
/// The sums of dy and dy xhat to `sums` and, unless null, to dshift and dscale. `partial` as above; `sums`: room for
/// 2 octets_of(columns) octet numbers.
template <class T>
void launch_normal_sums(launch_target const& target, matrix_view<T const> x, matrix_view<T const> dy,
                        master_of<T> const* mean, master_of<T> const* variance, double epsilon, master_of<T>* dscale,
                        master_of<T>* dshift, master_of<T>* sums, master_of<T>* partial) {
    index_t const lanes = kernels::strips_of(dy.rows).count * kernels::octets_of(dy.columns);
    if (lanes > 0) {
        normal_sum_partials_kernel<<<target.blocks(lanes), block_threads, 0, target.stream>>>(x, dy, mean, variance,
                                                                                              epsilon, partial);
        check_launch("normal_sum_partials");
    }
    finish_normal_sums_kernel<<<target.blocks(dy.columns), block_threads, 0, target.stream>>>(
        static_cast<master_of<T> const*>(partial), dy.rows, dy.columns, sums, dscale, dshift);
    check_launch("finish_normal_sums");
}
/// `sums` null: the statistics do not depend on x.
template <class T>
void launch_normalise_backward(launch_target const& target, matrix_view<T const> x, matrix_view<T const> dy,
                               master_of<T> const* mean, master_of<T> const* variance, master_of<T> const* scale,
                               double epsilon, master_of<T> const* sums, matrix_view<T> dx) {
    index_t const lanes = kernels::pass_strips_of(dy.rows).count * kernels::octets_of(dy.columns);
    if (lanes == 0) return;
    normalise_backward_kernel<<<target.blocks(lanes), block_threads, 0, target.stream>>>(x, dy, mean, variance, scale,
                                                                                         epsilon, sums, dx);
    check_launch("normalise_backward");
}
template <class W>
void launch_running_moments(launch_target const& target, W const* mean, W const* variance, index_t columns,
                            index_t const* row_count, double momentum, W* running, tape_copies copies,
                            kernels::error_word const* error) {
    running_moments_kernel<<<target.blocks(columns), block_threads, 0, target.stream>>>(
        mean, variance, columns, row_count, momentum, running, copies, error);
    check_launch("running_moments");
}

template <class T> void launch_clear(launch_target const& target, matrix_view<T> to) {
    index_t const pairs = to.rows * kernels::octets_of(to.columns);
    if (pairs == 0) return;
    clear_kernel<<<target.grid(pairs), block_threads, 0, target.stream>>>(to, target.live);
    check_launch("clear");
}
template <bool Add, class From, class To>
void launch_combine(launch_target const& target, matrix_view<From const> from, matrix_view<To> to) {
    index_t const pairs = to.rows * kernels::octets_of(to.columns);
    if (pairs == 0) return;
    combine_kernel<Add><<<target.grid(pairs), block_threads, 0, target.stream>>>(from, to, target.live);
    check_launch("combine");
}

} // namespace espalier::cuda
