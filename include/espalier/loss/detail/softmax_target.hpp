// SPDX-License-Identifier: Apache-2.0
// Cross-entropy of a softmax against any target, the common core of several losses.
#pragma once

#include <espalier/core/macros.hpp>
#include <espalier/core/math.hpp>
#include <espalier/core/pack.hpp>
#include <espalier/core/row.hpp>
#include <espalier/loss/concept.hpp>

namespace espalier::loss::detail {

/// t_c = kept * (what the labels say) + spread. Function objects rather than lambdas: they are inlined by force.
template <class Group, class T, int N> struct label_target {
    row_target<Group, T, N> const& target;
    T kept, spread;

    ESPALIER_FN T operator()(int, T const& column) const { return kept * target.share_of(column) + spread; }
};

/// t_c = kept * q_c + spread for a target row q.
template <class Group, class T, int N> struct dense_target {
    row<Group, T, N> const& dense;
    T kept, spread;

    ESPALIER_FN T operator()(int i, T const&) const { return kept * dense.v[i] + spread; }
};

/// l = sum_c t_c (lse(z) - z_c) with t_c = target(i, c) for element i, column c. With dz: dz_c = p_c sum_k t_k - t_c;
/// `UnitMass` says that the targets sum to 1. Everything is relative to the largest logit, so that finite logits of any
/// size give finite results, and a class without target costs nothing even when its logit is minus infinity.
template <bool UnitMass, class Group, class T, int N, class Target>
ESPALIER_FN T softmax_against(Group const& group, row<Group, T, N> const& z, Target const& target,
                              row<Group, T, N>* dz) {
    T const none(scalar_of<T>(0));
    auto const sums = exponentials(group, z, dz);
    T const log_total = log(sums.total);
    T value = none, mass = none;
    ESPALIER_ROW_UNROLL
    for (int i = 0; i < z.local; ++i) {
        T const t = z.inside(group, i, target(i, z.column(group, i)), none);
        value += select(t == none, none, t * (log_total - (z.v[i] - sums.top)));
        if constexpr (!UnitMass) mass += t;
    }
    if (dz) {
        T share = T(scalar_of<T>(1)) / sums.total;
        if constexpr (!UnitMass) share *= group.reduce_add(mass);
        ESPALIER_ROW_UNROLL
        for (int i = 0; i < z.local; ++i)
            dz->v[i] = dz->v[i] * share - target(i, z.column(group, i));
    }
    return group.reduce_add(value);
}

constexpr bool is_share(double x) {
    return x >= 0.0 && x < 1.0;
}

} // namespace espalier::loss::detail
