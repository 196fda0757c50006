// SPDX-License-Identifier: Apache-2.0
// Two selectors of binary codes.
#include "run.hpp"

#include <espalier/gate/dselect_k.hpp>

namespace recommender {

namespace {
template <int Experts, esp::index_t> using film_gate = esp::gate::dselect_k<Experts, 2, rising>;
template <int Experts, esp::index_t> using class_gate = esp::gate::dselect_k<Experts, 2>;
} // namespace

outcome run_dselect_k(problem const& p, on_trained const& tell_about) {
    return compare<film_gate, esp::dispatch::automatic<>, class_gate>("DSelect-k", "dselect_k<E, 2>, automatic", p,
                                                                      tell_about);
}

} // namespace recommender
