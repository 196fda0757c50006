// SPDX-License-Identifier: Apache-2.0
// Gradients of every layer and combinator against central differences, in double.
#include <espalier/activation/all.hpp>
#include <espalier/activation_penalty/flops.hpp>
#include <espalier/activation_penalty/l1.hpp>
#include <espalier/device/cpu/cpu.hpp>
#include <espalier/dropout/bernoulli.hpp>
#include <espalier/dropout/drop_path.hpp>
#include <espalier/layer/batch_norm.hpp>
#include <espalier/layer/dense.hpp>
#include <espalier/layer/elementwise.hpp>
#include <espalier/layer/everywhere.hpp>
#include <espalier/layer/input.hpp>
#include <espalier/layer/parallel.hpp>
#include <espalier/layer/residual.hpp>
#include <espalier/layer/sequence.hpp>
#include <espalier/loss/cross_entropy.hpp>
#include <espalier/train/check_gradients.hpp>
#include <espalier/weight/fixed_mask.hpp>

#include <support/catch.hpp>

using namespace espalier;

namespace {

/// `step`: of the differences. Smooth stacks with small gradients need a large one: the rounding error of a difference
/// is that of the loss divided by the step.
template <class Stack> void check(char const* what, double step = 1e-5, index_t rows = 9) {
    auto const report = check_gradients_of<Stack, device::cpu>(loss::cross_entropy{}, seed{7}, rows, {.step = step});
    INFO(what << ": " << report.text());
    CHECK(report.ok(1e-6));
    CHECK(report.checked >= 4 * report.skipped);
}

} // namespace

TEST_CASE("gradients: dense with what may stand on its axes", "[layer]") {
    check<sequence<input<7>, dense<19, activation::tanh>, dense<5>>>("tanh");
    check<sequence<input<7>, dense<19, activation::relu, no_bias, dropout::bernoulli<0.3>>, dense<5>>>("relu");
    check<sequence<input<7>, dense<6, activation::gelu, dropout::drop_path<0.3>, activation_penalty::l1<0.1>>,
                   dense<33, activation::silu, activation_penalty::flops<0.2>>, dense<8, activation::softmax>,
                   dense<5, activation::sigmoid>>>("all epilogues", 1e-3);
    check<sequence<input<7>, dense<5, activation::softmax>>>("a row-wise output");
}

TEST_CASE("gradients: everywhere and elementwise", "[layer]") {
    using inner = sequence<input<7>, dense<19>, elementwise<activation::tanh, dropout::bernoulli<0.5>>,
                           elementwise<activation::softmax>, dense<4, activation::identity>>;
    check<everywhere<inner, activation::gelu_tanh, dropout::bernoulli<0.2>>>("everywhere", 1e-3);
}

TEST_CASE("gradients: residual, parallel, batch_norm", "[layer]") {
    check<sequence<input<7>, residual<dense<7, activation::softmax>>, dense<5, activation::softmax>>>("residual", 1e-3);
    check<sequence<
        input<7>,
        parallel<merge::concatenate, dense<4, activation::softmax>, sequence<dense<9, activation::silu>, dense<3>>>,
        parallel<merge::add, dense<5, activation::tanh>, dense<5, activation::softmax>, dense<5>>>>("parallel", 1e-3);
    check<sequence<input<7>, dense<9, activation::tanh>, batch_norm<>,
                   residual<batch_norm<>, dense<9, activation::tanh>>, dense<5>>>("batch_norm");
    check<sequence<input<7>, batch_norm<>, dense<5>>>("batch_norm of a row", 1e-5, 1);
}
