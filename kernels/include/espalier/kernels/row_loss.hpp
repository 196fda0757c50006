// SPDX-License-Identifier: Apache-2.0
// Kernel bodies of losses: one pass over the rows of a network's output. What a row's loss is, loss/concept.hpp's
// `evaluate` says.
#pragma once

#include <espalier/core/layout.hpp>
#include <espalier/core/macros.hpp>
#include <espalier/core/row.hpp>
#include <espalier/core/rows.hpp>
#include <espalier/core/view.hpp>
#include <espalier/kernels/access.hpp>
#include <espalier/kernels/row_map.hpp>
#include <espalier/kernels/sums.hpp>
#include <espalier/loss/concept.hpp>

#include <cstdint>

namespace espalier::kernels {

/// What a row loss reads and writes; all pointers are the device's. Views without data are absent.
template <class T> struct row_loss_arguments {
    matrix_view<T const> z{};
    rows batch{};
    matrix_view<master_of<T> const> dense_targets{};
    matrix_view<T> gradient{};             ///< may be the logits themselves; absent: value only
    matrix_view<master_of<T>> state{};     ///< [samples][N]; absent in evaluation
    array_view<master_of<T>> row_values{}; ///< un-reduced losses, 0 for ignored rows
    double denominator = 0.0;              ///< what the sum is divided by; 0: the number of rows that count
};

/// What the three bodies of a loss leave in device memory.
struct row_loss_result {
    double value = 0.0;
    double sum = 0.0;
    index_t counted = 0;
    double denominator = 1.0;
    bool valid = false; ///< the batch had no error: gradients and state were written
};

/// First body: checks labels, mixing shares and sample ids of a batch, counts the rows that count, and sets the
/// denominator. One block. Floor: about 16 bytes a row.
template <class Loss, class Block>
ESPALIER_FN void count_rows(Block const& block, rows const& batch, int columns, bool remembers, index_t samples,
                            double denominator, row_loss_result* result, error_word* error) {
    index_t counted = 0;
    bool wrong = false;
    for (index_t i = block.thread_rank(); i < batch.count; i += Block::lanes) {
        std::uint32_t bits = 0;
        if constexpr (loss::needs_labels<Loss>) {
            std::int32_t const label = batch.label[i];
            if (label < -1 || label >= columns) bits |= label_out_of_range;
            if (batch.partner_label) {
                std::int32_t const partner = batch.partner_label[i];
                if (partner < -1 || partner >= columns) bits |= label_out_of_range;
                float const share = batch.mixing_of(i);
                if (!(share >= 0.0f && share <= 1.0f)) bits |= mixing_out_of_range;
            }
        }
        if (batch.counts(i)) {
            ++counted;
            if (remembers && (batch.sample[i] < 0 || batch.sample[i] >= samples)) bits |= sample_out_of_range;
        }
        if (bits != 0) {
            wrong = true;
            report(error, bits, i);
        }
    }
    counted = block.reduce_add(counted);
    wrong = block.any(wrong);
    if (block.block_rank() == 0 && block.thread_rank() == 0) {
        row_loss_result r;
        r.counted = counted;
        r.denominator = denominator > 0.0 ? denominator : counted > 0 ? static_cast<double>(counted) : 1.0;
        r.valid = !wrong;
        *result = r;
    }
}

/// Second body: losses, gradients and state of all rows; weighted[i] receives weight sign l of row i. Does nothing but
/// zero `weighted` when the first body found an error; a loss that is not finite is reported.
/// Floor: 2 b rows N bytes (+ 8 W rows N for state). A row stays in registers between its one read and its one write.
/// A sample that occurs several times is visited in the order of its rows, all by the group that has its first row.
/// With several outputs of a row (rows::copies) a loss with state takes in the mean of them and then judges each.
template <int N, class Block, class Loss, class T>
ESPALIER_FN void row_loss(Block const& block, Loss const& loss_op, row_loss_arguments<T> const& a,
                          row_loss_result const* result, double* weighted, error_word* error) {
    using W = master_of<T>;
    using group_type = row_group_of<N, Block>;
    using row_type = row<group_type, W, N>;
    auto const group = row_group<N>(block);
    bool const valid = result->valid;
    double const inverse = 1.0 / result->denominator;
    [[maybe_unused]] bool const remembers = loss::per_sample_state<Loss> && a.state.data != nullptr;
    // A visit is one of all outputs of a row where the row's sample remembers them.
    int const copies = remembers ? a.batch.copies : 1;
    index_t const rows_once = a.z.rows / copies;

    /// Row r by `evaluate(x, target, gradient)`; true where its value is a number.
    auto const judge = [&](index_t r, auto const& evaluate) {
        row_labels const tags = labels_of(a.batch, r);
        bool const counts = a.batch.counts(r);
        double const sign = a.batch.sign ? static_cast<double>(a.batch.sign[r]) : 1.0;
        double const factor = counts ? sign * a.batch.weight_of(r) : 0.0;
        row_type x, gradient;
        load_row(group, a.z.row(r), x);
        finite_watch<W> watch;
        ESPALIER_ROW_UNROLL
        for (int i = 0; i < x.local; ++i)
            watch.see(x.v[i]);
        loss::row_target<group_type, W, N> target;
        target.label = static_cast<W>(tags.label);
        target.partner_label = static_cast<W>(tags.partner_label);
        target.mixing = static_cast<W>(tags.mixing);
        target.weight = static_cast<W>(factor);
        [[maybe_unused]] row_type target_row;
        if constexpr (loss::needs_dense_target<Loss>) {
            load_row(group, a.dense_targets.row(r), target_row);
            target.dense = &target_row;
        }
        W value = evaluate(x, target, &gradient);
        if (!counts) value = W(0);
        if (a.gradient.data) {
            W const by = static_cast<W>(factor * inverse);
            ESPALIER_ROW_UNROLL
            for (int i = 0; i < gradient.local; ++i)
                watch.see(gradient.v[i] = counts ? gradient.v[i] * by : W(0));
            store_row(group, gradient, a.gradient.row(r));
        }
        if (group.thread_rank() == 0) {
            weighted[r] = factor * static_cast<double>(value);
            if (a.row_values.data) a.row_values[r] = value;
            if (!(value - value == W(0))) report(error, loss_not_finite, r);
        }
        // What stands in a row that does not count is nobody's.
        if (counts && !watch.all_finite()) report(error, loss_not_finite, r);
        // The group's lanes agree on the value, so they agree on whether the state is written.
        return value - value == W(0);
    };
    auto const visit = [&](index_t r) {
        if constexpr (loss::per_sample_state<Loss>) {
            if (remembers && a.batch.counts(r)) {
                row_type state;
                W* const memory = a.state.row(a.batch.sample[r]);
                load_row(group, memory, state);
                bool finite = true;
                if constexpr (loss::remembers_copies<Loss, group_type, W, N>) {
                    if (copies > 1) {
                        row_type x, sum;
                        ESPALIER_ROW_UNROLL
                        for (int i = 0; i < sum.local; ++i)
                            sum.v[i] = W(0);
                        ESPALIER_KERNEL_LOOP
                        for (int c = 0; c < copies; ++c) {
                            load_row(group, a.z.row(c * rows_once + r), x);
                            loss_op.add_prediction(group, x, sum);
                        }
                        loss_op.remember(group, sum, copies, state);
                        ESPALIER_KERNEL_LOOP
                        for (int c = 0; c < copies; ++c)
                            finite &= judge(c * rows_once + r, [&](auto const& z, auto const& target, auto* dz) {
                                return loss_op.judge(group, z, target, dz, state);
                            });
                        if (finite) store_row(group, state, memory);
                        return;
                    }
                }
                finite = judge(r, [&](auto const& z, auto const& target, auto* dz) {
                    return loss_op.evaluate(group, z, target, dz, &state);
                });
                if (finite) store_row(group, state, memory);
                return;
            }
        }
        for (int c = 0; c < copies; ++c)
            judge(c * rows_once + r, [&](auto const& z, auto const& target, auto* dz) {
                return loss_op.evaluate(group, z, target, dz, static_cast<row_type*>(nullptr));
            });
    };

    for (index_t r = group.group_rank(); r < rows_once; r += group.group_count()) {
        if (!valid) {
            for (int c = 0; group.thread_rank() == 0 && c < copies; ++c)
                weighted[c * rows_once + r] = 0.0;
            continue;
        }
        if constexpr (loss::per_sample_state<Loss>) {
            if (remembers) {
                constexpr index_t lanes = group_type::lanes;
                std::int64_t const sample = a.batch.sample[r];
                bool const counts = a.batch.counts(r);
                auto const same = [&](index_t i) { return a.batch.sample[i] == sample && a.batch.counts(i); };
                bool earlier = false;
                for (index_t i = group.thread_rank(); i < r; i += lanes)
                    earlier |= same(i);
                if (counts && group.any(earlier)) continue;
                visit(r);
                for (index_t i = r + 1; counts && i < rows_once; i += lanes) {
                    index_t const mine = i + group.thread_rank();
                    if (!group.any(mine < rows_once && same(mine))) continue;
                    for (index_t k = i; k < i + lanes && k < rows_once; ++k)
                        if (same(k)) visit(k);
                }
                continue;
            }
        }
        visit(r);
    }
}

/// Third body: the sum of the rows in a fixed order, and the value. One block.
template <class Block>
ESPALIER_FN void finish_loss(Block const& block, double const* weighted, index_t row_count, row_loss_result* result) {
    double const sum = fixed_sum(block, row_count, [&](index_t i) { return weighted[i]; });
    if (block.block_rank() == 0 && block.thread_rank() == 0) {
        result->sum = sum;
        result->value = sum / result->denominator;
    }
}

} // namespace espalier::kernels
