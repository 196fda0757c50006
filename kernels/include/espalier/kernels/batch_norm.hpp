// SPDX-License-Identifier: Apache-2.0
// Kernel bodies of batch normalisation: moments of columns, the normalising pass, its two column sums and its gradient.
#pragma once

#include <espalier/core/joined_moments.hpp>
#include <espalier/core/layout.hpp>
#include <espalier/core/macros.hpp>
#include <espalier/core/math.hpp>
#include <espalier/core/view.hpp>
#include <espalier/kernels/access.hpp>
#include <espalier/kernels/sums.hpp>

namespace espalier::kernels {

/// Elements of the partial sums of a matrix: two numbers for each strip and column.
ESPALIER_FN constexpr index_t pair_partial_size(index_t rows, index_t columns) {
    return 2 * partial_size(rows, columns);
}

/// Rows that one thread takes through an element-wise pass over columns with numbers of their own: those are read once
/// for all of them. Small batches need the threads more than they need fewer reads. No result depends on it.
ESPALIER_FN constexpr strips pass_strips_of(index_t rows) {
    index_t const height = rows < 2048 ? 2 : 8;
    return {height, (rows + height - 1) / height};
}

namespace detail {

/// 1 / sqrt(variance + epsilon) of eight columns.
template <class W>
ESPALIER_FN void inverse_deviation8(W const* variance, int count, double epsilon, W (&inverse)[octet]) {
    load8(variance, count, aligned16(variance), inverse);
    ESPALIER_KERNEL_UNROLL
    for (int j = 0; j < octet; ++j)
        inverse[j] = W(1) / sqrt(inverse[j] + static_cast<W>(epsilon));
}

} // namespace detail

/// First body of the moments: mean and sum of squares around it of every strip and column, in one read of x (Welford
/// 1962). partial: [strips][2][8 octets]. Floor: b rows columns bytes.
template <class Group, class T>
ESPALIER_FN void moment_partials(Group const& group, matrix_view<T const> x, master_of<T>* partial) {
    using W = master_of<T>;
    strips const cut = strips_of(x.rows);
    bool const vector = aligned16(x), partial_vector = aligned16(partial);
    index_t const octets = octets_of(x.columns), stride = octets * octet;
    for (pair_walk at(grid_lane(group), grid_lanes(group), octets); at.line < cut.count; at.advance()) {
        index_t const c = at.place * octet, first = at.line * cut.height;
        index_t const last = first + cut.height < x.rows ? first + cut.height : x.rows;
        int const count = count8(c, x.columns);
        W mean[octet] = {}, squares[octet] = {};
        for (index_t r = first; r < last; ++r) {
            W v[octet];
            load8(x.row(r) + c, count, vector, v);
            W const share = W(1) / static_cast<W>(r - first + 1);
            ESPALIER_KERNEL_UNROLL
            for (int j = 0; j < octet; ++j) {
                W const d = v[j] - mean[j];
                mean[j] += d * share;
                squares[j] += d * (v[j] - mean[j]);
            }
        }
        W* const out = partial + at.line * 2 * stride + c;
        store8(out, octet, partial_vector, mean);
        store8(out + stride, octet, partial_vector, squares);
    }
}

/// Second body: means and variances (divided by the number of rows) of the columns, strips added up in their order, and
/// the number of rows to `counted`. One thread a column. A batch without rows has mean and variance 0.
template <class Group, class W>
ESPALIER_FN void finish_moments(Group const& group, W const* partial, index_t row_count, index_t columns, W* mean,
                                W* variance, index_t* counted, error_word* error = nullptr) {
    strips const cut = strips_of(row_count);
    index_t const stride = octets_of(columns) * octet;
    W const share = W(1) / static_cast<W>(row_count > 0 ? row_count : 1);
    auto const rows_in = [&](index_t s) {
        return static_cast<W>(s + 1 < cut.count ? cut.height : row_count - s * cut.height);
    };
    for (index_t c = grid_lane(group); c < columns; c += grid_lanes(group)) {
        // Around the first strip's mean, so that the error is one of the spread and not of the mean.
        W const start = cut.count > 0 ? partial[c] : W(0);
        W sum[4] = {W(0), W(0), W(0), W(0)};
        for_strips(cut.count, [&](index_t s, int k) { sum[k] += rows_in(s) * (partial[2 * s * stride + c] - start); });
        W const shift = ((sum[0] + sum[1]) + (sum[2] + sum[3])) * share;
        W square[4] = {W(0), W(0), W(0), W(0)};
        for_strips(cut.count, [&](index_t s, int k) {
            W const d = (partial[2 * s * stride + c] - start) - shift;
            square[k] += partial[(2 * s + 1) * stride + c] + rows_in(s) * (d * d);
        });
        mean[c] = start + shift;
        W const squares = (square[0] + square[1]) + (square[2] + square[3]);
        variance[c] = squares * share;
        finite_watch<W> watch;
        watch.see(mean[c]);
        watch.see(squares);
        if (!watch.all_finite()) report(error, moments_not_finite, c);
    }
    if (grid_lane(group) == 0 && counted) *counted = row_count;
}

/// y = scale (x - mean) / sqrt(variance + epsilon) + shift. Floor: 2 b rows columns bytes.
template <class Group, class T>
ESPALIER_FN void normalise(Group const& group, matrix_view<T const> x, master_of<T> const* mean,
                           master_of<T> const* variance, master_of<T> const* scale, master_of<T> const* shift,
                           double epsilon, matrix_view<T> y) {
    using W = master_of<T>;
    strips const cut = pass_strips_of(x.rows);
    bool const vector = aligned16(x) && aligned16(y);
    for (pair_walk at(grid_lane(group), grid_lanes(group), octets_of(x.columns)); at.line < cut.count; at.advance()) {
        index_t const c = at.place * octet, first = at.line * cut.height;
        index_t const last = first + cut.height < x.rows ? first + cut.height : x.rows;
        int const count = count8(c, x.columns);
        W m[octet], factor[octet], inverse[octet], offset[octet];
        load8(mean + c, count, aligned16(mean + c), m);
        load8(scale + c, count, aligned16(scale + c), factor);
        load8(shift + c, count, aligned16(shift + c), offset);
        detail::inverse_deviation8(variance + c, count, epsilon, inverse);
        ESPALIER_KERNEL_UNROLL
        for (int j = 0; j < octet; ++j)
            factor[j] *= inverse[j];
        for (index_t r = first; r < last; r += 2) {
            W v[2][octet];
            load8(x.row(r) + c, count, vector, v[0]);
            if (r + 1 < last) load8(x.row(r + 1) + c, count, vector, v[1]);
            ESPALIER_KERNEL_UNROLL
            for (int k = 0; k < 2; ++k) {
                if (r + k >= last) continue;
                ESPALIER_KERNEL_UNROLL
                for (int j = 0; j < octet; ++j)
                    v[k][j] = (v[k][j] - m[j]) * factor[j] + offset[j];
                store8(y.row(r + k) + c, count, vector, v[k]);
            }
        }
    }
}

/// First body of the gradients: sums of dy and of dy xhat of every strip and column, where xhat = (x - mean) /
/// sqrt(variance + epsilon). partial: [strips][2][8 octets]. Floor: 2 b rows columns bytes.
template <class Group, class T>
ESPALIER_FN void normal_sum_partials(Group const& group, matrix_view<T const> x, matrix_view<T const> dy,
                                     master_of<T> const* mean, master_of<T> const* variance, double epsilon,
                                     master_of<T>* partial) {
    using W = master_of<T>;
    strips const cut = strips_of(x.rows);
    bool const vector = aligned16(x) && aligned16(dy), partial_vector = aligned16(partial);
    index_t const octets = octets_of(x.columns), stride = octets * octet;
    for (pair_walk at(grid_lane(group), grid_lanes(group), octets); at.line < cut.count; at.advance()) {
        index_t const c = at.place * octet, first = at.line * cut.height;
        index_t const last = first + cut.height < x.rows ? first + cut.height : x.rows;
        int const count = count8(c, x.columns);
        W m[octet], inverse[octet], sum[octet] = {}, product[octet] = {};
        load8(mean + c, count, aligned16(mean + c), m);
        detail::inverse_deviation8(variance + c, count, epsilon, inverse);
        for (index_t r = first; r < last; ++r) {
            W v[octet], g[octet];
            load8(x.row(r) + c, count, vector, v);
            load8(dy.row(r) + c, count, vector, g);
            ESPALIER_KERNEL_UNROLL
            for (int j = 0; j < octet; ++j) {
                sum[j] += g[j];
                product[j] += g[j] * ((v[j] - m[j]) * inverse[j]);
            }
        }
        W* const out = partial + at.line * 2 * stride + c;
        store8(out, octet, partial_vector, sum);
        store8(out + stride, octet, partial_vector, product);
    }
}

/// Second body: both sums of every column to `sums` ([2][8 octets]) and, unless they are null, to dshift and dscale.
/// One thread a column.
template <class Group, class W>
ESPALIER_FN void finish_normal_sums(Group const& group, W const* partial, index_t row_count, index_t columns, W* sums,
                                    W* dscale, W* dshift) {
    index_t const count = strips_of(row_count).count, stride = octets_of(columns) * octet;
    for (index_t c = grid_lane(group); c < columns; c += grid_lanes(group)) {
        W const sum = partial_total(partial, c, count, 2 * stride);
        W const product = partial_total(partial, stride + c, count, 2 * stride);
        sums[c] = sum;
        sums[stride + c] = product;
        if (dshift) dshift[c] = sum;
        if (dscale) dscale[c] = product;
    }
}

/// Third body: dx = scale / sigma (dy - mean(dy) - xhat mean(dy xhat)) with both sums of `sums`, or scale / sigma dy
/// when `sums` is null (statistics that do not depend on x). dx may be dy. Floor: 3 b rows columns bytes, 2 without
/// sums.
template <class Group, class T>
ESPALIER_FN void normalise_backward(Group const& group, matrix_view<T const> x, matrix_view<T const> dy,
                                    master_of<T> const* mean, master_of<T> const* variance, master_of<T> const* scale,
                                    double epsilon, master_of<T> const* sums, matrix_view<T> dx) {
    using W = master_of<T>;
    strips const cut = pass_strips_of(dy.rows);
    bool const vector = aligned16(x) && aligned16(dy) && aligned16(dx);
    index_t const octets = octets_of(dy.columns), stride = octets * octet;
    W const share = W(1) / static_cast<W>(dy.rows > 0 ? dy.rows : 1);
    for (pair_walk at(grid_lane(group), grid_lanes(group), octets); at.line < cut.count; at.advance()) {
        index_t const c = at.place * octet, first = at.line * cut.height;
        index_t const last = first + cut.height < dy.rows ? first + cut.height : dy.rows;
        int const count = count8(c, dy.columns);
        // dx = by_gradient dy + (by_input (x - mean) + constant)
        W m[octet], by_gradient[octet], by_input[octet], constant[octet];
        load8(mean + c, count, aligned16(mean + c), m);
        load8(scale + c, count, aligned16(scale + c), by_gradient);
        detail::inverse_deviation8(variance + c, count, epsilon, by_input);
        if (sums) {
            W sum[octet], product[octet];
            load8(sums + c, count, aligned16(sums), sum);
            load8(sums + stride + c, count, aligned16(sums), product);
            ESPALIER_KERNEL_UNROLL
            for (int j = 0; j < octet; ++j) {
                by_gradient[j] *= by_input[j];
                constant[j] = -by_gradient[j] * (sum[j] * share);
                by_input[j] *= -by_gradient[j] * (product[j] * share);
            }
        } else {
            ESPALIER_KERNEL_UNROLL
            for (int j = 0; j < octet; ++j)
                by_gradient[j] *= by_input[j];
        }
        ESPALIER_KERNEL_LOOP
        for (index_t r = first; r < last; ++r) {
            W v[octet], g[octet];
            load8(dy.row(r) + c, count, vector, g);
            if (sums) {
                load8(x.row(r) + c, count, vector, v);
                ESPALIER_KERNEL_UNROLL
                for (int j = 0; j < octet; ++j)
                    g[j] = by_gradient[j] * g[j] + (by_input[j] * (v[j] - m[j]) + constant[j]);
            } else {
                ESPALIER_KERNEL_UNROLL
                for (int j = 0; j < octet; ++j)
                    g[j] *= by_gradient[j];
            }
            store8(dx.row(r) + c, count, vector, g);
        }
    }
}

/// running <- (1 - s) running + s batch, s = share_of_batch(momentum, ...), the variance as an unbiased estimate, which
/// one row does not give; running: means, then variances, then the rows of the largest batch so far. A batch without
/// rows changes nothing, nor does a step with an error. Several copies of the batch, `row_count` rows each, count as
/// one of all their rows.
template <class Group, class W>
ESPALIER_FN void running_moments(Group const& group, W const* mean, W const* variance, index_t columns,
                                 index_t const* row_count, double momentum, W* running, tape_copies const& copies,
                                 error_word const* error) {
    if (failed(error) || *row_count == 0) return;
    double const n = static_cast<double>(copies.count) * static_cast<double>(*row_count);
    double const unbiased = n > 1.0 ? n / (n - 1.0) : 1.0;
    // Whether a lane reads the number before or after another one has written it, the larger one of it and n is the
    // same.
    double const before = static_cast<double>(running[2 * columns]);
    double const full = before < n ? n : before;
    double const share = share_of_batch(momentum, n, full);
    for (index_t c = grid_lane(group); c < columns; c += grid_lanes(group)) {
        moments_of_copies all;
        all.mean = static_cast<double>(mean[c]);
        all.variance = static_cast<double>(variance[c]);
        if (copies.count > 1) all = join_moments(mean + c, variance + c, copies);
        W& v = running[columns + c];
        running[c] = static_cast<W>((1.0 - share) * static_cast<double>(running[c]) + share * all.mean);
        if (n > 1.0) v = static_cast<W>((1.0 - share) * static_cast<double>(v) + share * unbiased * all.variance);
    }
    if (grid_lane(group) == 0) running[2 * columns] = static_cast<W>(full);
}

} // namespace espalier::kernels
