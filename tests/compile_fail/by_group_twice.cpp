// SPDX-License-Identifier: Apache-2.0
// expect: two entries for one group or role
// expect: group_named<.h., .e., .a., .d.>
// nvcc: skip training is host code
// The second entry of a group would have no tensor.
#include <espalier/optimizer/adam.hpp>
#include <espalier/optimizer/by_group.hpp>
#include <espalier/optimizer/sgd.hpp>
using namespace espalier;
using namespace espalier::literals;
void make() {
    auto const slow = optimizer::of<"head"_name>(optimizer::sgd{.learning_rate = 0.01});
#ifdef ESPALIER_POSITIVE_TWIN
    auto const fast = optimizer::of<role::bias>(optimizer::sgd{.learning_rate = 0.1});
#else
    auto const fast = optimizer::of<"head"_name>(optimizer::sgd{.learning_rate = 0.1});
#endif
    optimizer::by_group{slow, fast, optimizer::rest(optimizer::adam{})}.validate();
}
