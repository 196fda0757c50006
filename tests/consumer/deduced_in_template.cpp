// SPDX-License-Identifier: Apache-2.0
// The types of an optimizer's numbers deduced in a template, which Clang does of a list without the numbers.
#include <espalier/optimizer/sgd.hpp>

template <class Network, class Optimizer> struct holder {
    holder(Network&, Optimizer given) : optimizer(given) {}
    Optimizer optimizer;
};

template <class Network> double in_template(Network network) {
    holder held(network, espalier::optimizer::sgd{.learning_rate = 0.1, .momentum = 0.9});
    return held.optimizer.learning_rate;
}

double rate() {
    return in_template(1);
}
