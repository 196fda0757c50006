// SPDX-License-Identifier: Apache-2.0
// One gate for each task over shared experts.
#pragma once

#include <espalier/layer/moe.hpp>

namespace espalier {

/// The gates of a multi_gate, one a task.
template <class... Gates> struct gates {
    static_assert(sizeof...(Gates) > 0, "espalier: a list of gates names at least one gate");
    static_assert(sizeof...(Gates) <= mixture_tasks::most, "espalier: a multi_gate serves at most 16 tasks");
};

namespace detail {
template <class Where, class First, class Gate> consteval bool check_equal_gates() {
    static_assert(diagnostic::holds<Gate::experts == First::experts, Where, diagnostic::given<Gate::experts>,
                                    diagnostic::needed<First::experts>>,
                  "espalier: the gates of a multi_gate share their experts, so they must have equally many; the next "
                  "lines name the layer's index, one gate's experts and the first gate's");
    return Gate::experts == First::experts;
}
} // namespace detail

/// y = (y_1, ..., y_T) with y_t = sum over the experts e that gate t chose of g_te expert_e(x): the multi-gate mixture
/// of experts (Ma et al. 2018, section 4.2). The outputs stand side by side; `slice` takes one of them to its task's
/// own layers. An expert runs once on a row that several gates send to it. `Ps` as for moe; tensors: "gate.T.kernel",
/// "gate.T.bias", and the experts' below "expert.E.".
template <class Gates, class Expert, class... Ps> struct multi_gate {
    static constexpr std::string_view name = "multi_gate";
    static constexpr shape output(shape in) { return in; }
    template <class Where, shape, class> static consteval bool check() {
        static_assert(diagnostic::holds<false, Where, diagnostic::given_type<Gates>>,
                      "espalier: the first argument of multi_gate is a list of gates, one a task, as in "
                      "multi_gate<gates<gate::softmax<8>, gate::softmax<8>>, expert>; the next lines name the layer's "
                      "index and the type given; a single gate goes into a moe");
        return false;
    }
};
/// The layer that its list of gates makes.
template <class... Gates, class Expert, class... Ps> struct multi_gate<gates<Gates...>, Expert, Ps...> {
    static constexpr std::string_view name = "multi_gate";
    using axes = axes_at<axis_place::row, axis_place::tensor>;

    static constexpr shape output(shape in) {
        shape const one = moe<type_at<0, Gates...>, Expert>::output(in);
        return sizeof...(Gates) == 1 ? one : shape{static_cast<int>(sizeof...(Gates)) * static_cast<int>(one.size())};
    }

    template <class Where, shape In, class Inherited> static consteval bool check() {
        if constexpr (!(true && ... && detail::check_gate<Where, multi_gate, Gates>()) ||
                      !detail::check_has_input<Where, multi_gate, In>())
            return false;
        else if constexpr (!detail::policy_checks<Where, multi_gate, axes, Ps...>::run())
            return false;
        else {
            using first = type_at<0, Gates...>;
            return (true && ... && detail::check_equal_gates<Where, first, Gates>()) &&
                   detail::check_roles<Where, multi_gate,
                                       (role_set{} | ... | detail::gate_tensors<Gates>::tensor_roles), Inherited,
                                       Ps...>() &&
                   detail::expert_checks<In, first::experts, Expert, Inherited>::template run<Where, multi_gate>() &&
                   detail::check_passing<Where, detail::dispatch_of<Ps...>, In, moe<first, Expert>::output(In)>();
        }
    }
    template <shape In, class Inherited>
    using bind = typename detail::bind_mixture<
        In, type_list<Gates...>, Expert, Inherited,
        typename detail::inherited_on<axes, Inherited,
                                      (role_set{} | ... | detail::gate_tensors<Gates>::tensor_roles)>::type,
        Ps...>::type;
};

} // namespace espalier
