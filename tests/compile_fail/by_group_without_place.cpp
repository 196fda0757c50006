// SPDX-License-Identifier: Apache-2.0
// expect: by_group takes esp::optimizer::of
// expect: espalier::optimizer::adam<
// nvcc: skip training is host code
// An optimizer that does not say which tensors it is for.
#include <espalier/optimizer/adam.hpp>
#include <espalier/optimizer/by_group.hpp>
#include <espalier/optimizer/sgd.hpp>
using namespace espalier;
using namespace espalier::literals;
void make() {
    auto const head = optimizer::of<"head"_name>(optimizer::sgd{.learning_rate = 0.1});
#ifdef ESPALIER_POSITIVE_TWIN
    optimizer::by_group{head, optimizer::rest(optimizer::adam{})}.validate();
#else
    optimizer::by_group{head, optimizer::adam{}}.validate();
#endif
}
