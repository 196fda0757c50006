// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <espalier/core/axis.hpp>
#include <espalier/core/diagnostic.hpp>
#include <espalier/core/macros.hpp>
#include <espalier/core/row.hpp>
#include <espalier/gate/concept.hpp>

#include <string_view>

namespace espalier::gate {

/// Over what the weights of the winners are normalised.
enum class normalise { over_winners, over_all };

/// Every row goes to the K experts of largest logit: g = softmax over the K winners (or over all experts, then cut to
/// the winners), 0 elsewhere (Shazeer et al. 2017, section 2.1, without noise). The selection has no gradient:
///     over winners: dz_e = g_e (dg_e - sum_k g_k dg_k) for winners, 0 elsewhere.
/// Equal logits: the lower expert wins. A logit that is NaN or minus infinity never wins; a slot that found no expert
/// has weight 0. One pass over the logits where a lane holds a whole row, K passes in registers otherwise.
template <int Experts, int K, normalise Over = normalise::over_winners> struct top_k {
    static_assert(Experts >= 1, "espalier: a gate needs at least one expert; the first argument is their number");
    static_assert(diagnostic::holds<(K >= 1 && K <= Experts), diagnostic::given<K>, diagnostic::needed<Experts>>,
                  "espalier: gate::top_k<experts, k> needs 1 <= k <= experts; the next lines name the k given and the "
                  "number of experts; choose a smaller k or more experts");
    using axis = espalier::axis::gate;
    static constexpr std::string_view name = "top_k";
    static constexpr int experts = Experts;
    static constexpr int slots = K;
    static constexpr int logits = Experts;
    static constexpr bool slot_is_expert = false;

    template <class Group, class T>
    ESPALIER_FN T route(Group const& group, row<Group, T, Experts> const& z, gate_slots<T, K>& chosen) const {
        using S = scalar_of<T>;
        T const none(static_cast<S>(-__builtin_inf()));
        T value[K];
        if constexpr (row<Group, T, Experts>::lanes == 1)
            choose(group, z, value, chosen.expert);
        else {
            ESPALIER_ROW_UNROLL
            for (int k = 0; k < K; ++k) {
                // Candidates come after the winner before: smaller, or equal and of higher number. No row is changed.
                row<Group, T, Experts> rest;
                ESPALIER_ROW_UNROLL
                for (int i = 0; i < z.local; ++i) {
                    if (k == 0) {
                        rest.v[i] = z.v[i];
                    } else {
                        auto const after = (z.v[i] < value[k - 1]) |
                                           ((z.v[i] == value[k - 1]) & (z.column(group, i) > chosen.expert[k - 1]));
                        rest.v[i] = select(after, z.v[i], none);
                    }
                }
                row_place<T> const best = row_argmax(group, rest);
                value[k] = best.value;
                chosen.expert[k] = best.column;
            }
        }
        T const top = value[0];
        T total(S(0));
        ESPALIER_ROW_UNROLL
        for (int k = 0; k < K; ++k) {
            T const e = select(value[k] > none, k == 0 ? T(S(1)) : exp(value[k] - top), T(S(0)));
            chosen.weight[k] = e;
            total = total + e;
        }
        if constexpr (Over == normalise::over_all) total = exponentials(group, z).total;
        T const share = select(total > T(S(0)), T(S(1)) / total, T(S(0)));
        ESPALIER_ROW_UNROLL
        for (int k = 0; k < K; ++k)
            chosen.weight[k] = chosen.weight[k] * share;
        return T(S(0));
    }

    template <class Group, class T>
    ESPALIER_FN void backward(Group const& group, row<Group, T, Experts> const& z, gate_slots<T, K> const& chosen,
                              T const (&dweight)[K], T const&, row<Group, T, Experts>& dz) const {
        using S = scalar_of<T>;
        T mean(S(0));
        ESPALIER_ROW_UNROLL
        for (int k = 0; k < K; ++k)
            mean = mean + chosen.weight[k] * dweight[k];
        if constexpr (Over == normalise::over_all) {
            dz = z;
            row_softmax(group, dz);
        }
        ESPALIER_ROW_UNROLL
        for (int i = 0; i < dz.local; ++i) {
            T const column = dz.column(group, i);
            T gradient = Over == normalise::over_all ? -dz.v[i] * mean : T(S(0));
            ESPALIER_ROW_UNROLL
            for (int k = 0; k < K; ++k) {
                T const own = Over == normalise::over_all ? chosen.weight[k] * dweight[k]
                                                          : chosen.weight[k] * (dweight[k] - mean);
                auto const hit = (column == chosen.expert[k]) & (chosen.weight[k] > T(S(0)));
                gradient = gradient + select(hit, own, T(S(0)));
            }
            dz.v[i] = gradient;
        }
    }

private:
    /// A lane that holds the whole row: one pass, in which every column is put in its place among the K largest before
    /// it. Values move by min and max, which wait for nothing but themselves; only columns need the comparisons.
    template <class Group, class T>
    static ESPALIER_FN void choose(Group const& group, row<Group, T, Experts> const& z, T (&value)[K], T (&expert)[K]) {
        using S = scalar_of<T>;
        T const none(static_cast<S>(-__builtin_inf()));
        T column = z.column(group, 0);
        ESPALIER_PACK_UNROLL
        for (int k = 0; k < K; ++k) {
            value[k] = none;
            expert[k] = column;
        }
        int i = 0;
        if constexpr (K == 2) {
            // Two columns at a time: the larger of them against the first winner, then the better of who is left on
            // either side for the second place. Whoever comes first wins unless the other one is larger.
            for (; i + 1 < z.local; i += 2) {
                T const a = max(z.v[i], none), b = max(z.v[i + 1], none); // no NaN: it is neither larger nor smaller
                T const next = column + T(S(1));
                auto const b_first = b > a, first = max(b, a) > value[0];
                T const high = max(b, a), low = min(b, a);
                T const high_column = select(b_first, next, column), low_column = select(b_first, column, next);
                T const held = select(first, value[0], value[1]), held_column = select(first, expert[0], expert[1]);
                T const come = select(first, low, high), come_column = select(first, low_column, high_column);
                expert[0] = select(first, high_column, expert[0]);
                value[0] = max(high, value[0]);
                expert[1] = select(come > held, come_column, held_column);
                value[1] = max(come, held);
                column = next + T(S(1));
            }
        }
        for (; i < z.local; ++i) {
            T const x = z.v[i];
            auto above = x > value[K - 1];
            ESPALIER_PACK_UNROLL
            for (int k = K - 1; k > 0; --k) {
                auto const next = x > value[k - 1];
                expert[k] = select(next, expert[k - 1], select(above, column, expert[k]));
                value[k] = max(min(value[k - 1], x), value[k]); // x if it is NaN, which the maximum leaves out
                above = next;
            }
            expert[0] = select(above, column, expert[0]);
            value[0] = max(x, value[0]);
            column = column + T(S(1));
        }
    }
};

} // namespace espalier::gate
