// SPDX-License-Identifier: Apache-2.0
// Softmax cross-entropy against class labels, with label smoothing and mixed pairs of labels.
#pragma once

#include <espalier/core/macros.hpp>
#include <espalier/core/pack.hpp>
#include <espalier/core/row.hpp>
#include <espalier/loss/concept.hpp>
#include <espalier/loss/detail/softmax_target.hpp>

#include <string_view>

namespace espalier::loss {

/// l = -sum_c t_c log p_c with p = softmax(z) and t = (1 - smoothing) (m onehot(y) + (1 - m) onehot(y')) + smoothing /
/// N, dz = p - t. y' and m come from batches that mix two samples (Yun et al. 2019, section 3.1): smoothing is applied
/// after mixing. Smoothing: Szegedy et al. 2016, section 7.
struct cross_entropy {
    double smoothing = 0.0; ///< in [0, 1)

    static constexpr std::string_view name = "cross_entropy";
    static constexpr bool needs_labels = true;

    constexpr char const* problem() const {
        return detail::is_share(smoothing) ? nullptr : "cross_entropy: `smoothing` must be in [0, 1)";
    }

    template <class Group, class T, int N>
    ESPALIER_FN T evaluate(Group const& group, row<Group, T, N> const& z, row_target<Group, T, N> const& target,
                           row<Group, T, N>* dz, row<Group, T, N>*) const {
        using S = scalar_of<T>;
        T const kept(static_cast<S>(1.0 - smoothing)), spread(static_cast<S>(smoothing * (1.0 / N)));
        return detail::softmax_against<true>(group, z, detail::label_target<Group, T, N>{target, kept, spread}, dz);
    }
};

} // namespace espalier::loss
