// SPDX-License-Identifier: Apache-2.0
// Every row goes to every expert.
#include "run.hpp"

#include <espalier/gate/softmax.hpp>

namespace recommender {

namespace {
template <int Experts, esp::index_t> using gate_of = esp::gate::softmax<Experts>;
} // namespace

outcome run_softmax(problem const& p, on_trained const& tell_about) {
    return compare<gate_of, esp::dispatch::dense>("softmax", "softmax<E>, dense", p, tell_about);
}

} // namespace recommender
