// SPDX-License-Identifier: Apache-2.0
// The two experts of largest logit.
#include "run.hpp"

#include <espalier/gate/top_k.hpp>

namespace recommender {

namespace {
template <int Experts, esp::index_t> using gate_of = esp::gate::top_k<Experts, 2>;
} // namespace

outcome run_top_k(problem const& p, on_trained const& tell_about) {
    return compare<gate_of, esp::dispatch::compacted>("top-k", "top_k<E, 2>, compacted", p, tell_about);
}

} // namespace recommender
