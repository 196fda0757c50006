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
/// cross-entropy. Where one row of the batch has several outputs (multi_sample), p in the first of these lines is the
/// mean of theirs: one update a step.
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
        return weigh<true>(group, z, target, dz, *state);
    }

    template <class Group, class T, int N>
    ESPALIER_FN void add_prediction(Group const& group, row<Group, T, N> const& z, row<Group, T, N>& sum) const {
        row<Group, T, N> p;
        auto const sums = exponentials(group, z, &p);
        T const normal = T(scalar_of<T>(1)) / sums.total;
        ESPALIER_ROW_UNROLL
        for (int i = 0; i < z.local; ++i)
            sum.v[i] += p.v[i] * normal;
    }
    template <class Group, class T, int N>
    ESPALIER_FN void remember(Group const& group, row<Group, T, N> const& sum, int copies,
                              row<Group, T, N>& state) const {
        using S = scalar_of<T>;
        T const low(static_cast<S>(clip)), high(static_cast<S>(1.0 - clip)),
            share(static_cast<S>(1.0 / static_cast<double>(copies)));
        T kept(S(0));
        ESPALIER_ROW_UNROLL
        for (int i = 0; i < sum.local; ++i)
            kept += sum.inside(group, i, min(high, max(low, sum.v[i] * share)), T(S(0)));
        T const fresh = T(static_cast<S>(1.0 - beta)) / group.reduce_add(kept), old(static_cast<S>(beta));
        ESPALIER_ROW_UNROLL
        for (int i = 0; i < sum.local; ++i)
            state.v[i] = old * state.v[i] + fresh * min(high, max(low, sum.v[i] * share));
    }
    template <class Group, class T, int N>
    ESPALIER_FN T judge(Group const& group, row<Group, T, N> const& z, row_target<Group, T, N> const& target,
                        row<Group, T, N>* dz, row<Group, T, N> const& state) const {
        return weigh<false>(group, z, target, dz, state);
    }

private:
    /// The loss with memory; `Learns`: the memory is that from before, and takes the row in.
    template <bool Learns, class Group, class T, int N, class State>
    ESPALIER_FN T weigh(Group const& group, row<Group, T, N> const& z, row_target<Group, T, N> const& target,
                        row<Group, T, N>* dz, State& state) const {
        using S = scalar_of<T>;
        T const none(S(0)), one(S(1)), low(static_cast<S>(clip)), high(static_cast<S>(1.0 - clip));
        row<Group, T, N> p;
        auto const sums = exponentials(group, z, &p);
        T const log_total = log(sums.total), normal = one / sums.total;
        T entropy = none;
        [[maybe_unused]] T kept = none;
        ESPALIER_ROW_UNROLL
        for (int i = 0; i < z.local; ++i) {
            p.v[i] *= normal;
            T const t = z.inside(group, i, target.share_of(z.column(group, i)), none);
            entropy += select(t == none, none, t * (log_total - (z.v[i] - sums.top)));
            if constexpr (Learns) kept += z.inside(group, i, min(high, max(low, p.v[i])), none);
        }
        // The average, then its product with the clipped probabilities.
        [[maybe_unused]] T const old(static_cast<S>(beta));
        [[maybe_unused]] T fresh = none, product = none;
        if constexpr (Learns) fresh = T(static_cast<S>(1.0 - beta)) / group.reduce_add(kept);
        ESPALIER_ROW_UNROLL
        for (int i = 0; i < z.local; ++i) {
            T const q = min(high, max(low, p.v[i]));
            if constexpr (Learns) state.v[i] = old * state.v[i] + fresh * q;
            product += z.inside(group, i, state.v[i] * q, none);
        }
        T const gap = one - group.reduce_add(product), weight(static_cast<S>(lambda));
        if (dz) {
            T const pull = -one / gap;
            T mean = none;
            ESPALIER_ROW_UNROLL
            for (int i = 0; i < z.local; ++i) {
                auto const open = (p.v[i] >= low) & (p.v[i] <= high);
                dz->v[i] = select(open, pull * state.v[i], none); // u
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
