// SPDX-License-Identifier: Apache-2.0
// A pruning policy and a weight map on one tensor.
#pragma once

#include <espalier/core/clock.hpp>
#include <espalier/core/macros.hpp>
#include <espalier/core/policy.hpp>
#include <espalier/prune/axis.hpp>

#include <string_view>

namespace espalier::prune {

/// A mask rule behind a weight map without a mask: effective(w) = rule(map(w)). What the rule stores it stores of what
/// the map stores, so with `hard` the raw weight behind a pruned one is 0.
template <class Rule, class Map> struct behind_map_op {
    [[no_unique_address]] Rule rule;
    [[no_unique_address]] Map map;

    static constexpr bool uses_mask = true;
    static constexpr bool needs_operand = Rule::needs_operand || Map::needs_operand;

    template <class T, class Keep> ESPALIER_FN T pull(T g, T raw, Keep keep) const {
        return map.pull(rule.pull(g, map.effective(raw, Keep(true)), keep), raw, Keep(true));
    }
    template <class T, class Keep> ESPALIER_FN T store(T next, Keep keep) const {
        return rule.store(map.store(next, Keep(true)), keep);
    }
    template <class T, class Keep> ESPALIER_FN T effective(T raw, Keep keep) const {
        return rule.effective(map.effective(raw, Keep(true)), keep);
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
