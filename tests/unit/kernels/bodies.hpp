// SPDX-License-Identifier: Apache-2.0
// A device that runs the kernel bodies of mixtures with one lane and whose memory the host does not read: what a GPU
// does with gates, searches and blocks of fixed size, where there is none.
#pragma once

#include <espalier/core/group.hpp>
#include <espalier/core/layout.hpp>
#include <espalier/core/live_groups.hpp>
#include <espalier/core/live_window.hpp>
#include <espalier/core/pairs.hpp>
#include <espalier/core/rows.hpp>
#include <espalier/core/view.hpp>
#include <espalier/device/cpu/cpu.hpp>
#include <espalier/kernels/dispatch.hpp>
#include <espalier/kernels/grouped.hpp>
#include <espalier/kernels/pairs.hpp>
#include <espalier/kernels/routing.hpp>
#include <espalier/kernels/row_gate.hpp>
#include <espalier/kernels/sums.hpp>
#include <espalier/kernels/update.hpp>

#include <cstddef>
#include <cstdint>
#include <limits>
#include <stdexcept>
#include <vector>

namespace kernel_tests {

using namespace espalier;
namespace k = espalier::kernels;

/// The verbs of mixtures by their kernel bodies.
class bodies : public device::cpu {
public:
    static constexpr bool host_memory = false;

    /// What is not finite is the tests' of the bodies themselves.
    void watch_numbers(bool) {}
    template <class T> void watch_gradients(T const*, index_t) {}

    template <class T> static std::size_t gate_scratch(index_t, index_t, index_t) { return 0; }
    /// Asked for without need, to see that it is there when it would be.
    static constexpr std::size_t dispatch_bytes = 1 << 20, live_bytes = 4096;
    static std::size_t dispatch_scratch(index_t, index_t, int) { return dispatch_bytes; }

    template <class Gate, class T, class Op>
    void route(Op const& op, matrix_view<T const> logits, matrix_view<T> weights, matrix_view<std::int32_t> experts,
               gate_run const& run) {
        constexpr int columns = detail::gate_needs_of<Op>().statistics * Gate::experts;
        std::vector<double> terms(static_cast<std::size_t>(logits.rows));
        std::vector<T> statistics(static_cast<std::size_t>(logits.rows * columns)),
            partial(static_cast<std::size_t>(k::partial_size(logits.rows, columns)));
        k::gate_batch<T> const given{run.site, run.batch, run.draws,
                                     run.term && columns > 0 ? statistics.data() : nullptr, nullptr};
        k::row_gate_forward<Gate>(lane, op, logits, weights, experts, terms.data(), given);
        if (!run.term) return;
        if constexpr (columns > 0) {
            k::column_partials(lane, matrix_view<T const>{statistics.data(), logits.rows, columns, columns},
                               partial.data());
            k::gate_statistics<columns>(lane, op, static_cast<T const*>(partial.data()),
                                        static_cast<double const*>(terms.data()), logits.rows, run.slopes, run.term);
        } else if constexpr (detail::gate_has_term<Op>()) {
            k::gate_term(lane, terms.data(), logits.rows, run.term);
        }
    }
    template <class Gate, class T, class Op>
    void route_backward(Op const& op, matrix_view<T const> logits, matrix_view<T const> weights,
                        matrix_view<std::int32_t const> experts, matrix_view<T const> dweights, matrix_view<T> dlogits,
                        gate_run const& run) {
        constexpr int columns = detail::gate_needs_of<Op>().statistics * Gate::experts;
        k::gate_batch<T> const given{run.site, run.batch, run.draws, nullptr, run.slopes + columns};
        k::row_gate_backward<Gate>(lane, op, logits, weights, experts, dweights, dlogits, given);
    }
    template <class Gate, class T, class Op>
    void look_up(Op const& op, rows const& batch, matrix_view<T const> x, T const* table, matrix_view<T> weights,
                 matrix_view<std::int32_t> experts) {
        k::look_up<Gate>(lane, op, batch, x, table, weights, experts, nullptr);
    }
    template <class T> void choose_rows(index_t count, T*, matrix_view<T> weights) {
        k::choose_rows(lane, count, weights);
    }
    template <class T>
    void spread_slots(matrix_view<T const> weights, matrix_view<std::int32_t const> experts, matrix_view<T> spread) {
        k::spread_slots(lane, weights, experts, spread);
    }
    template <class T>
    void gather_slots(matrix_view<T const> dspread, matrix_view<T const> weights,
                      matrix_view<std::int32_t const> experts, matrix_view<T> dweights) {
        k::gather_slots(lane, dspread, weights, experts, dweights);
    }
    void number_slots(matrix_view<std::int32_t> experts) { k::number_slots(lane, experts); }
    template <class T> void divide_by_sums(matrix_view<T> weights, T* sums) { k::divide_by_sums(lane, weights, sums); }
    template <class T>
    void divide_by_sums_backward(matrix_view<T const> weights, matrix_view<T const> dweights, T const* sums,
                                 matrix_view<T> d) {
        k::divide_by_sums_backward(lane, weights, dweights, sums, d);
    }
    template <class Op, class T>
    void soft_permutation(Op const& op, int n, T const* scores, random_site const& site, double* noisy,
                          double* potentials, double* soft, T* permutation, double* term) {
        k::soft_permutation(lane, op, n, scores, site, noisy, potentials, soft, permutation, term);
    }
    template <class Op, class T>
    void soft_permutation_backward(Op const& op, int n, double const* noisy, double* potentials, double const* soft,
                                   T const* dpermutation, double* dsoft, T* dscores) {
        k::soft_permutation_backward(lane, op, n, noisy, potentials, soft, dpermutation, dsoft, dscores);
    }
    template <class T> void round_permutation(int n, double const* soft, double* room, T* permutation) {
        k::round_permutation(lane, n, soft, room, permutation, nullptr);
    }
    template <class T>
    void build_pairs(matrix_view<T const> weights, matrix_view<std::int32_t const> experts, rows const& batch,
                     pair_plan const& plan, pair_table const& table) {
        require_scratch(dispatch_bytes);
        std::vector<std::int32_t> counters(
            static_cast<std::size_t>(k::counters_of(weights.rows * weights.columns, plan.experts)));
        k::pair_work<T> const work{weights, experts, plan, table, counters.data()};
        if (k::marks_first(plan, weights.columns)) {
            k::count_pairs<k::slot_order::by_choice, false>(lane, work);
            k::scan_pairs<false>(lane, work);
            k::mark_pairs(lane, work);
            k::count_pairs<k::slot_order::by_row, true>(lane, work);
            k::scan_pairs<true>(lane, work);
            k::fill_pairs<true>(lane, work, batch);
        } else {
            k::count_pairs<k::slot_order::by_row, false>(lane, work);
            k::scan_pairs<true>(lane, work);
            k::fill_pairs<false>(lane, work, batch);
        }
        if (plan.shared) k::share_pairs(lane, work);
    }
    template <class T>
    void measure_mixture(matrix_view<T const> weights, matrix_view<std::int32_t const> experts,
                         std::int32_t const* pair, pair_plan const& plan, double* measures) {
        require_scratch(dispatch_bytes);
        std::vector<std::int32_t> counters(
            static_cast<std::size_t>(k::counters_of(weights.rows * weights.columns, plan.experts)));
        k::pair_work<T> const work{weights, experts, plan, {}, counters.data()};
        k::count_pairs<k::slot_order::by_row, false>(lane, work, pair);
        k::finish_measures(lane, work, !pair, measures);
    }
    template <class T> void combine(matrix_view<T const> weights, expert_outputs<T> const& outputs, matrix_view<T> y) {
        k::combine_experts(lane, weights, outputs, y);
    }
    template <class T>
    void weight_gradients(matrix_view<T const> weights, matrix_view<T const> dy, expert_outputs<T> const& outputs,
                          matrix_view<T> dweights) {
        k::weight_gradients(lane, weights, dy, outputs, dweights);
    }
    template <class T>
    void expert_gradient(matrix_view<T const> weights, matrix_view<std::int32_t const> experts,
                         mixture_tasks const& tasks, expert_pairs const& block, matrix_view<T const> dy,
                         matrix_view<T> d) {
        spoil(d);
        k::expert_gradient(lane, weights, experts, tasks, k::live_pairs(block, live_), dy, some(d));
    }
    template <class T>
    void add_pairs(matrix_view<T const> from, std::int32_t const* pair, index_t slots, bool ordered,
                   matrix_view<T> to) {
        k::add_pairs(lane, from, pair, slots, ordered, to);
    }
    template <class T>
    void pass_back(matrix_view<T const> weights, mixture_tasks const& tasks, std::int32_t const* pair,
                   matrix_view<T const> dy, matrix_view<T> dx) {
        k::pass_back(lane, weights, tasks, pair, dy, dx);
    }
    template <class T> void gather(matrix_view<T const> from, std::int32_t const* row, matrix_view<T> to) {
        spoil(to);
        k::gather_rows(lane, from, row + k::live_first(live_), some(to));
    }
    template <class T> void scatter_add(matrix_view<T const> from, std::int32_t const* row, matrix_view<T> to) {
        k::scatter_add_rows(lane, some(from), row + k::live_first(live_), to);
    }

    // ---- rows that the host does not count: what lies behind them holds no number

    template <class T> static std::size_t live_scratch(live_groups const&, index_t, index_t, index_t) {
        return live_bytes;
    }
    template <class Body> void on_live_rows(live_groups const& live, Body const& body) {
        if (live.groups > 1) require_scratch(live_bytes);
        ++launches;
        groups_ = live;
        for (group_ = 0; group_ < live.groups; ++group_) {
            live_ = live.window(group_);
            body();
        }
        groups_ = {};
        group_ = 0;
        live_ = {};
    }
    template <class T>
    void live_product_forward(matrix_view<T const> x, matrix_view<T const> w, T const* bias, matrix_view<T> z,
                              live_groups const& live) {
        on_live_rows(live, [&] {
            spoil(z);
            product_forward<void>(some(x), live.tensor(w, group_), live.tensor(bias, group_), some(z));
        });
    }
    template <class T>
    void live_product_input_gradient(matrix_view<T const> dz, matrix_view<T const> w, matrix_view<T> dx,
                                     live_groups const& live) {
        on_live_rows(live, [&] {
            spoil(dx);
            product_input_gradient<void>(some(dz), live.tensor(w, group_), some(dx));
        });
    }
    template <class T>
    void live_product_weight_gradient(matrix_view<T const> x, matrix_view<T const> dz, matrix_view<T> dw,
                                      live_groups const& live) {
        on_live_rows(live, [&] { product_weight_gradient<void>(some(x), some(dz), live.tensor(dw, group_)); });
    }
    template <class Op, class T>
    void epilogue_forward(Op const& op, matrix_view<T const> z, matrix_view<T> y, random_site const& site,
                          rows const& batch, epilogue_statistics<T> statistics) {
        statistics.value = groups_.term(statistics.value, group_);
        device::cpu::epilogue_forward(op, some(z), some(y), k::grouped::epilogue_site<Op>(groups_, group_, site),
                                      k::live_rows(batch, live_), statistics);
    }
    template <class Op, class T>
    void epilogue_backward(Op const& op, matrix_view<T const> z, matrix_view<T const> dy, matrix_view<T> dz,
                           T* bias_gradient, random_site const& site, rows const& batch,
                           epilogue_statistics<T> statistics) {
        device::cpu::epilogue_backward(op, some(z), some(dy), some(dz), groups_.tensor(bias_gradient, group_),
                                       k::grouped::epilogue_site<Op>(groups_, group_, site), k::live_rows(batch, live_),
                                       statistics);
    }
    template <class Activation, index_t Width, class T> void row_forward(matrix_view<T> y) {
        device::cpu::row_forward<Activation, Width>(some(y));
    }
    template <class Activation, index_t Width, class T> void row_backward(matrix_view<T const> y, matrix_view<T> dy) {
        device::cpu::row_backward<Activation, Width>(some(y), some(dy));
    }
    template <class T> void column_sums(matrix_view<T const> m, T* sums) {
        device::cpu::column_sums(some(m), groups_.tensor(sums, group_));
    }
    template <class T> void clear(matrix_view<T> rows_of) { device::cpu::clear(some(rows_of)); }
    template <class Optimizer, class Rule, class T>
    void update(Optimizer const& optimizer, Rule const& rule, update_segment<T, T> const& segment,
                double const* squared_norm) {
        device::cpu::update(optimizer, rule, k::segment_of(segment, groups_, group_), squared_norm);
    }
    template <class T> void copy(matrix_view<T const> from, matrix_view<T> to) {
        device::cpu::copy(some(from), some(to));
    }
    template <class T> void add(matrix_view<T const> from, matrix_view<T> to) {
        device::cpu::add(some(from), some(to));
    }

    inline static int launches = 0; ///< on rows that the device counts, or for several experts

private:
    void require_scratch(std::size_t bytes) const {
        if (scratch.size < bytes) throw std::logic_error("bodies: the scratch that was asked for is not there");
    }
    template <class T> matrix_view<T> some(matrix_view<T> all) const { return k::live_rows(all, live_); }
    /// Rows that are not an expert's: all behind those counted or, where other experts' follow, up to the granule.
    template <class T> void spoil(matrix_view<T> all) const {
        matrix_view<T> const live = some(all);
        index_t const end = live_.first ? round_up(live.rows, row_granule) : all.rows; // of its own block
        for (index_t r = live.rows; r < end; ++r)
            for (index_t c = 0; c < all.columns; ++c)
                live.data[r * all.stride + c] = std::numeric_limits<T>::quiet_NaN();
    }

    serial_group lane;
    live_groups groups_{};
    int group_ = 0;
    live_window live_{};
};

} // namespace kernel_tests
