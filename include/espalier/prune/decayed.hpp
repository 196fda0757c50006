// SPDX-License-Identifier: Apache-2.0
// A pruned weight fades: its factor goes from 1 to 0 by a schedule.
#pragma once

#include <espalier/core/clock.hpp>
#include <espalier/core/diagnostic.hpp>
#include <espalier/core/element_about.hpp>
#include <espalier/core/fields.hpp>
#include <espalier/core/macros.hpp>
#include <espalier/core/pack.hpp>
#include <espalier/schedule/concept.hpp>
#include <espalier/schedule/within.hpp>

#include <string_view>

namespace espalier::prune {

/// What a pruned weight of `decayed` learns from.
enum class derivative {
    released, ///< the gradient of the effective weight, unchanged: straight through, as in the authors' program
    exact,    ///< the same multiplied by the factor, the derivative of the map: what is pruned learns less and less
};

/// Numbers and weight map of `decayed`: the update of a step pulls back through the operands that the step has used and
/// writes those of the following one.
template <derivative Derivative> struct decayed_op {
    double decay; ///< factor of a pruned weight in this step's products
    double next;  ///< and in the following step's
    static constexpr auto numbers = fields<&decayed_op::decay>;

    static constexpr bool uses_mask = true;
    static constexpr bool needs_operand = true;

    template <class T> ESPALIER_FN T pull(T g, element_about<T> const& about) const {
        return Derivative == derivative::exact ? scaled(g, about, decay) : g;
    }
    template <class T> ESPALIER_FN static T store(T next) { return next; }
    template <class T> ESPALIER_FN T effective(T raw, element_about<T> const& about) const {
        return scaled(raw, about, next);
    }

private:
    template <class T> ESPALIER_FN static T scaled(T x, element_about<T> const& about, double factor) {
        using espalier::select;
        return select(about.keep, x, x * T(static_cast<scalar_of<T>>(factor)));
    }
};

/// effective(w) = keep ? w : Decay w in a second copy for the products; the raw weight is stored (mask decay: Kao et
/// al. 2022, "Training recipe for N:M structured sparsity with decaying pruning mask"; Bambhaniya et al. 2024,
/// "Progressive gradient flow for robust N:M sparsity training in transformers"). With G the gradient of the effective
/// weight, that of the raw one is
///     derivative::released   G                           as in the program of Bambhaniya et al.
///     derivative::exact      keep ? G : Decay G          as their text has it: the flow fades with the weight
/// Decay: a number or a schedule with values in [0, 1].
template <schedule::number_or_schedule auto Decay, derivative Derivative = derivative::released> struct decayed {
    static_assert(diagnostic::holds<schedule::stays_within(Decay, schedule::from_0_to_1), diagnostic::given<Decay>>,
                  "espalier: the decay of prune::decayed must lie in [0, 1]");
    static constexpr std::string_view name = Derivative == derivative::released ? "decayed" : "decayed, exact";
    using op = decayed_op<Derivative>;
    static op at(clock const& now) { return op{factor(now), factor(now.next())}; }

private:
    static double factor(clock const& now) {
        return schedule::value_within(Decay, now, schedule::from_0_to_1, "prune", name, "decay");
    }
};

} // namespace espalier::prune
