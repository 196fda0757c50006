// SPDX-License-Identifier: Apache-2.0
// expect: let it be the last one
// expect: for_rest
// nvcc: skip training is host code
// What stands behind the rest would have no tensor.
#include <espalier/optimizer/adam.hpp>
#include <espalier/optimizer/by_group.hpp>
#include <espalier/optimizer/sgd.hpp>
using namespace espalier;
using namespace espalier::literals;
void make() {
    auto const head = optimizer::of<"head"_name>(optimizer::sgd{.learning_rate = 0.1});
    auto const others = optimizer::rest(optimizer::adam{});
#ifdef ESPALIER_POSITIVE_TWIN
    optimizer::by_group{head, others}.validate();
#else
    optimizer::by_group{others, head}.validate();
#endif
}
