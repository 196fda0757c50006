// SPDX-License-Identifier: Apache-2.0
// Two selectors of binary codes.
#include "run.hpp"

#include <espalier/gate/dselect_k.hpp>

namespace recommender {

namespace {
template <int Experts, esp::index_t> using gate_of = esp::gate::dselect_k<Experts, 2>;
} // namespace

outcome run_dselect_k(problem const& p, on_trained const& tell_about) {
    return compare<gate_of, esp::dispatch::automatic<>>("DSelect-k", "dselect_k<E, 2>, automatic", p, tell_about);
}

} // namespace recommender
