// SPDX-License-Identifier: Apache-2.0
// host only. Decisions over all layers at a step: numbers that hold for that step alone.
//
// A decision is a function that a training calls at the start of each of its steps, before any schedule is evaluated:
//
//     run.decide_with([](kept_time& now, random_site const& bits) {
//         now.set("rank"_name, 1 + below(16, draw(bits, 0, 0).word[0]));
//     });
//
// `now` is the time of the step with the run-time values of the network. What the function sets there is what
// `schedule::runtime` gives in this step: ranks, rates, coefficients, counts. The network's own values stay, and
// `predict`, `evaluate` and checkpoints have those. `bits` is a place of its own among the random bits, so that no
// other decision changes; it differs from step to step. What is decided is to depend on the two arguments, and on
// nothing that a checkpoint does not have: then a resumed run decides as the unbroken one. `gradients_of` and
// `objective` are of the step that would come, and decide as it does.
//
// A step allocates nothing, but for one in which a decision sets a name that the network has no value of, for the first
// time.
//
// Copies of weights that products read were made by the update before; what a decision sets does not reach the maps
// that they are made by.
#pragma once

#include <espalier/core/kept_time.hpp>
#include <espalier/core/library.hpp>
#include <espalier/core/random.hpp>
#include <espalier/layer/report.hpp>

#include <cstdint>
#include <functional>
#include <vector>

namespace espalier {

/// What sets run-time values for single steps; see above.
using step_decision = std::function<void(kept_time& now, random_site const& bits)>;

namespace detail {

/// Leaves in `decided` the time `now` with what was decided. Throws data_error for a rank above the one that the layer
/// has outside of this step.
void decide(step_decision const& decision, clock const& now, std::uint64_t seed,
            std::vector<operator_info> const& operators, kept_time& decided);

} // namespace detail

} // namespace espalier

#if defined(ESPALIER_HEADER_ONLY)
#include <espalier/train/detail/step_decision.hpp>
#endif
