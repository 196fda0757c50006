// SPDX-License-Identifier: Apache-2.0
// A user (or a cell of two features) goes to one expert for good: the random table of the network's seed.
#include "run.hpp"

#include <espalier/gate/hash.hpp>

namespace recommender {

namespace {
template <int Experts, esp::index_t Keys> using gate_of = esp::gate::hash<Experts, Keys>;
} // namespace

outcome run_hash(problem const& p, on_trained const& tell_about) {
    return compare<gate_of, esp::dispatch::compacted>("hash", "hash<E, keys>, compacted", p, tell_about);
}

} // namespace recommender
