// SPDX-License-Identifier: Apache-2.0
// What acts on gradients in the update: penalties in every form, and transforms.
#include <bits/train.hpp>

#include <espalier/activation/relu.hpp>
#include <espalier/activation/tanh.hpp>
#include <espalier/layer/batch_norm.hpp>
#include <espalier/layer/everywhere.hpp>
#include <espalier/optimizer/adamw.hpp>
#include <espalier/penalty/elastic_net.hpp>
#include <espalier/penalty/group_lasso.hpp>
#include <espalier/penalty/l1.hpp>
#include <espalier/penalty/l2.hpp>
#include <espalier/penalty/proximal.hpp>
#include <espalier/schedule/linear.hpp>
#include <espalier/transform/agreement.hpp>
#include <espalier/transform/clip_global_norm.hpp>
#include <espalier/transform/clip_value.hpp>
#include <espalier/transform/gradient_dropout.hpp>

namespace bits {

namespace {

using namespace espalier::literals;
using activation::relu, activation::tanh;
using penalty::over;

// Element-wise penalties, by gradient and by prox, on kernels and on other roles, and groups over two layers.
using penalties = sequence<
    input<width>,
    dense<10, relu, penalty::l2<0.01>, penalty::l1<0.001>, on<role::bias, penalty::elastic_net<0.01, 0.02>>>,
    batch_norm<batch_norm_options{}, on<role::scale, penalty::l2<0.05>>>,
    dense<9, tanh, penalty::group_lasso<0.01, over::columns, "hidden"_name>, penalty::proximal<penalty::l1<0.002>>>,
    dense<8, tanh, penalty::group_lasso<0.01, over::rows, "hidden"_name>, penalty::group_lasso<0.003, over::columns>>,
    dense<classes, penalty::proximal<penalty::elastic_net<0.001, 0.01>>>>;
using group_proxes = sequence<
    input<width>, dense<10, relu, penalty::proximal<penalty::group_lasso<0.05, over::columns, "hidden"_name>>>,
    dense<9, tanh, penalty::proximal<penalty::group_lasso<0.05, over::rows, "hidden"_name>>, penalty::l1<0.01>>,
    dense<classes>>;

constexpr schedule::linear fading{.from = 1.0, .to = 0.0, .steps = 12};

using transformed = everywhere<
    sequence<input<width>, dense<10, relu, transform::gradient_dropout<0.25>, transform::clip_value<0.01>>,
             dense<9, tanh, on<role::kernel, transform::gradient_dropout<0.125>>, penalty::l2<0.01>>, dense<classes>>,
    transform::clip_global_norm<0.5>>;
using two_streams = sequence<input<width>, dense<10, relu, transform::agreement<0.75>>,
                             dense<classes, transform::agreement<fading>, transform::gradient_dropout<0.125>>>;

} // namespace

void train_penalties_and_transforms(table& out) {
    constexpr optimizer::adamw<> adamw{.learning_rate = 0.01};
    train<penalties>(out, "penalties", entropy, plain);
    train<penalties, double>(out, "penalties_double", entropy, adamw);
    train<group_proxes>(out, "group_proxes", entropy, plain);
    train<transformed>(out, "transforms", entropy, plain);
    train<two_streams>(out, "two_streams", entropy, plain, {}, [](auto& run, auto& data, std::uint32_t number) {
        auto other = data;
        return run.step(data.batch(number), other.batch(number + 100), entropy);
    });
}

} // namespace bits
