// SPDX-License-Identifier: Apache-2.0
// Stochastic depth: the whole output of a layer is dropped, row by row.
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

/// Numbers and the factor of `drop_path`.
struct drop_path_op {
    std::uint32_t threshold; ///< draws below it drop
    double scale;            ///< factor of what is kept: 1 / (1 - threshold / 65536)

    static constexpr random_scope scope = random_scope::row;

    template <class T, class Bits> ESPALIER_FN T factor(Bits bits) const {
        using espalier::select;
        using S = scalar_of<T>;
        return select(bits >= Bits(threshold), T(static_cast<S>(scale)), T(S(0)));
    }
};

/// y = x k / p with one k for each row of the batch: 1 with probability p = 1 - Rate, else 0 (Huang et al. 2016; the
/// division by p keeps E[y] = x, so that inference does nothing). Put it on the last layer of a residual branch. p is
/// the probability that the 16-bit decision realises. Rate: a number or a schedule with values in [0, 1).
template <schedule::number_or_schedule auto Rate> struct drop_path {
    static_assert(diagnostic::holds<schedule::stays_within(Rate, schedule::from_0_to_below_1),
                                    diagnostic::from_policy<drop_path>, diagnostic::given<Rate>>,
                  "espalier: the rate of dropout::drop_path must lie in [0, 1)");
    using axis = espalier::axis::dropout;
    static constexpr std::string_view name = "drop_path";
    using op = drop_path_op;
    static op at(clock const& now) {
        keep_threshold const keep =
            quantise(schedule::value_within(Rate, now, schedule::from_0_to_below_1, "dropout", name, "rate"));
        return op{keep.threshold, keep.scale};
    }
};

} // namespace espalier::dropout
