// SPDX-License-Identifier: Apache-2.0
// Short name of N:M pruning by absolute value.
#pragma once

#include <espalier/prune/by_magnitude.hpp>
#include <espalier/prune/hard.hpp>
#include <espalier/prune/n_m.hpp>
#include <espalier/prune/policy.hpp>

namespace espalier::prune {

/// The largest N of every M consecutive inputs of an output, selected once before the first step unless a schedule says
/// otherwise: n_m_magnitude<2, 4, straight_through, constant{.sparsity = 1.0, .every = 10}>.
template <int N, int M, class Rule = hard, schedule::number_or_schedule auto Schedule = 1.0>
struct n_m_magnitude : policy<by_magnitude, n_m<N, M>, Schedule, Rule> {};

} // namespace espalier::prune
