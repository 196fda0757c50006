// SPDX-License-Identifier: Apache-2.0
// What a layer asks of its policies, said in sentences. Every check returns whether it holds, so that a layer that
// fails is replaced by one that does nothing and one mistake gives one message.
#pragma once

#include <espalier/core/diagnostic.hpp>
#include <espalier/core/policy.hpp>
#include <espalier/core/shape.hpp>

#include <type_traits>

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

template <class Where, class Axis, class... Ps> consteval bool check_single() {
    if constexpr (!Axis::stacks) {
        constexpr int given = count_on<Axis, Ps...>();
        static_assert(diagnostic::holds<(given <= 1), Where, diagnostic::on_axis<Axis>, diagnostic::given<given>,
                                        diagnostic::given_policies<Ps...>>,
                      "espalier: two policies stand on an axis that has room for one; the next lines name the layer's "
                      "index, the axis, how many were given and the layer's list; keep one of them");
        return given <= 1;
    } else {
        return true;
    }
}

template <class P, class Layer> consteval bool is_admitted() {
    if constexpr (requires { P::template admits<Layer>(); })
        return P::template admits<Layer>();
    else
        return true;
}

template <class Where, class Layer, class P> consteval bool check_admitted() {
    static_assert(
        diagnostic::holds<is_admitted<P, Layer>(), Where, diagnostic::in_layer<Layer>, diagnostic::from_policy<P>>,
        "espalier: a policy refuses the layer it was given to (its `admits` is false: see the policy's "
        "documentation for what it needs); the next lines name the layer's index, the layer and the policy");
    return is_admitted<P, Layer>();
}

/// The checks that every layer with a list of policies makes. `Accepted` are the layer's axes.
template <class Where, class Layer, class AcceptedAxes, class... Ps> struct policy_checks;

template <class Where, class Layer, class... Accepted, class... Ps>
struct policy_checks<Where, Layer, type_list<Accepted...>, Ps...> {
    static consteval bool run() {
        if constexpr (!(true && ... && check_is_policy<Where, Layer, Ps>()))
            return false;
        else if constexpr (!(true && ... && check_axis<Where, Layer, Ps, Accepted...>()))
            return false;
        else if constexpr (!(true && ... && check_single<Where, Accepted, Ps...>()))
            return false;
        else
            return (true && ... && check_admitted<Where, Layer, Ps>());
    }
};

template <class Where, class Layer, shape In> consteval bool check_has_input() {
    static_assert(diagnostic::holds<(In.size() > 0), Where, diagnostic::in_layer<Layer>>,
                  "espalier: the width of the layer's input is unknown; begin the stack with espalier::input<WIDTH>");
    return In.size() > 0;
}

} // namespace espalier::detail
