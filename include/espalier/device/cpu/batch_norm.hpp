// SPDX-License-Identifier: Apache-2.0
// host only. Batch normalisation on one core, a pack of columns at a time.
#pragma once

#include <espalier/core/finite.hpp>
#include <espalier/core/joined_moments.hpp>
#include <espalier/core/layout.hpp>
#include <espalier/core/math.hpp>
#include <espalier/core/pack.hpp>
#include <espalier/core/view.hpp>

namespace espalier::cpu {

namespace detail {

/// Calls body(first column, load, store) for packs of columns; load and store touch only columns that exist.
template <class T, class Body> ESPALIER_HOST_FN void for_column_packs(index_t columns, Body const& body) {
    using P = native_pack<T>;
    constexpr index_t lanes = pack_width<P>;
    index_t c = 0;
    for (; c + lanes <= columns; c += lanes)
        body(
            c, [](T const* p) { return P::load(p); }, [](T* p, P const& v) { v.store(p); });
    if (c < columns) {
        int const rest = static_cast<int>(columns - c);
        body(
            c, [rest](T const* p) { return P::load(p, rest); }, [rest](T* p, P const& v) { v.store(p, rest); });
    }
}

} // namespace detail

/// Means and variances of the columns of x (divided by the number of rows), the variance around the mean in a second
/// pass over data that is still in cache. Returns whether all sums are finite, and with them the
/// unbiased estimate of the variance: rows that are divided by an infinite one are finite.
template <class T> bool column_moments(matrix_view<T const> x, T* mean, T* variance) {
    using P = native_pack<T>;
    P const share(static_cast<T>(1.0 / static_cast<double>(x.rows > 0 ? x.rows : 1)));
    finite_watch<P> watch;
    detail::for_column_packs<T>(x.columns, [&](index_t c, auto load, auto store) {
        P sum(T(0));
        for (index_t r = 0; r < x.rows; ++r)
            sum = sum + load(x.row(r) + c);
        P const m = sum * share;
        P squares(T(0));
        for (index_t r = 0; r < x.rows; ++r) {
            P const d = load(x.row(r) + c) - m;
            squares = fma(d, d, squares);
        }
        store(mean + c, m);
        store(variance + c, squares * share);
        watch.see(m);
        watch.see(squares);
    });
    return watch.all_finite();
}

/// y = scale (x - mean) / sqrt(variance + epsilon) + shift
template <class T>
void normalise(matrix_view<T const> x, T const* mean, T const* variance, T const* scale, T const* shift, double epsilon,
               matrix_view<T> y) {
    using P = native_pack<T>;
    detail::for_column_packs<T>(x.columns, [&](index_t c, auto load, auto store) {
        P const factor = load(scale + c) / sqrt(load(variance + c) + P(static_cast<T>(epsilon)));
        P const m = load(mean + c), offset = load(shift + c);
        for (index_t r = 0; r < x.rows; ++r)
            store(y.row(r) + c, fma(load(x.row(r) + c) - m, factor, offset));
    });
}

/// Gradients of `normalise`. With `through_statistics` mean and variance are functions of x (training):
///     dx = scale / sigma (dy - mean(dy) - xhat mean(dy xhat)); without, dx = scale / sigma dy.
/// dscale = sum dy xhat, dshift = sum dy. Each of dscale and dshift may be null, dx may have no data or be dy.
template <class T>
void normalise_backward(matrix_view<T const> x, matrix_view<T const> dy, T const* mean, T const* variance,
                        T const* scale, double epsilon, bool through_statistics, T* dscale, T* dshift,
                        matrix_view<T> dx) {
    using P = native_pack<T>;
    P const share(static_cast<T>(1.0 / static_cast<double>(x.rows > 0 ? x.rows : 1)));
    detail::for_column_packs<T>(x.columns, [&](index_t c, auto load, auto store) {
        P const inverse = P(T(1)) / sqrt(load(variance + c) + P(static_cast<T>(epsilon)));
        P const m = load(mean + c);
        P sum(T(0)), product(T(0));
        for (index_t r = 0; r < x.rows; ++r) {
            P const d = load(dy.row(r) + c);
            sum = sum + d;
            product = fma(d, (load(x.row(r) + c) - m) * inverse, product);
        }
        if (dscale) store(dscale + c, product);
        if (dshift) store(dshift + c, sum);
        if (!dx.data) return;
        P const factor = load(scale + c) * inverse;
        P const mean_d = through_statistics ? sum * share : P(T(0));
        P const mean_product = through_statistics ? product * share : P(T(0));
        for (index_t r = 0; r < x.rows; ++r) {
            P const normal = (load(x.row(r) + c) - m) * inverse;
            store(dx.row(r) + c, factor * (load(dy.row(r) + c) - mean_d - normal * mean_product));
        }
    });
}

/// running <- (1 - momentum) running + momentum batch; the variance as an unbiased estimate. A batch without rows says
/// nothing and changes nothing. Several copies of the batch, `row_count` rows each, count as one of all their rows.
template <class T>
void running_moments(T const* mean, T const* variance, index_t columns, index_t row_count, double momentum, T* running,
                     tape_copies copies = {}) {
    if (row_count == 0) return;
    index_t const total = copies.count * row_count;
    double const unbiased = total > 1 ? static_cast<double>(total) / static_cast<double>(total - 1) : 1.0;
    T& full = running[2 * columns];
    if (full < static_cast<T>(total)) full = static_cast<T>(total);
    double const share = share_of_batch(momentum, static_cast<double>(total), static_cast<double>(full));
    for (index_t c = 0; c < columns; ++c) {
        double m = static_cast<double>(mean[c]), v = static_cast<double>(variance[c]);
        if (copies.count > 1) {
            moments_of_copies const all = join_moments(mean + c, variance + c, copies);
            m = all.mean;
            v = all.variance;
        }
        running[c] = static_cast<T>((1.0 - share) * running[c] + share * m);
        if (total == 1) continue; // one row has no variance
        T& of_all = running[columns + c];
        of_all = static_cast<T>((1.0 - share) * of_all + share * unbiased * v);
    }
}

} // namespace espalier::cpu
