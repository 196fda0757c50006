// SPDX-License-Identifier: Apache-2.0
// The random table, its experts exchanged by local search.
#include "run.hpp"

#include <espalier/gate/hash.hpp>
#include <espalier/gate/local_search.hpp>

namespace recommender {

namespace {
template <int Experts, esp::index_t Keys>
using gate_of = esp::gate::local_search<esp::gate::hash<Experts, Keys>, searching>;
} // namespace

outcome run_hash_search(problem const& p, on_trained const& tell_about) {
    return compare<gate_of, esp::dispatch::automatic<>>("hash+", "local_search<hash<E, keys>>, automatic", p,
                                                        tell_about);
}

} // namespace recommender
