// SPDX-License-Identifier: Apache-2.0
// The update of one weight, composed from ops at compile time. In this order:
//     g  <- pull(gradient)                     back through the map from raw to effective weights
//     g  <- g + sum_i penalty_i'(w)
//     g  <- transform_k(... transform_1(g))    by stage: add, gate, scale, clip
//     w  <- optimizer(w, g, moments)
//     w  <- prox_n(... prox_1(w))
//     w  <- projection_m(... projection_1(w))
//     operand <- effective(w)                  what the products of the next step read
// Where a map freezes what its mask leaves out, g and the decay are 0 there, penalties count nothing, and `store` gives
// the weight back.
// All of it between one load and one store of the weight. The prox of a penalty and a projection over groups wait for
// the norms of the stepped weights: a further pass, by a step that leaves the weights alone, applies them. So do the
// operands of a map that is made of trained numbers of the tensor, which the step moves too.
#pragma once

#include <espalier/core/axis.hpp>
#include <espalier/core/companions.hpp>
#include <espalier/core/element_about.hpp>
#include <espalier/core/flat_tuple.hpp>
#include <espalier/core/layout.hpp>
#include <espalier/core/macros.hpp>
#include <espalier/core/pack.hpp>
#include <espalier/core/random.hpp>
#include <espalier/core/view.hpp>
#include <espalier/penalty/concept.hpp>
#include <espalier/projection/concept.hpp>
#include <espalier/transform/concept.hpp>
#include <espalier/weight/concept.hpp>

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <type_traits>

namespace espalier {

/// Penalties and projections over groups that one tensor may carry.
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
    Wide const* companions = nullptr; ///< the first of them, `companion_stride` elements from one to the next
    index_t companion_stride = 0;
    Narrow* operands = nullptr;             ///< what products read, where that is not the weights themselves
    std::uint32_t const* mask = nullptr;    ///< bit i: element i is kept
    Wide const* norms[max_group_sets] = {}; ///< for each grouped penalty: squared norms of its groups, or their pulls
    Wide* next_norms[max_group_sets] = {};  ///< for each grouped penalty: where squares of the new weights are added
    double* values = nullptr;               ///< for each penalty: where its value before the step is added
    Wide const* scalars = nullptr;          ///< the map's trained numbers, weight::detail::scalar_stride apart
    Wide* scalar_gradients = nullptr;       ///< where their gradients are left, likewise
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

/// What an op may choose another one by, while the program compiles: a tensor's role and, as `view`, its group.
template <role Role, class Group> struct tensor_tag {
    static constexpr role tensor_role = Role;
    static constexpr std::string_view view = Group::name;
};

template <class Tensor, class Op> constexpr auto const& op_for(Op const& op) {
    if constexpr (requires { op.template of<Tensor>(); })
        return op.template of<Tensor>();
    else
        return op;
}

/// The op of a tensor.
template <class Tensor, class Op>
auto const& numbers_for(optimizer_numbers<Op> const& optimizer, tensor_rates const& rates) {
    return op_for<Tensor>(optimizer.of(rates));
}
template <class Tensor, class Op> auto const& numbers_for(Op const& one_for_all, tensor_rates const&) {
    return op_for<Tensor>(one_for_all);
}

/// The companions of a tensor: those that its map and its penalties name, each name once. The j-th that is asked for,
/// counted over the map and all penalties, is number `places >> 4 j & 15`; those of the map are the first.
template <int Asked> struct companion_table {
    int count = 0;
    std::uint64_t places = 0;
    std::string_view names[std::size_t{Asked}] = {};
};
template <> struct companion_table<0> {
    int count = 0;
    std::uint64_t places = 0;
};

template <class... Ops> consteval auto companions_of() {
    constexpr int asked = (0 + ... + op_companions<Ops>());
    static_assert(asked <= 16, "espalier: the penalties of a tensor read at most 16 companions; give it fewer of them");
    companion_table<asked> table;
    if constexpr (asked > 0) {
        int number = 0;
        auto const add = [&](std::string_view name) {
            int place = 0;
            while (place < table.count && table.names[place] != name)
                ++place;
            if (place == table.count) table.names[table.count++] = name;
            table.places |= static_cast<std::uint64_t>(place) << 4 * number++;
        };
        auto const add_all = [&]<class Op>(std::type_identity<Op>) {
            if constexpr (op_companions<Op>() > 0)
                for (int k = 0; k < Op::companions; ++k)
                    add(Op::companion_names[k]);
        };
        (add_all(std::type_identity<Ops>{}), ...);
    }
    return table;
}

/// In the place of the companions of a tensor that has none.
struct no_companions {};

/// What the companions of the next `Op::companions` that are asked for hold; `asked` counts on.
template <class Rule, class Op, class T, class Companion>
ESPALIER_FN companion_values<T> take_companions(Companion const& companion, int& asked) {
    companion_values<T> values;
    values.first = companion(static_cast<int>(Rule::companion_places >> 4 * asked++ & 15u));
    if constexpr (op_companions<Op>() > 1)
        values.second = companion(static_cast<int>(Rule::companion_places >> 4 * asked++ & 15u));
    return values;
}

/// What the companions hold that the map of a tensor reads.
template <class Rule, class T, class Companion>
ESPALIER_FN companion_values<T> companions_of_map([[maybe_unused]] Companion const& companion) {
    if constexpr (op_companions<typename Rule::map_op>() > 0) {
        int asked = 0;
        return take_companions<Rule, typename Rule::map_op, T>(companion, asked);
    } else {
        return {};
    }
}
/// A weight as the map sees it.
template <class Rule, class T, class Companion>
ESPALIER_FN decltype(auto) seen_by_map(element_about<T> const& about, [[maybe_unused]] Companion const& companion) {
    if constexpr (op_companions<typename Rule::map_op>() > 0) {
        element_about<T> seen = about;
        seen.companion = companions_of_map<Rule, T>(companion);
        return seen;
    } else {
        return (about);
    }
}

} // namespace detail

/// The part of an update that a layer decides for one tensor.
///   Map         raw weight -> effective weight (masks, weight maps); see weight/concept.hpp
///   Penalties   flat_tuple of penalty ops and, behind them, of projections (projection::detail::projected)
///   Transforms  flat_tuple of gradient transform ops
template <class Map, class Penalties, class Transforms> struct tensor_rule;

/// What a tensor's list of policies becomes.
template <class Map, class... Penalties, class... Transforms>
struct tensor_rule<Map, flat_tuple<Penalties...>, flat_tuple<Transforms...>> {
    [[no_unique_address]] Map map;
    [[no_unique_address]] flat_tuple<Penalties...> penalties;
    [[no_unique_address]] flat_tuple<Transforms...> transforms;

    static constexpr int penalty_count = (0 + ... + int{!detail::op_projects<Penalties>()});
    static constexpr int group_sets = (0 + ... + int{detail::penalty_groups<Penalties>() != group_scope::element});
    static constexpr bool grouped = group_sets > 0;
    /// What the groups of the g-th penalty or projection over groups are.
    ESPALIER_FN static constexpr group_scope scope(int g) {
        group_scope const all[] = {detail::penalty_groups<Penalties>()..., group_scope::element};
        for (std::size_t i = 0; i < sizeof...(Penalties); ++i)
            if (all[i] != group_scope::element && g-- == 0) return all[i];
        return group_scope::element;
    }
    /// Whether they are nested: then `norms` of a segment has what they do to a weight, and not their norms.
    ESPALIER_FN static constexpr bool nested(int g) {
        bool const grouped_ops[] = {(detail::penalty_groups<Penalties>() != group_scope::element)..., false};
        bool const all[] = {detail::op_nests<Penalties>()..., false};
        for (std::size_t i = 0; i < sizeof...(Penalties); ++i)
            if (grouped_ops[i] && g-- == 0) return all[i];
        return false;
    }
    static consteval bool groups_over(group_scope wanted) {
        return (false || ... || (detail::penalty_groups<Penalties>() == wanted));
    }
    /// Penalties over groups that are applied by their prox, and projections over groups: in a further pass.
    static constexpr int group_proxes = (0 + ... + int{detail::waits_for_norms<Penalties>()});
    using map_op = Map;
    /// Further tensors of the same extents that the map and the penalties read.
    static constexpr auto companion_table = detail::companions_of<Map, Penalties...>();
    static constexpr int companions = companion_table.count;
    static constexpr std::uint64_t companion_places = companion_table.places;
    /// Transforms that draw. The k-th of them has draw number k of an element's place (core/random.hpp), so that no two
    /// decide by the same bits.
    static constexpr int draws = (0 + ... + int{detail::op_draws<Transforms>()});
    static constexpr bool needs_reference = (false || ... || detail::op_needs_reference<Transforms>());
    static constexpr bool needs_global_norm = (false || ... || detail::op_needs_global_norm<Transforms>());
    static constexpr bool uses_mask = Map::uses_mask;
    /// Whether what the mask leaves out keeps its value.
    static constexpr bool freezes = detail::op_freezes<Map>();
    /// Whether products read something else than the raw weights.
    static constexpr bool needs_operand = Map::needs_operand;
    /// Trained numbers of the tensor that the map is made of.
    static constexpr int scalars = weight::detail::map_scalars<Map>();
};

/// Passes over the weights that a rule costs beyond the one update pass. The one that shrinks groups is not among them:
/// it visits every tensor of the network that carries penalties over groups.
template <class Rule> consteval int extra_passes() {
    return int{Rule::needs_global_norm} + int{Rule::scalars > 0};
}

namespace detail {

/// Trained numbers of the map whose gradients an update sums up: a step that leaves the weights alone has none.
template <class Optimizer, class Rule>
inline constexpr int moved_scalars = shrinks_groups<Optimizer>() ? 0 : Rule::scalars;

/// Whether an update leaves what products read. Where it moves the numbers that the map is made of, only a further one
/// knows it.
template <class Optimizer, class Rule>
inline constexpr bool writes_operands = Rule::needs_operand&& moved_scalars<Optimizer, Rule> == 0;

/// What a weight adds or feels: nothing where it is frozen.
template <class Rule, class T> ESPALIER_FN T unless_frozen(T x, [[maybe_unused]] element_about<T> const& about) {
    using espalier::select;
    if constexpr (Rule::freezes)
        return select(about.keep, x, T(scalar_of<T>(0)));
    else
        return x;
}

/// A rule with the map that the trained numbers of the tensor make.
template <class Rule, class W> ESPALIER_FN Rule with_scalars(Rule rule, W const* scalars) {
    rule.map = weight::detail::with_scalars(rule.map, scalars);
    return rule;
}

} // namespace detail

/// One element, of which `about` has the weight, the rate, the mask's bit, the reference gradient and the norm of all.
/// `moments` are the optimizer's of this element; `draw(k)` gives the bits of the k-th transform that draws; `norm(i)`
/// the norm of the group that the i-th penalty or projection over groups sees; `value(i, v)` receives the value of
/// penalty i before the step and, behind those of all penalties, what the element adds to the gradients of the map's
/// trained numbers; `companion(k)` gives what the tensor's k-th companion holds of the element.
template <class Optimizer, class Rule, class T, class Draw, class Norm, class Value,
          class Companion = detail::no_companions>
ESPALIER_FN T update_element(Optimizer const& optimizer, Rule const& rule, T gradient, T* moments, T decay,
                             element_about<T> about, Draw const& draw, Norm const& norm, Value const& value,
                             [[maybe_unused]] Companion const& companion = {}) {
    auto const& mapped = detail::seen_by_map<Rule>(about, companion);
    T g = weight::detail::pull(rule.map, mapped, gradient);
    if constexpr (detail::moved_scalars < Optimizer, Rule >> 0) {
        auto const of_scalars = rule.map.scalar_gradients(gradient, mapped);
        for (int k = 0; k < Rule::scalars; ++k)
            value(Rule::penalty_count + k, of_scalars[k]);
    }
    if constexpr (Rule::needs_reference) about.reference = weight::detail::pull(rule.map, mapped, about.reference);
    {
        int index = 0;
        int group = 0;
        [[maybe_unused]] int asked = detail::op_companions<typename Rule::map_op>();
        for_each(
            rule.penalties, [&]<class Op>(Op const& op) __attribute__((always_inline)) {
                constexpr bool grouped = detail::penalty_groups<Op>() != group_scope::element;
                element_about<T> seen = about;
                if constexpr (detail::op_companions<Op>() > 0)
                    seen.companion = detail::take_companions<Rule, Op, T>(companion, asked);
                constexpr bool term = !detail::op_projects<Op>();
                if constexpr (term && !grouped)
                    value(index, detail::unless_frozen<Rule>(penalty::detail::value(op, seen, seen.weight), about));
                if constexpr (term && !detail::is_proximal<Op>()) {
                    if constexpr (grouped) (detail::op_nests<Op>() ? seen.group_pull : seen.squared_norm) = norm(group);
                    g = g + penalty::detail::gradient(op, seen, seen.weight);
                }
                group += int{grouped};
                ++index;
            });
    }
    {
        [[maybe_unused]] int drawn = 0;
        for_each(
            rule.transforms, [&]<class Op>(Op const& op) __attribute__((always_inline)) {
                element_about<T> seen = about;
                if constexpr (detail::op_draws<Op>()) seen.bits = draw(drawn++);
                g = transform::detail::apply(op, seen, g);
            });
    }
    // So the moments of a frozen weight stay 0, whatever penalties, transforms and a decay in the gradient make of it.
    T next = optimizer.step(about.weight, detail::unless_frozen<Rule>(g, about), moments, about.rate,
                            detail::unless_frozen<Rule>(decay, about));
    {
        constexpr bool shrinks_groups = detail::shrinks_groups<Optimizer>();
        int group = 0;
        [[maybe_unused]] int asked = detail::op_companions<typename Rule::map_op>();
        for_each(
            rule.penalties, [&]<class Op>(Op const& op) __attribute__((always_inline)) {
                constexpr bool grouped = detail::penalty_groups<Op>() != group_scope::element;
                element_about<T> seen = about;
                if constexpr (detail::op_companions<Op>() > 0)
                    seen.companion = detail::take_companions<Rule, Op, T>(companion, asked);
                if constexpr (detail::is_proximal<Op>() && !grouped) {
                    // A step that shrinks groups leaves single weights alone.
                    if constexpr (shrinks_groups) seen.rate = T(scalar_of<T>(0));
                    next = penalty::detail::prox(op, seen, next);
                }
                // Its norms are those of the stepped weights, or, at a rate of 0, not known yet.
                if constexpr (detail::waits_for_norms<Op>() && shrinks_groups)
                    if (optimizer.rate() > 0.0) {
                        seen.squared_norm = norm(group);
                        if constexpr (detail::op_projects<Op>()) {
                            using espalier::select; // a rate of 0 is that of a frozen tensor
                            next =
                                select(seen.rate > T(scalar_of<T>(0)), projection::detail::apply(op, seen, next), next);
                        } else {
                            next = penalty::detail::prox(op, seen, next);
                        }
                    }
                if constexpr (detail::op_projects<Op>() && !grouped && !shrinks_groups)
                    next = projection::detail::apply(op, seen, next);
                group += int{grouped};
            });
    }
    return weight::detail::store(rule.map, mapped, next);
}

} // namespace espalier
