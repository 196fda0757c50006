// SPDX-License-Identifier: Apache-2.0
// What a weight is worth behind a weight map.
#pragma once

#include <espalier/core/macros.hpp>
#include <espalier/weight/concept.hpp>

namespace espalier::prune {

/// The key of a weight as products read it; one whole number, larger for what is kept before others.
template <class Criterion, class Map> struct weight_key {
    Map map; // not [[no_unique_address]]: nvcc takes no kernel argument that is empty through it

    template <class T> ESPALIER_FN auto operator()(T raw) const {
        if constexpr (Map::needs_operand)
            return Criterion::key(weight::detail::effective_weight(map, raw, true));
        else
            return Criterion::key(raw);
    }
};

} // namespace espalier::prune
