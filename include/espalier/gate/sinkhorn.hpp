// SPDX-License-Identifier: Apache-2.0
// Sinkhorn normalisation of a matrix of scores, its reverse pass, and the entropy of the result: what a soft
// permutation of experts is made of. Kernel bodies for one group, the same text on the CPU and on the device.
#pragma once

#include <espalier/core/group.hpp>
#include <espalier/core/macros.hpp>
#include <espalier/core/math.hpp>
#include <espalier/core/pack.hpp>
#include <espalier/core/row.hpp>
#include <espalier/core/view.hpp>

#include <cstdint>
#include <type_traits>

// Who does what. A row belongs to one lane of the group and so does a column; every sum runs in one order, whatever the
// group, so the results have the same bits for every number of lanes. Rows are added up in eight interleaved parts,
// then as a tree. A lone lane (the CPU) takes eight columns at a time, which changes nothing: they never meet.
//
// The loops run over copies whose rows are filled up to a multiple of eight, with logarithms of minus infinity: no loop
// has a remainder.
//
// Every function ends with a barrier: its results are visible to the whole group. What a caller's own lanes have
// written to an input must be synchronised before the call.
//
// All arithmetic is in double. At the end of the published schedule (temperature 1e-7) R / temperature is 5e5, where
// neighbouring floats are 0.03 apart: logarithms of probabilities have no digits left. Doubles are 6e-11 apart there.

namespace espalier::gate {

namespace detail {

/// What a lane takes at a time: eight columns (or rows) if it is alone, one if it is not.
template <class Group>
using sinkhorn_pack = std::conditional_t<Group::lanes == 1 && !ESPALIER_ON_DEVICE, native_pack<double>, double>;
/// The parts of a row's sum.
using sinkhorn_row = native_pack<double>;
static_assert(pack_width<sinkhorn_row> == 8);

/// horizontal_sum and horizontal_max, with numbers for indices: a pack that is indexed by a loop leaves the registers
/// of a GPU.
ESPALIER_FN double sum_of_parts(sinkhorn_row const& x) {
    return ((x[0] + x[4]) + (x[2] + x[6])) + ((x[1] + x[5]) + (x[3] + x[7]));
}
ESPALIER_FN double largest_part(sinkhorn_row const& x) {
    return max(max(max(x[0], x[4]), max(x[2], x[6])), max(max(x[1], x[5]), max(x[3], x[7])));
}

/// Where `sinkhorn` keeps what: rows of n numbers, filled up to a multiple of eight.
struct sinkhorn_memory {
    int n;
    int width;  ///< n rounded up to a multiple of eight
    int stride; ///< from row to row; not a power of two in large matrices, whose columns would share few cache lines
    double* potentials; ///< [2 (iterations + 1)][stride]: rows and columns before the first round and after each
    double* logarithms; ///< [n][stride]: R / temperature
    double* gradients;  ///< [n][stride]: G of the reverse pass

    ESPALIER_FN static constexpr int width_of(int n) { return (n + 7) / 8 * 8; }
    ESPALIER_FN static constexpr int stride_of(int n) { return n < 64 ? width_of(n) : width_of(n) | 8; }
    ESPALIER_FN sinkhorn_memory(int n_, int iterations, double* scratch)
        : n(n_), width(width_of(n_)), stride(stride_of(n_)) {
        potentials = scratch;
        logarithms = potentials + index_t(2) * (iterations + 1) * stride;
        gradients = logarithms + index_t(n) * stride;
    }
    /// Potentials of the rows after round k; those of the columns follow.
    ESPALIER_FN double* rows(int k) const { return potentials + index_t(2) * k * stride; }
    ESPALIER_FN double* columns(int k) const { return rows(k) + stride; }
};

/// Calls body(j) for the lane's columns or rows j, j + 1, ... (as many as V has numbers) below `width`.
template <class V, class Group, class Body>
ESPALIER_FN void for_packs(Group const& group, int width, Body const& body) {
    int const step = static_cast<int>(group.size()) * pack_width<V>;
    for (int j = static_cast<int>(group.thread_rank()) * pack_width<V>; j < width; j += step)
        body(j);
}
template <class Group, class Body> ESPALIER_FN void for_rows(Group const& group, int n, Body const& body) {
    for (int i = static_cast<int>(group.thread_rank()); i < n; i += static_cast<int>(group.size()))
        body(i);
}

/// `count` numbers from p on as doubles, `fill` after them; count may be anything.
template <class V, class T> ESPALIER_FN V sinkhorn_load(T const* p, int count, double fill) {
    if constexpr (is_pack<V>) {
        V r(fill);
        ESPALIER_ROW_UNROLL
        for (int i = 0; i < V::width; ++i)
            if (i < count) r.set(i, static_cast<double>(p[i]));
        return r;
    } else
        return count > 0 ? static_cast<double>(*p) : fill;
}
template <class V> ESPALIER_FN void sinkhorn_store(double* p, V const& x, int count) {
    if constexpr (is_pack<V>) {
        ESPALIER_ROW_UNROLL
        for (int i = 0; i < V::width; ++i)
            if (i < count) p[i] = x[i];
    } else if (count > 0)
        *p = x;
}

/// The lane's columns of R / temperature.
template <class V, class T>
ESPALIER_FN void sinkhorn_logarithms(sinkhorn_memory const& m, T const* scores, double inverse, int j) {
    for (int i = 0; i < m.n; ++i)
        store<V>(m.logarithms + index_t(i) * m.stride + j,
                 sinkhorn_load<V>(scores + index_t(i) * m.n + j, m.n - j, -__builtin_inf()) * V(inverse));
}

/// rows_i = log sum_j exp(L_ij - columns_j) for the rows i, i + 1, ... in the lanes of V (logarithms of a pack cost as
/// much as one), and 0 past the last row
template <class V>
ESPALIER_FN void sinkhorn_row_step(sinkhorn_memory const& m, double const* columns, double* rows, int first) {
    using R = sinkhorn_row;
    V highest(0.0), total(1.0);
    for (int k = 0; k < pack_width<V> && first + k < m.n; ++k) {
        double const* const l = m.logarithms + index_t(first + k) * m.stride;
        R top(-__builtin_inf()), sum(0.0);
        for (int j = 0; j < m.width; j += R::width)
            top = max(top, espalier::load<R>(l + j) - espalier::load<R>(columns + j));
        double const high = largest_part(top);
        for (int j = 0; j < m.width; j += R::width)
            sum = sum + exp((espalier::load<R>(l + j) - espalier::load<R>(columns + j)) - R(high));
        if constexpr (is_pack<V>) {
            highest.set(k, high);
            total.set(k, sum_of_parts(sum));
        } else {
            highest = high;
            total = sum_of_parts(sum);
        }
    }
    store<V>(rows + first, highest + log(total));
}

/// columns_j = log sum_i exp(L_ij - rows_i), and 0 past the last column
template <class V>
ESPALIER_FN void sinkhorn_column_step(sinkhorn_memory const& m, double const* rows, double* columns, int j) {
    double const* const l = m.logarithms + j;
    V top(-__builtin_inf()), sum(0.0);
    for (int i = 0; i < m.n; ++i)
        top = max(top, espalier::load<V>(l + index_t(i) * m.stride) - V(rows[i]));
    for (int i = 0; i < m.n; ++i)
        sum = sum + exp((espalier::load<V>(l + index_t(i) * m.stride) - V(rows[i])) - top);
    V value = top + log(sum);
    if constexpr (is_pack<V>) {
        if (m.n - j < V::width) value = select(V::iota(0.0) < V(static_cast<double>(m.n - j)), value, V(0.0));
    } else if (j >= m.n)
        value = 0.0;
    store<V>(columns + j, value);
}

/// exp(L_ij - rows_i - columns_j): zero past the last column.
template <class V>
ESPALIER_FN V sinkhorn_entry(sinkhorn_memory const& m, double const* rows, double const* columns, int i, int j) {
    return exp((espalier::load<V>(m.logarithms + index_t(i) * m.stride + j) - V(rows[i])) -
               espalier::load<V>(columns + j));
}

/// -log(p + eps) - p / (p + eps), the derivative of -p log(p + eps).
template <class V> ESPALIER_FN V entropy_slope(V const& p) {
    V const shifted = p + V(1e-6);
    return -log(shifted) - p / shifted;
}

/// The entropies of the rows of one round of `permutation_entropy`.
struct permutation_rows {
    static constexpr int count = 32;
    double value[count];
};

/// sum_j p[j]
ESPALIER_FN double row_total(int n, double const* p) {
    using V = sinkhorn_row;
    V sum(0.0);
    for (int j = 0; j < n; j += V::width)
        sum = sum + sinkhorn_load<V>(p + j, n - j, 0.0);
    return sum_of_parts(sum);
}

/// sum_j -P_j log(P_j + eps) - Q_j log(Q_j + eps), Q = P / sum_j P_j
ESPALIER_FN double row_entropy(int n, double const* p) {
    using V = sinkhorn_row;
    V const share(1.0 / row_total(n, p));
    V sum(0.0);
    for (int j = 0; j < n; j += pack_width<V>) {
        V const x = sinkhorn_load<V>(p + j, n - j, 0.0), q = x * share;
        sum = fma(-x, log(x + V(1e-6)), sum);
        sum = fma(-q, log(q + V(1e-6)), sum);
    }
    return sum_of_parts(sum);
}

} // namespace detail

/// Numbers of doubles in the scratch of `sinkhorn` and `sinkhorn_backward`: potentials [2 (iterations + 1)][n] and two
/// matrices [n][n], whose rows are filled up to a multiple of eight (an odd one from 64 on).
ESPALIER_FN constexpr index_t sinkhorn_scratch(int n, int iterations) {
    return (index_t(2) * (index_t(iterations) + 1) + index_t(2) * n) * detail::sinkhorn_memory::stride_of(n);
}

/// The nearly doubly stochastic matrix P of the scores R, both [n][n] row-major and dense: X = R / temperature, then
/// `iterations` times
///     X_ij <- X_ij - log sum_j exp X_ij        (rows first)
///     X_ij <- X_ij - log sum_i exp X_ij        (columns last: the columns of P sum to 1, its rows nearly)
/// and P = exp X. Every half step subtracts a number from each row or column, so X = R / temperature - r_i - c_j
/// throughout, and only the potentials r and c are kept: in `scratch`, sinkhorn_scratch(n, iterations) doubles that
/// `sinkhorn_backward` goes on with. (Sinkhorn 1964; in logarithms Mena et al. 2018, section 3; for experts Ibrahim et
/// al. 2023, "COMET", permutation-based local search.)
///
/// n >= 0, iterations >= 0 (none: P = exp(R / temperature)), temperature > 0 with R / temperature finite; nothing is
/// checked here. One group serves one matrix: a block or one lane. NaN in R gives NaN in P.
template <class Group, class T>
ESPALIER_FN void sinkhorn(Group const& group, int n, T const* scores, double temperature, int iterations,
                          double* scratch, double* p) {
    using C = detail::sinkhorn_pack<Group>;
    detail::sinkhorn_memory const m(n, iterations, scratch);
    double const inverse = 1.0 / temperature;
    detail::for_packs<C>(group, m.width, [&](int j) {
        store<C>(m.rows(0) + j, C(0.0));
        store<C>(m.columns(0) + j, C(0.0));
        detail::sinkhorn_logarithms<C>(m, scores, inverse, j);
    });
    group.sync();
    for (int k = 1; k <= iterations; ++k) {
        detail::for_packs<C>(group, m.width,
                             [&](int i) { detail::sinkhorn_row_step<C>(m, m.columns(k - 1), m.rows(k), i); });
        group.sync();
        detail::for_packs<C>(group, m.width,
                             [&](int j) { detail::sinkhorn_column_step<C>(m, m.rows(k), m.columns(k), j); });
        group.sync();
    }
    detail::for_packs<C>(group, m.width, [&](int j) {
        for (int i = 0; i < n; ++i)
            detail::sinkhorn_store(p + index_t(i) * n + j,
                                   detail::sinkhorn_entry<C>(m, m.rows(iterations), m.columns(iterations), i, j),
                                   n - j);
    });
    group.sync();
}

/// The exact reverse of `sinkhorn`, of the same arguments and with the potentials and P it left: dp is dL/dP on entry
/// and dL/dR on return. With G = dP * P, for the half steps in reverse, S being the softmax that the half step took
/// over its rows or columns (the exponential of the X it gave, recomputed from the potentials),
///     G <- G - S * sum_axis G,        and dR = G / temperature.
template <class Group, class T>
ESPALIER_FN void sinkhorn_backward(Group const& group, int n, T const* scores, double temperature, int iterations,
                                   double* scratch, double const* p, double* dp) {
    using C = detail::sinkhorn_pack<Group>;
    using R = detail::sinkhorn_row;
    detail::sinkhorn_memory const m(n, iterations, scratch);
    double const inverse = 1.0 / temperature;
    detail::for_packs<C>(group, m.width, [&](int j) {
        detail::sinkhorn_logarithms<C>(m, scores, inverse, j);
        for (int i = 0; i < n; ++i) {
            index_t const at = index_t(i) * n + j;
            store<C>(m.gradients + index_t(i) * m.stride + j,
                     detail::sinkhorn_load<C>(dp + at, n - j, 0.0) * detail::sinkhorn_load<C>(p + at, n - j, 0.0));
        }
    });
    for (int k = iterations; k > 0; --k) {
        // the columns are those of the loop before: no barrier
        detail::for_packs<C>(group, m.width, [&](int j) {
            double* const g = m.gradients + j;
            C sum(0.0);
            for (int i = 0; i < n; ++i)
                sum = sum + espalier::load<C>(g + index_t(i) * m.stride);
            for (int i = 0; i < n; ++i) {
                C const s = detail::sinkhorn_entry<C>(m, m.rows(k), m.columns(k), i, j);
                store<C>(g + index_t(i) * m.stride, fma(-s, sum, espalier::load<C>(g + index_t(i) * m.stride)));
            }
        });
        group.sync();
        detail::for_rows(group, n, [&](int i) {
            double* const g = m.gradients + index_t(i) * m.stride;
            R parts(0.0);
            for (int j = 0; j < m.width; j += R::width)
                parts = parts + espalier::load<R>(g + j);
            R const sum(detail::sum_of_parts(parts));
            for (int j = 0; j < m.width; j += R::width) {
                R const s = detail::sinkhorn_entry<R>(m, m.rows(k), m.columns(k - 1), i, j);
                store<R>(g + j, fma(-s, sum, espalier::load<R>(g + j)));
            }
        });
        group.sync();
    }
    detail::for_packs<C>(group, m.width, [&](int j) {
        for (int i = 0; i < n; ++i)
            detail::sinkhorn_store(dp + index_t(i) * n + j,
                                   espalier::load<C>(m.gradients + index_t(i) * m.stride + j) * C(inverse), n - j);
    });
    group.sync();
}

/// The entropy that is smallest for permutations, on every lane of the group (one lane or a block):
///     sum_ij -P_ij log(P_ij + 1e-6) - Q_ij log(Q_ij + 1e-6),        Q_ij = P_ij / sum_j P_ij.
/// A little below zero for a hard permutation: -2e-6 n. The rows of P have positive sums, as those of `sinkhorn` have
/// after one round or more: at least 1 / n.
template <class Group> ESPALIER_FN double permutation_entropy(Group const& group, int n, double const* p) {
    double total = 0.0;
    if constexpr (Group::lanes == 1) {
        for (int i = 0; i < n; ++i)
            total += detail::row_entropy(n, p + static_cast<index_t>(i) * n);
    } else {
        constexpr int at_once = detail::permutation_rows::count;
        auto& row = group.template shared<detail::permutation_rows>();
        for (int first = 0; first < n; first += at_once) {
            int const count = n - first < at_once ? n - first : at_once;
            for (int i = static_cast<int>(group.thread_rank()); i < count; i += static_cast<int>(group.size()))
                row.value[i] = detail::row_entropy(n, p + static_cast<index_t>(first + i) * n);
            group.sync();
            for (int i = 0; i < count; ++i)
                total += row.value[i];
            group.sync(); // nobody overwrites the rows before everybody has added them
        }
    }
    return total;
}

/// dp += scale * d permutation_entropy / dP. With phi(x) = -log(x + eps) - x / (x + eps) and s_i = sum_j P_ij,
///     d / dP_ij = phi(P_ij) + (phi(Q_ij) - sum_j phi(Q_ij) Q_ij) / s_i.
template <class Group>
ESPALIER_FN void permutation_entropy_backward(Group const& group, int n, double const* p, double scale, double* dp) {
    using V = detail::sinkhorn_row;
    constexpr int width = pack_width<V>;
    for (int i = static_cast<int>(group.thread_rank()); i < n; i += static_cast<int>(group.size())) {
        double const* const row = p + static_cast<index_t>(i) * n;
        double* const gradient = dp + static_cast<index_t>(i) * n;
        V const share(1.0 / detail::row_total(n, row));
        V sum(0.0);
        for (int j = 0; j < n; j += width) {
            V const q = detail::sinkhorn_load<V>(row + j, n - j, 0.0) * share;
            sum = fma(detail::entropy_slope(q), q, sum);
        }
        V const mean(detail::sum_of_parts(sum));
        for (int j = 0; j < n; j += width) {
            V const x = detail::sinkhorn_load<V>(row + j, n - j, 0.0), q = x * share;
            V const slope = fma(detail::entropy_slope(q) - mean, share, detail::entropy_slope(x));
            V const before = detail::sinkhorn_load<V>(gradient + j, n - j, 0.0);
            detail::sinkhorn_store(gradient + j, fma(V(scale), slope, before), n - j);
        }
    }
    group.sync();
}

} // namespace espalier::gate
