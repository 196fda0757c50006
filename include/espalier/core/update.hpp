// SPDX-License-Identifier: Apache-2.0
// The update of one weight, composed from ops at compile time. In this order:
//     g  <- pull(gradient)                     back through the map from raw to effective weights
//     g  <- g + sum_i penalty_i'(w)
//     g  <- transform_k(... transform_1(g))    by stage: add, gate, scale, clip
//     w  <- optimizer(w, g, moments)
//     w  <- prox_n(... prox_1(w))
//     operand <- effective(w)                  what the products of the next step read
// All of it between one load and one store of the weight. The prox of a penalty over groups waits for the norms of the
// stepped weights: a further pass, by a step that leaves the weights alone, applies it.
#pragma once

#include <espalier/core/flat_tuple.hpp>
#include <espalier/core/layout.hpp>
#include <espalier/core/macros.hpp>
#include <espalier/core/pack.hpp>
#include <espalier/core/random.hpp>
#include <espalier/core/view.hpp>

#include <cstdint>
#include <type_traits>

namespace espalier {

/// Over what a penalty on parameters sums: single elements, or the rows or columns of the tensor as groups.
enum class group_scope { element, rows, columns };

/// Order of gradient transforms, whatever their order in the list.
enum class transform_stage : int { add = 0, gate = 1, scale = 2, clip = 3 };

/// Grouped penalties that one tensor may carry.
inline constexpr int max_group_sets = 4;

/// One tensor of the network in an update: `rows` x `columns`, contiguous; a vector has one row. `Wide` is the type of
/// parameters, `Narrow` the type that products read.
template <class Wide, class Narrow = Wide> struct update_segment {
    index_t rows = 0;
    index_t columns = 0;
    Wide* weights = nullptr;
    Wide const* gradients = nullptr;
    Wide const* reference = nullptr;
    Wide* moments = nullptr; ///< optimizer state, `moment_stride` elements from one to the next
    index_t moment_stride = 0;
    Narrow* operands = nullptr;             ///< what products read, where that is not the weights themselves
    std::uint32_t const* mask = nullptr;    ///< bit i: element i is kept
    Wide const* norms[max_group_sets] = {}; ///< for each grouped penalty: squared norms of its groups
    Wide* next_norms[max_group_sets] = {};  ///< for each grouped penalty: where squares of the new weights are added
    double* values = nullptr;               ///< for each penalty: where its value before the step is added
    random_site site{};
    double global_norm = 0.0;
    tensor_rates rates{};
};

/// The numbers of an optimizer at one step, as the tensors find them: a tensor that was frozen has had fewer updates,
/// and its correction for the first ones is its own.
template <class Op> struct optimizer_numbers {
    Op const* all = nullptr;
    ESPALIER_FN Op const& of(tensor_rates const& rates) const { return all[rates.numbers]; }
};

namespace detail {

template <class Op> Op const& numbers_for(optimizer_numbers<Op> const& optimizer, tensor_rates const& rates) {
    return optimizer.of(rates);
}
template <class Op> Op const& numbers_for(Op const& one_for_all, tensor_rates const&) {
    return one_for_all;
}

} // namespace detail

/// What a gradient transform may look at beside the gradient.
template <class T, class Bits> struct transform_element {
    T weight;
    T reference;   ///< gradient of the second stream, 0 where there is none
    Bits bits;     ///< a 16-bit random draw of this element and transform, 0 when nobody draws
    T global_norm; ///< Euclidean norm of all gradients, 0 when nobody asks
};

namespace detail {

template <class Op> consteval bool is_proximal() {
    if constexpr (requires { Op::proximal; })
        return Op::proximal;
    else
        return false;
}

/// Whether a step is the one that applies the proxes over groups: it moves no weight itself, and its rate is that of
/// the step before it, or 0 when nothing is to be shrunk.
template <class Optimizer> consteval bool shrinks_groups() {
    if constexpr (requires { Optimizer::shrinks_groups; })
        return Optimizer::shrinks_groups;
    else
        return false;
}

template <class Op> consteval group_scope penalty_groups() {
    if constexpr (requires { Op::groups; })
        return Op::groups;
    else
        return group_scope::element;
}

template <class Op> consteval bool op_draws() {
    if constexpr (requires { Op::draws; })
        return Op::draws;
    else
        return false;
}

template <class Op> consteval bool op_needs_reference() {
    if constexpr (requires { Op::needs_reference; })
        return Op::needs_reference;
    else
        return false;
}

template <class Op> consteval bool op_needs_global_norm() {
    if constexpr (requires { Op::needs_global_norm; })
        return Op::needs_global_norm;
    else
        return false;
}

} // namespace detail

/// The part of an update that a layer decides for one tensor.
///   Map         raw weight -> effective weight (masks, weight maps); see weight/concept.hpp
///   Penalties   flat_tuple of penalty ops
///   Transforms  flat_tuple of gradient transform ops
template <class Map, class Penalties, class Transforms> struct tensor_rule;

/// What a tensor's list of policies becomes.
template <class Map, class... Penalties, class... Transforms>
struct tensor_rule<Map, flat_tuple<Penalties...>, flat_tuple<Transforms...>> {
    [[no_unique_address]] Map map;
    [[no_unique_address]] flat_tuple<Penalties...> penalties;
    [[no_unique_address]] flat_tuple<Transforms...> transforms;

    static constexpr int penalty_count = sizeof...(Penalties);
    static constexpr int group_sets = (0 + ... + int{detail::penalty_groups<Penalties>() != group_scope::element});
    static constexpr bool grouped = group_sets > 0;
    /// Penalties over groups that are applied by their prox: in a further pass.
    static constexpr int group_proxes =
        (0 + ... +
         int{detail::penalty_groups<Penalties>() != group_scope::element && detail::is_proximal<Penalties>()});
    /// Transforms that draw. The k-th of them has draw number k of an element's place (core/random.hpp), so that no two
    /// decide by the same bits.
    static constexpr int draws = (0 + ... + int{detail::op_draws<Transforms>()});
    static constexpr bool needs_reference = (false || ... || detail::op_needs_reference<Transforms>());
    static constexpr bool needs_global_norm = (false || ... || detail::op_needs_global_norm<Transforms>());
    static constexpr bool uses_mask = Map::uses_mask;
    /// Whether products read something else than the raw weights.
    static constexpr bool needs_operand = Map::needs_operand;
};

/// Passes over the weights that a rule costs beyond the one update pass. The one that shrinks groups is not among them:
/// it visits every tensor of the network that carries penalties over groups.
template <class Rule> consteval int extra_passes() {
    return Rule::needs_global_norm ? 1 : 0;
}

/// One element. `State` is the optimizer's moments of this element; `draw(k)` the bits of the k-th transform that
/// draws; `norm(i)` the norm of the group that the i-th grouped penalty sees; `value(i, v)` receives the value of
/// penalty i before the step.
template <class Optimizer, class Rule, class T, class Bits, class Keep, class Draw, class Norm, class Value>
ESPALIER_FN T update_element(Optimizer const& optimizer, Rule const& rule, T weight, T gradient, T* moments,
                             T learning_rate, T decay, Keep keep, transform_element<T, Bits> element, Draw const& draw,
                             Norm const& norm, Value const& value) {
    T g = rule.map.pull(gradient, weight, keep);
    if constexpr (Rule::needs_reference) element.reference = rule.map.pull(element.reference, weight, keep);
    {
        int index = 0;
        int group = 0;
        for_each(
            rule.penalties, [&](auto const& penalty) __attribute__((always_inline)) {
                using op = std::remove_cvref_t<decltype(penalty)>;
                if constexpr (detail::penalty_groups<op>() != group_scope::element) {
                    if constexpr (!detail::is_proximal<op>()) g = g + penalty.gradient(weight, norm(group));
                    ++group;
                } else {
                    value(index, penalty.value(weight));
                    if constexpr (!detail::is_proximal<op>()) g = g + penalty.gradient(weight);
                }
                ++index;
            });
    }
    {
        [[maybe_unused]] int drawn = 0;
        for_each(
            rule.transforms, [&](auto const& transform) __attribute__((always_inline)) {
                if constexpr (detail::op_draws<std::remove_cvref_t<decltype(transform)>>())
                    element.bits = draw(drawn++);
                g = transform.apply(g, element);
            });
    }
    T next = optimizer.step(weight, g, moments, learning_rate, decay);
    {
        int group = 0;
        for_each(
            rule.penalties, [&](auto const& penalty) __attribute__((always_inline)) {
                using op = std::remove_cvref_t<decltype(penalty)>;
                if constexpr (detail::penalty_groups<op>() != group_scope::element) {
                    // Its norms are those of the stepped weights, or, at a rate of 0, not known yet.
                    if constexpr (detail::is_proximal<op>() && detail::shrinks_groups<Optimizer>())
                        if (optimizer.rate() > 0.0) next = penalty.prox(next, learning_rate, norm(group));
                    ++group;
                } else if constexpr (detail::is_proximal<op>()) {
                    next = penalty.prox(next, detail::shrinks_groups<Optimizer>() ? T(scalar_of<T>(0)) : learning_rate);
                }
            });
    }
    return rule.map.store(next, keep);
}

} // namespace espalier
