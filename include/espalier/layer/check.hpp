// SPDX-License-Identifier: Apache-2.0
// What a layer asks of its policies, said in sentences. Every check returns whether it holds, so that a layer that
// fails is replaced by one that does nothing and one mistake gives one message.
#pragma once

#include <espalier/activation/concept.hpp>
#include <espalier/activation_penalty/concept.hpp>
#include <espalier/core/diagnostic.hpp>
#include <espalier/core/pack.hpp>
#include <espalier/core/policy.hpp>
#include <espalier/core/shape.hpp>
#include <espalier/dropout/concept.hpp>
#include <espalier/gate/concept.hpp>
#include <espalier/initial/concept.hpp>
#include <espalier/penalty/concept.hpp>
#include <espalier/product/concept.hpp>
#include <espalier/transform/concept.hpp>
#include <espalier/weight/concept.hpp>
#include <espalier/weight/operator.hpp>

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

/// For layers inside another one, bound.
template <class Where, class Bound> consteval bool check_keeps_rows() {
    static_assert(
        diagnostic::holds<(Bound::facts.growth == 1), Where, diagnostic::given<Bound::facts.growth>,
                          diagnostic::needed<1>>,
        "espalier: an expert, a branch or the inside of a residual gives one row for each row, and a "
        "multi_sample inside gives several; the next lines name the outer layer's index and how many; put the "
        "multi_sample around it");
    return Bound::facts.growth == 1;
}

template <class Where, class Bound> consteval bool check_no_taps() {
    constexpr int taps = Bound::template size<float>().taps;
    static_assert(diagnostic::holds<(taps == 0), Where, diagnostic::given<taps>>,
                  "espalier: a tap stands where every row of the batch passes once, and an expert gets some of them, a "
                  "multi_sample runs them several times; the next lines name the outer layer's index and how many taps "
                  "are inside; put them before or behind it");
    return taps == 0;
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

/// `check_single` for the axis of P, made once for all policies on it: where P is the first of them.
template <class Where, class P, class... Ps> consteval bool check_single_of() {
    using axis_type = typename P::axis;
    if constexpr (std::is_same_v<pick<axis_type, void, Ps...>, P>)
        return check_single<Where, axis_type, Ps...>();
    else
        return true;
}

/// What the axis of a policy asks of it: one sentence for each missing member. `op` below is the policy itself unless
/// it names another.
template <class Where, class Layer, class P> struct member_checks {
    using op = op_of<P>;

// One assertion for one member; the concept that failed and the sentence say what to write.
#define ESPALIER_NEEDS(condition, sentence)                                                                            \
    static_assert(diagnostic::holds<(condition), Where, diagnostic::in_layer<Layer>, diagnostic::from_policy<P>>,      \
                  "espalier: " sentence "; the next lines name the layer's index and the policy")

// The same for functions of T, whose concept takes the op and T: first whether they are there, then whether they are
// templates. A function of float can be called with a double, and only a pack tells.
#define ESPALIER_NEEDS_OF_T(result, concept_of_t, sentence)                                                            \
    constexpr bool result##_there = concept_of_t<op, float> && concept_of_t<op, double>;                               \
    constexpr bool result = result##_there && concept_of_t<op, native_pack<float>>;                                    \
    ESPALIER_NEEDS(result##_there, sentence);                                                                          \
    ESPALIER_NEEDS(                                                                                                    \
        result || !result##_there,                                                                                     \
        "a function takes or gives one type of number, and loops call it with packs of them too, as T in: " sentence)

    static constexpr bool run() {
        constexpr bool trivial = std::is_trivially_copyable_v<op>;
        ESPALIER_NEEDS(trivial, "the numbers of a policy must be trivially copyable, kernels receive them by value: "
                                "keep no pointers to owned memory, strings or containers in its op");
        using axis_type = typename P::axis;
        if constexpr (!trivial)
            return false;
        else if constexpr (std::is_same_v<axis_type, axis::activation>)
            return activation_members();
        else if constexpr (std::is_same_v<axis_type, axis::dropout>)
            return dropout_members();
        else if constexpr (std::is_same_v<axis_type, axis::activation_penalty>)
            return activation_penalty_members();
        else if constexpr (std::is_same_v<axis_type, axis::penalty>)
            return penalty_members();
        else if constexpr (std::is_same_v<axis_type, axis::transform>)
            return transform_members();
        else if constexpr (std::is_same_v<axis_type, axis::weight> && !weight::has_bind<P>)
            return map_members();
        else if constexpr (std::is_same_v<axis_type, axis::prune>)
            return prune_members();
        else if constexpr (std::is_same_v<axis_type, axis::gate>)
            return gate_members<gate_scorer<P>>();
        else if constexpr (std::is_same_v<axis_type, axis::initial>)
            return initial_members();
        else if constexpr (std::is_same_v<axis_type, axis::product>)
            return product_members();
        else
            return true;
    }

    static constexpr bool activation_members() {
        if constexpr (activation::row_form<op>) {
            ESPALIER_NEEDS_OF_T(both, activation::has_row_functions,
                                "a row-wise activation needs `template <class Group, class T, int N> static void "
                                "forward(Group const&, row<Group, T, N>& x)` and `backward(Group const&, row<Group, "
                                "T, N> const& y, row<Group, T, N>& dy)`");
            return both;
        } else {
            ESPALIER_NEEDS_OF_T(forward, activation::has_forward,
                                "an activation needs `template <class T> ESPALIER_FN static T forward(T x)`");
            ESPALIER_NEEDS_OF_T(backward, activation::has_backward,
                                "an activation needs `template <class T> ESPALIER_FN static T backward(T x, T y, "
                                "T dy)`, which gives dy times the derivative at x; y is forward(x)");
            return forward && backward;
        }
    }
    static constexpr bool dropout_members() {
        constexpr bool scope = dropout::has_scope<op>;
        ESPALIER_NEEDS(scope, "a dropout needs `static constexpr random_scope scope` in its op: element, row, segment, "
                              "step or none");
        constexpr bool segment = !scope || dropout::has_segment<op>;
        ESPALIER_NEEDS(segment,
                       "a dropout whose scope is segment needs `std::uint32_t segment` in its op, the number of "
                       "columns that one decision covers");
        if constexpr (!scope || !segment || dropout::detail::draws_nothing<op>()) {
            return scope && segment;
        } else {
            ESPALIER_NEEDS_OF_T(factor, dropout::has_factor,
                                "a dropout needs `template <class T, class Bits> ESPALIER_FN T factor(Bits bits) "
                                "const` in its op, where bits is a uniform 16-bit draw, or "
                                "`factor(epilogue_element<T, Bits> const& about) const`");
            return factor;
        }
    }
    static constexpr bool activation_penalty_members() {
        constexpr bool scope = activation_penalty::has_scope<op>;
        constexpr bool finish = activation_penalty::has_finish<op>;
        ESPALIER_NEEDS(scope,
                       "an activation penalty needs `static constexpr penalty_scope scope` in its op: element or "
                       "column");
        ESPALIER_NEEDS_OF_T(contribution, activation_penalty::has_contribution,
                            "an activation penalty needs `template <class T> ESPALIER_FN T contribution(T y) const` in "
                            "its op, the share of one element in the sum, or `template <class T, class Bits> "
                            "ESPALIER_FN T contribution(T y, epilogue_element<T, Bits> const& about) const`");
        ESPALIER_NEEDS(finish, "an activation penalty needs `ESPALIER_FN double finish(double sum, double row_count) "
                               "const` in its op, the term that is added to the loss");
        ESPALIER_NEEDS_OF_T(gradient, activation_penalty::has_gradient,
                            "an activation penalty needs `template <class T> ESPALIER_FN T gradient(T y, T row_count) "
                            "const` in its op, or `template <class T, class Bits> ESPALIER_FN T gradient(T y, "
                            "epilogue_element<T, Bits> const& about) const`, whose about.column_sum is the sum of the "
                            "element's column");
        return scope && contribution && finish && gradient;
    }
    static constexpr bool penalty_members() {
        if constexpr (penalty_groups<op>() != group_scope::element) {
            ESPALIER_NEEDS_OF_T(gradient, penalty::has_group_gradient,
                                "a penalty over groups needs `template <class T> ESPALIER_FN T gradient(T w, T "
                                "squared_norm) const` in its op");
            ESPALIER_NEEDS_OF_T(value, penalty::has_group_value,
                                "a penalty over groups needs `template <class T> ESPALIER_FN T group_value(T "
                                "squared_norm) const` in its op, the share of one group in the term");
            return gradient && value;
        } else {
            ESPALIER_NEEDS_OF_T(value, penalty::has_value,
                                "a penalty needs `template <class T> ESPALIER_FN T value(T w) const` in its op, the "
                                "share of one weight in the term");
            if constexpr (is_proximal<op>()) {
                ESPALIER_NEEDS_OF_T(prox, penalty::has_prox,
                                    "a penalty that is `proximal` needs `template <class T> ESPALIER_FN T prox(T w, T "
                                    "rate) const` in its op");
                return value && prox;
            } else {
                ESPALIER_NEEDS_OF_T(gradient, penalty::has_gradient,
                                    "a penalty needs `template <class T> ESPALIER_FN T gradient(T w) const` in its op, "
                                    "the derivative of its value");
                return value && gradient;
            }
        }
    }
    static constexpr bool transform_members() {
        ESPALIER_NEEDS_OF_T(apply, transform::has_apply,
                            "a gradient transform needs `template <class T, class Bits> ESPALIER_FN T apply(T g, "
                            "transform_element<T, Bits> const& about) const` in its op");
        return apply;
    }
    static constexpr bool map_members() {
        constexpr bool flags = weight::has_uses_mask<op> && weight::has_needs_operand<op>;
        ESPALIER_NEEDS(flags, "a weight map needs `static constexpr bool uses_mask` and `needs_operand` in its op");
        ESPALIER_NEEDS_OF_T(pull, weight::has_pull,
                            "a weight map needs `template <class T, class Keep> ESPALIER_FN T pull(T g, T raw, Keep "
                            "keep) const` in its op, the gradient of the raw weight");
        ESPALIER_NEEDS_OF_T(store, weight::has_store,
                            "a weight map needs `template <class T, class Keep> ESPALIER_FN T store(T next, Keep keep) "
                            "const` in its op, what is kept after the step");
        ESPALIER_NEEDS_OF_T(effective, weight::has_effective,
                            "a weight map needs `template <class T, class Keep> ESPALIER_FN T effective(T raw, Keep "
                            "keep) const` in its op, what products read");
        return flags && pull && store && effective;
    }
    static constexpr bool prune_members() {
        constexpr bool selects = requires(clock const& now) {
            { P::due(now) } -> std::convertible_to<bool>;
            { P::sparsity(now) } -> std::convertible_to<double>;
            typename P::selection;
        };
        ESPALIER_NEEDS(selects, "a pruning policy needs `selection`, `due(clock)` and `sparsity(clock)`: write it as "
                                "espalier::prune::policy<criterion, selection, schedule, rule>");
        return selects && map_members();
    }
    /// A gate that searches has the functions of its scorer.
    template <class Gate> static constexpr bool gate_members() {
        constexpr bool counts = has_experts<P> && has_experts<Gate>;
        ESPALIER_NEEDS(counts, "a gate needs `static constexpr int experts`, `slots`, `logits` and `static constexpr "
                               "bool slot_is_expert`");
        if constexpr (!counts) {
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
            constexpr bool route = number::routes() && wide::routes();
            constexpr bool backward = number::pulls_back() && wide::pulls_back();
            constexpr bool finish = gate_finishes<op_of<Gate>>();
            ESPALIER_NEEDS(route || !Gate::slot_is_expert,
                           "a gate with slot_is_expert needs `template <class Group, class T> ESPALIER_FN T "
                           "route(Group const&, row<Group, T, logits> const& z, row<Group, T, slots>& weights) const` "
                           "in its op, for packs too; with `needs` a gate_more follows z, with `row_space` a T* ends "
                           "the list (gate/concept.hpp)");
            ESPALIER_NEEDS(route || Gate::slot_is_expert,
                           "a gate needs `template <class Group, class T> ESPALIER_FN T route(Group const&, row<Group, "
                           "T, logits> const& z, gate_slots<T, slots>& chosen) const` in its op, for packs too; with "
                           "`needs` a gate_more follows z, with `row_space` a T* ends the list (gate/concept.hpp)");
            ESPALIER_NEEDS(backward || !Gate::slot_is_expert,
                           "a gate with slot_is_expert needs `template <class Group, class T> ESPALIER_FN void "
                           "backward(Group const&, row<Group, T, logits> const& z, row<Group, T, slots> const& "
                           "weights, row<Group, T, slots> const& dweights, T const& term_scale, row<Group, T, logits>& "
                           "dz) const` in its op, for packs too; with `needs` a gate_more follows z, with `row_space` "
                           "a T* ends the list (gate/concept.hpp)");
            ESPALIER_NEEDS(backward || Gate::slot_is_expert,
                           "a gate needs `template <class Group, class T> ESPALIER_FN void backward(Group const&, "
                           "row<Group, T, logits> const& z, gate_slots<T, slots> const& chosen, T const "
                           "(&dweight)[slots], T const& term_scale, row<Group, T, logits>& dz) const` in its op, for "
                           "packs too; with `needs` a gate_more follows z, with `row_space` a T* ends the list "
                           "(gate/concept.hpp)");
            ESPALIER_NEEDS(finish,
                           "a gate whose `needs` have statistics needs `ESPALIER_FN double finish(double const* "
                           "sums, index_t rows, double* slopes) const` in its op, the part of the term that is "
                           "a function of sums over the batch");
            return route && backward && finish;
        }
    }
    static constexpr bool initial_members() {
        constexpr bool fill = initial::has_fill<P, float> && initial::has_fill<P, double>;
        ESPALIER_NEEDS(fill, "an initialiser needs `template <class T> static void fill(matrix_view<T> w, index_t "
                             "fan_in, index_t fan_out, random_site const& site)`");
        return fill;
    }
    static constexpr bool product_members() {
        constexpr bool complete = product_policy<P, float> || product_policy<P, double>;
        ESPALIER_NEEDS(complete, "a product needs `scratch`, `forward`, `input_gradient` and `weight_gradient`; "
                                 "product/concept.hpp has their signatures");
        return complete;
    }

#undef ESPALIER_NEEDS_OF_T
#undef ESPALIER_NEEDS
};

template <class Where, class Layer, class P> consteval bool check_members() {
    return member_checks<Where, Layer, P>::run();
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

/// A row-wise activation has a pass of its own, in which there is nothing else.
template <class Where, class Layer, class... Ps> consteval bool check_row_activation() {
    using activation_policy = pick<axis::activation, void, Ps...>;
    if constexpr (std::is_void_v<activation_policy>) {
        return true;
    } else {
        constexpr bool others = drops<Ps...>() || count_on<axis::activation_penalty, Ps...>() > 0;
        constexpr bool alone = !others || !is_row_form<op_of<activation_policy>>();
        static_assert(
            diagnostic::holds<alone, Where, diagnostic::in_layer<Layer>, diagnostic::from_policy<activation_policy>>,
            "espalier: dropout and activation penalties do not act behind a row-wise activation in its layer; "
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
