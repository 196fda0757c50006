// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <espalier/gate/part.hpp>

#include <string_view>

namespace espalier::gate {

/// Weights of `top_k` normalised over all experts, then cut to the winners: g_e = softmax(H)_e, so that they sum to
/// less than 1 (Fedus et al. 2022, section 2.1, where K = 1). Without it they are normalised over the winners. With K =
/// 1 only this lets the logits feel the experts: over one winner the weight is 1 whatever they are.
struct over_all {
    static constexpr part_kind kind = part_kind::normalisation;
    static constexpr std::string_view name = "over_all";
};

} // namespace espalier::gate
