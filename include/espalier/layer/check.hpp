// SPDX-License-Identifier: Apache-2.0
// What a layer asks of its policies, said in sentences. Every check returns whether it holds, so that a layer that
// fails is replaced by one that does nothing and one mistake gives one message.
#pragma once

#include <espalier/core/diagnostic.hpp>
#include <espalier/core/members.hpp>
#include <espalier/core/policy.hpp>
#include <espalier/core/shape.hpp>
#include <espalier/layer/axes.hpp>
#include <espalier/layer/concept.hpp>
#include <espalier/weight/identity.hpp>
#include <espalier/weight/operator.hpp>

#include <cstddef>
#include <type_traits>
#include <utility>

namespace espalier::detail {

template <class Where, class Layer, class P> consteval bool check_is_policy() {
    static_assert(diagnostic::holds<policy<P>, Where, diagnostic::in_layer<Layer>, diagnostic::from_policy<P>>,
                  "espalier: something in a layer's list is not a policy: it has no member type `axis`; the next lines "
                  "name the layer's index and the type; add `using axis = espalier::axis::...;` or remove it");
    return policy<P>;
}

template <class Where, class Layer, class P, class... Accepted> consteval bool check_axis() {
    constexpr bool ok = (false || ... || stands_on<P, Accepted>());
    static_assert(diagnostic::holds<ok, Where, diagnostic::in_layer<Layer>, diagnostic::from_policy<P>,
                                    diagnostic::on_axis<typename P::axis>>,
                  "espalier: a policy stands on an axis that this layer does not have; the next lines name the layer's "
                  "index, the policy and the axis; move the policy to a layer that has this axis");
    return ok;
}

/// For layers inside another one, bound.
template <class Where, class Bound> consteval bool check_keeps_rows() {
    static_assert(
        diagnostic::holds<(Bound::facts.growth == 1), Where, diagnostic::given<Bound::facts.growth>,
                          diagnostic::needed<1>>,
        "espalier: an expert, a branch, a layer of a by_sample or the inside of a residual gives one row for each "
        "row, and a multi_sample inside gives several; the next lines name the outer layer's index and how many; put "
        "the "
        "multi_sample around it");
    return Bound::facts.growth == 1;
}

template <class Where, class Bound> consteval bool check_no_taps() {
    constexpr index_t taps = body_of<Bound>.template size<float>().taps;
    static_assert(diagnostic::holds<(taps == 0), Where, diagnostic::given<taps>>,
                  "espalier: a tap stands where every row of the batch passes once, and an expert gets some of them, a "
                  "multi_sample runs them several times; the next lines name the outer layer's index and how many taps "
                  "are inside; put them before or behind it");
    return taps == 0;
}

/// How many policies of an axis meet in one place: in the layer, or, where they are chosen by role, in tensors of one.
template <class Axis, class... Ps> consteval int count_together() {
    role_set const acts[] = {roles_from<Ps, Axis>()..., role_set{}};
    int most = 0;
    for (int r = 0; r < role_count; ++r) {
        int count = 0;
        for (role_set const& one : acts)
            count += int{one.has(static_cast<role>(r))};
        most = count > most ? count : most;
    }
    return most;
}

template <class Where, class Axis, class... Ps> consteval bool check_single() {
    if constexpr (!Axis::stacks) {
        constexpr int given = count_together<Axis, Ps...>();
        static_assert(diagnostic::holds<(given <= 1), Where, diagnostic::on_axis<Axis>, diagnostic::given<given>,
                                        diagnostic::given_policies<Ps...>>,
                      "espalier: two policies stand on an axis that has room for one; the next lines name the layer's "
                      "index, the axis, how many were given and the layer's list; keep one of them");
        return given <= 1;
    } else {
        return true;
    }
}

/// `check_single` for the axis of P, made once for all policies on it: where P is the first of them.
template <class Where, class P, class... Ps> consteval bool check_single_of() {
    using axis_type = typename P::axis;
    if constexpr (std::is_same_v<pick<axis_type, void, Ps...>, P>)
        return check_single<Where, axis_type, Ps...>();
    else
        return true;
}

/// What is asked by whom: policy P of a layer.
template <class Where, class Layer, class P> struct members_asked {
    using where = Where;
    using layer = Layer;
    using policy = P;
    using op = op_of<P>;
};

/// Whether a policy has what its axis asks for.
template <class Where, class Layer, class P> consteval bool check_members() {
    using Asked = members_asked<Where, Layer, P>;
    constexpr bool trivial = std::is_trivially_copyable_v<op_of<P>>;
    ESPALIER_NEEDS(trivial, "the numbers of a policy must be trivially copyable, kernels receive them by value: "
                            "keep no pointers to owned memory, strings or containers in its op");
    if constexpr (!trivial)
        return false;
    else
        return P::axis::template members<Asked>();
}

template <class P, class Layer> consteval bool is_admitted() {
    if constexpr (requires { P::template admits<Layer>(); })
        return P::template admits<Layer>();
    else
        return true;
}

template <class Where, class Layer, class P> consteval bool check_admitted() {
    constexpr bool ok = is_admitted<P, Layer>();
    static_assert(diagnostic::holds<ok, Where, diagnostic::in_layer<Layer>, diagnostic::from_policy<P>>,
                  "espalier: a policy refuses the layer it was given to (its `admits` is false: see the policy's "
                  "documentation for what it needs); the next lines name the layer's index, the layer and the policy");
    return ok;
}

template <class... Ps> consteval bool drops() {
    using dropout_policy = pick<axis::dropout, void, Ps...>;
    if constexpr (std::is_void_v<dropout_policy>)
        return false;
    else
        return !dropout::detail::draws_nothing<op_of<dropout_policy>>();
}

template <class... Ps> consteval bool masks_units() {
    using units_policy = pick<axis::units, void, Ps...>;
    if constexpr (std::is_void_v<units_policy>)
        return false;
    else
        return units_policy::masks_units;
}

/// A row-wise activation has a pass of its own, in which there is nothing else.
template <class Where, class Layer, class... Ps> consteval bool check_row_activation() {
    using activation_policy = pick<axis::activation, void, Ps...>;
    if constexpr (std::is_void_v<activation_policy>) {
        return true;
    } else {
        constexpr bool others =
            drops<Ps...>() || masks_units<Ps...>() || count_on<axis::activation_penalty, Ps...>() > 0;
        constexpr bool alone = !others || !activation::row_form<op_of<activation_policy>>;
        static_assert(
            diagnostic::holds<alone, Where, diagnostic::in_layer<Layer>, diagnostic::from_policy<activation_policy>>,
            "espalier: dropout, masks of units and activation penalties do not act behind a row-wise activation in "
            "its layer; "
            "the next lines name the layer's index and the activation; put them into an "
            "espalier::elementwise<...> behind the layer");
        return alone;
    }
}

/// The dropout of a layer of that width.
template <class Where, class Layer, index_t Width, class... Ps> consteval bool check_segments() {
    using policy = pick<axis::dropout, void, Ps...>;
    constexpr index_t segment = dropout::detail::constant_segment<policy>();
    constexpr bool fills = Width % (segment > 0 ? segment : 1) == 0;
    static_assert(diagnostic::holds<fills, Where, diagnostic::in_layer<Layer>, diagnostic::from_policy<policy>,
                                    diagnostic::given<segment>, diagnostic::given_width<Width>>,
                  "espalier: the segments of a dropout must fill the layer's output; the next lines name the layer's "
                  "index, the dropout, its columns and the layer's width; take a number of columns that divides it");
    return fills;
}

/// Roles of the tensors that an operator brings.
template <class P> consteval role_set roles_of_operator() {
    if constexpr (requires { P::tensor_roles; })
        return P::tensor_roles;
    else
        return any_roles;
}

/// Whether a policy acts on a tensor of one of the roles, or brings such tensors; those that are about something else
/// count as such.
template <class P> consteval bool acts_on_any(role_set tensors) {
    if constexpr (goes_by_role<P>()) {
        return (roles_from<P, typename P::axis>().bits & tensors.bits) != 0;
    } else if constexpr (weight::has_bind<P> && stands_on<P, axis::weight>()) {
        return tensors.has(roles_of_operator<P>());
    } else {
        return true;
    }
}

/// Of the policies that a layer inherits those that stand on an axis it has; of those that have room for one on a
/// tensor only what acts on one of the layer's, if their roles are told.
template <class Axes, class Inherited, role_set Tensors = any_roles> struct inherited_on;
template <class... Axes, role_set Tensors> struct inherited_on<type_list<Axes...>, type_list<>, Tensors> {
    using type = type_list<>;
};
template <class... Axes, class... Ps, role_set Tensors>
struct inherited_on<type_list<Axes...>, type_list<Ps...>, Tensors> {
    template <class P> static consteval bool fits() {
        return (false || ... || stands_on<P, Axes>()) && (P::axis::stacks || acts_on_any<P>(Tensors));
    }
    static constexpr auto kept = [] {
        order<sizeof...(Ps)> result;
        std::size_t index = 0;
        for (bool const fit : {fits<Ps>()...}) {
            if (fit) result.index[result.count++] = index;
            ++index;
        }
        return result;
    }();
    using type = typename select_types<kept, std::make_index_sequence<kept.count>, Ps...>::type;
};

/// The checks of a list of policies that ask nothing of the layer but its axes.
template <class Where, class Layer, class AcceptedAxes, class... Ps> struct list_checks;

template <class Where, class Layer, class... Accepted, class... Ps>
struct list_checks<Where, Layer, type_list<Accepted...>, Ps...> {
    static consteval bool run() {
        if constexpr (!(true && ... && check_is_policy<Where, Layer, Ps>()))
            return false;
        else if constexpr (!(true && ... && check_axis<Where, Layer, Ps, Accepted...>()))
            return false;
        else if constexpr (!(true && ... && check_single<Where, Accepted, Ps...>()))
            return false;
        else
            return (true && ... && check_members<Where, Layer, Ps>());
    }
    static constexpr bool hold = run();
};

/// The checks that every layer with a list of policies makes. `AcceptedAxes` are the layer's axes.
template <class Where, class Layer, class AcceptedAxes, class... Ps> struct policy_checks {
    static consteval bool run() {
        using named = diagnostic::layer_of_message<Where, Layer>;
        if constexpr (!list_checks<Where, named, AcceptedAxes, Ps...>::hold)
            return false;
        else if constexpr (!check_row_activation<Where, named, Ps...>())
            return false;
        else
            return (true && ... && check_admitted<Where, Layer, Ps>());
    }
};

/// What stands between the stored weights of tensors of a role and what their layer reads.
template <role Role, class... Ps> struct maps_of {
    using prune_policy = pick_for<axis::prune, Role, void, Ps...>;
    using weight_policy = pick_for<axis::weight, Role, weight::identity, Ps...>;
    static constexpr bool pruned = !std::is_void_v<prune_policy>;
    static constexpr bool replaced = weight::weight_operator<weight_policy>;
    static consteval bool masked_by_weight() {
        if constexpr (replaced)
            return false;
        else
            return op_of<weight_policy>::uses_mask;
    }
    static consteval bool copies() {
        bool copied = false;
        if constexpr (pruned) copied = op_of<prune_policy>::needs_operand;
        if constexpr (!replaced) copied = copied || op_of<weight_policy>::needs_operand;
        return copied;
    }
    static constexpr bool masked = pruned || masked_by_weight();
};

/// Tensors of these roles are read through the copies that maps write, those of others as they are stored.
inline constexpr role_set read_through_maps = roles(role::kernel) | roles(role::embedding) | roles(role::gate);

/// What is asked of the prune policy and the weight map of tensors of one role.
template <class Where, class Layer, role Role, class... Ps> consteval bool check_maps() {
    using maps = maps_of<Role, Ps...>;
    using prune_policy = typename maps::prune_policy;
    using weight_policy = typename maps::weight_policy;
    constexpr bool one_mask = !(maps::pruned && maps::masked_by_weight());
    static_assert(
        diagnostic::holds<one_mask, Where, diagnostic::in_layer<Layer>, diagnostic::from_policy<prune_policy>,
                          diagnostic::from_policy<weight_policy>>,
        "espalier: a prune policy and a weight policy with a mask of its own both decide which weights there are; the "
        "next lines name the layer's index and the two policies; keep one of them");
    constexpr bool reaches = read_through_maps.has(Role) || !maps::copies();
    static_assert(
        diagnostic::holds<reaches, Where, diagnostic::in_layer<Layer>, diagnostic::given<Role>,
                          diagnostic::from_policy<prune_policy>, diagnostic::from_policy<weight_policy>>,
        "espalier: a weight map or a mask rule that shows the products a copy of the weights acts on a tensor of which "
        "the layer reads the stored numbers: of kernels, embeddings and gate matrices it reads the copy; the next "
        "lines "
        "name the layer's index, the layer, the tensor's role and the policies; take prune::hard, weight::fixed_mask "
        "or "
        "another map without `needs_operand`");
    return one_mask && reaches;
}

template <class Where, class Layer, role_set Tensors, class P> consteval bool check_role() {
    constexpr bool acts = acts_on_any<P>(Tensors);
    static_assert(diagnostic::holds<acts, Where, diagnostic::in_layer<Layer>, diagnostic::from_policy<P>>,
                  "espalier: a policy acts on no tensor of its layer: none has the role that its on<role, ...> names, "
                  "or without one a role that it acts on unasked (a penalty: kernel, factor, embedding or gate; a "
                  "weight map or a prune policy: kernel); "
                  "the next lines name the layer's index, the layer and the policy; name another role with on<...>, or "
                  "move the policy to the layer that is meant");
    return acts;
}

/// Whether a policy reads the masks of tensors and makes no sense without.
template <class P> consteval bool reads_masks() {
    if constexpr (stands_on<P, axis::penalty>())
        return op_needs_mask<op_of<P>>();
    else
        return false;
}

/// Whether policy P, if it reads masks, finds one on every tensor on which it acts.
template <class Where, class Layer, role_set Tensors, class P, class... All> consteval bool check_reads_masks() {
    if constexpr (!reads_masks<P>()) {
        return true;
    } else {
        constexpr bool ok = []<int... Roles>(std::integer_sequence<int, Roles...>) {
            return (true && ... &&
                    (!(Tensors.has(role(Roles)) && acts_on<P>(role(Roles))) || maps_of<role(Roles), All...>::masked));
        }
        (std::make_integer_sequence<int, role_count>{});
        static_assert(diagnostic::holds<ok, Where, diagnostic::in_layer<Layer>, diagnostic::from_policy<P>,
                                        diagnostic::on_axis<axis::penalty>>,
                      "espalier: a penalty on what a mask leaves out acts on a tensor that has no mask; the next lines "
                      "name the layer's index, the layer, the penalty and its axis; give the tensor a prune policy or "
                      "weight::fixed_mask, or name with on<role, ...> the one that has a mask");
        return ok;
    }
}

/// Whether what is asked of the policies of tensors holds. That a policy acts, and finds the masks that it reads, is
/// asked of a layer's own list: what is handed on is not meant for every layer inside.
template <class Where, class Layer, role_set Tensors, class Inherited, class... Ps> struct role_checks;
template <class Where, class Layer, role_set Tensors, class... Inherited, class... Ps>
struct role_checks<Where, Layer, Tensors, type_list<Inherited...>, Ps...> {
    static consteval bool run() {
        if constexpr (!(true && ... && check_role<Where, Layer, Tensors, Ps>()))
            return false;
        else if constexpr (!check_maps_of_all(std::make_integer_sequence<int, role_count>{}))
            return false;
        else if constexpr ((false || ... || reads_masks<Ps>()))
            return (true && ... && check_reads_masks<Where, Layer, Tensors, Ps, Ps..., Inherited...>());
        else
            return true;
    }
    static constexpr bool hold = run();

private:
    template <int... Roles>
    static consteval bool check_maps_of_all([[maybe_unused]] std::integer_sequence<int, Roles...> of_roles) {
        if constexpr (count_on<axis::weight, Ps..., Inherited...>() + count_on<axis::prune, Ps..., Inherited...>() == 0)
            return true;
        else
            return (true && ... && check_maps_if<role(Roles)>());
    }
    template <role Role> static consteval bool check_maps_if() {
        if constexpr (Tensors.has(Role))
            return check_maps<Where, Layer, Role, Ps..., Inherited...>();
        else
            return true;
    }
};
template <class Where, class Layer, role_set Tensors, class Inherited, class... Ps> consteval bool check_roles() {
    return role_checks<Where, diagnostic::layer_of_message<Where, Layer>, Tensors, Inherited, Ps...>::hold;
}

/// The checks of policies that a combinator hands on to the layers inside it: all but that of the axis, which is for
/// each of those layers to use or to ignore, and of `admits`, which asks for a layer.
template <class Where, class Layer, class... Ps> consteval bool check_inherited() {
    if constexpr (!(true && ... && check_is_policy<Where, Layer, Ps>()))
        return false;
    else if constexpr (!(true && ... && check_single_of<Where, Ps, Ps...>()))
        return false;
    else
        return (true && ... && check_members<Where, Layer, Ps>());
}

template <class Where, class Layer, shape In> consteval bool check_has_input() {
    static_assert(diagnostic::holds<(In.size() > 0), Where, diagnostic::in_layer<Layer>>,
                  "espalier: the width of the layer's input is unknown; begin the stack with espalier::input<WIDTH>");
    return In.size() > 0;
}

} // namespace espalier::detail
