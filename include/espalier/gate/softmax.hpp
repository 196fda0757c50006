// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <espalier/core/macros.hpp>
#include <espalier/core/row.hpp>
#include <espalier/gate/axis.hpp>
#include <espalier/gate/concept.hpp>
#include <espalier/gate/scored.hpp>

#include <string_view>

namespace espalier::gate {

namespace detail {
/// The members of every `softmax`.
template <int Experts> struct softmax_members {
    static_assert(Experts >= 1, "espalier: a gate needs at least one expert; the first argument is their number");
    using axis = espalier::axis::gate;
    static constexpr std::string_view name = "softmax";
    static constexpr int experts = Experts;
    static constexpr int slots = Experts;
    static constexpr bool slot_is_expert = true;
    static constexpr bool fills_all = true;
};
} // namespace detail

/// g = softmax(x W + b): every row goes to every expert (Jordan and Jacobs 1994). dz_e = g_e (dg_e - sum_k g_k dg_k).
///
/// Parts, in any order, change what the softmax is of and add terms (gate/part.hpp): `temperature`, `learned_noise` or
/// `jitter`, `importance`, `z_loss`, `entropy`.
template <int Experts, class... Parts>
struct softmax : detail::softmax_members<Experts>,
                 detail::scored_members<detail::part_checks<Experts, 0, Parts...>::run(), Experts, 0, Parts...>,
                 detail::first_values<Parts...> {};

/// The plain one, which needs no parts.
template <int Experts> struct softmax<Experts> : detail::softmax_members<Experts> {
    static constexpr int logits = Experts;

    template <class Group, class T>
    ESPALIER_FN T route(Group const& group, row<Group, T, Experts> const& z, row<Group, T, Experts>& weights) const {
        weights = z;
        row_softmax(group, weights);
        return T(scalar_of<T>(0));
    }
    template <class Group, class T>
    ESPALIER_FN void backward(Group const& group, row<Group, T, Experts> const&, row<Group, T, Experts> const& weights,
                              row<Group, T, Experts> const& dweights, T const&, row<Group, T, Experts>& dz) const {
        T const mean = row_dot(group, weights, dweights);
        ESPALIER_ROW_UNROLL
        for (int i = 0; i < dz.local; ++i)
            dz.v[i] = weights.v[i] * (dweights.v[i] - mean);
    }
};

} // namespace espalier::gate
