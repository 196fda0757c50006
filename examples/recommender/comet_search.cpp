// SPDX-License-Identifier: Apache-2.0
// Two soft trees whose leaves are exchanged by local search: COMET+.
#include "run.hpp"

#include <espalier/gate/comet.hpp>
#include <espalier/gate/local_search.hpp>

namespace recommender {

namespace {
template <int Experts, esp::index_t>
using film_gate = esp::gate::local_search<esp::gate::comet<Experts, 2, rising>, searching>;
template <int Experts, esp::index_t>
using class_gate = esp::gate::local_search<esp::gate::comet<Experts, 2>, searching>;
} // namespace

outcome run_comet_search(problem const& p, on_trained const& tell_about) {
    return compare<film_gate, esp::dispatch::automatic<>, class_gate>("COMET+", "local_search<comet<E, 2>>, automatic",
                                                                      p, tell_about);
}

} // namespace recommender
