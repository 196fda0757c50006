// SPDX-License-Identifier: Apache-2.0
// Cross-entropy that resists wrong labels: every sample remembers what the model thought of it.
#pragma once

#include <espalier/core/macros.hpp>
#include <espalier/core/math.hpp>
#include <espalier/core/pack.hpp>
#include <espalier/core/row.hpp>
#include <espalier/loss/concept.hpp>
#include <espalier/loss/detail/softmax_target.hpp>

#include <string_view>

namespace espalier::loss {

/// Early-learning regularisation (Liu et al. 2020, eqs. 6, 9 and lemma 3.1, with the clip and the renormalisation of
/// the published code):
///     q   = clip(p, clip, 1 - clip), p = softmax(z)
///     T_c <- beta T_c + (1 - beta) q_c / sum_k q_k          (per-sample state, updated before it is used; constant in
///                                                            the gradient)
///     l   = -log p_y + lambda log(1 - <T, q>)
///     dz_c = p_c - 1{c = y} + lambda p_c (u_c - sum_k u_k p_k),  u_c = -1{p_c not clipped} T_c / (1 - <T, q>).
/// T starts at 0, which is a warm-up of its own and is not corrected. Without state (evaluation) l is the
/// cross-entropy.
struct early_learning {
    double beta = 0.7;   ///< share of the old target, in [0, 1)
    double lambda = 3.0; ///< weight of the second term, >= 0
    double clip = 1e-4;  ///< in (0, 0.5)

    static constexpr std::string_view name = "early_learning";
    static constexpr bool needs_labels = true;
    static constexpr bool per_sample_state = true;

    constexpr char const* problem() const {
        if (!detail::is_share(beta)) return "early_learning: `beta` must be in [0, 1)";
        if (!(lambda >= 0.0 && lambda < 1e300)) return "early_learning: `lambda` must be finite and not negative";
        return clip > 0.0 && clip < 0.5 ? nullptr : "early_learning: `clip` must be in (0, 0.5)";
    }

    template <class Group, class T, int N>
    ESPALIER_FN T evaluate(Group const& group, row<Group, T, N> const& z, row_target<Group, T, N> const& target,
                           row<Group, T, N>* dz, row<Group, T, N>* state) const {
        static_assert(N >= 2, "espalier: early_learning needs at least two classes");
        using S = scalar_of<T>;
        if (!state) {
            detail::label_target<Group, T, N> const hard{target, T(S(1)), T(S(0))};
            return detail::softmax_against<true>(group, z, hard, dz);
        }

        T const none(S(0)), one(S(1)), low(static_cast<S>(clip)), high(static_cast<S>(1.0 - clip));
        row<Group, T, N> p;
        auto const sums = exponentials(group, z, &p);
        T const log_total = log(sums.total), normal = one / sums.total;
        T entropy = none, kept = none;
        ESPALIER_ROW_UNROLL
        for (int i = 0; i < z.local; ++i) {
            p.v[i] *= normal;
            T const t = z.inside(group, i, target.share_of(z.column(group, i)), none);
            entropy += select(t == none, none, t * (log_total - (z.v[i] - sums.top)));
            kept += z.inside(group, i, min(high, max(low, p.v[i])), none);
        }
        // The average, then its product with the clipped probabilities.
        T const fresh = T(static_cast<S>(1.0 - beta)) / group.reduce_add(kept), old(static_cast<S>(beta));
        T product = none;
        ESPALIER_ROW_UNROLL
        for (int i = 0; i < z.local; ++i) {
            T const q = min(high, max(low, p.v[i]));
            state->v[i] = old * state->v[i] + fresh * q;
            product += z.inside(group, i, state->v[i] * q, none);
        }
        T const gap = one - group.reduce_add(product), weight(static_cast<S>(lambda));
        if (dz) {
            T const pull = -one / gap;
            T mean = none;
            ESPALIER_ROW_UNROLL
            for (int i = 0; i < z.local; ++i) {
                auto const open = (p.v[i] >= low) & (p.v[i] <= high);
                dz->v[i] = select(open, pull * state->v[i], none); // u
                mean += z.inside(group, i, dz->v[i] * p.v[i], none);
            }
            mean = group.reduce_add(mean);
            ESPALIER_ROW_UNROLL
            for (int i = 0; i < z.local; ++i)
                dz->v[i] = p.v[i] * (one + weight * (dz->v[i] - mean)) - target.share_of(z.column(group, i));
        }
        return group.reduce_add(entropy) + weight * log(gap);
    }
};

} // namespace espalier::loss
