// SPDX-License-Identifier: Apache-2.0
// expect: dispatch::chunked divides the experts into chunks on the host
// expect: give moe dispatch::compacted
// Chunks of experts where the host cannot read the counts.
#include "far_away.hpp"

#include <espalier/gate/top_k.hpp>
#include <espalier/layer/dense.hpp>
#include <espalier/layer/input.hpp>
#include <espalier/layer/moe.hpp>
#include <espalier/layer/sequence.hpp>
using namespace espalier;
#ifdef ESPALIER_POSITIVE_TWIN
using chosen = dispatch::compacted;
#else
using chosen = dispatch::chunked<1>;
#endif
struct stack : sequence<input<16>, moe<gate::top_k<8, 2>, dense<4>, chosen>> {};
void run_stack(far_away& device) {
    run_far_away<stack>(device, {}, {});
}
