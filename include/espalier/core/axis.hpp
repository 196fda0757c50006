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

/// The role's name, as `describe` and rules print it.
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

/// After the product, per element or per row.
ESPALIER_AXIS(activation, false);
/// A random factor after the activation.
ESPALIER_AXIS(dropout, false);
/// A term over the layer's output.
ESPALIER_AXIS(activation_penalty, true);
/// What the product reads instead of the raw weights.
ESPALIER_AXIS(weight, false);
/// Which library multiplies.
ESPALIER_AXIS(product, false);
/// A term over parameters.
ESPALIER_AXIS(penalty, true);
/// Between gradient and update.
ESPALIER_AXIS(transform, true);
/// Which weights stay.
ESPALIER_AXIS(prune, false);
/// First values of the kernel.
ESPALIER_AXIS(initial, false);
/// With or without.
ESPALIER_AXIS(bias, false);
/// How rows reach experts.
ESPALIER_AXIS(dispatch, false);
/// Which experts a row goes to.
ESPALIER_AXIS(gate, false);
/// How branches become one output.
ESPALIER_AXIS(merge, false);
/// Which parameter group tensors belong to.
ESPALIER_AXIS(group, false);

#undef ESPALIER_AXIS

} // namespace axis
} // namespace espalier
