// SPDX-License-Identifier: Apache-2.0
// The output of a layer is dropped as a whole, for all rows of a step.
#pragma once

#include <espalier/core/epilogue.hpp>
#include <espalier/dropout/with_rate.hpp>
#include <espalier/schedule/concept.hpp>

#include <string_view>

namespace espalier::dropout {

/// y = x k / p with one k for every row and every layer of a forward pass: 1 with probability p = 1 - Rate, else 0. All
/// layers with this policy see the same draw, so those with one rate are dropped together. A sample of a multi_sample
/// is a pass of its own. Rate: see `with_rate`.
template <schedule::number_or_schedule auto Rate>
struct drop_step : with_rate<drop_step<Rate>, random_scope::step, Rate> {
    static constexpr std::string_view name = "drop_step";
};

} // namespace espalier::dropout
