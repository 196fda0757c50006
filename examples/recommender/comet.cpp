// SPDX-License-Identifier: Apache-2.0
// Two soft trees.
#include "run.hpp"

#include <espalier/gate/comet.hpp>

namespace recommender {

namespace {
template <int Experts, esp::index_t> using film_gate = esp::gate::comet<Experts, 2, rising>;
template <int Experts, esp::index_t> using class_gate = esp::gate::comet<Experts, 2>;
} // namespace

outcome run_comet(problem const& p, on_trained const& tell_about) {
    return compare<film_gate, esp::dispatch::automatic<>, class_gate>("COMET", "comet<E, 2>, automatic", p, tell_about);
}

} // namespace recommender
