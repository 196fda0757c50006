// SPDX-License-Identifier: Apache-2.0
// The stack that the others are compared with: no regulariser.
#include "run.hpp"

#include <espalier/activation/relu.hpp>

namespace demo {

namespace esp = espalier;

template <int In, int Width>
using plain_stack = esp::sequence<esp::input<In>, esp::dense<Width, esp::activation::relu>, esp::dense<10>>;

outcome run_plain(task const& what, on_trained const& tell_about) {
    return train_for_width<plain_stack>("plain", "none", what, tell_about);
}

} // namespace demo
