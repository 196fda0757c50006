// SPDX-License-Identifier: Apache-2.0
// All gradients of the network are scaled down together when their norm is too large.
#pragma once

#include <espalier/core/clock.hpp>
#include <espalier/core/diagnostic.hpp>
#include <espalier/core/element_about.hpp>
#include <espalier/core/fields.hpp>
#include <espalier/core/macros.hpp>
#include <espalier/core/pack.hpp>
#include <espalier/schedule/concept.hpp>
#include <espalier/schedule/within.hpp>
#include <espalier/transform/axis.hpp>
#include <espalier/transform/concept.hpp>

#include <string_view>

namespace espalier::transform {

/// Numbers and element function of `clip_global_norm`.
struct clip_global_norm_op {
    double maximum;
    static constexpr auto numbers = fields<&clip_global_norm_op::maximum>;

    static constexpr bool needs_global_norm = true;

    template <class T> ESPALIER_FN T apply(T g, element_about<T> const& about) const {
        using espalier::min;
        using S = scalar_of<T>;
        T const ratio = T(static_cast<S>(maximum)) / (about.global_norm + T(static_cast<S>(1e-6)));
        return g * min(T(S(1)), ratio);
    }
};

/// g <- g min(1, Maximum / (norm + 1e-6)), norm = sqrt(sum g^2) over all that the step updates (Pascanu et al. 2013,
/// in the form of PyTorch's clip_grad_norm_): no frozen tensor, and no weight that a mask holds. The norm is that
/// of the gradients as backward leaves them: before penalties and other transforms. It costs one declared pass over the
/// gradients. A norm that is not a number makes every gradient one; an infinite norm makes finite gradients 0 and
/// infinite ones not a number. Maximum: a number or a schedule, finite and not negative.
template <schedule::number_or_schedule auto Maximum>
struct clip_global_norm : schedule::with_numbers<axis::transform, clip_global_norm<Maximum>, clip_global_norm_op,
                                                 schedule::number<Maximum, schedule::maximum>> {
    static constexpr std::string_view name = "clip_global_norm";
    static constexpr int stage = static_cast<int>(transform_stage::clip);
};

} // namespace espalier::transform
