// SPDX-License-Identifier: Apache-2.0
// What an op says of the further tensors that it reads beside the weights.
#pragma once

#include <espalier/core/element_about.hpp>

#include <concepts>
#include <cstddef>
#include <string_view>

namespace espalier::detail {

template <class Op>
concept counts_companions = requires {
    Op::companions;
};
template <class Op>
concept has_companion_names = requires {
    { Op::companion_names[0] } -> std::convertible_to<std::string_view>;
};

/// Whether an op that has companions says how many, and what each is called.
template <class Op> consteval bool names_companions() {
    if constexpr (counts_companions<Op> && has_companion_names<Op>) {
        if (Op::companions < 1 || Op::companions > max_companions) return false;
        if (std::size(Op::companion_names) != static_cast<std::size_t>(Op::companions)) return false;
        for (int k = 0; k < Op::companions; ++k)
            for (int j = 0; j <= k; ++j)
                if (Op::companion_names[k].empty() || (j < k && Op::companion_names[j] == Op::companion_names[k]))
                    return false;
        return true;
    } else {
        return !counts_companions<Op> && !has_companion_names<Op>;
    }
}

/// How many a policy of the update reads.
template <class Op> consteval int op_companions() {
    if constexpr (counts_companions<Op> && names_companions<Op>())
        return Op::companions;
    else
        return 0;
}

} // namespace espalier::detail
