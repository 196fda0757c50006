// SPDX-License-Identifier: Apache-2.0
// A weight is worth its absolute value.
#pragma once

#include <espalier/core/macros.hpp>
#include <espalier/core/pack.hpp>

#include <string_view>

namespace espalier::prune {

/// The bits of |w|, which as an integer grow with |w|. -0 is 0; a NaN is worth less than 0, so it is pruned first.
struct by_magnitude {
    static constexpr std::string_view name = "magnitude";

    template <class T> ESPALIER_FN static auto key(T w) {
        auto const bits = to_bits(espalier::abs(w));
        using key_type = decltype(to_bits(w));
        return w == w ? bits + key_type(1) : key_type(0);
    }
};

} // namespace espalier::prune
