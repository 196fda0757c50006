// SPDX-License-Identifier: Apache-2.0
// The verbs of a device that runs kernel bodies, each as the passes that it takes: the same text on a GPU and, in the
// tests, on the host. docs/devices.md says what every verb does.
#pragma once

#include <espalier/core/epilogue.hpp>
#include <espalier/core/error.hpp>
#include <espalier/core/layout.hpp>
#include <espalier/core/live_groups.hpp>
#include <espalier/core/mask_selection.hpp>
#include <espalier/core/pairs.hpp>
#include <espalier/core/random.hpp>
#include <espalier/core/rows.hpp>
#include <espalier/core/update.hpp>
#include <espalier/core/view.hpp>
#include <espalier/gate/concept.hpp>
#include <espalier/kernels/access.hpp>
#include <espalier/kernels/passes.hpp>
#include <espalier/product/concept.hpp>

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <string>

namespace espalier::kernels {

/// Scratch is dealt out in pieces of 256 bytes.
constexpr std::size_t piece(std::size_t bytes) {
    return (bytes + 255) / 256 * 256;
}

/// Deals out scratch in pieces; throws before anything is done.
class scratch_cursor {
public:
    explicit scratch_cursor(scratch_view all) : left_(all) {}
    template <class U> U* take(index_t count) {
        std::size_t const bytes = piece(static_cast<std::size_t>(count) * sizeof(U));
        if (bytes > left_.size)
            throw shape_error("device::cuda: a piece of " + std::to_string(bytes) + " bytes is needed, " +
                              std::to_string(left_.size) +
                              " bytes of scratch are left; product_scratch says how much a layer needs");
        U* const piece = reinterpret_cast<U*>(left_.data);
        left_.data += bytes;
        left_.size -= bytes;
        return piece;
    }
    scratch_view rest() const { return left_; }

private:
    scratch_view left_;
};

/// The verbs of `Runner`, which says how a pass is run, and in what memory:
///
///     void run(pass);                  // does a pass, for every group of live() where it is one for groups
///     live_groups const& live() const; // the groups that verbs are for
///     scratch_view scratch;            // for what a verb needs for a short time
///     error_word* error();             // where kernels report what only they can see
///     error_word* watched();           // the same while numbers are watched, null otherwise
///     std::uint32_t const* step_word() const;  // where the step of the random bits stands; null: in the site
///     numbers<Op> locate(op) const;    // where passes find the numbers of an op
///     row_loss_result* loss_result();  // room for a loss
///     void zero(p, n), repeat(from, n, copies, to);
///
/// A verb that is one pass with the same arguments comes from the list of verbs (device/verbs.inc).
template <class Runner> class verbs : public Runner {
public:
    using Runner::Runner;

    // ---- room

    static constexpr std::size_t most_sets = 8;

    /// Bytes of scratch that any verb but a product needs for batches of at most `batch_rows` rows and a layer of
    /// inner x columns weights with up to `most_sets` penalties.
    template <class T> static std::size_t verb_scratch(index_t batch_rows, index_t inner, index_t columns) {
        using W = master_of<T>;
        auto const octets = static_cast<std::size_t>(octets_of(columns));
        std::size_t const of_update = update_scratch(static_cast<std::size_t>(update_chunks(inner * columns)));
        return largest({most_sets * strip_scratch<W>(strips_at_most(batch_rows), columns),
                        most_sets * strip_scratch<W>(strips_at_most(inner), columns) +
                            piece(static_cast<std::size_t>(inner) * octets * sizeof(W)),
                        of_update, loss_scratch(batch_rows)});
    }
    /// The same for the verbs on live rows.
    template <class T>
    static std::size_t live_scratch(live_groups const& live, index_t batch_rows, index_t inner, index_t columns) {
        return largest({most_sets * strip_scratch<master_of<T>>(most_strips_of(live, batch_rows), columns),
                        update_scratch(static_cast<std::size_t>(live.groups * update_chunks(inner * columns)))});
    }
    /// Of the loss of so many rows.
    static std::size_t loss_scratch(index_t batch_rows) {
        return piece(static_cast<std::size_t>(batch_rows) * sizeof(double));
    }
    /// Of batch normalisation, and of the loss of a network without a product.
    template <class T> static std::size_t moments_scratch(index_t batch_rows, index_t columns) {
        std::size_t const number = sizeof(master_of<T>);
        return largest({piece(number * static_cast<std::size_t>(pair_partial_size(batch_rows, columns))) +
                            piece(number * static_cast<std::size_t>(2 * octets_of(columns) * octet)),
                        loss_scratch(batch_rows)});
    }
    /// Of a gate with `logits` columns and, a row, `statistics` numbers of terms over the batch.
    template <class T> static std::size_t gate_scratch(index_t batch_rows, index_t logits, index_t statistics) {
        auto const room = [](index_t count) { return piece(sizeof(master_of<T>) * static_cast<std::size_t>(count)); };
        return largest(
            {loss_scratch(batch_rows) + room(batch_rows * statistics) + room(partial_size(batch_rows, statistics)),
             room(partial_size(batch_rows, logits))});
    }
    /// Of build_pairs and measure_mixture.
    static std::size_t dispatch_scratch(index_t batch_rows, index_t slots, int experts) {
        return piece(sizeof(std::int32_t) * static_cast<std::size_t>(counters_of(batch_rows * slots, experts)));
    }

    // ---- numbers that are looked at, where the runner asks for it

    template <class T> void watch_gradients(T const* p, index_t n) {
        this->run(passes::find_not_finite<T>{p, n, gradient_not_finite, this->watched()});
    }
    template <class T> void watch_rows(step_place, matrix_view<T const> x, index_t blocks = 1, index_t apart = 0) {
        this->run(passes::find_rows_not_finite<T>{x, blocks, apart, rows_not_finite, this->watched()});
    }

    // ---- a layer's passes

    template <class Op, class T>
    void epilogue_forward(Op const& op, matrix_view<T const> z, matrix_view<T> y, random_site const& site,
                          rows const& batch, epilogue_statistics<master_of<T>> statistics) {
        using W = master_of<T>;
        if constexpr (Op::has_penalties) {
            scratch_cursor space(this->scratch);
            index_t const strips = most_strips_of(this->live(), z.rows), octets = octets_of(z.columns);
            epilogue_scratch<W> parts;
            parts.elements = space.template take<double>(Op::penalty_count * strips * octets);
            parts.columns = space.template take<W>(Op::column_penalties * strips * octets * octet);
            this->run(passes::epilogue_forward_strips<Op, T>{this->locate(op), z, y, locate_site(site), batch, parts,
                                                             this->watched(), statistics.units});
            for (int i = 0; i < Op::column_penalties; ++i)
                add_partial_rows<W>(parts.columns, i, z.rows, z.columns,
                                    statistics.column_sums + i * statistics.column_stride);
            if (statistics.value)
                this->run(passes::epilogue_finish<Op, W>{this->locate(op), z.rows, z.columns, parts, statistics});
        } else {
            this->run(passes::epilogue_forward<Op, T>{this->locate(op), z, y, locate_site(site), batch, this->watched(),
                                                      statistics.units});
        }
    }
    template <class Op, class T>
    void epilogue_backward(Op const& op, matrix_view<T const> z, matrix_view<T const> dy, matrix_view<T> dz,
                           master_of<T>* bias_gradient, random_site const& site, rows const& batch,
                           epilogue_statistics<master_of<T>> statistics) {
        scratch_cursor space(this->scratch);
        master_of<T>* const partial = bias_gradient ? take_partial_rows<T>(space, z.rows, z.columns) : nullptr;
        this->run(passes::epilogue_backward<Op, T>{this->locate(op), z, dy, dz, locate_site(site), batch, statistics,
                                                   partial, this->watched()});
        if (bias_gradient) add_partial_rows<master_of<T>>(partial, 0, z.rows, z.columns, bias_gradient);
    }
    template <class Activation, index_t Width, class T> void row_forward(matrix_view<T> y) {
        this->run(passes::row_forward<static_cast<int>(Width), Activation, T>{this->locate(Activation{}), y,
                                                                              this->watched()});
    }
    template <class Activation, index_t Width, class T> void row_backward(matrix_view<T const> y, matrix_view<T> dy) {
        this->run(passes::row_backward<static_cast<int>(Width), Activation, T>{this->locate(Activation{}), y, dy,
                                                                               this->watched()});
    }
    template <class T> void column_sums(matrix_view<T const> m, master_of<T>* sums) {
        scratch_cursor space(this->scratch);
        master_of<T>* const partial = take_partial_rows<T>(space, m.rows, m.columns);
        this->run(passes::column_partials<T>{m, partial});
        add_partial_rows<master_of<T>>(partial, 0, m.rows, m.columns, sums);
    }
    template <class T> void add(matrix_view<T const> from, matrix_view<T> to) {
        this->run(passes::combine_rows<true, T, T>{from, to});
    }
    /// Every row of `to` is the vector `from`.
    template <class W, class T> void repeat_rows(W const* from, matrix_view<T> to) {
        this->run(passes::combine_rows<false, W, T>{{from, to.rows, to.columns, 0}, to});
    }

    // ---- updates

    /// `squared_norm`, when given, is device memory with the sum of squares of all gradients (sum_of_squares_to); it
    /// takes the place of the segment's global_norm, for which the host would have to wait.
    template <class Wide, class Narrow, class Optimizer, class Rule>
    void update(Optimizer const& optimizer, Rule const& rule, update_segment<Wide, Narrow> const& segment,
                double const* squared_norm = nullptr) {
        update_context const context{squared_norm, this->step_word(), this->error()};
        index_t const strips = strips_of(segment.rows).count, octets = octets_of(segment.columns);
        scratch_cursor space(this->scratch);
        constexpr int scalars = espalier::detail::moved_scalars<Optimizer, Rule>;
        if constexpr (Rule::grouped) {
            group_scratch<Wide> parts;
            parts.columns = space.template take<Wide>(strips * octets * octet);
            parts.rows = space.template take<Wide>(segment.rows * octets);
            double* const values = space.template take<double>(Rule::penalty_count * strips * octets);
            if (segment.values) parts.values = values;
            parts.scalars = space.template take<double>(scalars * strips * octets);
            [[maybe_unused]] Wide* const column_squares =
                space.template take<Wide>(Rule::groups_over(group_scope::tensor) ? segment.columns : 0);
            if (strips * octets == 0) return;
            this->run(passes::update_grouped<Optimizer, Rule, Wide, Narrow>{this->locate(optimizer), this->locate(rule),
                                                                            segment, context, parts});
            for (int g = 0; g < Rule::group_sets; ++g) {
                bool const by_columns = Rule::scope(g) == group_scope::columns;
                if (Rule::scope(g) != group_scope::rows)
                    this->run(passes::add_partial_rows<Wide>{parts.columns, 0, segment.rows, segment.columns,
                                                             by_columns ? segment.next_norms[g] : column_squares,
                                                             by_columns, context.error});
                if (Rule::scope(g) == group_scope::tensor)
                    this->run(passes::add_row_sums<Wide>{column_squares, 1, segment.columns, segment.next_norms[g],
                                                         context.error});
                if (Rule::scope(g) == group_scope::rows)
                    this->run(passes::add_row_sums<Wide>{parts.rows, segment.rows, octets, segment.next_norms[g],
                                                         context.error});
            }
            if (parts.values)
                add_sums(parts.values, Rule::penalty_count, strips * octets, segment.values, true, context);
            if constexpr (scalars > 0)
                this->run(passes::scalar_gradients<Wide>{parts.scalars, scalars, strips * octets,
                                                         segment.scalar_gradients, context.error});
        } else {
            index_t const chunks = update_chunks(segment.rows * segment.columns);
            double* partial = nullptr;
            if (segment.values && Rule::penalty_count > 0)
                partial = space.template take<double>(this->live().groups * Rule::penalty_count * chunks);
            double* of_scalars = nullptr;
            if constexpr (scalars > 0) of_scalars = space.template take<double>(this->live().groups * scalars * chunks);
            if (chunks == 0) return;
            this->run(passes::update<Optimizer, Rule, Wide, Narrow>{this->locate(optimizer), this->locate(rule),
                                                                    segment, context, partial, of_scalars});
            if (partial) add_sums(partial, Rule::penalty_count, chunks, segment.values, true, context);
            if constexpr (scalars > 0)
                this->run(passes::scalar_gradients<Wide>{of_scalars, scalars, chunks, segment.scalar_gradients,
                                                         context.error});
        }
    }
    /// value (device memory) = the term of a penalty over groups.
    template <class Op, class W> void group_value(Op const& op, W const* squared_norms, index_t groups, double* value) {
        this->run(passes::group_value<Op, W>{this->locate(op), squared_norms, groups, value, this->error()});
    }
    /// Norms and pulls of nested groups (device memory), from the squared norms of what each has more than the next.
    template <class Op, class W>
    void nested_groups(Op const& op, W const* squared_norms, index_t groups, W* tails, W* pulls) {
        this->run(passes::nested_groups<Op, W>{this->locate(op), squared_norms, groups, tails, pulls, this->error()});
    }
    /// Gains of the columns of an adapter.
    template <class Op, class T>
    void scale_columns(Op const& op, matrix_view<T const> factor, matrix_view<T> scaled, matrix_view<T> gradient) {
        this->run(passes::scale_columns<Op, T>{this->locate(op), factor, scaled, gradient});
    }
    /// result (device memory) = sum of squares.
    template <class T> void sum_of_squares_to(T const* p, index_t n, double* result) {
        scratch_cursor space(this->scratch);
        index_t const chunks = norm_chunks(n);
        double* const partial = space.template take<double>(chunks);
        this->run(passes::square_partials<T>{p, n, partial});
        add_sums(partial, 1, chunks, result, false, {});
        this->run(passes::find_not_finite<double>{result, 1, norm_not_finite, this->watched()});
    }

    // ---- losses

    /// The mean loss of the rows of z to `value` (device memory); its gradient and the samples' new state where those
    /// have memory.
    template <int N, class Loss, class T>
    void loss(Loss const& given, matrix_view<T const> z, rows const& batch, matrix_view<master_of<T> const> targets,
              matrix_view<T> gradient, matrix_view<master_of<T>> state, double* value) {
        row_loss_arguments<T> arguments;
        arguments.z = z;
        arguments.batch = batch;
        arguments.dense_targets = targets;
        arguments.gradient = gradient;
        arguments.state = state;
        row_loss<N>(given, arguments, this->loss_result());
        static_assert(offsetof(row_loss_result, value) == 0);
        this->repeat(reinterpret_cast<double const*>(this->loss_result()), 1, 1, value);
    }
    /// Losses of the rows of arguments.z; `result` is device memory. Errors of the batch go to the error word.
    template <int N, class Loss, class T>
    void row_loss(Loss const& loss, row_loss_arguments<T> const& arguments, row_loss_result* result) {
        rows const& batch = arguments.batch;
        auto const its_name = [] { return std::string(Loss::name); };
        if (loss::needs_labels<Loss> && !batch.label && batch.count > 0)
            throw data_error(its_name() + " needs labels, the batch has none");
        if (loss::needs_dense_target<Loss> && !arguments.dense_targets.data && batch.count > 0)
            throw data_error(its_name() + " needs target rows, there are none");
        if (loss::per_sample_state<Loss> && arguments.state.data && !batch.sample && batch.count > 0)
            throw data_error(its_name() +
                             " keeps state of every sample and needs the samples' ids, the batch has none");
        if (arguments.z.columns != N || arguments.z.rows != batch.count)
            throw shape_error(its_name() + ": the logits are " + std::to_string(arguments.z.rows) + " x " +
                              std::to_string(arguments.z.columns) + ", needed are " + std::to_string(batch.count) +
                              " x " + std::to_string(N));
        scratch_cursor space(this->scratch);
        double* const weighted = space.template take<double>(arguments.z.rows);
        bool const remembers = loss::per_sample_state<Loss> && arguments.state.data != nullptr;
        this->run(passes::count_rows<Loss>{batch, N, remembers, arguments.state.rows, arguments.denominator, result,
                                           this->error()});
        this->run(passes::row_loss<N, Loss, T>{this->locate(loss), arguments, result, weighted, this->error()});
        this->run(passes::finish_loss<double>{weighted, arguments.z.rows, result});
    }

    // ---- batch normalisation

    template <class T>
    void column_moments(matrix_view<T const> x, master_of<T>* mean, master_of<T>* variance, index_t* counted) {
        using W = master_of<T>;
        scratch_cursor space(this->scratch);
        W* const partial = space.template take<W>(pair_partial_size(x.rows, x.columns));
        this->run(passes::moment_partials<T>{x, partial});
        this->run(passes::finish_moments<W>{partial, x.rows, x.columns, mean, variance, counted, this->watched()});
    }
    template <class T>
    void normalise_backward(matrix_view<T const> x, matrix_view<T const> dy, master_of<T> const* mean,
                            master_of<T> const* variance, master_of<T> const* scale, double epsilon,
                            bool through_statistics, master_of<T>* dscale, master_of<T>* dshift, matrix_view<T> dx) {
        using W = master_of<T>;
        W* sums = nullptr;
        scratch_cursor space(this->scratch);
        if (through_statistics || dscale || dshift) {
            sums = space.template take<W>(2 * octets_of(dy.columns) * octet);
            W* const partial = space.template take<W>(pair_partial_size(dy.rows, dy.columns));
            this->run(passes::normal_sum_partials<T>{x, dy, mean, variance, epsilon, partial});
            this->run(passes::finish_normal_sums<W>{partial, dy.rows, dy.columns, sums, dscale, dshift});
        }
        if (dx.data)
            this->run(passes::normalise_backward<T>{x, dy, mean, variance, scale, epsilon,
                                                    through_statistics ? sums : nullptr, dx});
    }
    /// The running statistics of a step without errors.
    template <class W>
    void running_moments(W const* mean, W const* variance, index_t columns, index_t const* row_count, double momentum,
                         W* running, tape_copies copies = {}) {
        this->run(
            passes::running_moments<W>{mean, variance, columns, row_count, momentum, running, copies, this->error()});
    }

    // ---- gates

    template <class Gate, class T, class Op>
    void route(Op const& op, matrix_view<T const> logits, matrix_view<master_of<T>> weights,
               matrix_view<std::int32_t> experts, gate_run const& run) {
        using W = master_of<T>;
        constexpr int statistics = gate_statistics_of<Gate, Op>;
        bool const term = espalier::detail::gate_has_term<Op>() && run.term;
        scratch_cursor space(this->scratch);
        double* const terms = term ? space.template take<double>(logits.rows) : nullptr;
        gate_batch<W> given = batch_of<Gate, Op, W>(run);
        if (statistics > 0 && run.term) given.statistics = space.template take<W>(logits.rows * statistics);
        this->run(passes::row_gate_forward<gate_shape_of<Gate>, Op, T>{
            this->locate(op), logits, weights, experts, terms, given, this->step_word(), this->watched()});
        if (!run.term) return;
        if constexpr (statistics > 0) {
            W* const partial = space.template take<W>(partial_size(logits.rows, statistics));
            this->run(passes::column_partials<W>{{given.statistics, logits.rows, statistics, statistics}, partial});
            this->run(passes::gate_statistics<statistics, Op, W>{this->locate(op), partial, terms, logits.rows,
                                                                 run.slopes, run.term});
        } else if constexpr (espalier::detail::gate_has_term<Op>()) {
            this->run(passes::gate_term<double>{terms, logits.rows, run.term});
        }
    }
    template <class Gate, class T, class Op>
    void route_backward(Op const& op, matrix_view<T const> logits, matrix_view<master_of<T> const> weights,
                        matrix_view<std::int32_t const> experts, matrix_view<master_of<T> const> dweights,
                        matrix_view<T> dlogits, gate_run const& run) {
        this->run(passes::row_gate_backward<gate_shape_of<Gate>, Op, T>{
            this->locate(op), logits, weights, experts, dweights, dlogits, batch_of<Gate, Op, master_of<T>>(run),
            this->step_word(), this->watched()});
    }
    /// A row without an expert goes to the error word, and to expert 0.
    template <class Gate, class T, class Op>
    void look_up(Op const& op, rows const& batch, matrix_view<T const> x, master_of<T> const* table,
                 matrix_view<master_of<T>> weights, matrix_view<std::int32_t> experts) {
        this->run(passes::look_up<gate_shape_of<Gate>, Op, T>{this->locate(op), batch, x, table, weights, experts,
                                                              this->error()});
    }
    /// `order` is not needed here.
    template <class W> void choose_rows(index_t count, W* order, matrix_view<W> weights) {
        static_cast<void>(order);
        this->run(passes::choose_rows<W>{count, weights});
    }
    template <class Op, class W>
    void soft_permutation(Op const& op, int n, W const* scores, random_site const& site, double* noisy,
                          double* potentials, double* soft, W* permutation, double* term) {
        this->run(passes::soft_permutation<Op, W>{this->locate(op), n, scores, locate_site(site), noisy, potentials,
                                                  soft, permutation, term});
    }
    template <class Op, class W>
    void soft_permutation_backward(Op const& op, int n, double const* noisy, double* potentials, double const* soft,
                                   W const* dpermutation, double* dsoft, W* dscores) {
        this->run(passes::soft_permutation_backward<Op, W>{this->locate(op), n, noisy, potentials, soft, dpermutation,
                                                           dsoft, dscores});
    }
    /// A step with an error leaves the permutation alone.
    template <class W> void round_permutation(int n, double const* soft, double* room, W* permutation) {
        this->run(passes::round_permutation<W>{n, soft, room, permutation, this->error()});
    }

    // ---- pairs of a row and an expert

    template <class W>
    void build_pairs(matrix_view<W const> weights, matrix_view<std::int32_t const> experts, rows const& batch,
                     pair_plan const& plan, pair_table const& table) {
        pair_work<W> const work = pair_work_of(weights, experts, plan, table);
        if (marks_first(plan, weights.columns)) {
            this->run(passes::count_pairs<slot_order::by_choice, false, W>{work, nullptr});
            this->run(passes::scan_pairs<false, W>{work});
            this->run(passes::mark_pairs<W>{work});
            this->run(passes::count_pairs<slot_order::by_row, true, W>{work, nullptr});
            this->run(passes::scan_pairs<true, W>{work});
            this->run(passes::fill_pairs<true, W>{work, batch});
        } else {
            this->run(passes::count_pairs<slot_order::by_row, false, W>{work, nullptr});
            this->run(passes::scan_pairs<true, W>{work});
            this->run(passes::fill_pairs<false, W>{work, batch});
        }
        if (plan.shared) this->run(passes::share_pairs<W>{work});
    }
    /// `pair` null: every filled slot was served.
    template <class W>
    void measure_mixture(matrix_view<W const> weights, matrix_view<std::int32_t const> experts,
                         std::int32_t const* pair, pair_plan const& plan, double* measures) {
        pair_work<W> const work = pair_work_of(weights, experts, plan, {});
        this->run(passes::count_pairs<slot_order::by_row, false, W>{work, pair});
        this->run(passes::finish_measures<W>{work, !pair, measures});
    }

    // ---- selections of masks

    template <class Key, class W>
    void write_mask(Key const& key, W const* w, index_t n, index_t* counters, mask_survey* survey,
                    std::uint32_t* mask) {
        this->run(passes::count_places<Key, W>{key, w, n, counters, survey});
        this->run(passes::scan_places{mask_counters(n), counters, survey});
        this->run(passes::write_mask<Key, W>{key, w, n, counters, survey, mask, this->error()});
    }
    template <class Key, class W>
    void write_group_mask(Key const& key, group_pattern pattern, matrix_view<W const> w, mask_survey const* survey,
                          std::uint32_t* mask) {
        this->run(passes::clear_mask{mask, w.rows * w.columns, survey, this->error()});
        this->run(passes::write_group_mask<Key, W>{key, pattern, w, mask, survey, this->error()});
    }

    // ---- embeddings

    /// `sizes` is host memory. What is no id goes to the error word, and reads row 0 of its table.
    template <class T>
    void embed(matrix_view<T const> ids, index_t const* sizes, T const* table, index_t width, matrix_view<T> y) {
        for_tables(ids, sizes, [&](matrix_view<T const> some, id_tables const& tables, index_t f, index_t begin) {
            this->run(passes::embed<T>{some,
                                       tables,
                                       table + begin * width,
                                       width,
                                       {y.data + f * width, y.rows, some.columns * width, y.stride},
                                       this->error()});
        });
    }
    template <class T, class Wide>
    void embed_backward(matrix_view<T const> ids, index_t const* sizes, matrix_view<T const> dy, index_t width,
                        Wide* gradient) {
        index_t total = 0;
        for (index_t f = 0; f < ids.columns; ++f)
            total += sizes[f];
        this->zero(gradient, total * width);
        for_tables(ids, sizes, [&](matrix_view<T const> some, id_tables const& tables, index_t f, index_t begin) {
            this->run(passes::embed_backward<T, Wide>{some,
                                                      tables,
                                                      {dy.data + f * width, dy.rows, some.columns * width, dy.stride},
                                                      width,
                                                      gradient + begin * width});
        });
    }

    // ---- verbs that are one pass

#define ESPALIER_VERB_pass(name)                                                                                       \
    template <class... Arguments> void name(Arguments const&... arguments) {                                           \
        this->run(passes::name{arguments...});                                                                         \
    }
#define ESPALIER_VERB_own(name)
#define VERB(name, needed, cpu, body, live, ...) ESPALIER_VERB_##body(name)
#include <espalier/device/verbs.inc>
#undef ESPALIER_VERB_pass
#undef ESPALIER_VERB_own

private:
    template <class Gate, class Op>
    static constexpr int gate_statistics_of = espalier::detail::gate_needs_of<Op>().statistics* Gate::experts;

    template <class Gate, class Op, class W> static gate_batch<W> batch_of(gate_run const& run) {
        constexpr int statistics = gate_statistics_of<Gate, Op>;
        return {run.site, run.batch, run.draws, nullptr, statistics > 0 ? run.slopes + statistics : nullptr};
    }
    site_numbers locate_site(random_site const& site) const {
        return {site, this->step_word()};
    }

    /// Room for the partial sums of the columns of so many rows, in every group.
    template <class T>
    master_of<T>* take_partial_rows(scratch_cursor& space, index_t row_count, index_t columns) const {
        return space.take<master_of<T>>(most_strips_of(this->live(), row_count) * octets_of(columns) * octet);
    }
    template <class W> void add_partial_rows(W const* partial, int set, index_t row_count, index_t columns, W* out) {
        this->run(passes::add_partial_rows<W>{partial, set, row_count, columns, out, false, nullptr});
    }
    void add_sums(double const* partial, int sums, index_t count, double* results, bool accumulate,
                  update_context const& context) {
        this->run(passes::add_sums<double>{partial, sums, count, count, results, accumulate, context.error});
    }
    template <class W>
    pair_work<W> pair_work_of(matrix_view<W const> weights, matrix_view<std::int32_t const> experts,
                              pair_plan const& plan, pair_table const& table) const {
        scratch_cursor space(this->scratch);
        return {weights, experts, plan, table,
                space.take<std::int32_t>(counters_of(weights.rows * weights.columns, plan.experts))};
    }
    /// Calls body(ids, tables, first column, first row of the tables) for as many columns of ids as one pass takes.
    template <class T, class Body>
    static void for_tables(matrix_view<T const> ids, index_t const* sizes, Body const& body) {
        index_t begin = 0;
        for (index_t f = 0; f < ids.columns; f += id_tables::most) {
            index_t const count = ids.columns - f < id_tables::most ? ids.columns - f : id_tables::most;
            body(matrix_view<T const>{ids.data + f, ids.rows, count, ids.stride}, id_tables::of(sizes + f, count), f,
                 begin);
            for (index_t i = f; i < f + count; ++i)
                begin += sizes[i];
        }
    }
    /// Bytes of the partial sums that updates of so many chunks leave: of penalties, and of gradients of numbers that a
    /// map is made of.
    static std::size_t update_scratch(std::size_t chunks) {
        return piece(most_sets * chunks * sizeof(double)) + piece(weight::max_scalars * chunks * sizeof(double));
    }
    /// Bytes of the partial sums of one set of penalties.
    template <class W> static std::size_t strip_scratch(index_t strips, index_t columns) {
        auto const octets = static_cast<std::size_t>(strips * octets_of(columns));
        return piece(octets * octet * sizeof(W)) + piece(octets * sizeof(double));
    }
    static std::size_t largest(std::initializer_list<std::size_t> sizes) {
        std::size_t most = 0;
        for (std::size_t size : sizes)
            most = size > most ? size : most;
        return most;
    }
};

} // namespace espalier::kernels
