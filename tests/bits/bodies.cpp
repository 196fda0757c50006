// SPDX-License-Identifier: Apache-2.0
// Mixtures by the bodies of the CUDA kernels, run with one lane (unit/kernels/bodies.hpp): what differs there from the
// loops of the CPU. That device has no threads, and keeps no checkpoints.
#include <bits/train.hpp>

#include <unit/kernels/bodies.hpp>

#include <espalier/activation/softmax.hpp>
#include <espalier/activation/tanh.hpp>
#include <espalier/activation_penalty/flops.hpp>
#include <espalier/activation_penalty/l1.hpp>
#include <espalier/dropout/bernoulli.hpp>
#include <espalier/gate/comet.hpp>
#include <espalier/gate/dispatch.hpp>
#include <espalier/gate/enforced.hpp>
#include <espalier/gate/expert_choice.hpp>
#include <espalier/gate/hash.hpp>
#include <espalier/gate/importance.hpp>
#include <espalier/gate/learned_noise.hpp>
#include <espalier/gate/load.hpp>
#include <espalier/gate/local_search.hpp>
#include <espalier/gate/softmax.hpp>
#include <espalier/gate/top_k.hpp>
#include <espalier/layer/moe.hpp>
#include <espalier/layer/multi_gate.hpp>
#include <espalier/layer/parallel.hpp>
#include <espalier/layer/residual.hpp>
#include <espalier/penalty/l2.hpp>
#include <espalier/weight/low_rank.hpp>

namespace bits {

namespace {

using expert = sequence<dense<8, activation::tanh, dropout::bernoulli<0.25>>, dense<7>>;
using counting = sequence<dense<8, activation::tanh, activation_penalty::l1<0.1>, activation_penalty::flops<0.2>>,
                          dense<7, activation::softmax>>;
using branches = sequence<residual<dense<width, activation::tanh, dropout::bernoulli<0.25>>>,
                          parallel<merge::add, dense<7>, dense<7, weight::low_rank<4, 2>, penalty::l2<0.01>>>>;
using noisy = gate::top_k<4, 2, gate::learned_noise, gate::importance<0.1>, gate::load<0.1>>;
constexpr gate::search quick{.steps = 12, .noise = 0.1};

template <class Mixture> void on_one_lane(table& out, char const* name) {
    using stack = sequence<input<width>, Mixture, dense<classes>>;
    constexpr int threads = 1;
    out.add(
        name,
        [](int) {
            return train_on<stack, float>(std::make_unique<kernel_tests::bodies>(), entropy, plain, {}, plain_step{},
                                          as_made{});
        },
        threads);
}

} // namespace

void train_bodies(table& out) {
    on_one_lane<moe<gate::top_k<4, 2>, expert, dispatch::compacted>>(out, "bodies_compacted");
    on_one_lane<moe<gate::top_k<4, 2>, counting, dispatch::automatic<>>>(out, "bodies_automatic");
    on_one_lane<moe<gate::top_k<4, 2>, branches, dispatch::compacted>>(out, "bodies_branches");
    on_one_lane<moe<noisy, expert, dispatch::capacity<0.75>>>(out, "bodies_noisy_capacity");
    on_one_lane<moe<gate::comet<4, 2>, expert, dispatch::dense>>(out, "bodies_comet_dense");
    on_one_lane<moe<gate::hash<4, 50>, expert, dispatch::capacity<1.0>>>(out, "bodies_hash");
    on_one_lane<moe<gate::enforced<4>, experts<dense<7>, expert, counting, branches>, dispatch::automatic<>>>(
        out, "bodies_enforced");
    on_one_lane<moe<gate::expert_choice<4>, expert, dispatch::capacity<2.0>>>(out, "bodies_expert_choice");
    on_one_lane<moe<gate::local_search<gate::comet<4, 2>, quick>, expert, dispatch::dense>>(out, "bodies_search");
    on_one_lane<multi_gate<gates<gate::top_k<4, 2>, gate::softmax<4>>, expert, dispatch::compacted>>(
        out, "bodies_two_gates");
}

} // namespace bits
