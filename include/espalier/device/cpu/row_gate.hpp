// SPDX-License-Identifier: Apache-2.0
// host only. Gates on the CPU: sixteen rows at once.
#pragma once

#include <espalier/core/pack.hpp>
#include <espalier/core/view.hpp>
#include <espalier/device/cpu/row_lanes.hpp>
#include <espalier/gate/concept.hpp>

#include <cstdint>

namespace espalier::cpu {

/// Routes every row of `logits`: weights [rows][slots] and, unless a slot is its expert, experts [rows][slots]. Returns
/// the mean of the gate's auxiliary term.
template <class T, class Gate, class Op>
double route(Op const& given, matrix_view<T const> logits, matrix_view<T> weights, matrix_view<std::int32_t> experts) {
    using plan = row_plan<T, Gate::logits>;
    using group = typename plan::group;
    using P = typename plan::value;
    constexpr int step = plan::rows;
    Op const op = given;
    double term = 0.0;
    for (index_t first = 0; first < logits.rows; first += step) {
        int const count = logits.rows - first < step ? static_cast<int>(logits.rows - first) : step;
        typename plan::row z;
        load_rows<T, Gate::logits>(rows_at<T const>{logits.row(first), logits.stride}, count, z);
        P share;
        if constexpr (Gate::slot_is_expert) {
            row<group, P, Gate::slots> chosen;
            share = op.route(group{}, z, chosen);
            static_assert(row_plan<T, Gate::slots>::rows == step,
                          "espalier: a gate's slots and logits must be worked on in the same number of rows at once");
            store_rows<T, Gate::slots>(rows_at<T>{weights.row(first), weights.stride}, count, chosen);
        } else {
            gate_slots<P, Gate::slots> chosen;
            share = op.route(group{}, z, chosen);
            for (int s = 0; s < Gate::slots; ++s)
                for (int r = 0; r < count; ++r) {
                    weights(first + r, s) = chosen.weight[s][plan::transposed ? r : 0];
                    experts(first + r, s) = static_cast<std::int32_t>(chosen.expert[s][plan::transposed ? r : 0]);
                }
        }
        if constexpr (espalier::detail::gate_has_term<Op>())
            for (int r = 0; r < count; ++r)
                term += static_cast<double>(share[r]);
    }
    return logits.rows > 0 ? term / static_cast<double>(logits.rows) : 0.0;
}

/// dlogits from the gradients of the weights; `dlogits` may be `logits`' own memory only if nobody reads it again.
template <class T, class Gate, class Op>
void route_backward(Op const& given, matrix_view<T const> logits, matrix_view<T const> weights,
                    matrix_view<std::int32_t const> experts, matrix_view<T const> dweights, matrix_view<T> dlogits) {
    using plan = row_plan<T, Gate::logits>;
    using group = typename plan::group;
    using P = typename plan::value;
    constexpr int step = plan::rows;
    Op const op = given;
    P const term_scale(static_cast<T>(1.0 / static_cast<double>(logits.rows > 0 ? logits.rows : 1)));
    for (index_t first = 0; first < logits.rows; first += step) {
        int const count = logits.rows - first < step ? static_cast<int>(logits.rows - first) : step;
        typename plan::row z, dz;
        load_rows<T, Gate::logits>(rows_at<T const>{logits.row(first), logits.stride}, count, z);
        if constexpr (Gate::slot_is_expert) {
            row<group, P, Gate::slots> chosen, gradient;
            load_rows<T, Gate::slots>(rows_at<T const>{weights.row(first), weights.stride}, count, chosen);
            load_rows<T, Gate::slots>(rows_at<T const>{dweights.row(first), dweights.stride}, count, gradient);
            op.backward(group{}, z, chosen, gradient, term_scale, dz);
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
            }
            op.backward(group{}, z, chosen, gradient, term_scale, dz);
        }
        store_rows<T, Gate::logits>(rows_at<T>{dlogits.row(first), dlogits.stride}, count, dz);
    }
}

} // namespace espalier::cpu
