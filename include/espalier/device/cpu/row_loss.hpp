// SPDX-License-Identifier: Apache-2.0
// One pass over the rows of a network's output: losses, their gradient, and the state of the samples.
#pragma once

#include <espalier/core/finite.hpp>
#include <espalier/core/library.hpp>
#include <espalier/core/pack.hpp>
#include <espalier/core/row.hpp>
#include <espalier/core/rows.hpp>
#include <espalier/core/text.hpp>
#include <espalier/core/view.hpp>
#include <espalier/device/cpu/row_lanes.hpp>
#include <espalier/loss/concept.hpp>

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <type_traits>

namespace espalier::cpu {

/// What a row loss reads and writes besides the logits; a view without data is absent.
template <class T> struct loss_buffers {
    matrix_view<T const> dense_targets{}; ///< [rows][N], for a loss that needs it
    matrix_view<T> gradient{};            ///< [rows][N], may be the logits themselves; absent: value only
    matrix_view<T> state{};               ///< [samples][N], absent in evaluation
    array_view<T> row_values{};           ///< [rows], receives the un-reduced losses, 0 for ignored rows
    double denominator = 0.0;             ///< what the sum is divided by; 0: the number of rows that count
};

/// value = sum / denominator with sum = sum_i weight_i sign_i l_i over the rows that count; 0 when none does.
struct loss_result {
    double value = 0.0;
    double sum = 0.0;
    index_t counted = 0;
    bool finite_logits = true;   ///< in all rows; the value need not show it
    bool finite_gradient = true; ///< where one was asked for
};

namespace detail {

void expect_matrix(std::string_view loss, char const* what, index_t given_rows, index_t given_columns, index_t rows,
                   index_t columns);

void expect_label(std::string_view loss, char const* what, std::int32_t label, index_t row, int columns);

/// Checks labels and sample ids, all before anything is written. Returns the number of rows that count.
index_t check_rows(std::string_view loss, rows const& batch, int columns, bool labels, bool state, index_t samples);

/// The pass itself, as a type so that its parts share what they know.
template <class T, int N, class Loss, class Value> struct row_loss_pass {
    using plan = row_plan<T, N, Value>;
    using P = typename plan::value;
    using row_type = typename plan::row;
    static constexpr int step_rows = plan::rows;
    static constexpr bool labels = loss::needs_labels<Loss>, dense = loss::needs_dense_target<Loss>,
                          remembers = loss::per_sample_state<Loss>;

    Loss const& loss_value;
    matrix_view<T const> z;
    rows const& batch;
    loss_buffers<T> const& buffers;
    double inverse; // of the denominator
    finite_watch<P>& logits;
    finite_watch<P>& gradients;

    /// A number per row of a step, as the loss sees it: in the elements of a pack, or the same in all of them. Rows
    /// past the last one get `padding`.
    template <class U> static P numbers(U const& values, index_t first, int count, T padding) {
        if (!values) return P(padding);
        if constexpr (plan::transposed) {
            T lane[plan::width];
            for (int r = 0; r < plan::width; ++r)
                lane[r] = padding;
            if (count == plan::width)
                for (int r = 0; r < plan::width; ++r)
                    lane[r] = static_cast<T>(values[first + r]);
            else
                for (int r = 0; r < count; ++r)
                    lane[r] = static_cast<T>(values[first + r]);
            return P::load(lane);
        } else
            return P(static_cast<T>(values[first]));
    }

    /// Label 0 for the rows that are there.
    static P first_of(int count) {
        if constexpr (plan::transposed)
            return select(P::iota() < P(static_cast<T>(count)), P(T(0)), P(T(-1)));
        else
            return P(T(0));
    }

    static pack<double, plan::width> wide_of(P const& x) {
        if constexpr (std::is_same_v<T, double>)
            return x;
        else
            return pack<double, plan::width>(x);
    }

    /// Rows [first, first + count). Returns their part of the sum; it does not depend on the rows around them, and
    /// neither does anything that is written. Never inlined: one copy of the arithmetic, so that the same rows give the
    /// same bits however a batch is cut (a compiler may contract two copies differently).
    double step(index_t first, int count) const { return step_with<false>(first, count, nullptr); }
    /// `Judges`: the rows' samples have taken them in, and have `learned`.
    template <bool Judges> [[gnu::noinline]] double step_with(index_t first, int count, row_type const* learned) const {
        P const none(T(0)), one(T(1));
        P label = numbers(batch.label, first, count, T(-1)), partner = label, mixing = one, weight = one;
        if (!batch.label) label = partner = first_of(count); // nothing is ignored; the padding of a step is
        if (batch.label && batch.partner_label) {
            // -1 says that a label is unknown: of two mixed samples the one with a label stands for both.
            partner = numbers(batch.partner_label, first, count, T(-1));
            if (batch.mixing) mixing = numbers(batch.mixing, first, count, T(1));
            mixing = select((label < none) | (partner < none), one, mixing);
            P const own = label;
            label = select(own < none, partner, own);
            partner = select(partner < none, own, partner);
        }
        if (batch.weight) weight = numbers(batch.weight, first, count, T(1));
        auto const counted = (label >= none) & (weight != none);
        if (batch.sign) weight = weight * numbers(batch.sign, first, count, T(1));
        P const factor = select(counted, weight, none);

        row_type x, target_row, gradient, state;
        load_rows(rows_at<T const>{z.row(first), z.stride}, count, x);
        for (int i = 0; i < x.local; ++i)
            logits.see(select(counted, x.v[i], none)); // what stands in a row that does not count is nobody's
        if constexpr (dense)
            load_rows(rows_at<T const>{buffers.dense_targets.row(first), buffers.dense_targets.stride}, count,
                      target_row);

        typename plan::group const group{};
        loss::row_target<typename plan::group, P, N> target;
        target.label = label;
        target.partner_label = partner;
        target.mixing = mixing;
        target.weight = factor;
        if constexpr (dense) target.dense = &target_row;

        row_type* const dz = buffers.gradient.data ? &gradient : nullptr;
        row_type* memory = nullptr;
        T* sample[std::size_t{step_rows}] = {};
        if constexpr (remembers && !Judges) {
            if (buffers.state.data) {
                for (int r = 0; r < count; ++r)
                    sample[r] = batch.counts(first + r) ? buffers.state.row(batch.sample[first + r]) : nullptr;
                load_rows(rows_listed<T>{sample}, count, state);
                memory = &state;
            }
        }
        P value;
        if constexpr (Judges)
            value = loss_value.judge(group, x, target, dz, *learned);
        else
            value = loss_value.evaluate(group, x, target, dz, memory);

        P const by = factor * P(static_cast<T>(inverse));
        if (dz) {
            // An ignored row gets an exact zero, whatever its logits are.
            for (int i = 0; i < gradient.local; ++i) {
                gradient.v[i] = select(counted, gradient.v[i] * by, none);
                gradients.see(gradient.v[i]);
            }
            store_rows(rows_at<T>{buffers.gradient.row(first), buffers.gradient.stride}, count, gradient);
        }
        if (memory) store_rows(rows_listed<T>{sample}, count, state);

        P const known = select(counted, value, none);
        if (buffers.row_values.data) {
            T lane[plan::width];
            known.store(lane);
            for (int r = 0; r < count; ++r)
                buffers.row_values[first + r] = lane[r];
        }
        using wide = pack<double, plan::width>;
        wide const part = wide_of(factor) * wide_of(known);
        if constexpr (plan::transposed)
            return horizontal_sum(part);
        else
            return part[0];
    }

    /// Rows [first, first + count) of the batch, of which z has several outputs: their samples take in the mean of
    /// them, then every output is judged.
    double step_copies(index_t first, int count) const {
        index_t const rows_once = z.rows / batch.copies;
        typename plan::group const group{};
        T* sample[std::size_t{step_rows}] = {};
        for (int r = 0; r < count; ++r)
            sample[r] = batch.counts(first + r) ? buffers.state.row(batch.sample[first + r]) : nullptr;
        row_type x, sum, state;
        for (int i = 0; i < sum.local; ++i)
            sum.v[i] = P(T(0));
        for (int k = 0; k < batch.copies; ++k) {
            load_rows(rows_at<T const>{z.row(k * rows_once + first), z.stride}, count, x);
            loss_value.add_prediction(group, x, sum);
        }
        load_rows(rows_listed<T>{sample}, count, state);
        loss_value.remember(group, sum, batch.copies, state);
        double part = 0.0;
        for (int k = 0; k < batch.copies; ++k)
            part += step_with<true>(k * rows_once + first, count, &state);
        store_rows(rows_listed<T>{sample}, count, state);
        return part;
    }

    /// Whether a sample occurs twice in these rows. Then they are visited one after the other, so that each visit sees
    /// the state that the one before it left, for every batch split.
    bool repeats(index_t first, int count) const {
        bool found = false;
        for (int r = 1; r < count; ++r)
            for (int q = 0; q < r; ++q)
                found |= batch.sample[first + r] == batch.sample[first + q];
        return found;
    }

    double run_copies() const {
        double sum = 0.0;
        index_t const rows_once = z.rows / batch.copies;
        for (index_t first = 0; first < rows_once; first += step_rows) {
            int const count = rows_once - first < step_rows ? static_cast<int>(rows_once - first) : step_rows;
            if (repeats(first, count))
                for (int r = 0; r < count; ++r)
                    sum += step_copies(first + r, 1);
            else
                sum += step_copies(first, count);
        }
        return sum;
    }

    double run() const {
        double sum = 0.0;
        for (index_t first = 0; first < z.rows; first += step_rows) {
            int const count = z.rows - first < step_rows ? static_cast<int>(z.rows - first) : step_rows;
            if constexpr (remembers && step_rows > 1) {
                if (buffers.state.data && repeats(first, count)) {
                    double part[std::size_t{step_rows}] = {};
                    for (int r = 0; r < count; ++r)
                        part[r] = step(first + r, 1);
                    sum += horizontal_sum(pack<double, step_rows>::load(part));
                    continue;
                }
            }
            sum += step(first, count);
        }
        return sum;
    }
};

} // namespace detail

/// Losses of the rows of `z` [rows][N], their weighted mean, and on request the gradient of that mean with respect to
/// `z` and the new state of the rows' samples.
///
/// Row i counts unless its label is -1 or its weight is 0; an ignored row adds nothing, has a gradient of exactly 0 and
/// leaves its sample's state alone. With no row that counts the loss is 0. Per row, results do not depend on the rows
/// around it: any split of a batch gives the same bits. A sample that occurs twice is visited in the order of the rows.
/// Where the rows are several outputs of each row of a batch (rows::copies), a visit is one of all of them: one change
/// of state.
///
/// Throws, before anything is written: `shape_error` when extents do not fit; `data_error` when a label or a sample is
/// out of range, when the loss needs labels, targets or sample ids that are not there, or when its numbers make no
/// sense. A loss or gradient that is not finite is the caller's to judge.
template <class T, int N, class Loss, class Value = native_pack<T>>
loss_result row_loss(Loss const& loss, matrix_view<T const> z, rows const& batch, loss_buffers<T> const& buffers = {}) {
    using pass = detail::row_loss_pass<T, N, Loss, Value>;
    static_assert(
        loss::evaluates_rows<Loss, typename pass::plan::group, typename pass::P, N>,
        "espalier: a loss needs `T evaluate(group, z, target, dz, state) const` as a template of the group, T and "
        "N that returns T, a number or a pack of them; see loss/concept.hpp");
    constexpr std::string_view name = Loss::name;
    if (char const* const text = loss::problem(loss)) espalier::detail::throw_data_error(text);
    detail::expect_matrix(name, "the logits", z.rows, z.columns, batch.count, N);
    if (pass::dense && batch.count > 0) {
        if (!buffers.dense_targets.data) espalier::detail::throw_data_error(name, " needs target rows, there are none");
        detail::expect_matrix(name, "the target rows", buffers.dense_targets.rows, buffers.dense_targets.columns,
                              batch.count, N);
    }
    if (buffers.gradient.data)
        detail::expect_matrix(name, "the extents of the gradient", buffers.gradient.rows, buffers.gradient.columns,
                              batch.count, N);
    if (buffers.row_values.data && buffers.row_values.size < batch.count)
        espalier::detail::throw_shape_error(name, ": room for ", buffers.row_values.size, " row values, needed are ",
                                            batch.count);
    bool const remembers = pass::remembers && buffers.state.data;
    if (remembers)
        detail::expect_matrix(name, "the extents of the state", buffers.state.rows, buffers.state.columns,
                              buffers.state.rows, N);
    if (remembers && batch.copies > 1) {
        if (!loss::remembers_copies<Loss, typename pass::plan::group, typename pass::P, N>)
            espalier::detail::throw_data_error(
                name, " keeps state of every sample and has no `remember` for several outputs of one row");
        if (batch.count % batch.copies != 0)
            espalier::detail::throw_shape_error(name, ": ", batch.count, " rows are no ", batch.copies,
                                                " outputs of each row of a batch");
    }
    if (!(buffers.denominator >= 0.0))
        espalier::detail::throw_data_error(name, ": the denominator is ", buffers.denominator,
                                           ", needed is a positive number, or 0 for the number of rows");

    loss_result result;
    result.counted = detail::check_rows(name, batch, N, pass::labels, remembers, buffers.state.rows);
    double const denominator = buffers.denominator > 0.0 ? buffers.denominator
                               : result.counted > 0      ? static_cast<double>(result.counted)
                                                         : 1.0;
    finite_watch<typename pass::P> logits, gradients;
    pass const rows_of{loss, z, batch, buffers, 1.0 / denominator, logits, gradients};
    if (remembers && batch.copies > 1) {
        if constexpr (pass::remembers && loss::remembers_copies<Loss, typename pass::plan::group, typename pass::P, N>)
            result.sum = rows_of.run_copies();
    } else {
        result.sum = rows_of.run();
    }
    result.finite_logits = logits.all_finite();
    result.finite_gradient = gradients.all_finite();
    result.value = result.sum / denominator;
    return result;
}

} // namespace espalier::cpu

#if defined(ESPALIER_HEADER_ONLY)
#include <espalier/device/cpu/detail/row_loss.hpp>
#endif
