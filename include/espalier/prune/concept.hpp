// SPDX-License-Identifier: Apache-2.0
// What a pruning policy is: four independent choices, put together by `prune::policy`.
//
// Archetypes:
//
//     struct my_criterion {                          // what a weight is worth
//         static constexpr std::string_view name = "mine";
//         template <class T> ESPALIER_FN static auto key(T w); // unsigned, as wide as T; a larger one is kept before a
//                                                              // smaller one
//     };
//     struct my_criterion {                          // or, from more than the weight, once a step has its gradients
//         static constexpr std::string_view name = "mine";
//         static constexpr bool reads_moment = true; // optional: `moment` is that of the optimizer
//         template <class T> ESPALIER_FN static auto key(T w, about<T> const& more);
//     };
//     struct my_selection {                          // among which weights it is compared
//         static constexpr std::string_view name = "mine";
//         static constexpr bool global = false;      // true: selected over all layers at once, `select` is not called
//         static constexpr double sparsity = 0.5;    // optional: the only share other than 0 that it can leave out
//         static constexpr bool largest = true;      // optional: `select` does what select_threshold does with a
//         tensor template <class Criterion, class T> static void select(matrix_view<T const> w, double sparsity,
//         std::uint32_t* mask);
//     };
//     struct my_groups {                             // a selection of some rows of every group of rows
//         static constexpr std::string_view name = "mine";
//         static constexpr bool global = false;
//         static group_pattern at(clock const&);     // how many of how many stay; there is no `select`
//         static bool due(clock const&);             // optional: whether the pattern is another one from this step on
//     };
//     struct my_exchange {                           // a selection of weights that go and of others that come
//         static constexpr std::string_view name = "mine";
//         static constexpr bool global = false;
//         using growth = by_gradient;                // a criterion: what one that is left out is worth
//         static double share(clock const&);         // of what is kept so much is exchanged; there is no `select`
//     };
//     struct my_limit {                              // a selection of what is worth less than a threshold
//         static constexpr std::string_view name = "mine";
//         static constexpr bool global = false;
//         static double threshold(clock const&);     // of what was kept before, smaller weights stay; no `select`
//     };
//     struct my_schedule {                           // how many are left out, and when that is decided again
//         double at(clock const&) const;             // share of weights that are pruned
//         bool due(clock const&) const;              // whether masks are selected anew before this step
//     };
//     struct my_rule {                               // what becomes of a weight that is left out: a weight map, see
//         static constexpr std::string_view name = "mine"; // weight/concept.hpp, with uses_mask = true; as a policy,
//         it
//         ...                                        // may have an `op` and `static op at(clock const&)`
//     };
//
// Bit i of a mask, bit i % 32 of word i / 32, is 1 when element i (row-major) is kept.
#pragma once

#include <espalier/core/clock.hpp>
#include <espalier/core/mask_selection.hpp>
#include <espalier/core/members.hpp>
#include <espalier/core/pack.hpp>
#include <espalier/core/policy.hpp>
#include <espalier/core/view.hpp>
#include <espalier/prune/axis.hpp>
#include <espalier/weight/concept.hpp>

#include <concepts>
#include <cstdint>
#include <string_view>
#include <type_traits>

namespace espalier::prune {

/// One weight of a tensor when a step has its gradients and before its update: what criteria may have as their last
/// argument, behind the weight as products read it.
template <class T> struct about {
    T gradient = T(0); ///< of the loss and the terms over activations, with respect to the weight
    T moment = T(0);   ///< the first number that the optimizer keeps of it; for criteria with `reads_moment`
};

template <class X>
concept has_name = std::convertible_to<decltype(X::name), std::string_view>;

template <class C, class T>
concept has_key = requires(T w) {
    { C::key(w) } -> std::unsigned_integral;
};

template <class C, class T>
concept has_key_of_more = requires(T w, about<T> const& more) {
    { C::key(w, more) } -> std::unsigned_integral;
};

/// A criterion that sees gradients: masks are selected between the gradients of a step and its update.
template <class C>
concept sees_gradients = has_key_of_more<C, float> && has_key_of_more<C, double>;

template <class C>
concept criterion = has_name<C> &&((has_key<C, float> && has_key<C, double>) || sees_gradients<C>);

/// Whether a criterion reads a moment.
template <class C>
concept reads_moment = requires {
    requires C::reads_moment;
};

template <class S>
concept has_global = requires {
    { S::global } -> std::convertible_to<bool>;
};

template <class S>
concept weight_selection = has_name<S> && has_global<S>;

/// One share other than 0 that a selection can leave out.
template <class S>
concept has_sparsity = requires {
    { S::sparsity } -> std::convertible_to<double>;
};

/// Selections that a device with memory of its own makes there: those of the largest keys of one tensor or of all...
template <class S>
concept selects_largest = S::global || requires {
    requires S::largest;
};
/// ... and those of a few rows of every group of rows. With others, masks are selected on copies on the host.
template <class S>
concept selects_in_groups = requires(clock const& now) {
    { S::at(now) } -> std::convertible_to<group_pattern>;
};

/// Selections that say themselves when they are due, beside what the schedule says: their pattern changes.
template <class S>
concept selects_in_stages = selects_in_groups<S> && requires(clock const& now) {
    { S::due(now) } -> std::convertible_to<bool>;
};

/// Selections of what is worth less than a threshold, of what was kept before: how many that are nobody says.
template <class S>
concept selects_below = requires(clock const& now) {
    { S::threshold(now) } -> std::convertible_to<double>;
};

/// Selections that exchange some of the weights that are kept for others, of equal number.
template <class S>
concept exchanges = requires(clock const& now) {
    { S::share(now) } -> std::convertible_to<double>;
    requires criterion<typename S::growth>;
};

template <class S>
concept has_due = requires(S const& s, clock const& now) {
    { s.due(now) } -> std::convertible_to<bool>;
};

template <class R>
concept rule_uses_mask = requires {
    requires espalier::detail::op_type<R>::type::uses_mask;
};

template <class R>
concept mask_rule =
    has_name<R> && rule_uses_mask<R> && std::is_trivially_copyable_v<typename espalier::detail::op_type<R>::type>;

} // namespace espalier::prune

namespace espalier {

/// What a policy on the axis needs.
template <class Asked> consteval bool axis::prune::members() {
    using P = typename Asked::policy;
    constexpr bool selects = requires(clock const& now) {
        { P::due(now) } -> std::convertible_to<bool>;
        { P::sparsity(now) } -> std::convertible_to<double>;
        typename P::selection;
    };
    ESPALIER_NEEDS(selects, "a pruning policy needs `selection`, `due(clock)` and `sparsity(clock)`: write it as "
                            "espalier::prune::policy<criterion, selection, schedule, rule>");
    return selects && detail::map_members<Asked>();
}

} // namespace espalier
