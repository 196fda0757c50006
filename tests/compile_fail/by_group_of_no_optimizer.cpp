// SPDX-License-Identifier: Apache-2.0
// expect: an entry of optimizer::by_group is given no optimizer
// expect: group_named<.h., .e., .a., .d.>
// expect: given_type<double
// nvcc: skip training is host code
// A learning rate in the place of an optimizer.
#include <espalier/optimizer/adam.hpp>
#include <espalier/optimizer/by_group.hpp>
#include <espalier/optimizer/sgd.hpp>
using namespace espalier;
using namespace espalier::literals;
void make() {
#ifdef ESPALIER_POSITIVE_TWIN
    auto const head = optimizer::of<"head"_name>(optimizer::sgd{.learning_rate = 0.1});
#else
    auto const head = optimizer::of<"head"_name>(0.1);
#endif
    optimizer::by_group{head, optimizer::rest(optimizer::adam{})}.validate();
}
