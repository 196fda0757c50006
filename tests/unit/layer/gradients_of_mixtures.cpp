// SPDX-License-Identifier: Apache-2.0
// Gradients of heads that run several times and of mixtures of experts against central differences, in double.
#include <espalier/activation/tanh.hpp>
#include <espalier/activation_penalty/l1.hpp>
#include <espalier/device/cpu/cpu.hpp>
#include <espalier/dropout/bernoulli.hpp>
#include <espalier/gate/entropy.hpp>
#include <espalier/gate/over_all.hpp>
#include <espalier/gate/softmax.hpp>
#include <espalier/gate/temperature.hpp>
#include <espalier/gate/top_k.hpp>
#include <espalier/gate/z_loss.hpp>
#include <espalier/layer/batch_norm.hpp>
#include <espalier/layer/dense.hpp>
#include <espalier/layer/elementwise.hpp>
#include <espalier/layer/input.hpp>
#include <espalier/layer/moe.hpp>
#include <espalier/layer/multi_sample.hpp>
#include <espalier/layer/residual.hpp>
#include <espalier/layer/sequence.hpp>
#include <espalier/loss/cross_entropy.hpp>
#include <espalier/train/check_gradients.hpp>

#include <support/catch.hpp>
#include <support/sanitized.hpp>

using namespace espalier;

namespace {

template <class Stack> void check() {
    // These stacks are smooth. A longer step than usual, for some of their gradients are of 1e-6, and the rounding of a
    // loss of 1 is seen in differences over 1e-5.
    gradient_check_options const options{.step = 1e-4, .elements = sanitized ? 10 : 40};
    auto const report = check_gradients_of<Stack, device::cpu>(loss::cross_entropy{}, {7}, 9, options);
    INFO(report.text());
    CHECK(report.ok(1e-6));
    CHECK(report.checked >= 4 * report.skipped);
}

using expert = sequence<dense<13, activation::tanh, dropout::bernoulli<0.3>>, dense<6>>;

} // namespace

TEST_CASE("gradients: multi_sample", "[layer]") {
    check<sequence<
        input<7>, dense<9, activation::tanh>,
        multi_sample<3, elementwise<dropout::bernoulli<0.4>>, dense<8, activation_penalty::l1<0.1>>, dense<5>>>>();
}

TEMPLATE_TEST_CASE("gradients: moe, softmax and top-k, dense and compacted", "[layer]",
                   (moe<gate::softmax<4>, expert, dispatch::dense>), (moe<gate::softmax<4>, expert>),
                   (moe<gate::softmax<4>, expert, dispatch::chunked<>>),
                   (moe<gate::top_k<5, 2>, expert, dispatch::chunked<>>),
                   (moe<gate::top_k<5, 2>, expert, dispatch::dense>), (moe<gate::top_k<5, 2>, expert>),
                   (moe<gate::top_k<5, 3, gate::over_all>, expert>),
                   (moe<gate::top_k<5, 3, gate::temperature<1.5>, gate::z_loss<0.02>, gate::entropy<0.1>>, expert>),
                   (moe<gate::softmax<4, gate::entropy<-0.3>, gate::temperature<1.5>>, expert, dispatch::dense>)) {
    check<sequence<input<7>, TestType, dense<5>>>();
}

TEST_CASE("gradients: mixtures inside and around other layers", "[layer]") {
    using inner = moe<gate::top_k<3, 2>, sequence<batch_norm<>, residual<dense<7, activation::tanh>>>>;
    check<sequence<input<7>, residual<inner>, multi_sample<2, moe<gate::softmax<3>, expert>, dense<5>>>>();
}
