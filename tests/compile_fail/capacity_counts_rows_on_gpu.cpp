// SPDX-License-Identifier: Apache-2.0
// expect: runs on a block whose rows only the device counts
// expect: take that layer out of the experts
// A layer over the batch inside the experts of a mixture with a capacity, where the host cannot read the counts.
#include "far_away.hpp"

#include <espalier/gate/top_k.hpp>
#include <espalier/layer/batch_norm.hpp>
#include <espalier/layer/dense.hpp>
#include <espalier/layer/input.hpp>
#include <espalier/layer/moe.hpp>
#include <espalier/layer/sequence.hpp>
using namespace espalier;
#ifdef ESPALIER_POSITIVE_TWIN
using branch = dense<4>;
#else
using branch = sequence<dense<4>, batch_norm<>>;
#endif
struct stack : sequence<input<16>, moe<gate::top_k<8, 2>, branch, dispatch::capacity<1.25>>> {};
void run_stack(far_away& device) {
    run_far_away<stack>(device, {}, {});
}
