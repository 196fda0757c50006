// SPDX-License-Identifier: Apache-2.0
// Where the draws of a layer's dropout come from.
#pragma once

#include <espalier/core/context.hpp>
#include <espalier/core/epilogue.hpp>
#include <espalier/core/policy.hpp>
#include <espalier/core/random.hpp>
#include <espalier/dropout/axis.hpp>

#include <cstdint>

namespace espalier {

/// Where a layer draws for a dropout P in the forward pass `pass` of a step. `stream` is that of the layer
/// (`layer_info::stream` of `summarise`) plus 1 for each tensor before its outputs: kernel and bias of a dense layer.
template <policy_on<axis::dropout> P>
constexpr random_site dropout_site(std::uint64_t seed, std::uint32_t stream, std::uint64_t step,
                                   std::uint32_t pass = 0) {
    if constexpr (op_of<P>::scope == random_scope::step)
        return common_site(seed, name_of<P>(), step, pass);
    else
        return layer_site(seed, stream, purpose::dropout, step, pass);
}

} // namespace espalier
