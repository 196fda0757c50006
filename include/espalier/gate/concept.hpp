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
//         static constexpr bool fills_all = false; // optional: every row goes to every expert, by the gate's nature
//         using op = my_op;
//         static op at(clock const&);
//     };
//
// A gate without numbers is its own op: no number may stand in the op's type (core/policy.hpp). Its op is in row form
// (core/row.hpp), so that it is sixteen rows at once on the CPU and a warp a row on a GPU. With
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
// Both may have one more argument, the last, `about`: a `gate_about`, from which an op reads what it wants beside the
// logits, and in which it leaves what it gives beside the weights. What is in it the op asks for:
//
//     static constexpr gate_needs needs{...};  // noise, a scale of the noise, sums over the batch. z then has as many
//                                              // columns as there are experts
//     static constexpr int row_space = N;      // numbers of memory that all lanes of a row share, in about.space: for
//                                              // trees and other things whose order knows no lanes. Who reads there
//                                              // what another lane wrote calls group.sync() in between
//
// With statistics the op also has
//
//     double finish(double const* sums, index_t rows, double* slopes) const;    // host and device
//
// which turns the sums over the batch of the rows that `route` left in `about.statistic` ([statistics][experts]) into a
// further part of the term, and writes the derivative of that part with respect to every sum to `slopes`; `backward`
// finds them in `about.slope`.
//
// Further members that a gate may have:
//
//     static constexpr bool reads_input = false;  // the logits are a trained vector, the same for every row
//     static constexpr bool sums_to_one = false;  // its weights need not add up to one
//     using initial = ...;                        // first values of its kernel and bias
//     static constexpr index_t rows_of_expert(index_t rows);  // experts choose: after the rows' weights are known,
//     every
//                                                 // expert keeps the largest of its column, as many as this says
//
// A gate with logits == 0 looks its rows up: slots == 1, the weight is 1, and its op has
//
//     template <class T, class W>
//     std::int32_t expert(rows const&, index_t r, T const* x, W const* table) const;  // below 0: no such expert
//
// and the gate itself
//
//     template <class T> static std::string refusal(rows const&, index_t r, T const* x);  // host: why, one sentence
//
// With `static constexpr index_t keys` above 0 it has a table in the state of the network, which
// `static void fill_table(matrix_view<W>, random_site const&)` fills at first.
#pragma once

#include <espalier/core/about.hpp>
#include <espalier/core/group.hpp>
#include <espalier/core/members.hpp>
#include <espalier/core/pack.hpp>
#include <espalier/core/policy.hpp>
#include <espalier/core/random.hpp>
#include <espalier/core/row.hpp>
#include <espalier/core/rows.hpp>
#include <espalier/core/view.hpp>
#include <espalier/gate/axis.hpp>

#include <concepts>
#include <cstddef>
#include <string_view>
#include <type_traits>

namespace espalier {

/// Experts and weights of a row, known to every lane. Experts are column numbers of type T; equal weights of 0 mark
/// empty slots.
template <class T, int Slots> struct gate_slots {
    T expert[std::size_t{Slots}];
    T weight[std::size_t{Slots}];
};

/// What an op asks for of a row and of the batch beside the logits.
struct gate_needs {
    bool noise = false;        ///< a standard normal number an expert, drawn for every row of every training step
    bool noise_logits = false; ///< a second half of the logits (Gate::logits == 2 experts): the scale of the noise
    int statistics = 0;        ///< rows over the experts that are summed over the batch

    friend constexpr bool operator==(gate_needs const&, gate_needs const&) = default;
};

/// The same for one row: the last argument of `route` and `backward`. What was not asked for holds anything.
template <class Group, class T, int Experts, int Statistics> struct gate_about {
    using over_experts = row<Group, T, Experts>;
    static constexpr std::size_t statistics{Statistics > 0 ? Statistics : 1};

    over_experts noise;                 ///< 0 in evaluation
    over_experts noise_logits;          ///< second half of the logits
    over_experts dnoise_logits;         ///< their gradient, written by `backward`
    over_experts statistic[statistics]; ///< this row's, written by `route`
    over_experts slope[statistics];     ///< read by `backward`, the same for all rows
    T* space = nullptr;                 ///< `row_space` numbers that the lanes of the row share
};

/// What routing a batch needs beside the logits and the op.
struct gate_run {
    double* term = nullptr;   ///< device memory; null: nobody asks for the term
    double* slopes = nullptr; ///< [2][statistics][experts]: the sums over the batch, then the slopes
    bool draws = false;       ///< training: noise is drawn
    random_site site{};
    rows batch{};
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

/// A gate whose rows are looked up: without logits.
template <class G>
concept has_expert = requires(op_of<G> const& op, rows const& batch, index_t r, float const* x, double const* wide) {
    { op.expert(batch, r, x, x) } -> std::same_as<std::int32_t>;
    { op.expert(batch, r, wide, wide) } -> std::same_as<std::int32_t>;
    { G::refusal(batch, r, x) } -> std::convertible_to<std::string_view>;
    { G::refusal(batch, r, wide) } -> std::convertible_to<std::string_view>;
};

/// What loops and kernels over rows know of a gate beside its op: gates that differ in numbers only share them.
template <int Experts, int Slots, int Logits, bool SlotIsExpert> struct gate_shape {
    static constexpr int experts = Experts;
    static constexpr int slots = Slots;
    static constexpr int logits = Logits;
    static constexpr bool slot_is_expert = SlotIsExpert;
};
/// The sizes of a gate without its numbers: what its kernels are specialised on.
template <has_experts G> using gate_shape_of = gate_shape<G::experts, G::slots, G::logits, G::slot_is_expert>;

namespace gate::detail {
ESPALIER_ABOUT_FORMS(route)
ESPALIER_ABOUT_FORMS(backward)
} // namespace gate::detail

namespace detail {

// What gates and their ops say of themselves.
ESPALIER_MEMBER_OR(gate_has_term, has_term, false)
ESPALIER_MEMBER_OR(gate_needs_of, needs, gate_needs{})
ESPALIER_MEMBER_OR(gate_row_space, row_space, 0)
ESPALIER_MEMBER_OR(gate_reads_input, reads_input, true)
ESPALIER_MEMBER_OR(gate_fills_all, fills_all, false)
ESPALIER_MEMBER_OR(gate_sums_to_one, sums_to_one, true)
ESPALIER_MEMBER_OR(gate_keys, keys, index_t{0})

/// Base of a gate of which a sentence has said what is wrong.
struct refused_gate {};

/// Whether the op says what it needs, be it nothing: gates made of parts do.
template <class Op> consteval bool gate_says_needs() {
    return requires {
        Op::needs;
    };
}

/// Columns of the row that the op reads: the logits, without their second half where that is the scale of the noise.
template <class Gate, class Op> consteval int gate_row_columns() {
    return gate_needs_of<Op>().noise_logits ? Gate::experts : Gate::logits;
}

template <class Gate> consteval bool gate_chooses_rows() {
    return requires {
        Gate::rows_of_expert(index_t{1});
    };
}

template <class Gate> consteval bool gate_reads_logits() {
    if constexpr (gate_policy<Gate>)
        return Gate::logits > 0;
    else
        return false;
}

/// A gate that moves another gate's weights to other experts names it as `scorer`.
template <class Gate> consteval bool gate_searches() {
    return requires {
        typename Gate::scorer;
    };
}
template <class Gate> consteval auto find_gate_scorer() {
    if constexpr (gate_searches<Gate>())
        return std::type_identity<typename Gate::scorer>{};
    else
        return std::type_identity<Gate>{};
}
template <class Gate> using gate_scorer = typename decltype(find_gate_scorer<Gate>())::type;

/// Whether an op with statistics makes a term of their sums.
template <class Op> consteval bool gate_finishes() {
    if constexpr (gate_needs_of<Op>().statistics > 0)
        return requires(Op const& op, double const* sums, index_t rows, double* slopes) {
            { op.finish(sums, rows, slopes) } -> std::convertible_to<double>;
        };
    else
        return true;
}

/// What a gate's functions are called with, by a group that holds numbers T.
template <class Gate, class Group, class T> struct gate_call {
    using op = op_of<Gate>;
    using group = Group;
    using number = T;
    using logits = row<Group, T, gate_row_columns<Gate, op>()>;
    using about = gate_about<Group, T, Gate::experts, gate_needs_of<op>().statistics>;
    using over_experts = row<Group, T, Gate::slots>;
    using chosen = std::conditional_t<Gate::slot_is_expert, over_experts, gate_slots<T, Gate::slots>>;
    using gradient = std::conditional_t<Gate::slot_is_expert, over_experts, T[Gate::slots]>;
};

/// Whether the op of such a call has a `route` for it.
template <class Call, class T = typename Call::number>
concept gate_routes = requires(typename Call::op const& op, typename Call::about& about,
                               typename Call::group const& group, typename Call::logits const& z,
                               typename Call::chosen& chosen) {
    { gate::detail::route(op, about, group, z, chosen) } -> gives<T>;
};

/// The same of `backward`.
template <class Call>
concept gate_pulls_back = requires(typename Call::op const& op, typename Call::about& about,
                                   typename Call::group const& group, typename Call::logits const& z,
                                   typename Call::chosen const& chosen, typename Call::gradient const& gradient,
                                   typename Call::number const& term_scale, typename Call::logits& dz) {
    gate::detail::backward(op, about, group, z, chosen, gradient, term_scale, dz);
};

} // namespace detail

/// What a policy on the axis needs: a gate that searches has the functions of its scorer.
template <class Asked> consteval bool axis::gate::members() {
    using namespace detail;
    using P = typename Asked::policy;
    using Gate = gate_scorer<P>;
    constexpr bool counts = has_experts<P> && has_experts<Gate>;
    ESPALIER_NEEDS(counts, "a gate needs `static constexpr int experts`, `slots`, `logits` and `static constexpr "
                           "bool slot_is_expert`");
    if constexpr (!counts || std::is_base_of_v<refused_gate, Gate>) {
        return false;
    } else if constexpr (Gate::logits == 0) {
        constexpr bool looks_up = has_expert<Gate>;
        ESPALIER_NEEDS(looks_up, "a gate without logits needs `template <class T, class W> ESPALIER_FN "
                                 "std::int32_t expert(rows const& batch, index_t r, T const* x, W const* table) "
                                 "const` in its op and `template <class T> static std::string refusal(rows const& "
                                 "batch, index_t r, T const* x)`");
        return looks_up;
    } else {
        using number = gate_call<Gate, serial_group, float>;
        using wide = gate_call<Gate, serial_group, native_pack<float>>;
        constexpr bool route = gate_routes<number> && gate_routes<wide>;
        constexpr bool backward = gate_pulls_back<number> && gate_pulls_back<wide>;
        constexpr bool finish = gate_finishes<op_of<Gate>>();
        ESPALIER_NEEDS(route || !Gate::slot_is_expert,
                       "a gate with slot_is_expert needs `template <class Group, class T> ESPALIER_FN T "
                       "route(Group const&, row<Group, T, logits> const& z, row<Group, T, slots>& weights) const` "
                       "in its op, for packs too; a gate_about& may follow weights (gate/concept.hpp)");
        ESPALIER_NEEDS(route || Gate::slot_is_expert,
                       "a gate needs `template <class Group, class T> ESPALIER_FN T route(Group const&, row<Group, "
                       "T, logits> const& z, gate_slots<T, slots>& chosen) const` in its op, for packs too; a "
                       "gate_about& may follow chosen (gate/concept.hpp)");
        ESPALIER_NEEDS(backward || !Gate::slot_is_expert,
                       "a gate with slot_is_expert needs `template <class Group, class T> ESPALIER_FN void "
                       "backward(Group const&, row<Group, T, logits> const& z, row<Group, T, slots> const& "
                       "weights, row<Group, T, slots> const& dweights, T const& term_scale, row<Group, T, logits>& "
                       "dz) const` in its op, for packs too; a gate_about& may follow dz (gate/concept.hpp)");
        ESPALIER_NEEDS(backward || Gate::slot_is_expert,
                       "a gate needs `template <class Group, class T> ESPALIER_FN void backward(Group const&, "
                       "row<Group, T, logits> const& z, gate_slots<T, slots> const& chosen, T const "
                       "(&dweight)[slots], T const& term_scale, row<Group, T, logits>& dz) const` in its op, for "
                       "packs too; a gate_about& may follow dz (gate/concept.hpp)");
        ESPALIER_NEEDS(finish, "a gate whose `needs` have statistics needs `ESPALIER_FN double finish(double const* "
                               "sums, index_t rows, double* slopes) const` in its op, the part of the term that is "
                               "a function of sums over the batch");
        return route && backward && finish;
    }
}

} // namespace espalier
