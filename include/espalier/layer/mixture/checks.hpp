// SPDX-License-Identifier: Apache-2.0
// Which mixtures run on which device, said when compiling.
#pragma once

#include <espalier/layer/mixture/facts.hpp>

namespace espalier::detail {

template <class Mixture, class Context> consteval void check_mixture_in() {
    using in_context = mixture_facts_in<Mixture, Context>;
    static_assert(!in_context::in_blocks || !Mixture::in_chunks,
                  "espalier: dispatch::chunked divides the experts into chunks on the host, which does not know on a "
                  "GPU how many rows an expert gets; give moe dispatch::compacted, dispatch::automatic<>, "
                  "dispatch::capacity<...> or dispatch::dense as its last argument to run it there");
    static_assert(!in_context::in_blocks || Mixture::in_chunks || Mixture::room_for_all || Mixture::share_block,
                  "espalier: on a GPU the experts of a compacted mixture keep their rows in blocks that they share, "
                  "which experts of different types, or with an activation penalty over columns (flops), cannot; give "
                  "moe dispatch::automatic<> or dispatch::capacity<...> as its last argument, or make the experts "
                  "equal and take that penalty out");
    static_assert(!in_context::in_blocks || Mixture::blocks_fit,
                  "espalier: on a GPU an expert that rows are gathered for runs on a block whose rows only the device "
                  "counts, and a batch_norm or a mixture among the experts' layers needs their number; take that "
                  "layer out of the experts, or let every row go to every expert: gate::softmax with dispatch::dense "
                  "as moe's last argument");
    static_assert(in_context::sees_own_rows,
                  "espalier: on a GPU the experts of a dense mixture run on all rows, and a batch_norm or a mixture "
                  "among their layers would count rows that the gate did not send to them; take that layer out of the "
                  "experts, or let every row go to every expert: gate::softmax");
    static_assert(!Mixture::in_chunks || Mixture::blocks_fit,
                  "espalier: with dispatch::chunked what an expert keeps of a batch is overwritten by later chunks, "
                  "and a batch_norm or a mixture among the experts' layers needs it in the update; give moe "
                  "dispatch::compacted as its last argument, or take that layer out of the experts");
}

} // namespace espalier::detail
