// SPDX-License-Identifier: Apache-2.0
// host only. Gates on the CPU that do more than read a row of logits: rows looked up by what is known of them, experts
// that choose their rows, and weights that a permutation moves to other experts.
#pragma once

#include <espalier/core/group.hpp>
#include <espalier/core/math.hpp>
#include <espalier/core/random.hpp>
#include <espalier/core/rows.hpp>
#include <espalier/core/text.hpp>
#include <espalier/core/view.hpp>
#include <espalier/gate/linear_assignment.hpp>
#include <espalier/gate/sinkhorn.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <functional>
#include <string>

namespace espalier::cpu {

/// The expert of every row by a gate that looks it up, with weight 1. Throws `data_error` for a row that names none.
template <class Gate, class T, class Op>
void look_up(Op const& op, rows const& batch, matrix_view<T const> x, T const* table, matrix_view<T> weights,
             matrix_view<std::int32_t> experts) {
    for (index_t r = 0; r < weights.rows; ++r) {
        std::int32_t const e = op.expert(batch, r, x.row(r), table);
        if (e < 0 || e >= Gate::experts)
            espalier::detail::throw_data_error("gate ", Gate::name, ": row ", r, " ",
                                               Gate::refusal(batch, r, x.row(r)));
        weights(r, 0) = T(1);
        experts(r, 0) = e;
    }
}

/// A NaN counts as the largest and stays, so that the loss shows it.
template <class T> void choose_rows(index_t count, T* order, matrix_view<T> weights) {
    if (count >= weights.rows) return;
    auto const rank = [](T w) { return w == w ? w : static_cast<T>(__builtin_inf()); };
    for (index_t e = 0; e < weights.columns; ++e) {
        for (index_t r = 0; r < weights.rows; ++r)
            order[r] = rank(weights(r, e));
        std::nth_element(order, order + count - 1, order + weights.rows, std::greater<T>());
        T const last = order[count - 1];
        index_t equal = count; // rows with the weight of the last one that still find room
        for (index_t r = 0; r < weights.rows; ++r)
            equal -= rank(weights(r, e)) > last;
        for (index_t r = 0; r < weights.rows; ++r) {
            T const w = rank(weights(r, e));
            bool const stays = w > last || (w == last && equal-- > 0);
            if (!stays) weights(r, e) = T(0);
        }
    }
}

/// Weights by slot as weights by expert, 0 elsewhere.
template <class T>
void spread_slots(matrix_view<T const> weights, matrix_view<std::int32_t const> experts, matrix_view<T> spread) {
    for (index_t r = 0; r < spread.rows; ++r) {
        T* const to = spread.row(r);
        for (index_t e = 0; e < spread.columns; ++e)
            to[e] = T(0);
        for (index_t s = 0; s < weights.columns; ++s)
            if (weights(r, s) != T(0)) to[experts(r, s)] += weights(r, s);
    }
}

/// Back: the gradient of every filled slot from that by expert.
template <class T>
void gather_slots(matrix_view<T const> dspread, matrix_view<T const> weights, matrix_view<std::int32_t const> experts,
                  matrix_view<T> dweights) {
    for (index_t r = 0; r < weights.rows; ++r)
        for (index_t s = 0; s < weights.columns; ++s)
            dweights(r, s) = weights(r, s) != T(0) ? dspread(r, experts(r, s)) : T(0);
}

/// Every row by its sum, which is kept in `sums`.
template <class T> void divide_by_sums(matrix_view<T> weights, T* sums) {
    for (index_t r = 0; r < weights.rows; ++r) {
        T* const w = weights.row(r);
        T sum(0);
        for (index_t e = 0; e < weights.columns; ++e)
            sum += w[e];
        for (index_t e = 0; e < weights.columns; ++e)
            w[e] /= sum;
        sums[r] = sum;
    }
}

/// With g = h / sum(h): dh = (dg - <dg, g>) / sum(h).
template <class T>
void divide_by_sums_backward(matrix_view<T const> weights, matrix_view<T const> dweights, T const* sums,
                             matrix_view<T> d) {
    for (index_t r = 0; r < weights.rows; ++r) {
        T mean(0);
        for (index_t e = 0; e < weights.columns; ++e)
            mean += weights(r, e) * dweights(r, e);
        for (index_t e = 0; e < weights.columns; ++e)
            d(r, e) = (dweights(r, e) - mean) / sums[r];
    }
}

/// P = Sinkhorn((R + noise * Gumbel) / temperature), in double, and as T for the product with the weights.
template <class Op, class T>
void soft_permutation(Op const& op, int n, T const* scores, random_site const& site, double* noisy, double* potentials,
                      double* soft, T* permutation, double* term) {
    index_t const count = index_t{n} * n;
    for (index_t i = 0; i < count; ++i) {
        noisy[i] = static_cast<double>(scores[i]);
        if (op.noise > 0.0) {
            bits8 const bits = draw(site, static_cast<std::uint32_t>(i), 0);
            double const u = (static_cast<double>(bits.word[0]) + 0.5) / 4294967296.0;
            noisy[i] -= op.noise * std::log(-std::log(u));
        }
    }
    gate::sinkhorn(serial_group{}, n, static_cast<double const*>(noisy), op.temperature, op.iterations, potentials,
                   soft);
    for (index_t i = 0; i < count; ++i)
        permutation[i] = static_cast<T>(soft[i]);
    if (term) *term = op.entropy * gate::permutation_entropy(serial_group{}, n, static_cast<double const*>(soft));
}

/// Gradient of the scores through the soft permutation and its entropy.
template <class Op, class T>
void soft_permutation_backward(Op const& op, int n, double const* noisy, double* potentials, double const* soft,
                               T const* dpermutation, double* dsoft, T* dscores) {
    index_t const count = index_t{n} * n;
    for (index_t i = 0; i < count; ++i)
        dsoft[i] = static_cast<double>(dpermutation[i]);
    gate::permutation_entropy_backward(serial_group{}, n, soft, op.entropy, dsoft);
    gate::sinkhorn_backward(serial_group{}, n, noisy, op.temperature, op.iterations, potentials, soft, dsoft);
    for (index_t i = 0; i < count; ++i)
        dscores[i] = static_cast<T>(dsoft[i]);
}

/// `scratch`: linear_assignment_scratch(n) doubles, then room for n numbers of experts.
template <class T> void round_permutation(int n, double const* soft, double* scratch, T* permutation) {
    auto* const choice = reinterpret_cast<std::int32_t*>(scratch + gate::linear_assignment_scratch(n));
    gate::linear_assignment(serial_group{}, n, soft, choice, scratch);
    for (int u = 0; u < n; ++u)
        for (int v = 0; v < n; ++v)
            permutation[u * n + v] = choice[u] == v ? T(1) : T(0);
}

} // namespace espalier::cpu
