// SPDX-License-Identifier: Apache-2.0
// Stochastic depth: the whole output of a layer is dropped, row by row.
#pragma once

#include <espalier/core/epilogue.hpp>
#include <espalier/dropout/axis.hpp>
#include <espalier/dropout/with_rate.hpp>
#include <espalier/schedule/concept.hpp>

#include <string_view>

namespace espalier::dropout {

/// Numbers and the factor of `drop_path`.
using drop_path_op = threshold_op<random_scope::row>;

/// y = x k / p with one k for each row of the batch: 1 with probability p = 1 - Rate, else 0 (Huang et al. 2016; the
/// division by p keeps E[y] = x, so that inference does nothing). Put it on the last layer of a residual branch. Rate:
/// see `with_rate`.
template <schedule::number_or_schedule auto Rate>
struct drop_path : with_rate<drop_path<Rate>, random_scope::row, Rate> {
    static constexpr std::string_view name = "drop_path";
};

} // namespace espalier::dropout
