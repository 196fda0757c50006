// SPDX-License-Identifier: Apache-2.0
// With dropout whose rate rises from 0 to 0.5.
#include "run.hpp"

#include <espalier/activation/relu.hpp>
#include <espalier/dropout/bernoulli.hpp>
#include <espalier/schedule/linear.hpp>

namespace demo {

namespace esp = espalier;

constexpr auto rising = esp::schedule::linear{.from = 0.0, .to = 0.5, .steps = 300};

template <int In, int Width>
using dropout_stack =
    esp::sequence<esp::input<In>, esp::dense<Width, esp::activation::relu, esp::dropout::bernoulli<rising>>,
                  esp::dense<10>>;

outcome run_dropout(task const& what, on_trained const& tell_about) {
    return train_for_width<dropout_stack>("dropout", "dropout::bernoulli<linear 0 to 0.5>", what, tell_about);
}

} // namespace demo
