// SPDX-License-Identifier: Apache-2.0
// Gates that score the experts, with every part, in front of the dispatch that is taken unless another is named.
#include <bits/train.hpp>

#include <espalier/activation/tanh.hpp>
#include <espalier/dropout/bernoulli.hpp>
#include <espalier/gate/balance.hpp>
#include <espalier/gate/comet.hpp>
#include <espalier/gate/dselect_k.hpp>
#include <espalier/gate/entropy.hpp>
#include <espalier/gate/importance.hpp>
#include <espalier/gate/jitter.hpp>
#include <espalier/gate/learned_noise.hpp>
#include <espalier/gate/load.hpp>
#include <espalier/gate/over_all.hpp>
#include <espalier/gate/softmax.hpp>
#include <espalier/gate/temperature.hpp>
#include <espalier/gate/top_k.hpp>
#include <espalier/gate/z_loss.hpp>
#include <espalier/initial/xavier_normal.hpp>
#include <espalier/layer/moe.hpp>
#include <espalier/penalty/l2.hpp>
#include <espalier/schedule/linear.hpp>
#include <espalier/transform/clip_value.hpp>

namespace bits {

namespace {

using expert = sequence<dense<6, activation::tanh, dropout::bernoulli<0.25>>, dense<7>>;
/// A mixture behind a layer, policies of the gate's own tensors included.
template <class Gate, class... Ps>
using stack_of = sequence<input<width>, dense<9, activation::tanh>, moe<Gate, expert, Ps...>, dense<classes>>;

constexpr schedule::linear rising{.from = 0.0, .to = 0.1, .steps = 15};
constexpr schedule::linear cooling{.from = 2.0, .to = 0.5, .steps = 15};

using softmax = gate::softmax<3, gate::temperature<cooling>, gate::jitter<0.1>, gate::importance<0.1>, gate::z_loss<>,
                              gate::entropy<-0.01>>;
using noisy = gate::top_k<5, 2, gate::learned_noise, gate::importance<0.1>, gate::load<0.1>>;
using switching = gate::top_k<4, 1, gate::over_all, gate::balance<0.05>, gate::jitter<rising>>;

} // namespace

void train_gates(table& out) {
    train<stack_of<softmax, penalty::l2<0.01>, transform::clip_value<0.05>, initial::xavier_normal>>(
        out, "gate_softmax", entropy, plain, {.gaps = true});
    train<stack_of<noisy>>(out, "gate_noisy_top_k", entropy, plain);
    train<stack_of<noisy>, double>(out, "gate_noisy_top_k_double", entropy, plain);
    train<stack_of<switching>>(out, "gate_switch", entropy, plain);
    train<stack_of<gate::comet<5, 2, rising>>>(out, "gate_comet", entropy, plain);
    train<stack_of<gate::dselect_k<5, 2>>>(out, "gate_dselect_k", entropy, plain);
}

} // namespace bits
