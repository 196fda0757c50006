// SPDX-License-Identifier: Apache-2.0
// expect: on a GPU a layer with weight::low_rank_adapter cannot stand inside an expert that rows are gathered for
// expect: dispatch::dense
// An adapter inside experts, where the host cannot read the counts.
#include "far_away.hpp"

#include <espalier/gate/top_k.hpp>
#include <espalier/layer/dense.hpp>
#include <espalier/layer/input.hpp>
#include <espalier/layer/moe.hpp>
#include <espalier/layer/sequence.hpp>
#include <espalier/weight/low_rank_adapter.hpp>
using namespace espalier;
#ifdef ESPALIER_POSITIVE_TWIN
using branch = dense<4>;
#else
using branch = dense<4, weight::low_rank_adapter<2>>;
#endif
struct stack : sequence<input<16>, moe<gate::top_k<8, 2>, branch, dispatch::capacity<1.0>>> {};
void run_stack(far_away& device) {
    run_far_away<stack>(device, {}, {});
}
