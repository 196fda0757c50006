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
//
// An op that reads more than the logits (noise, a scale of the noise, sums over the batch) says so by `static constexpr
// gate_needs needs{...}`. Its functions then have one more argument after z, a `gate_more`, and z has as many columns
// as there are experts. With statistics the op also has
//
//     double finish(double const* sums, index_t rows, double* slopes) const;    // host and device
//
// which turns the sums over the batch of the rows that `route` left in `more.statistic` ([statistics][experts]) into
// a further part of the term, and writes the derivative of that part with respect to every sum to `slopes`;
// `backward` finds them in `more.slope`.
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

/// What an op reads of a row and of the batch beside the logits.
struct gate_needs {
    bool noise = false;        ///< a standard normal number an expert, drawn for every row of every training step
    bool noise_logits = false; ///< a second half of the logits (Gate::logits == 2 experts): the scale of the noise
    int statistics = 0;        ///< rows over the experts that are summed over the batch

    friend constexpr bool operator==(gate_needs const&, gate_needs const&) = default;
};

/// The same for one row. What was not asked for holds anything.
template <class Group, class T, int Experts, int Statistics> struct gate_more {
    row<Group, T, Experts> noise;                                      ///< 0 in evaluation
    row<Group, T, Experts> noise_logits;                               ///< second half of the logits
    row<Group, T, Experts> dnoise_logits;                              ///< their gradient, written by `backward`
    row<Group, T, Experts> statistic[Statistics > 0 ? Statistics : 1]; ///< this row's, written by `route`
    row<Group, T, Experts> slope[Statistics > 0 ? Statistics : 1];     ///< read by `backward`, the same for all rows
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

template <class Op> consteval gate_needs gate_needs_of() {
    if constexpr (requires { Op::needs; })
        return Op::needs;
    else
        return {};
}

/// Whether the op wants every row whole in one lane: trees of splits, whose order knows no lanes.
template <class Op> consteval bool gate_whole_row() {
    if constexpr (requires { Op::whole_row; })
        return Op::whole_row;
    else
        return false;
}
} // namespace detail

} // namespace espalier
