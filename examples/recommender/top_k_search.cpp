// SPDX-License-Identifier: Apache-2.0
// The two experts of largest logit, exchanged by local search.
#include "run.hpp"

#include <espalier/gate/local_search.hpp>
#include <espalier/gate/top_k.hpp>

namespace recommender {

namespace {
template <int Experts, esp::index_t> using gate_of = esp::gate::local_search<esp::gate::top_k<Experts, 2>, searching>;
} // namespace

outcome run_top_k_search(problem const& p, on_trained const& tell_about) {
    return compare<gate_of, esp::dispatch::automatic<>>("top-k+", "local_search<top_k<E, 2>>, automatic", p,
                                                        tell_about);
}

} // namespace recommender
