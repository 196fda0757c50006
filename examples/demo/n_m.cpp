// SPDX-License-Identifier: Apache-2.0
// With 2 of every 4 inputs of a hidden unit kept: chosen anew every 20 steps until step 400, hidden from the products
// but still learning in between.
#include "run.hpp"

#include <espalier/activation/relu.hpp>
#include <espalier/prune/gradual.hpp>
#include <espalier/prune/magnitude.hpp>
#include <espalier/prune/n_m.hpp>
#include <espalier/prune/straight_through.hpp>

namespace demo {

namespace esp = espalier;

constexpr auto when = esp::prune::gradual{.from = 0.5, .to = 0.5, .start = 20, .steps = 380, .every = 20};

template <int In, int Width>
using n_m_stack =
    esp::sequence<esp::input<In>,
                  esp::dense<Width, esp::activation::relu,
                             esp::prune::magnitude<when, esp::prune::n_m<2, 4>, esp::prune::straight_through>>,
                  esp::dense<10>>;

outcome run_n_m(task const& what, on_trained const& tell_about) {
    return train_for_width<n_m_stack>("2:4 pruned", "prune::magnitude<gradual, n_m<2, 4>, straight_through>", what,
                                      tell_about);
}

} // namespace demo
