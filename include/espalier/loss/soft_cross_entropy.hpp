// SPDX-License-Identifier: Apache-2.0
// Softmax cross-entropy against a row of target probabilities.
#pragma once

#include <espalier/core/macros.hpp>
#include <espalier/core/pack.hpp>
#include <espalier/core/row.hpp>
#include <espalier/loss/concept.hpp>
#include <espalier/loss/detail/softmax_target.hpp>

#include <string_view>

namespace espalier::loss {

/// l = -sum_c t_c log p_c with p = softmax(z) and t_c = (1 - smoothing) q_c + smoothing / N for the target row q;
/// dz_c = p_c sum_k t_k - t_c. The target need not sum to 1.
struct soft_cross_entropy {
    double smoothing = 0.0; ///< in [0, 1)

    static constexpr std::string_view name = "soft_cross_entropy";
    static constexpr bool needs_dense_target = true;

    constexpr char const* problem() const {
        return detail::is_share(smoothing) ? nullptr : "soft_cross_entropy: `smoothing` must be in [0, 1)";
    }

    template <class Group, class T, int N>
    ESPALIER_FN T evaluate(Group const& group, row<Group, T, N> const& z, row_target<Group, T, N> const& target,
                           row<Group, T, N>* dz, row<Group, T, N>*) const {
        using S = scalar_of<T>;
        T const kept(static_cast<S>(1.0 - smoothing)), spread(static_cast<S>(smoothing * (1.0 / N)));
        detail::dense_target<Group, T, N> const soft{*target.dense, kept, spread};
        return detail::softmax_against<false>(group, z, soft, dz);
    }
};

} // namespace espalier::loss
