// SPDX-License-Identifier: Apache-2.0
// Kernel bodies of the epilogue: any composition of activation, dropout and activation penalties in one pass over the
// output of a product, forward and backward. What happens to an element is core/epilogue.hpp's to say.
#pragma once

#include <espalier/core/epilogue.hpp>
#include <espalier/core/flat_tuple.hpp>
#include <espalier/core/macros.hpp>
#include <espalier/core/random.hpp>
#include <espalier/core/rows.hpp>
#include <espalier/core/view.hpp>
#include <espalier/kernels/access.hpp>
#include <espalier/kernels/sums.hpp>

#include <cstddef>
#include <cstdint>
#include <type_traits>

namespace espalier::kernels {

/// Scratch of an epilogue with penalties, and of the bias gradient.
template <class W> struct epilogue_scratch {
    double* elements = nullptr; ///< [penalties][strips x octets]
    W* columns = nullptr;       ///< [column penalties, at least 1][strips][8 octets]

    /// What lies behind that of so many strips.
    template <class Op> ESPALIER_FN epilogue_scratch behind(index_t strips, index_t octets) const {
        return {elements + Op::penalty_count * strips * octets,
                columns + Op::column_penalties * strips * octets * octet};
    }
};

/// What the ops of an epilogue may know of the eight elements of an octet.
template <class Op, class W> struct octet_about {
    epilogue_about<W, std::uint32_t> row;
    bits8 bits{};
    std::uint32_t first_column;
    W unit[std::size_t{Op::masks_units ? octet : 1}] = {};

    /// `units`: the mask of the layer's units, for an op with `masks_units`.
    ESPALIER_FN octet_about(Op const& op, random_site const& site, rows const& batch, index_t r, index_t place,
                            index_t width, index_t row_count, [[maybe_unused]] W const* units)
        : row(about_row<Op, W, std::uint32_t>(batch, r, width, static_cast<W>(row_count), site.step)),
          first_column(static_cast<std::uint32_t>(place * octet)) {
        using dropout = typename Op::dropout_type;
        std::uint32_t const drawn_at = espalier::detail::draw_place<dropout>(batch, r);
        bits = octet_bits(op.dropout, site, drawn_at, place);
        if constexpr (Op::needs_row_bits) row.row_bits = draw(site, drawn_at, 0, row_draw)[0];
        if constexpr (Op::masks_units)
            load8(units + place * octet, count8(place * octet, width), aligned16(units), unit);
    }
    ESPALIER_FN epilogue_about<W, std::uint32_t> operator[](int j) const {
        auto about = row;
        about.bits = bits[j];
        about.column = first_column + static_cast<std::uint32_t>(j);
        if constexpr (Op::masks_units) about.unit = unit[j];
        return about;
    }
};

/// y = op.forward(z) over a batch, for ops without penalties. z and y may be the same memory; `units` is the mask of an
/// op with `masks_units`. Floor: 2 b rows columns bytes; mask bytes: 0. The loads of two octets are under way before
/// the first is used.
template <class Group, class Op, class T>
ESPALIER_FN void epilogue_forward(Group const& group, Op const& op, matrix_view<T const> z, matrix_view<T> y,
                                  random_site const& site, rows const& batch, error_word* error = nullptr,
                                  master_of<T> const* units = nullptr) {
    using W = master_of<T>;
    static_assert(!Op::has_penalties, "espalier: an epilogue with penalties runs as epilogue_forward_strips");
    constexpr int ahead = sizeof(T) <= 4 ? 2 : 1;
    bool const vector = aligned16(z) && aligned16(y);
    pair_walk at(grid_lane(group), grid_lanes(group), octets_of(z.columns));
    while (at.line < z.rows) {
        W x[std::size_t{ahead}][std::size_t{octet}];
        index_t line[std::size_t{ahead}], place[std::size_t{ahead}];
        int count[std::size_t{ahead}];
        ESPALIER_KERNEL_UNROLL
        for (int k = 0; k < ahead; ++k) {
            line[k] = at.line;
            place[k] = at.place;
            count[k] = at.line < z.rows ? count8(at.place * octet, z.columns) : 0;
            if (count[k] > 0) load8(z.row(line[k]) + place[k] * octet, count[k], vector, x[k]);
            at.advance();
        }
        ESPALIER_KERNEL_UNROLL
        for (int k = 0; k < ahead; ++k) {
            if (count[k] == 0) continue;
            report_unless_finite(error, activation_not_finite, line[k], x[k]);
            octet_about<Op, W> const about(op, site, batch, line[k], place[k], z.columns, z.rows, units);
            ESPALIER_KERNEL_UNROLL
            for (int j = 0; j < octet; ++j)
                x[k][j] = op.forward(x[k][j], about[j]);
            store8(y.row(line[k]) + place[k] * octet, count[k], vector, x[k]);
        }
    }
}

/// The same for ops with penalties: also leaves the partial sums of their contributions. Floor: 2 b rows columns bytes.
template <class Group, class Op, class T>
ESPALIER_FN void epilogue_forward_strips(Group const& group, Op const& op, matrix_view<T const> z, matrix_view<T> y,
                                         random_site const& site, rows const& batch,
                                         epilogue_scratch<master_of<T>> const& scratch, error_word* error = nullptr,
                                         master_of<T> const* units = nullptr) {
    using W = master_of<T>;
    bool const vector = aligned16(z) && aligned16(y), scratch_vector = aligned16(scratch.columns);
    strips const cut = strips_of(z.rows);
    index_t const octets = octets_of(z.columns), stride = octets * octet;
    for (pair_walk at(grid_lane(group), grid_lanes(group), octets); at.line < cut.count; at.advance()) {
        index_t const c = at.place * octet, first = at.line * cut.height;
        index_t const last = first + cut.height < z.rows ? first + cut.height : z.rows;
        int const count = count8(c, z.columns);
        double element_sum[Op::penalty_count + 1] = {};
        W column_sum[Op::column_penalties + 1][octet] = {};
        for (index_t r = first; r < last; ++r) {
            W x[octet];
            load8(z.row(r) + c, count, vector, x);
            report_unless_finite(error, activation_not_finite, r, x);
            octet_about<Op, W> const about(op, site, batch, r, at.place, z.columns, z.rows, units);
            ESPALIER_KERNEL_UNROLL
            for (int j = 0; j < octet; ++j)
                x[j] = op.forward(x[j], about[j]);
            store8(y.row(r) + c, count, vector, x);
            int index = 0, column_index = 0;
            for_each(op.penalties, [&](auto const& penalty) {
                using penalty_op = std::remove_cvref_t<decltype(penalty)>;
                if constexpr (penalty_op::scope == penalty_scope::column) {
                    ESPALIER_KERNEL_UNROLL
                    for (int j = 0; j < octet; ++j)
                        column_sum[column_index][j] += espalier::detail::contribution_of(penalty, x[j], about[j]);
                    ++column_index;
                } else {
                    W sum(0);
                    ESPALIER_KERNEL_UNROLL
                    for (int j = 0; j < octet; ++j)
                        sum += j < count ? espalier::detail::contribution_of(penalty, x[j], about[j]) : W(0);
                    element_sum[index] += static_cast<double>(sum);
                }
                ++index;
            });
        }
        ESPALIER_KERNEL_UNROLL
        for (int i = 0; i < Op::penalty_count; ++i)
            scratch.elements[i * cut.count * octets + at.line * octets + at.place] = element_sum[i];
        ESPALIER_KERNEL_UNROLL
        for (int i = 0; i < Op::column_penalties; ++i)
            store8(scratch.columns + (i * cut.count + at.line) * stride + c, octet, scratch_vector, column_sum[i]);
    }
}

/// The terms of the penalties from the partial sums, by one block; the column sums are complete. Writes, does not add;
/// a batch without rows leaves 0.
template <class Block, class Op, class W>
ESPALIER_FN void epilogue_finish(Block const& block, Op const& op, index_t row_count, index_t columns,
                                 epilogue_scratch<W> const& scratch, epilogue_statistics<W> const& statistics) {
    index_t const n = strips_of(row_count).count * octets_of(columns);
    double const batch_rows = static_cast<double>(row_count);
    int index = 0, column_index = 0;
    for_each(op.penalties, [&](auto const& penalty) {
        using penalty_op = std::remove_cvref_t<decltype(penalty)>;
        double term = 0.0;
        if constexpr (penalty_op::scope == penalty_scope::column) {
            W const* const sums = statistics.column_sums + column_index++ * statistics.column_stride;
            term = fixed_sum(block, row_count > 0 ? columns : 0, [&](index_t c) {
                return static_cast<double>(penalty.finish(static_cast<double>(sums[c]), batch_rows));
            });
        } else {
            double const* const parts = scratch.elements + index * n;
            double const sum = fixed_sum(block, n, [&](index_t i) { return parts[i]; });
            if (row_count > 0) term = penalty.finish(sum, batch_rows);
        }
        if (block.block_rank() == 0 && block.thread_rank() == 0) statistics.value[index] = term;
        ++index;
    });
}

/// Rows of a batch that a group works on, and where its partial sums begin. Views are not moved to the window: their
/// pointers would take registers that the backward body does not have.
struct epilogue_window {
    std::int32_t first = 0;
    std::int32_t count = 0;
    std::int32_t first_strip = 0;
};

/// dz from dy; dz and dy may be the same memory. `partial`, when given, receives the partial rows of the column sums of
/// dz, from which add_partial_rows makes the bias gradient. Of the views' rows only those of the window count.
/// Floor: 3 b rows columns bytes. A thread keeps eight columns of a strip of rows: the column sums of the penalties are
/// read once a strip, and the sums for the bias cost no further read.
template <class Group, class Op, class T>
ESPALIER_FN void epilogue_backward(Group const& group, Op const& op, matrix_view<T const> z, matrix_view<T const> dy,
                                   matrix_view<T> dz, random_site const& site, rows const& batch,
                                   epilogue_statistics<master_of<T>> const& statistics, master_of<T>* partial,
                                   epilogue_window const& window, error_word* error = nullptr) {
    using W = master_of<T>;
    constexpr int ahead = sizeof(T) <= 4 ? 2 : 1;
    bool const vector = aligned16(z) && aligned16(dy) && aligned16(dz);
    // Nothing to add up: shorter strips keep more threads busy.
    strips const cut = partial ? strips_of(window.count) : strips{ahead, (window.count + ahead - 1) / ahead};
    index_t const octets = octets_of(z.columns);
    for (pair_walk at(grid_lane(group), grid_lanes(group), octets); at.line < cut.count; at.advance()) {
        index_t const c = at.place * octet, begin = at.line * cut.height;
        index_t const end = begin + cut.height < window.count ? begin + cut.height : window.count;
        std::int32_t const first = window.first + static_cast<std::int32_t>(begin);
        std::int32_t const last = window.first + static_cast<std::int32_t>(end);
        int const count = count8(c, z.columns);
        W sum[octet] = {};
        W column_sum[Op::column_penalties + 1][octet];
        ESPALIER_KERNEL_UNROLL
        for (int i = 0; i < Op::column_penalties; ++i)
            load8(statistics.column_sums + i * statistics.column_stride + c, count,
                  aligned16(statistics.column_sums + i * statistics.column_stride), column_sum[i]);
        for (std::int32_t r0 = first; r0 < last; r0 += ahead) {
            W x[std::size_t{ahead}][std::size_t{octet}], g[std::size_t{ahead}][std::size_t{octet}];
            ESPALIER_KERNEL_UNROLL
            for (int k = 0; k < ahead; ++k) {
                if (r0 + k >= last) continue;
                load8(z.row(r0 + k) + c, count, vector, x[k]);
                load8(dy.row(r0 + k) + c, count, vector, g[k]);
            }
            ESPALIER_KERNEL_UNROLL
            for (int k = 0; k < ahead; ++k) {
                if (r0 + k >= last) continue;
                report_unless_finite(error, activation_not_finite, r0 + k, g[k]);
                octet_about<Op, W> const about(op, site, batch, r0 + k, at.place, z.columns, window.count,
                                               statistics.units);
                ESPALIER_KERNEL_UNROLL
                for (int j = 0; j < octet; ++j) {
                    g[k][j] = op.backward(x[k][j], g[k][j], about[j], [&](int i) { return column_sum[i][j]; });
                    sum[j] += g[k][j];
                }
                store8(dz.row(r0 + k) + c, count, vector, g[k]);
            }
        }
        if (partial)
            store8(partial + (window.first_strip + at.line) * octets * octet + c, octet, aligned16(partial), sum);
    }
}

} // namespace espalier::kernels
