// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <espalier/core/diagnostic.hpp>
#include <espalier/core/fields.hpp>
#include <espalier/core/macros.hpp>
#include <espalier/core/row.hpp>
#include <espalier/gate/axis.hpp>
#include <espalier/gate/concept.hpp>
#include <espalier/gate/over_all.hpp>
#include <espalier/gate/scored.hpp>
#include <espalier/gate/winners.hpp>

#include <cstddef>
#include <string_view>

namespace espalier::gate {

namespace detail {

/// The members of every `top_k`.
template <int Experts, int K> struct top_k_members {
    static_assert(Experts >= 1, "espalier: a gate needs at least one expert; the first argument is their number");
    static_assert(diagnostic::holds<(K >= 1 && K <= Experts), diagnostic::given<K>, diagnostic::needed<Experts>>,
                  "espalier: gate::top_k<experts, k> needs 1 <= k <= experts; the next lines name the k given and the "
                  "number of experts; choose a smaller k or more experts");
    using axis = espalier::axis::gate;
    static constexpr std::string_view name = "top_k";
    static constexpr int experts = Experts;
    static constexpr int slots = K;
    static constexpr bool slot_is_expert = false;
    static constexpr auto numbers = fields<&top_k_members::slots>;
};

/// Without noise, temperature and terms: slots only, no row over the experts is made.
template <int Experts, int K, bool OverAll> struct plain_top_k : top_k_members<Experts, K> {
    static constexpr int logits = Experts;
    static constexpr bool sums_to_one = !OverAll;

    template <class Group, class T>
    ESPALIER_FN T route(Group const& group, row<Group, T, Experts> const& z, gate_slots<T, K>& chosen) const {
        using S = scalar_of<T>;
        T value[std::size_t{K}];
        row_winners(group, z, value, chosen.expert);
        T total = winner_exponentials(value, chosen.weight);
        if constexpr (OverAll) total = exponentials(group, z).total;
        T const share = select(total > T(S(0)), T(S(1)) / total, T(S(0)));
        ESPALIER_ROW_UNROLL
        for (int k = 0; k < K; ++k)
            chosen.weight[k] = chosen.weight[k] * share;
        return T(S(0));
    }

    template <class Group, class T>
    ESPALIER_FN void backward(Group const& group, row<Group, T, Experts> const& z, gate_slots<T, K> const& chosen,
                              T const (&dweight)[std::size_t{K}], T const&, row<Group, T, Experts>& dz) const {
        using S = scalar_of<T>;
        T mean(S(0));
        ESPALIER_ROW_UNROLL
        for (int k = 0; k < K; ++k)
            mean = mean + chosen.weight[k] * dweight[k];
        if constexpr (OverAll) {
            dz = z;
            row_softmax(group, dz);
        }
        ESPALIER_ROW_UNROLL
        for (int i = 0; i < dz.local; ++i) {
            T const column = dz.column(group, i);
            T gradient = OverAll ? -dz.v[i] * mean : T(S(0));
            ESPALIER_ROW_UNROLL
            for (int k = 0; k < K; ++k) {
                T const own = OverAll ? chosen.weight[k] * dweight[k] : chosen.weight[k] * (dweight[k] - mean);
                auto const hit = (column == chosen.expert[k]) & (chosen.weight[k] > T(S(0)));
                gradient = gradient + select(hit, own, T(S(0)));
            }
            dz.v[i] = gradient;
        }
    }
};

} // namespace detail

/// Every row goes to the K experts of largest logit: g = softmax over the K winners, 0 elsewhere (Shazeer et al. 2017,
/// section 2.1). The selection has no gradient:
///     dz_e = g_e (dg_e - sum_k g_k dg_k) for winners, 0 elsewhere.
/// Equal logits: the lower expert wins. A logit that is NaN or minus infinity never wins; a slot that found no expert
/// has weight 0. One pass over the logits where a lane holds a whole row, K passes in registers otherwise.
///
/// Parts, in any order, change what is ranked and how it is weighed, and add terms (gate/part.hpp): `over_all`,
/// `temperature`, `learned_noise` or `jitter`, `importance`, `load`, `balance`, `z_loss`, `entropy`.
template <int Experts, int K, class... Parts>
struct top_k : detail::top_k_members<Experts, K>,
               detail::scored_members<detail::part_checks<Experts, K, Parts...>::run(), Experts, K, Parts...>,
               detail::first_values<Parts...> {};

/// The plain ones, which make no row over the experts.
template <int Experts, int K> struct top_k<Experts, K> : detail::plain_top_k<Experts, K, false> {};
/// The same, weights being shares of all experts.
template <int Experts, int K> struct top_k<Experts, K, over_all> : detail::plain_top_k<Experts, K, true> {
    using consists_of = type_list<over_all>;
};

} // namespace espalier::gate
