// SPDX-License-Identifier: Apache-2.0
// Short name of the usual pruning: small weights go, layer by layer, and stay 0.
#pragma once

#include <espalier/prune/by_magnitude.hpp>
#include <espalier/prune/hard.hpp>
#include <espalier/prune/per_layer.hpp>
#include <espalier/prune/policy.hpp>

namespace espalier::prune {

/// magnitude<gradual{.to = 0.9, .start = 100, .steps = 1000, .every = 50}>, magnitude<0.5, global, straight_through>.
/// A class of its own because nvcc 13.0 writes host code that does not compile for an alias with these parameters.
template <schedule::number_or_schedule auto Schedule, class Selection = per_layer, class Rule = hard>
struct magnitude : policy<by_magnitude, Selection, Schedule, Rule> {};

} // namespace espalier::prune
