// SPDX-License-Identifier: Apache-2.0
// expect: the experts of a compacted mixture keep their rows in blocks that they share
// expect: dispatch::automatic<> or dispatch::capacity<...>
// An activation penalty over columns inside the experts of a compacted mixture, where the host cannot read the counts.
#include "far_away.hpp"

#include <espalier/activation_penalty/flops.hpp>
#include <espalier/gate/top_k.hpp>
#include <espalier/layer/dense.hpp>
#include <espalier/layer/input.hpp>
#include <espalier/layer/moe.hpp>
#include <espalier/layer/sequence.hpp>
using namespace espalier;
#ifdef ESPALIER_POSITIVE_TWIN
using branch = dense<4>;
#else
using branch = dense<4, activation_penalty::flops<0.1>>;
#endif
struct stack : sequence<input<16>, moe<gate::top_k<8, 2>, branch, dispatch::compacted>> {};
void run_stack(far_away& device) {
    run_far_away<stack>(device, {}, {});
}
