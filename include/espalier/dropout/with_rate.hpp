// SPDX-License-Identifier: Apache-2.0
// What the dropouts share that keep or drop: a threshold for the draws, and a rate from which it is made.
#pragma once

#include <espalier/core/axis.hpp>
#include <espalier/core/clock.hpp>
#include <espalier/core/diagnostic.hpp>
#include <espalier/core/epilogue.hpp>
#include <espalier/core/random.hpp>
#include <espalier/dropout/concept.hpp>
#include <espalier/schedule/concept.hpp>
#include <espalier/schedule/within.hpp>

namespace espalier::dropout {

/// Keeps or drops what one decision of `Scope` covers.
template <random_scope Scope> struct threshold_op : keep_threshold { static constexpr random_scope scope = Scope; };

/// Base of a dropout that keeps with probability 1 - Rate and multiplies by its inverse: of the quantised probability
/// that 16-bit decisions realise, so that E[y] = x holds exactly. Rate: a number or a schedule with values in [0, 1).
/// One below 2^-17 drops nothing, one above 1 - 2^-17 everything. Throws data_error when a schedule leaves the range.
template <class Policy, random_scope Scope, auto Rate> struct with_rate {
    static_assert(diagnostic::holds<schedule::stays_within(Rate, schedule::from_0_to_below_1),
                                    diagnostic::from_policy<Policy>, diagnostic::given<Rate>>,
                  "espalier: the rate of a dropout must lie in [0, 1); the next lines name the dropout and what it was "
                  "given");
    using axis = espalier::axis::dropout;
    using op = threshold_op<Scope>;
    static op at(clock const& now) {
        return {
            quantise(schedule::value_within(Rate, now, schedule::from_0_to_below_1, "dropout", Policy::name, "rate"))};
    }
};

} // namespace espalier::dropout
