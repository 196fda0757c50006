// SPDX-License-Identifier: Apache-2.0
// A mixture of experts: a gate, experts with parameters of their own, and a dispatch between them.
#pragma once

#include <espalier/core/diagnostic.hpp>
#include <espalier/gate/concept.hpp>
#include <espalier/gate/dispatch.hpp>
#include <espalier/layer/check.hpp>
#include <espalier/layer/concept.hpp>
#include <espalier/layer/mixture.hpp>
#include <espalier/layer/mixture/experts.hpp>
#include <espalier/layer/router.hpp>

#include <string_view>

namespace espalier {

/// Experts of different types for one mixture: `experts<dense<8>, sequence<dense<32>, dense<8>>>`. Their outputs are
/// equally wide; the gate has as many experts as there are types.
template <class... Layers> struct experts {
    static_assert(sizeof...(Layers) > 0, "espalier: a list of experts names at least one layer");
};

namespace detail {

template <class Expert> struct output_of_experts {
    static constexpr shape at(shape in) { return output_of<Expert>(in); }
};
template <class First, class... Others> struct output_of_experts<experts<First, Others...>> {
    static constexpr shape at(shape in) { return output_of<First>(in); }
};

template <shape In, int Count, class Expert, class Inherited> struct bind_experts {
    using type = equal_experts<Count, typename Expert::template bind<In, Inherited>>;
};
template <shape In, int Count, class... Layers, class Inherited>
struct bind_experts<In, Count, experts<Layers...>, Inherited> {
    using type = different_experts<typename Layers::template bind<In, Inherited>...>;
};

/// What a mixture asks of its experts.
template <shape In, int Count, class Expert, class Inherited> struct expert_checks {
    template <class Where, class Outer> static consteval bool run() {
        if constexpr (!check_is_layer<Expert, Where, diagnostic::in_layer<Outer>>())
            return false;
        else if constexpr (!Expert::template check<Where, In, Inherited>())
            return false;
        else
            return check_keeps_rows<Where, typename Expert::template bind<In, Inherited>>() &&
                   check_no_taps<Where, typename Expert::template bind<In, Inherited>>();
    }
};
template <shape In, int Count, class... Layers, class Inherited>
struct expert_checks<In, Count, experts<Layers...>, Inherited> {
    template <class Where, class Outer> static consteval bool run() {
        if constexpr (!(true && ... && check_is_layer<Layers, Where, diagnostic::in_layer<Outer>>()))
            return false;
        else if constexpr (!check_equal<Where>() || !(true && ... && Layers::template check<Where, In, Inherited>()))
            return false;
        else
            return (true && ... &&
                    (check_keeps_rows<Where, typename Layers::template bind<In, Inherited>>() &&
                     check_no_taps<Where, typename Layers::template bind<In, Inherited>>()));
    }

private:
    template <class Where> static consteval bool check_equal() {
        constexpr int given = sizeof...(Layers);
        static_assert(diagnostic::holds<given == Count, Where, diagnostic::given<given>, diagnostic::needed<Count>>,
                      "espalier: a mixture has as many expert types as its gate has experts; the next lines name the "
                      "layer's index, the number of types given and the gate's experts; change one of them");
        constexpr int width[] = {static_cast<int>(Layers::output(In).size())...};
        constexpr int other = [&] {
            for (int w : width)
                if (w != width[0]) return w;
            return width[0];
        }();
        static_assert(diagnostic::holds<other == width[0], Where, diagnostic::given_width<other>,
                                        diagnostic::needed_width<width[0]>>,
                      "espalier: the experts of a mixture must be equally wide; the next lines name the layer's index, "
                      "another expert's width and that of the first one; make them equal");
        return given == Count && other == width[0];
    }
};

template <class Where, class Layer, class Gate> consteval bool check_gate() {
    static_assert(
        diagnostic::holds<gate_policy<Gate>, Where, diagnostic::in_layer<diagnostic::layer_of_message<Where, Layer>>,
                          diagnostic::from_policy<Gate>>,
        "espalier: what stands in the place of a gate is none: it needs `axis`, `experts`, `slots`, `logits` "
        "and `slot_is_expert` (gate/concept.hpp); the next lines name the layer's index, the layer and the "
        "type; write moe<gate::top_k<8, 2>, expert>, or multi_gate<gates<...>, expert>");
    if constexpr (gate_policy<Gate>)
        return check_members<Where, Layer, Gate>();
    else
        return false;
}

template <class Where, class Dispatch, shape In, shape Out> consteval bool check_passing() {
    constexpr bool fits = !dispatch::passes_rows<Dispatch> || In.size() == Out.size();
    static_assert(diagnostic::holds<fits, Where, diagnostic::given_width<static_cast<int>(Out.size())>,
                                    diagnostic::needed_width<static_cast<int>(In.size())>>,
                  "espalier: with overflow::pass a row takes the place of an expert's output, so experts must be as "
                  "wide as their input; the next lines name the layer's index, the experts' width and the input's; "
                  "use overflow::drop or change the width");
    return fits;
}

template <class... Ps> using dispatch_of = pick<axis::dispatch, dispatch::compacted, Ps...>;

/// `Inherited`: what the experts inherit; `Kept`: what the mixture itself does.
template <shape In, class Gates, class Expert, class Inherited, class Kept, class... Ps> struct bind_mixture;
template <shape In, class... Gates, class Expert, class Inherited, class... Kept, class... Ps>
struct bind_mixture<In, type_list<Gates...>, Expert, Inherited, type_list<Kept...>, Ps...> {
    using experts_type = typename bind_experts<In, type_at<0, Gates...>::experts, Expert, Inherited>::type;
    using type =
        bound_mixture<In, experts_type, dispatch_of<Ps..., Kept...>, bound_router<In, Gates, Ps..., Kept...>...>;
};

} // namespace detail

/// y = sum over the experts e that the gate chose of g_e expert_e(x).
/// `Gate`: a policy on axis::gate; `Expert`: a layer or sequence, one copy of parameters for each expert, or
/// `experts<...>` for different ones; `Ps`: a dispatch (compacted unless given) and policies of the gate's own tensors.
/// Tensors: "gate.kernel" in x logits, "gate.bias", and the experts' below "expert.E.".
/// Forward costs the gate's product and, compacted, the experts' work for the filled slots only. While training it
/// measures (`training::measures`): experts that ran a row, the share of slots dropped, the entropy of the experts'
/// loads in nats, and every load.
template <class Gate, class Expert, class... Ps> struct moe {
    static constexpr std::string_view name = "moe";
    using axes = axes_at<axis_place::row, axis_place::tensor>;

    static constexpr shape output(shape in) { return detail::output_of_experts<Expert>::at(in); }

    template <class Where, shape In, class Inherited> static consteval bool check() {
        if constexpr (!detail::check_gate<Where, moe, Gate>() || !detail::check_has_input<Where, moe, In>())
            return false;
        else if constexpr (!detail::policy_checks<Where, moe, axes, Ps...>::run())
            return false;
        else
            return detail::check_roles<Where, moe, detail::gate_tensors<Gate>::tensor_roles, Inherited, Ps...>() &&
                   detail::expert_checks<In, Gate::experts, Expert, Inherited>::template run<Where, moe>() &&
                   detail::check_passing<Where, detail::dispatch_of<Ps...>, In, output(In)>();
    }
    template <shape In, class Inherited>
    using bind = typename detail::bind_mixture<
        In, type_list<Gate>, Expert, Inherited,
        typename detail::inherited_on<axes, Inherited, detail::gate_tensors<Gate>::tensor_roles>::type, Ps...>::type;
};

} // namespace espalier
