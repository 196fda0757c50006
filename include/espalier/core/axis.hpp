// SPDX-License-Identifier: Apache-2.0
// The axes on which policies stand, and the roles of the tensors they act on.
#pragma once

#include <string_view>

namespace espalier {

/// What a tensor is for. Penalties, transforms, learning rates and decay bind to roles.
enum class role {
    kernel,    ///< the matrix of a product
    bias,      ///< added to a product
    scale,     ///< factor of a normalisation
    shift,     ///< offset of a normalisation
    factor,    ///< half of a low-rank kernel
    adapter,   ///< trained beside a frozen kernel
    score,     ///< decides a mask or a selection
    embedding, ///< rows looked up by key
    gate,      ///< the matrix whose product a gate reads
    statistic, ///< not trained: running means, counts
};

constexpr std::string_view role_name(role r) {
    switch (r) {
    case role::kernel:
        return "kernel";
    case role::bias:
        return "bias";
    case role::scale:
        return "scale";
    case role::shift:
        return "shift";
    case role::factor:
        return "factor";
    case role::adapter:
        return "adapter";
    case role::score:
        return "score";
    case role::embedding:
        return "embedding";
    case role::gate:
        return "gate";
    case role::statistic:
        return "statistic";
    }
    return "?";
}

/// One axis, one decision of a layer. `stacks` says whether several policies may stand on the axis of one layer: their
/// contributions then add up (penalties) or run one after the other by stage (transforms).
namespace axis {

#define ESPALIER_AXIS(axis_name, may_stack)                                                                            \
    struct axis_name {                                                                                                 \
        static constexpr std::string_view name = #axis_name;                                                           \
        static constexpr bool stacks = may_stack;                                                                      \
    }

ESPALIER_AXIS(activation, false);        // after the product, per element or per row
ESPALIER_AXIS(dropout, false);           // a random factor after the activation
ESPALIER_AXIS(activation_penalty, true); // a term over the layer's output
ESPALIER_AXIS(weight, false);            // what the product reads instead of the raw weights
ESPALIER_AXIS(product, false);           // which library multiplies
ESPALIER_AXIS(penalty, true);            // a term over parameters
ESPALIER_AXIS(transform, true);          // between gradient and update
ESPALIER_AXIS(prune, false);             // which weights stay
ESPALIER_AXIS(initial, false);           // first values of the kernel
ESPALIER_AXIS(bias, false);              // with or without
ESPALIER_AXIS(dispatch, false);          // how rows reach experts
ESPALIER_AXIS(gate, false);              // which experts a row goes to
ESPALIER_AXIS(merge, false);             // how branches become one output
ESPALIER_AXIS(group, false);             // which parameter group tensors belong to

#undef ESPALIER_AXIS

} // namespace axis
} // namespace espalier
