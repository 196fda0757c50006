// SPDX-License-Identifier: Apache-2.0
// host only. Gates on the CPU: sixteen rows at once.
//
// Floor of a forward pass: the logits read and the weights and experts written once, at the bandwidth of a copy. What
// it costs above that is the transposition (4 instructions a register) and the choice (5 K a register; 8 for K = 2).
#pragma once

#include <espalier/core/finite.hpp>
#include <espalier/core/group.hpp>
#include <espalier/core/normals.hpp>
#include <espalier/core/pack.hpp>
#include <espalier/core/row.hpp>
#include <espalier/core/view.hpp>
#include <espalier/device/cpu/row_lanes.hpp>
#include <espalier/gate/concept.hpp>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <type_traits>

namespace espalier::cpu {

namespace detail {

/// How the logits of a gate are worked on: one row in each element of the packs, or one row over the elements.
///     trees and codes  a row in each element: what the lanes of a row would share is an array of packs
///     choices          a row in each element: every logit is compared with many numbers, and across a row every
///                      comparison would have to be followed by a reduction. The backward pass compares columns only.
///     weights of all   over the elements from two packs on: two reductions a row cost less than two transpositions
template <class T, class Gate, class Op, bool Backward, class Value = native_pack<T>> struct gate_plan {
    static constexpr int width = pack_width<Value>;
    static constexpr int widest = Gate::slot_is_expert ? 2 * width - 1 : Backward ? 64 : 256;
    static constexpr int space = espalier::detail::gate_row_space<Op>();
    static constexpr bool transposed = space > 0 || Gate::logits <= widest;
    static constexpr int rows = transposed ? width : 1;
    using value = Value;
    using group = std::conditional_t<transposed, serial_group, pack_lanes<width>>;
    template <int N> using row = espalier::row<group, value, N>;
};

/// The first `count` rows of a matrix from numbers by slot: to(r, s) = from[s][r].
template <std::size_t Slots, std::size_t W, class From, class To>
void store_slots(From const (&from)[Slots][W], int count, To* to, index_t stride) {
    alignas(64) To by_row[W][Slots];
    for (std::size_t r = 0; r < W; ++r)
        for (std::size_t s = 0; s < Slots; ++s)
            by_row[r][s] = static_cast<To>(from[s][r]);
    if (stride == index_t{Slots} && count == int{W})
        std::memcpy(to, by_row, sizeof by_row);
    else
        for (int r = 0; r < count; ++r)
            std::memcpy(to + r * stride, by_row[r], sizeof by_row[0]);
}

/// What an op reads beside the logits, for the rows of one step, and the sums that it leaves.
template <class T, class Gate, class Op, class Plan> struct gate_extras {
    static constexpr gate_needs needs = espalier::detail::gate_needs_of<Op>();
    static constexpr int experts = Gate::experts;
    static constexpr int statistics = needs.statistics;
    using value = typename Plan::value;
    static constexpr int width = pack_width<value>;
    using row_type = typename Plan::template row<experts>;

    gate_about<typename Plan::group, value, experts, statistics> about;
    row_type sums[std::size_t{statistics > 0 ? statistics : 1}];
    int rows_summed = 0;

    /// The parts that are the same for all rows.
    void begin([[maybe_unused]] gate_run const& run, [[maybe_unused]] bool backward) {
        if constexpr (needs.noise) fill(about.noise, [](int) { return T(0); });
        if constexpr (statistics > 0)
            for (int k = 0; k < statistics; ++k) {
                fill(sums[k], [](int) { return T(0); });
                if (backward)
                    fill(about.slope[k],
                         [&](int e) { return static_cast<T>(run.slopes[(statistics + k) * experts + e]); });
                else
                    for (int e = 0; e < experts; ++e)
                        run.slopes[k * experts + e] = 0.0;
            }
    }
    /// Noise and second half of the logits of `count` rows from `first` on.
    void load([[maybe_unused]] gate_run const& run, [[maybe_unused]] matrix_view<T const> logits,
              [[maybe_unused]] index_t first, [[maybe_unused]] int count) {
        if constexpr (needs.noise)
            if (run.draws) {
                constexpr index_t stride = (experts + 15) / 16 * 16;
                alignas(64) T normals[Plan::rows * stride];
                fill_normals(run.site, run.batch, first, count, experts, normals, stride);
                load_rows(rows_at<T const>{normals, stride}, count, about.noise);
            }
        if constexpr (needs.noise_logits)
            load_rows(rows_at<T const>{logits.row(first) + experts, logits.stride}, count, about.noise_logits);
    }
    /// Adds the statistics of `count` rows.
    void add([[maybe_unused]] gate_run const& run, [[maybe_unused]] int count) {
        if constexpr (statistics > 0) {
            auto const real = value::iota() < value(static_cast<T>(count));
            for (int k = 0; k < statistics; ++k)
                for (int i = 0; i < row_type::local; ++i)
                    sums[k].v[i] +=
                        Plan::transposed ? select(real, about.statistic[k].v[i], value(T(0))) : about.statistic[k].v[i];
            // Partial sums stay short, so that single precision does not run out of digits.
            if (++rows_summed % 64 == 0) flush(run);
        }
    }
    void flush([[maybe_unused]] gate_run const& run) {
        if constexpr (statistics > 0)
            for (int k = 0; k < statistics; ++k) {
                double* const to = run.slopes + k * experts;
                for (int e = 0; e < experts; ++e)
                    to[e] += static_cast<double>(Plan::transposed ? horizontal_sum(sums[k].v[e])
                                                                  : sums[k].v[e / width][e % width]);
                fill(sums[k], [](int) { return T(0); });
            }
    }

private:
    /// x_e = number(e) in every row.
    template <class Number> static void fill(row_type& x, Number const& number) {
        if constexpr (Plan::transposed) {
            for (int e = 0; e < experts; ++e)
                x.v[e] = value(number(e));
        } else {
            alignas(64) T lane[row_type::local * width] = {};
            for (int e = 0; e < experts; ++e)
                lane[e] = number(e);
            for (int i = 0; i < row_type::local; ++i)
                x.v[i] = value::load(lane + i * width);
        }
    }
};

} // namespace detail

/// Routes every row of `logits`: weights [rows][slots] and experts [rows][slots], which may have no data where a slot
/// is its expert. Where the run asks for the gate's term it gets the mean of the rows' shares and what the op makes of
/// the sums over the batch. Returns whether all logits and weights are finite: experts without a weight hide a logit.
template <class T, class Gate, class Op>
bool route(Op const& given, matrix_view<T const> logits, matrix_view<T> weights, matrix_view<std::int32_t> experts,
           gate_run const& run = {}) {
    using plan = detail::gate_plan<T, Gate, Op, false>;
    using group = typename plan::group;
    using P = typename plan::value;
    using extras = detail::gate_extras<T, Gate, Op, plan>;
    constexpr int step = plan::rows;
    Op const op = given;
    bool const sums = extras::statistics > 0 && run.term;
    double term = 0.0;
    extras extra;
    finite_watch<P> watch;
    extra.begin(run, false);
    for (index_t first = 0; first < logits.rows; first += step) {
        int const count = logits.rows - first < step ? static_cast<int>(logits.rows - first) : step;
        typename plan::template row<espalier::detail::gate_row_columns<Gate, Op>()> z;
        load_rows(rows_at<T const>{logits.row(first), logits.stride}, count, z);
        for (int i = 0; i < z.local; ++i)
            watch.see(z.v[i]);
        extra.load(run, logits, first, count);
        P space[plan::space + 1];
        extra.about.space = space;
        if constexpr (extras::needs.noise_logits)
            for (int i = 0; i < extra.about.noise_logits.local; ++i)
                watch.see(extra.about.noise_logits.v[i]);
        P share;
        if constexpr (Gate::slot_is_expert) {
            typename plan::template row<Gate::slots> chosen;
            share = gate::detail::route(op, extra.about, group{}, z, chosen);
            for (int i = 0; i < chosen.local; ++i)
                watch.see(chosen.v[i]);
            store_rows(rows_at<T>{weights.row(first), weights.stride}, count, chosen);
            if (experts.data)
                for (int r = 0; r < count; ++r)
                    for (int s = 0; s < Gate::slots; ++s)
                        experts(first + r, s) = s;
        } else {
            gate_slots<P, Gate::slots> chosen;
            share = gate::detail::route(op, extra.about, group{}, z, chosen);
            // By slot in memory first: an element of a register is not to be had cheaply.
            constexpr int W = pack_width<P>;
            alignas(64) T weight[std::size_t{Gate::slots}][std::size_t{W}];
            alignas(64) T expert[std::size_t{Gate::slots}][std::size_t{W}];
            for (int s = 0; s < Gate::slots; ++s) {
                watch.see(chosen.weight[s]);
                chosen.weight[s].store(weight[s]);
                chosen.expert[s].store(expert[s]);
            }
            detail::store_slots(weight, count, weights.row(first), weights.stride);
            detail::store_slots(expert, count, experts.row(first), experts.stride);
        }
        if constexpr (espalier::detail::gate_has_term<Op>())
            for (int r = 0; r < count; ++r)
                term += static_cast<double>(share[r]);
        if (sums) extra.add(run, count);
    }
    bool const finite = watch.all_finite();
    if (!run.term) return finite;
    *run.term = logits.rows > 0 ? term / static_cast<double>(logits.rows) : 0.0;
    if constexpr (extras::statistics > 0) {
        extra.flush(run);
        *run.term += op.finish(run.slopes, logits.rows, run.slopes + extras::statistics * Gate::experts);
    }
    return finite;
}

/// dlogits from the gradients of the weights; `dlogits` may be `logits`' own memory only if nobody reads it again. The
/// run is the one of `route`, which left the slopes. Returns whether all of dweights is finite.
template <class T, class Gate, class Op>
bool route_backward(Op const& given, matrix_view<T const> logits, matrix_view<T const> weights,
                    matrix_view<std::int32_t const> experts, matrix_view<T const> dweights, matrix_view<T> dlogits,
                    gate_run const& run = {}) {
    using plan = detail::gate_plan<T, Gate, Op, true>;
    using group = typename plan::group;
    using P = typename plan::value;
    using extras = detail::gate_extras<T, Gate, Op, plan>;
    constexpr int step = plan::rows;
    Op const op = given;
    P const term_scale(static_cast<T>(1.0 / static_cast<double>(logits.rows > 0 ? logits.rows : 1)));
    extras extra;
    finite_watch<P> watch;
    extra.begin(run, true);
    for (index_t first = 0; first < logits.rows; first += step) {
        int const count = logits.rows - first < step ? static_cast<int>(logits.rows - first) : step;
        typename plan::template row<espalier::detail::gate_row_columns<Gate, Op>()> z, dz;
        load_rows(rows_at<T const>{logits.row(first), logits.stride}, count, z);
        extra.load(run, logits, first, count);
        P space[plan::space + 1];
        extra.about.space = space;
        if constexpr (Gate::slot_is_expert) {
            typename plan::template row<Gate::slots> chosen, gradient;
            load_rows(rows_at<T const>{weights.row(first), weights.stride}, count, chosen);
            load_rows(rows_at<T const>{dweights.row(first), dweights.stride}, count, gradient);
            for (int i = 0; i < gradient.local; ++i)
                watch.see(gradient.v[i]);
            gate::detail::backward(op, extra.about, group{}, z, chosen, gradient, term_scale, dz);
        } else {
            gate_slots<P, Gate::slots> chosen;
            P gradient[Gate::slots];
            for (int s = 0; s < Gate::slots; ++s) {
                chosen.weight[s] = chosen.expert[s] = gradient[s] = P(T(0));
                for (int r = 0; r < count; ++r) {
                    if constexpr (plan::transposed) {
                        chosen.weight[s].set(r, weights(first + r, s));
                        chosen.expert[s].set(r, static_cast<T>(experts(first + r, s)));
                        gradient[s].set(r, dweights(first + r, s));
                    } else {
                        chosen.weight[s] = P(weights(first, s));
                        chosen.expert[s] = P(static_cast<T>(experts(first, s)));
                        gradient[s] = P(dweights(first, s));
                    }
                }
                watch.see(gradient[s]);
            }
            gate::detail::backward(op, extra.about, group{}, z, chosen, gradient, term_scale, dz);
        }
        store_rows(rows_at<T>{dlogits.row(first), dlogits.stride}, count, dz);
        if constexpr (extras::needs.noise_logits)
            store_rows(rows_at<T>{dlogits.row(first) + Gate::experts, dlogits.stride}, count,
                       extra.about.dnoise_logits);
    }
    return watch.all_finite();
}

} // namespace espalier::cpu
