// SPDX-License-Identifier: Apache-2.0
// A pruning policy and a weight map on one tensor.
#pragma once

#include <espalier/core/clock.hpp>
#include <espalier/core/companions.hpp>
#include <espalier/core/diagnostic.hpp>
#include <espalier/core/policy.hpp>
#include <espalier/prune/axis.hpp>
#include <espalier/weight/composed.hpp>

#include <string_view>

namespace espalier::prune {

/// effective(w) = rule(map(w)): what a layer with both makes of them. What the rule stores it stores of what the map
/// stores, so with `hard` the raw weight behind a pruned one is 0.
template <class Policy, class Map> struct behind_map {
    static_assert(
        diagnostic::holds<(espalier::detail::op_companions<op_of<Map>>() == 0), diagnostic::given_type<Map>>,
        "espalier: a tensor whose weight map reads companions cannot be pruned, for masks are selected by the "
        "weights alone; the next line names the map; take the prune policy out of the layer");
    using axis = espalier::axis::prune;
    static constexpr std::string_view name = name_of<Policy>();
    using op = weight::composed_op<op_of<Policy>, op_of<Map>>;
    static op at(clock const& now) { return {op_at<Policy>(now), op_at<Map>(now)}; }
};

} // namespace espalier::prune
