// SPDX-License-Identifier: Apache-2.0
// Several gates over shared experts, with layers of their own behind.
#include <bits/train.hpp>

#include <espalier/activation/tanh.hpp>
#include <espalier/dropout/bernoulli.hpp>
#include <espalier/gate/dispatch.hpp>
#include <espalier/gate/softmax.hpp>
#include <espalier/gate/top_k.hpp>
#include <espalier/layer/multi_gate.hpp>
#include <espalier/layer/parallel.hpp>
#include <espalier/layer/slice.hpp>

namespace bits {

namespace {

using expert = sequence<dense<6, activation::tanh, dropout::bernoulli<0.25>>, dense<7>>;
using two_gates = gates<gate::top_k<4, 2>, gate::softmax<4>>;
using towers = parallel<merge::concatenate, sequence<slice<0, 7>, dense<3>>, sequence<slice<7, 7>, dense<2>>>;
template <class Dispatch> using tasks = sequence<input<width>, multi_gate<two_gates, expert, Dispatch>, towers>;

} // namespace

void train_several_gates(table& out) {
    train<tasks<dispatch::compacted>>(out, "several_gates", entropy, plain);
    train<tasks<dispatch::compacted>, double>(out, "several_gates_double", entropy, plain);
    train<tasks<dispatch::dense>>(out, "several_gates_dense", entropy, plain);
    train<tasks<dispatch::capacity<0.25>>>(out, "several_gates_capacity", entropy, plain);
}

} // namespace bits
