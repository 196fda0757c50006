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
/// has weight 0. Costs K passes over the logits in registers.
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
        T const top = value[0];
        T total(S(0));
        ESPALIER_ROW_UNROLL
        for (int k = 0; k < K; ++k) {
            T const e = select(value[k] > none, exp(value[k] - top), T(S(0)));
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
};

} // namespace espalier::gate
