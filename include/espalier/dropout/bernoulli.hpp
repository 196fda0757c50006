// SPDX-License-Identifier: Apache-2.0
// The classical dropout: every element is dropped on its own.
#pragma once

#include <espalier/core/clock.hpp>
#include <espalier/core/diagnostic.hpp>
#include <espalier/core/epilogue.hpp>
#include <espalier/core/macros.hpp>
#include <espalier/core/pack.hpp>
#include <espalier/core/random.hpp>
#include <espalier/dropout/axis.hpp>
#include <espalier/dropout/concept.hpp>
#include <espalier/schedule/concept.hpp>
#include <espalier/schedule/within.hpp>

#include <cstdint>
#include <string_view>

namespace espalier::dropout {

/// Numbers and the factor of `bernoulli`.
struct bernoulli_op {
    std::uint32_t threshold; ///< draws below it drop
    double scale;            ///< factor of what is kept: 1 / (1 - threshold / 65536)

    static constexpr random_scope scope = random_scope::element;

    template <class T, class Bits> ESPALIER_FN T factor(Bits bits) const {
        using espalier::select;
        using S = scalar_of<T>;
        return select(bits >= Bits(threshold), T(static_cast<S>(scale)), T(S(0)));
    }
};

/// y = x k / p with k = 1 with probability p = 1 - Rate, else 0, for every element on its own (Srivastava et al. 2014,
/// section 10, in the form that leaves inference alone). Decisions have 16 bits, and p is the quantised probability
/// that they realise, so that E[y] = x holds exactly. Rate: a number or a schedule with values in [0, 1). One below
/// 2^-17 drops nothing, one above 1 - 2^-17 everything.
template <schedule::number_or_schedule auto Rate> struct bernoulli {
    static_assert(diagnostic::holds<schedule::stays_within(Rate, schedule::from_0_to_below_1),
                                    diagnostic::from_policy<bernoulli>, diagnostic::given<Rate>>,
                  "espalier: the rate of dropout::bernoulli must lie in [0, 1)");
    using axis = espalier::axis::dropout;
    static constexpr std::string_view name = "bernoulli";
    using op = bernoulli_op;
    static op at(clock const& now) {
        keep_threshold const keep =
            quantise(schedule::value_within(Rate, now, schedule::from_0_to_below_1, "dropout", name, "rate"));
        return op{keep.threshold, keep.scale};
    }
};

} // namespace espalier::dropout
