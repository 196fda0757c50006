// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <espalier/core/fields.hpp>
#include <espalier/core/macros.hpp>
#include <espalier/core/math.hpp>
#include <espalier/core/row.hpp>
#include <espalier/gate/part.hpp>
#include <espalier/schedule/concept.hpp>
#include <espalier/schedule/within.hpp>

#include <string_view>
#include <type_traits>

namespace espalier::gate {

/// Number and functions of `z_loss`.
struct z_loss_op {
    double coefficient;
    static constexpr auto numbers = fields<&z_loss_op::coefficient>;

    static constexpr part_kind kind = part_kind::term;
    static constexpr part_needs needs{.probabilities = true};

    template <class Group, class State> ESPALIER_FN auto share(Group const&, State const& s) const {
        auto const l = s.top + log(s.total);
        using T = std::remove_cvref_t<decltype(l)>;
        return T(static_cast<scalar_of<T>>(coefficient)) * l * l;
    }
    template <class Group, class State, class Row, class T, class Gradient>
    ESPALIER_FN void backward(Group const&, State const& s, Row const*, T const& term_scale, Gradient& d) const {
        T const slope = T(static_cast<scalar_of<T>>(2.0 * coefficient)) * term_scale * (s.top + log(s.total));
        ESPALIER_ROW_UNROLL
        for (int i = 0; i < d.noisy.local; ++i)
            d.noisy.v[i] = fma(slope, s.p.v[i], d.noisy.v[i]);
    }
};

/// Coefficient times the mean over the rows of (log sum_l exp(H_l))^2, which keeps logits small (Zoph et al. 2022,
/// "ST-MoE", equation 5).
///     dH_l = 2 Coefficient log sum_k exp(H_k) softmax(H)_l
/// Coefficient: a number or a schedule, at least 0.
template <schedule::number_or_schedule auto Coefficient = 1e-3>
struct z_loss : part_of<z_loss<Coefficient>, z_loss_op, schedule::number<Coefficient, schedule::coefficient>> {
    static constexpr std::string_view name = "z_loss";
};

} // namespace espalier::gate
