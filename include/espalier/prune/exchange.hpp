// SPDX-License-Identifier: Apache-2.0
// Weights of little worth go, and as many of those that were left out come back.
#pragma once

#include <espalier/core/clock.hpp>
#include <espalier/core/diagnostic.hpp>
#include <espalier/prune/by_gradient.hpp>
#include <espalier/prune/concept.hpp>
#include <espalier/schedule/concept.hpp>
#include <espalier/schedule/within.hpp>

#include <string_view>

namespace espalier::prune {

/// At every selection a tensor of n weights comes to keep k = n - round(sparsity n): of the weights that its mask keeps
/// the k - round(Share k) most valuable ones by the policy's criterion, and of all others those of most worth by Growth
/// until they are k. The first selection exchanges nothing. Dynamic sparse training:
///
///     // Evci, Gale, Menick, Castro and Elsen 2020, "Rigging the lottery: making all tickets winners", algorithm 1
///     policy<by_magnitude, exchange<schedule::cosine{.from = 0.3, .to = 0.0, .steps = 7500}>,
///            constant{.sparsity = 0.9, .every = 100}, hard>
///
/// With `gradual` as schedule the share that is left out grows beside it (Liu et al. 2021, "Sparse training via
/// boosting pruning plasticity with neuroregeneration"). A weight that has just gone may come back at once, as in the
/// program of Evci et al. Unlike there the step in which masks change is a step like any other: what comes back under
/// `hard` begins at 0 and moves by the gradient that it came for; its moments are what is left of those that it went
/// with, having seen gradients of 0 since.
///
/// Share: a number or a schedule in [0, 1]. Growth: a criterion, `by_gradient` unless said otherwise. Costs a selection
/// of its own for those that stay and one for those that come, each of keys that are written down first: 4 readings of
/// the weights or the keys, and 2 writings of keys.
template <schedule::number_or_schedule auto Share, class Growth = by_gradient> struct exchange {
    static_assert(diagnostic::holds<schedule::stays_within(Share, schedule::from_0_to_1), diagnostic::given<Share>>,
                  "espalier: the share of prune::exchange must lie in [0, 1]");
    static_assert(diagnostic::holds<criterion<Growth>, diagnostic::given_type<Growth>>,
                  "espalier: what grows in prune::exchange is chosen by a criterion, such as prune::by_gradient, with "
                  "`name` and `template <class T> static auto key(T w, prune::about<T> const& more)` or `key(T w)`");
    static constexpr std::string_view name = "exchange";
    static constexpr bool global = false;
    using growth = Growth;

    /// Throws data_error when a schedule gives one outside [0, 1].
    static double share(clock const& now) {
        return schedule::value_within(Share, now, schedule::from_0_to_1, "prune", name, "share");
    }
};

} // namespace espalier::prune
