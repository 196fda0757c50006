// SPDX-License-Identifier: Apache-2.0
// Layers with every activation, initial value and activation penalty, and taps.
#include <bits/train.hpp>

#include <espalier/activation/all.hpp>
#include <espalier/activation_penalty/flops.hpp>
#include <espalier/activation_penalty/l1.hpp>
#include <espalier/initial/he_normal.hpp>
#include <espalier/initial/he_uniform.hpp>
#include <espalier/initial/uniform.hpp>
#include <espalier/initial/xavier_normal.hpp>
#include <espalier/initial/xavier_uniform.hpp>
#include <espalier/initial/zeros.hpp>
#include <espalier/layer/elementwise.hpp>
#include <espalier/layer/embedding.hpp>
#include <espalier/layer/tap.hpp>
#include <espalier/loss/mean_squared_error.hpp>

namespace bits {

namespace {

using namespace espalier::literals;
namespace act = espalier::activation;

using activations =
    sequence<input<width>, dense<9, act::relu, initial::he_normal>, dense<10, act::gelu, initial::he_uniform>,
             dense<11, act::gelu_tanh, initial::xavier_normal>, dense<9, act::silu, initial::xavier_uniform>,
             dense<8, act::sigmoid, initial::uniform<-0.5, 0.5>>, dense<17, act::tanh, no_bias>,
             dense<16, act::identity>, dense<7, act::softmax>, dense<classes, initial::zeros>>;

using penalised =
    sequence<input<width>, dense<14, act::tanh, activation_penalty::l1<0.01>, activation_penalty::flops<0.02>>,
             tap<"features"_name, activation_penalty::l1<0.03>>,
             elementwise<act::relu, activation_penalty::flops<0.05>>, dense<classes>>;

using embedded = sequence<input<width>, embedding<vocabulary<7, 7, 8, 7, 9, 7, 7, 7, 11, 7, 7, 7>, 2>,
                          dense<9, act::relu>, dense<classes>>;

} // namespace

void train_layers(table& out) {
    train<activations>(out, "activations", entropy, plain);
    train<activations, double>(out, "activations_double", entropy, plain);
    train<penalised>(out, "activation_penalties", entropy, plain, {.gaps = true});
    // A loss at a tap, and a function that changes the gradients before the update.
    train<penalised>(out, "taps", entropy, plain, {.targets = 14}, [](auto& run, auto& data, std::uint32_t number) {
        auto const batch = data.batch(number);
        return run.step(
            batch, [&](auto& taps) { taps.template loss<"features"_name>(loss::mean_squared_error{}, batch.targets); },
            before_update{[](auto& gradients) { gradients.tensor("1.kernel")(0, 0) = 0.5f; }});
    });
    train<embedded>(out, "embedding", entropy, plain, {.whole = true});
}

} // namespace bits
