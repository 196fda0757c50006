// SPDX-License-Identifier: Apache-2.0
// Steps of training of one stack; NUMBERS and STRUCTURE change it. count_instances.py compares what was instantiated.
#include <espalier/activation/relu.hpp>
#include <espalier/activation/tanh.hpp>
#include <espalier/device/cpu/cpu.hpp>
#include <espalier/dropout/bernoulli.hpp>
#include <espalier/gate/comet.hpp>
#include <espalier/gate/dispatch.hpp>
#include <espalier/layer/dense.hpp>
#include <espalier/layer/input.hpp>
#include <espalier/layer/moe.hpp>
#include <espalier/layer/sequence.hpp>
#include <espalier/loss/cross_entropy.hpp>
#include <espalier/optimizer/adamw.hpp>
#include <espalier/penalty/group_lasso.hpp>
#include <espalier/penalty/l1.hpp>
#include <espalier/penalty/l2.hpp>
#include <espalier/penalty/proximal.hpp>
#include <espalier/schedule/linear.hpp>
#include <espalier/train/training.hpp>

using namespace espalier;

namespace {

#if NUMBERS == 0
using drop = dropout::bernoulli<0.2>;
using decay = penalty::l2<1e-4>;
using gate_of_four = gate::comet<4, 2, 0.1>;
#elif NUMBERS == 1
using drop = dropout::bernoulli<0.5>;
using decay = penalty::l2<1e-2>;
using gate_of_four = gate::comet<4, 2, 0.3, 2.0>;
#else
using drop = dropout::bernoulli<schedule::linear{.from = 0.0, .to = 0.5, .steps = 1000}>;
using decay = penalty::l2<schedule::linear{.from = 1e-2, .to = 0.0, .steps = 1000}>;
using gate_of_four = gate::comet<4, 2, schedule::linear{.from = 0.1, .to = 0.0, .steps = 1000}>;
#endif
using mixture = moe<gate_of_four, dense<32, activation::relu, drop>, dispatch::dense>;

#if STRUCTURE == 0
using stack = sequence<input<64>, dense<256, activation::relu, drop, decay>, mixture, dense<10, decay>>;
#elif STRUCTURE == 1 // another activation in one layer: one more epilogue each way
using stack = sequence<input<64>, dense<256, activation::relu, drop, decay>, dense<256, activation::tanh, drop, decay>,
                       mixture, dense<10, decay>>;
#elif STRUCTURE == 2 // another penalty in one layer: one more update
using stack =
    sequence<input<64>, dense<256, activation::relu, drop, decay>, mixture, dense<10, decay, penalty::l1<1e-3>>>;
#else                // groups that are shrunk in a further pass: one more update, and the pass is its refresh
using groups = penalty::proximal<penalty::group_lasso<1e-3, penalty::over::rows>>;
using stack = sequence<input<64>, dense<256, activation::relu, drop, decay>, mixture, dense<10, decay, groups>>;
#endif

} // namespace

double some_steps(batch_view<float> const& batch) {
    network<stack, device::cpu, float> net({1}, 64);
    training run(net, loss::cross_entropy{}, optimizer::adamw{});
    run.step(batch);
    return run.step(batch).total;
}
