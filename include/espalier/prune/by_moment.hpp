// SPDX-License-Identifier: Apache-2.0
// A weight is worth the absolute value of its momentum.
#pragma once

#include <espalier/core/macros.hpp>
#include <espalier/prune/by_magnitude.hpp>
#include <espalier/prune/concept.hpp>

#include <string_view>

namespace espalier::prune {

/// |m|, m the first number that the optimizer keeps of a weight as it was after the step before: the momentum of sgd,
/// the first moment of adam and adamw, sums over many batches where a gradient is of one (Dettmers and Zettlemoyer
/// 2019, "Sparse networks from scratch: faster training without losing performance", section 3). Under a rule that
/// gives no gradient to what is left out, such as `hard`, the momentum of that fades: as `growth` of an exchange take
/// it with `straight_through`. An optimizer that keeps nothing of a weight is refused when a training is made. A NaN is
/// worth less than 0.
struct by_moment {
    static constexpr std::string_view name = "moment";
    static constexpr bool reads_moment = true;

    template <class T> ESPALIER_FN static auto key(T, about<T> const& more) { return by_magnitude::key(more.moment); }
};

} // namespace espalier::prune
