// SPDX-License-Identifier: Apache-2.0
// The classical dropout: every element is dropped on its own.
#pragma once

#include <espalier/core/epilogue.hpp>
#include <espalier/dropout/axis.hpp>
#include <espalier/dropout/with_rate.hpp>
#include <espalier/schedule/concept.hpp>

#include <string_view>

namespace espalier::dropout {

/// Numbers and the factor of `bernoulli`.
using bernoulli_op = threshold_op<random_scope::element>;

/// y = x k / p with k = 1 with probability p = 1 - Rate, else 0, for every element on its own (Srivastava et al. 2014,
/// section 10, in the form that leaves inference alone). Rate: see `with_rate`.
template <schedule::number_or_schedule auto Rate>
struct bernoulli : with_rate<bernoulli<Rate>, random_scope::element, Rate> {
    static constexpr std::string_view name = "bernoulli";
};

} // namespace espalier::dropout
