// SPDX-License-Identifier: Apache-2.0
// A pruning policy and a weight map on one tensor.
#pragma once

#include <espalier/core/clock.hpp>
#include <espalier/core/diagnostic.hpp>
#include <espalier/core/element_about.hpp>
#include <espalier/core/macros.hpp>
#include <espalier/core/policy.hpp>
#include <espalier/prune/axis.hpp>
#include <espalier/weight/concept.hpp>

#include <string_view>

namespace espalier::prune {

/// A mask rule behind a weight map without a mask: effective(w) = rule(map(w)). What the rule stores it stores of what
/// the map stores, so with `hard` the raw weight behind a pruned one is 0.
template <class Rule, class Map> struct behind_map_op {
    [[no_unique_address]] Rule rule;
    [[no_unique_address]] Map map;

    static_assert(
        diagnostic::holds<(espalier::detail::op_companions<Map>() == 0), diagnostic::given_type<Map>>,
        "espalier: a tensor whose weight map reads companions cannot be pruned, for masks are selected by the "
        "weights alone; the next line names the map; take the prune policy out of the layer");

    static constexpr bool uses_mask = true;
    static constexpr bool needs_operand = Rule::needs_operand || Map::needs_operand;
    static constexpr bool freezes = espalier::detail::op_freezes<Rule>();
    static constexpr int scalars = weight::detail::map_scalars<Map>();

    template <class T> ESPALIER_FN T pull(T g, element_about<T> const& about) const {
        element_about<T> const kept = without_mask(about);
        T const mapped = weight::detail::effective_weight(map, about.weight, kept.keep);
        return weight::detail::pull(map, kept, weight::detail::pull(rule, of_weight(about, mapped), g));
    }
    template <class T> ESPALIER_FN T store(T next, element_about<T> const& about) const {
        return weight::detail::store(rule, about, weight::detail::store(map, without_mask(about), next));
    }
    template <class T> ESPALIER_FN T effective(T raw, element_about<T> const& about) const {
        T const mapped = weight::detail::effective_weight(map, raw, mask_of<T>(true));
        return weight::detail::effective_weight(rule, mapped, about.keep);
    }

    /// The map that trained numbers of the tensor make behind the rule, and what a weight adds to their gradients: of
    /// one that the mask drops what the rule lets through to the weight.
    template <class T> ESPALIER_FN behind_map_op with(weight::scalar_values<T> const& values) const {
        return {rule, map.with(values)};
    }
    template <class T> ESPALIER_FN weight::scalar_values<T> scalar_gradients(T g, element_about<T> const& about) const {
        element_about<T> const kept = without_mask(about);
        T const mapped = weight::detail::effective_weight(map, about.weight, kept.keep);
        return map.scalar_gradients(weight::detail::pull(rule, of_weight(about, mapped), g), kept);
    }

private:
    template <class T> ESPALIER_FN static element_about<T> without_mask(element_about<T> about) {
        about.keep = mask_of<T>(true);
        return about;
    }
    template <class T> ESPALIER_FN static element_about<T> of_weight(element_about<T> about, T weight) {
        about.weight = weight;
        return about;
    }
};

/// The policies as one: what a layer with both makes of them.
template <class Policy, class Map> struct behind_map {
    using axis = espalier::axis::prune;
    static constexpr std::string_view name = name_of<Policy>();
    using op = behind_map_op<op_of<Policy>, op_of<Map>>;
    static op at(clock const& now) { return {op_at<Policy>(now), op_at<Map>(now)}; }
};

} // namespace espalier::prune
