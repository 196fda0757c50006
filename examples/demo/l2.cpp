// SPDX-License-Identifier: Apache-2.0
// With a penalty on the kernel of the hidden layer.
#include "run.hpp"

#include <espalier/activation/relu.hpp>
#include <espalier/penalty/l2.hpp>

namespace demo {

namespace esp = espalier;

template <int In, int Width>
using l2_stack =
    esp::sequence<esp::input<In>, esp::dense<Width, esp::activation::relu, esp::penalty::l2<2e-3>>, esp::dense<10>>;

outcome run_l2(task const& what, on_trained const& tell_about) {
    return train_for_width<l2_stack>("l2", "penalty::l2<2e-3>", what, tell_about);
}

} // namespace demo
