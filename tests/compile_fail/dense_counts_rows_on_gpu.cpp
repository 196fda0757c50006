// SPDX-License-Identifier: Apache-2.0
// expect: would count rows that the gate did not send to them
// expect: let every row go to every expert: gate::softmax
// A layer over the batch inside the experts of a dense mixture, where the host cannot read which rows are theirs.
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
struct stack : sequence<input<16>, moe<gate::top_k<8, 2>, branch, dispatch::dense>> {};
void run_stack(far_away& device) {
    run_far_away<stack>(device, {}, {});
}
