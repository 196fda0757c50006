// SPDX-License-Identifier: Apache-2.0
// What a layer asks of its policies, said in sentences. Every check returns whether it holds, so that a layer that
// fails is replaced by one that does nothing and one mistake gives one message.
#pragma once

#include <espalier/activation/concept.hpp>
#include <espalier/activation_penalty/concept.hpp>
#include <espalier/core/diagnostic.hpp>
#include <espalier/core/policy.hpp>
#include <espalier/core/shape.hpp>
#include <espalier/dropout/concept.hpp>
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
        diagnostic::holds<(Bound::growth == 1), Where, diagnostic::given<Bound::growth>, diagnostic::needed<1>>,
        "espalier: an expert, a branch or the inside of a residual gives one row for each row, and a "
        "multi_sample inside gives several; the next lines name the outer layer's index and how many; put the "
        "multi_sample around it");
    return Bound::growth == 1;
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
        else if constexpr (std::is_same_v<axis_type, axis::initial>)
            return initial_members();
        else if constexpr (std::is_same_v<axis_type, axis::product>)
            return product_members();
        else
            return true;
    }

    static constexpr bool activation_members() {
        if constexpr (activation::row_form<op>) {
            constexpr bool both = activation::row_activation<op>;
            ESPALIER_NEEDS(both, "a row-wise activation needs `template <class Group, class T, int N> static void "
                                 "forward(Group const&, row<Group, T, N>& x)` and `backward(Group const&, row<Group, "
                                 "T, N> const& y, row<Group, T, N>& dy)`");
            return both;
        } else {
            constexpr bool forward = activation::has_forward<op, float> && activation::has_forward<op, double>;
            constexpr bool backward = activation::has_backward<op, float> && activation::has_backward<op, double>;
            ESPALIER_NEEDS(forward, "an activation needs `template <class T> ESPALIER_FN static T forward(T x)`");
            ESPALIER_NEEDS(backward, "an activation needs `template <class T> ESPALIER_FN static T backward(T x, T y, "
                                     "T dy)`, which gives dy times the derivative at x; y is forward(x)");
            return forward && backward;
        }
    }
    static constexpr bool dropout_members() {
        constexpr bool scope = dropout::has_scope<op>;
        ESPALIER_NEEDS(scope, "a dropout needs `static constexpr random_scope scope` in its op: element, row or none");
        if constexpr (scope) {
            constexpr bool factor = dropout::detail::draws_nothing<op>() ||
                                    (dropout::has_factor<op, float> && dropout::has_factor<op, double>);
            ESPALIER_NEEDS(factor, "a dropout needs `template <class T, class Bits> ESPALIER_FN T factor(Bits bits) "
                                   "const` in its op; bits is a uniform 16-bit draw");
            return factor;
        } else {
            return false;
        }
    }
    static constexpr bool activation_penalty_members() {
        constexpr bool scope = activation_penalty::has_scope<op>;
        constexpr bool contribution =
            activation_penalty::has_contribution<op, float> && activation_penalty::has_contribution<op, double>;
        constexpr bool finish = activation_penalty::has_finish<op>;
        ESPALIER_NEEDS(scope,
                       "an activation penalty needs `static constexpr penalty_scope scope` in its op: element or "
                       "column");
        ESPALIER_NEEDS(contribution, "an activation penalty needs `template <class T> ESPALIER_FN T contribution(T y) "
                                     "const` in its op, the share of one element in the sum");
        ESPALIER_NEEDS(finish, "an activation penalty needs `ESPALIER_FN double finish(double sum, double row_count) "
                               "const` in its op, the term that is added to the loss");
        if constexpr (scope) {
            constexpr bool gradient = activation_penalty::has_gradient_of_scope<op, float> &&
                                      activation_penalty::has_gradient_of_scope<op, double>;
            ESPALIER_NEEDS(gradient, "an activation penalty needs `template <class T> ESPALIER_FN T gradient(T y, T "
                                     "row_count) const` in its op, or `gradient(T y, T column_sum, T row_count)` when "
                                     "its scope is column");
            return contribution && finish && gradient;
        } else {
            return false;
        }
    }
    static constexpr bool penalty_members() {
        if constexpr (penalty_groups<op>() != group_scope::element) {
            constexpr bool gradient = penalty::has_group_gradient<op, float> && penalty::has_group_gradient<op, double>;
            constexpr bool value = penalty::has_group_value<op, float> && penalty::has_group_value<op, double>;
            ESPALIER_NEEDS(gradient, "a penalty over groups needs `template <class T> ESPALIER_FN T gradient(T w, T "
                                     "squared_norm) const` in its op");
            ESPALIER_NEEDS(value, "a penalty over groups needs `template <class T> ESPALIER_FN T group_value(T "
                                  "squared_norm) const` in its op, the share of one group in the term");
            return gradient && value;
        } else {
            constexpr bool value = penalty::has_value<op, float> && penalty::has_value<op, double>;
            ESPALIER_NEEDS(value, "a penalty needs `template <class T> ESPALIER_FN T value(T w) const` in its op, the "
                                  "share of one weight in the term");
            if constexpr (is_proximal<op>()) {
                constexpr bool prox = penalty::has_prox<op, float> && penalty::has_prox<op, double>;
                ESPALIER_NEEDS(prox, "a penalty that is `proximal` needs `template <class T> ESPALIER_FN T prox(T w, T "
                                     "rate) const` in its op");
                return value && prox;
            } else {
                constexpr bool gradient = penalty::has_gradient<op, float> && penalty::has_gradient<op, double>;
                ESPALIER_NEEDS(gradient, "a penalty needs `template <class T> ESPALIER_FN T gradient(T w) const` in "
                                         "its op, the derivative of its value");
                return value && gradient;
            }
        }
    }
    static constexpr bool transform_members() {
        constexpr bool apply = transform::has_apply<op, float> && transform::has_apply<op, double>;
        ESPALIER_NEEDS(apply, "a gradient transform needs `template <class T, class Bits> ESPALIER_FN T apply(T g, "
                              "transform_element<T, Bits> const& about) const` in its op");
        return apply;
    }
    static constexpr bool map_members() {
        constexpr bool flags = weight::has_uses_mask<op> && weight::has_needs_operand<op>;
        constexpr bool functions = weight::has_pull<op, float> && weight::has_store<op, float> &&
                                   weight::has_effective<op, float> && weight::has_pull<op, double> &&
                                   weight::has_store<op, double> && weight::has_effective<op, double>;
        ESPALIER_NEEDS(flags, "a weight map needs `static constexpr bool uses_mask` and `needs_operand` in its op");
        ESPALIER_NEEDS(functions, "a weight map needs the templates `T pull(T g, T raw, Keep keep)`, `T store(T next, "
                                  "Keep keep)` and `T effective(T raw, Keep keep)` in its op");
        return flags && functions;
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
        if constexpr (!list_checks<Where, diagnostic::layer_of_message<Where, Layer>, AcceptedAxes, Ps...>::hold)
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
