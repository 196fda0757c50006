// SPDX-License-Identifier: Apache-2.0
// What a policy is, and how a layer finds its policies in a list written in any order.
//
// Archetype (everything but `axis` is optional):
//
//     struct my_policy {
//         using axis = espalier::axis::penalty;            // where it stands
//         static constexpr std::string_view name = "mine"; // what describe, terms and checkpoints print; also the
//                                                          // canonical order of policies that stack
//         static constexpr int stage = 0;                  // coarse order before `name` (transforms)
//         using op = my_op;                                // numbers + element functions; default: my_policy itself
//         static op at(clock const&);                      // the numbers of this step; default: op{}
//         static constexpr auto numbers = fields<...>;     // what describe prints of it or, named there, of the op
//                                                          // (core/fields.hpp)
//         using consists_of = type_list<...>;              // policies or parts inside, for describe
//         template <class Layer> static consteval bool admits(); // false refuses the layer, with `refusal` as reason
//     };
//
// The *op* is a trivially copyable aggregate: its type carries structure only, its members carry the numbers. Loops and
// kernels are specialised on op types, so l2<1e-4> and l2<1e-3> share one kernel and a schedule never reaches it. A
// floating-point number in the type of an op is a mistake beyond that: nvcc's host half writes it with 15 digits, and a
// kernel whose number needs more is never launched (docs/compilers.md). A policy without numbers is its own op.
#pragma once

#include <espalier/core/axis.hpp>
#include <espalier/core/clock.hpp>
#include <espalier/core/diagnostic.hpp>
#include <espalier/core/flat_tuple.hpp>

#include <array>
#include <cstddef>
#include <string_view>
#include <type_traits>

namespace espalier {

/// A type that says on which axis it stands.
template <class P>
concept policy = requires {
    typename P::axis;
    { P::axis::stacks } -> std::convertible_to<bool>;
};

template <class P, class Axis>
concept policy_on = policy<P> && std::is_same_v<typename P::axis, Axis>;

namespace detail {

template <class P> struct op_type { using type = P; };
template <class P>
requires requires {
    typename P::op;
}
struct op_type<P> {
    using type = typename P::op;
};

/// The op with the numbers of this step; P is a policy, or a part of one that has an op.
template <class P> constexpr typename op_type<P>::type numbers_at([[maybe_unused]] clock const& now) {
    if constexpr (requires { P::at(now); })
        return P::at(now);
    else
        return typename op_type<P>::type{};
}

template <class P> consteval std::string_view policy_name() {
    if constexpr (requires { P::name; })
        return P::name;
    else
        return {};
}

template <class P> consteval int policy_stage() {
    if constexpr (requires { P::stage; })
        return P::stage;
    else
        return 0;
}

template <class P, class Axis> consteval bool stands_on() {
    if constexpr (policy<P>)
        return std::is_same_v<typename P::axis, Axis>;
    else
        return false;
}

} // namespace detail

/// The type that loops and kernels are specialised on.
template <policy P> using op_of = typename detail::op_type<P>::type;

/// The op with the numbers of this step.
template <policy P> constexpr op_of<P> op_at(clock const& now) {
    static_assert(std::is_trivially_copyable_v<op_of<P>>,
                  "espalier: the op of a policy must be trivially copyable: it is passed to kernels by value");
    return detail::numbers_at<P>(now);
}

/// The declared name, or the axis' name for an unnamed policy.
template <policy P> constexpr std::string_view name_of() {
    constexpr std::string_view own = detail::policy_name<P>();
    return own.empty() ? P::axis::name : own;
}

namespace detail {
template <class P> consteval bool goes_by_role() {
    if constexpr (requires { P::axis::template by_role<P>; })
        return P::axis::template by_role<P>;
    else
        return false;
}
} // namespace detail

/// Has a policy act on the tensors of one role and on no other: `on<role::bias, penalty::l1<1e-4>>`. Of an axis whose
/// policies are chosen by role: others are the layer's, whatever tensors it has.
template <role Role, class Policy> struct on : Policy {
    static_assert(
        diagnostic::holds<detail::goes_by_role<Policy>(), diagnostic::from_policy<Policy>>,
        "espalier: on<role, ...> chooses the tensors of a penalty, a transform, a projection, a weight map or "
        "a prune policy; the next line names what it was given, which is none of these: take it out of the on<...>");
    using axis = typename Policy::axis;
    static constexpr role bound_role = Role;
};

namespace detail {

template <class Axis> consteval role_set unasked_roles() {
    if constexpr (requires { Axis::acts_unasked(role::kernel); }) {
        role_set all;
        for (int r = 0; r < role_count; ++r)
            if (Axis::acts_unasked(static_cast<role>(r))) all = all | roles(static_cast<role>(r));
        return all;
    } else {
        return any_roles;
    }
}
/// Once for each axis, whatever policies stand on it.
template <class Axis> inline constexpr role_set roles_unasked = unasked_roles<Axis>();

/// The roles on which a policy of an axis acts; none for policies of other axes.
template <class P, class Axis> consteval role_set roles_from() {
    if constexpr (!stands_on<P, Axis>())
        return role_set{};
    else if constexpr (requires { P::bound_role; })
        return roles(P::bound_role);
    else
        return roles_unasked<Axis>;
}

} // namespace detail

/// Whether a policy of a layer's list acts on tensors of the role: those bound with `on` act on that role only, the
/// others on those that their axis says.
template <policy P> consteval bool acts_on(role tensor_role) {
    return detail::roles_from<P, typename P::axis>().has(tensor_role);
}

// Loops over arrays, not folds: a list may be longer than a compiler nests brackets (Clang: 256).

/// How many policies of the pack stand on the axis.
template <class Axis, class... Ps> consteval int count_on() {
    bool const stands[] = {detail::stands_on<Ps, Axis>()..., false};
    int count = 0;
    for (bool const here : stands)
        count += int{here};
    return count;
}

namespace detail {

template <class Axis, class... Ps> consteval std::size_t first_on() {
    bool const stands[] = {stands_on<Ps, Axis>()..., true};
    std::size_t index = 0;
    while (!stands[index])
        ++index;
    return index;
}

template <class Axis, class Default, class... Ps> consteval auto pick_policy() {
    constexpr std::size_t index = first_on<Axis, Ps...>();
    if constexpr (index == sizeof...(Ps))
        return std::type_identity<Default>{};
    else
        return std::type_identity<type_at<index, Ps...>>{};
}

// Indices of the kept policies in canonical order: by stage, then by name; unnamed ones keep the list's order.
template <std::size_t N> struct order {
    std::array<std::size_t, N == 0 ? 1 : N> index{};
    std::size_t count = 0;
};

template <class... Ps> consteval auto canonical_order(std::array<bool, sizeof...(Ps) + 1> const& kept) {
    constexpr std::size_t n = sizeof...(Ps);
    std::array<int, n + 1> const stage{policy_stage<Ps>()..., 0};
    std::array<std::string_view, n + 1> const name{policy_name<Ps>()..., std::string_view{}};
    order<n> result;
    for (std::size_t i = 0; i != n; ++i) {
        if (!kept[i]) continue;
        std::size_t at = result.count++;
        // insertion from the right keeps equal and unnamed policies in the order they were written
        while (at > 0) {
            std::size_t const before = result.index[at - 1];
            bool const later = stage[before] > stage[i] || (stage[before] == stage[i] && name[before] > name[i] &&
                                                            !name[before].empty() && !name[i].empty());
            if (!later) break;
            result.index[at] = before;
            --at;
        }
        result.index[at] = i;
    }
    return result;
}

template <auto Order, class Indices, class... Ps> struct select_types;
template <auto Order, std::size_t... At, class... Ps> struct select_types<Order, std::index_sequence<At...>, Ps...> {
    using type = type_list<type_at<Order.index[At], Ps...>...>;
};

template <class Axis, class... Ps> struct all_on_axis {
    static constexpr auto sorted = canonical_order<Ps...>({stands_on<Ps, Axis>()..., false});
    using type = typename select_types<sorted, std::make_index_sequence<sorted.count>, Ps...>::type;
};

template <class Axis, role Role, class Default, class... Ps> consteval auto pick_policy_for() {
    constexpr std::size_t index = [] {
        bool const acts[] = {roles_from<Ps, Axis>().has(Role)..., true};
        std::size_t first = 0;
        while (!acts[first])
            ++first;
        return first;
    }();
    if constexpr (index == sizeof...(Ps))
        return std::type_identity<Default>{};
    else
        return std::type_identity<type_at<index, Ps...>>{};
}

template <class Axis, role Role, class... Ps> struct all_for_role {
    static constexpr auto sorted = canonical_order<Ps...>({roles_from<Ps, Axis>().has(Role)..., false});
    using type = typename select_types<sorted, std::make_index_sequence<sorted.count>, Ps...>::type;
};

template <class List> struct ops_of_list;
template <class... Ps> struct ops_of_list<type_list<Ps...>> {
    using type = flat_tuple<op_of<Ps>...>;
    static constexpr type at(clock const& now) { return type{{{op_at<Ps>(now)}...}}; }
};

} // namespace detail

/// The policy on a single-occupancy axis, or `Default`.
template <class Axis, class Default, class... Ps>
using pick = typename decltype(detail::pick_policy<Axis, Default, Ps...>())::type;

/// The first policy on an axis that acts on tensors of a role, or `Default`.
template <class Axis, role Role, class Default, class... Ps>
using pick_for = typename decltype(detail::pick_policy_for<Axis, Role, Default, Ps...>())::type;

/// All policies on an axis in canonical order, as a type_list.
template <class Axis, class... Ps> using all_on = typename detail::all_on_axis<Axis, Ps...>::type;

/// All policies on an axis that act on tensors of a role, in canonical order.
template <class Axis, role Role, class... Ps> using all_for = typename detail::all_for_role<Axis, Role, Ps...>::type;

/// The flat tuple of the ops of a list of policies, and its value at a time.
template <class List> using ops_of = typename detail::ops_of_list<List>::type;
/// The ops' numbers at a time.
template <class List> constexpr ops_of<List> ops_at(clock const& now) {
    return detail::ops_of_list<List>::at(now);
}

} // namespace espalier
