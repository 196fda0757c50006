// SPDX-License-Identifier: Apache-2.0
// Softmax cross-entropy against the outputs of another network, both softened by a temperature.
#pragma once

#include <espalier/core/macros.hpp>
#include <espalier/core/pack.hpp>
#include <espalier/core/row.hpp>
#include <espalier/loss/concept.hpp>
#include <espalier/loss/detail/softmax_target.hpp>

#include <string_view>

namespace espalier::loss {

/// l = -T^2 sum_c q_c log p_c with p = softmax(z / T) and q = softmax(u / T) for the target row u: outputs of another
/// network as `predict` gives them, logits and no probabilities. dz = T (p - q) (Hinton, Vinyals and Dean 2015, section
/// 2, whose soft gradients shrink as 1 / T^2; hence the factor). l is T^2 KL(q || p) and T^2 times the entropy of q,
/// which does not depend on z.
struct distillation {
    double temperature = 1.0; ///< T, positive and finite

    static constexpr std::string_view name = "distillation";
    static constexpr bool needs_dense_target = true;

    constexpr char const* problem() const {
        return temperature > 1e-6 && temperature < 1e6 ? nullptr
                                                       : "distillation: `temperature` must be between 1e-6 and 1e6";
    }

    template <class Group, class T, int N>
    ESPALIER_FN T evaluate(Group const& group, row<Group, T, N> const& z, row_target<Group, T, N> const& target,
                           row<Group, T, N>* dz, row<Group, T, N>*) const {
        using S = scalar_of<T>;
        T const heat(static_cast<S>(temperature)), share(static_cast<S>(1.0 / temperature));
        row<Group, T, N> cooled, other;
        ESPALIER_ROW_UNROLL
        for (int i = 0; i < z.local; ++i) {
            cooled.v[i] = z.v[i] * share;
            other.v[i] = target.dense->v[i] * share;
        }
        row_softmax(group, other);
        detail::dense_target<Group, T, N> const soft{other, T(S(1)), T(S(0))};
        T const value = detail::softmax_against<true>(group, cooled, soft, dz);
        if (dz) {
            ESPALIER_ROW_UNROLL
            for (int i = 0; i < z.local; ++i)
                dz->v[i] *= heat;
        }
        return heat * heat * value;
    }
};

} // namespace espalier::loss
