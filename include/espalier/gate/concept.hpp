// SPDX-License-Identifier: Apache-2.0
// The gate seam: which experts a row goes to, and with what weight.
//
// A gate reads the logits of a row, which one product computes for the whole batch, and emits (slot, expert, weight).
// The number of slots is fixed by the type; a slot whose weight is exactly 0 is empty, and its expert is not run by a
// compacting dispatch. Rows of one batch may have any number of filled slots.
//
// Archetype:
//
//     struct my_gate {
//         using axis = espalier::axis::gate;
//         static constexpr std::string_view name = "mine";
//         static constexpr int experts = 8;
//         static constexpr int slots = 2;            // the most experts of a row
//         static constexpr int logits = 8;           // columns of the product that the gate reads
//         static constexpr bool slot_is_expert = false;
//         using op = my_op;
//         static op at(clock const&);
//     };
//
// Its op is in row form (core/row.hpp), so that it is sixteen rows at once on the CPU and a warp a row on a GPU. With
// slot_is_expert (softmax, COMET before its splits saturate: slots == experts) the weights are a row over the experts:
//
//     template <class Group, class T>
//     T route(Group const&, row<Group, T, logits> const& z, row<Group, T, slots>& weights) const;
//     template <class Group, class T>
//     void backward(Group const&, row<Group, T, logits> const& z, row<Group, T, slots> const& weights,
//                   row<Group, T, slots> const& dweights, T const& term_scale, row<Group, T, logits>& dz) const;
//
// Otherwise every lane holds all slots:
//
//     template <class Group, class T>
//     T route(Group const&, row<Group, T, logits> const& z, gate_slots<T, slots>& chosen) const;
//     template <class Group, class T>
//     void backward(Group const&, row<Group, T, logits> const& z, gate_slots<T, slots> const& chosen,
//                   T const (&dweight)[slots], T const& term_scale, row<Group, T, logits>& dz) const;
//
// `route` returns the row's share of the gate's auxiliary term; with `static constexpr bool has_term = true` its mean
// over the rows is added to the loss, and `backward` adds term_scale (1 / rows) times its gradient to dz.
#pragma once

#include <espalier/core/axis.hpp>
#include <espalier/core/policy.hpp>
#include <espalier/core/row.hpp>

#include <concepts>
#include <string_view>

namespace espalier {

/// Experts and weights of a row, known to every lane. Experts are column numbers of type T; equal weights of 0 mark
/// empty slots.
template <class T, int Slots> struct gate_slots {
    T expert[Slots];
    T weight[Slots];
};

template <class G>
concept has_experts = requires {
    { G::experts } -> std::convertible_to<int>;
    { G::slots } -> std::convertible_to<int>;
    { G::logits } -> std::convertible_to<int>;
    { G::slot_is_expert } -> std::convertible_to<bool>;
};

template <class G>
concept gate_policy = policy_on<G, axis::gate> && has_experts<G>;

namespace detail {
template <class Op> consteval bool gate_has_term() {
    if constexpr (requires { Op::has_term; })
        return Op::has_term;
    else
        return false;
}
} // namespace detail

} // namespace espalier
