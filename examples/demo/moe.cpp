// SPDX-License-Identifier: Apache-2.0
// With four experts of a quarter of the width in place of the hidden layer; every row goes to two of them.
#include "run.hpp"

#include <espalier/activation/relu.hpp>
#include <espalier/gate/top_k.hpp>
#include <espalier/layer/moe.hpp>

namespace demo {

namespace esp = espalier;

template <int In, int Width>
using moe_stack =
    esp::sequence<esp::input<In>, esp::moe<esp::gate::top_k<4, 2>, esp::dense<Width / 4, esp::activation::relu>>,
                  esp::dense<10>>;

outcome run_moe(task const& what, on_trained const& tell_about) {
    return train_for_width<moe_stack>("top-2 of 4", "moe<gate::top_k<4, 2>, ...>", what, tell_about);
}

} // namespace demo
