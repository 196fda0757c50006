// SPDX-License-Identifier: Apache-2.0
// Every loss and every optimizer, on one small stack, and what a batch says of its rows.
#include <bits/train.hpp>

#include <espalier/activation/tanh.hpp>
#include <espalier/dropout/bernoulli.hpp>
#include <espalier/layer/multi_sample.hpp>
#include <espalier/loss/binary_cross_entropy.hpp>
#include <espalier/loss/by_column.hpp>
#include <espalier/loss/column.hpp>
#include <espalier/loss/early_learning.hpp>
#include <espalier/loss/mean_squared_error.hpp>
#include <espalier/loss/soft_cross_entropy.hpp>
#include <espalier/optimizer/adam.hpp>
#include <espalier/optimizer/adamw.hpp>
#include <espalier/schedule/cosine.hpp>
#include <espalier/schedule/warm_up.hpp>

namespace bits {

namespace {

using small = sequence<input<width>, dense<8, activation::tanh, dropout::bernoulli<0.25>>, dense<classes>>;
using small_twice =
    sequence<input<width>, multi_sample<2, dense<8, activation::tanh, dropout::bernoulli<0.25>>, dense<classes>>>;

} // namespace

void train_losses(table& out) {
    namespace column = loss::column;
    namespace opt = optimizer;
    constexpr schedule::cosine falling{.from = 0.02, .to = 0.001, .steps = 18};
    constexpr schedule::warm_up warm{.steps = 5, .inner = falling};

    train<small>(out, "cross_entropy", loss::cross_entropy{.smoothing = 0.1}, opt::sgd{.learning_rate = warm},
                 {.tagged = true, .gaps = true});
    train<small>(out, "soft_cross_entropy", loss::soft_cross_entropy{.smoothing = 0.05},
                 opt::sgd{.learning_rate = 0.05, .momentum = 0.9}, {.targets = classes});
    train<small>(out, "binary_cross_entropy", loss::binary_cross_entropy{},
                 opt::sgd{.learning_rate = 0.1, .momentum = opt::nesterov{0.9}}, {.tagged = true, .targets = classes});
    train<small, double>(out, "mean_squared_error", loss::mean_squared_error{},
                         opt::adam{.learning_rate = 0.01, .weight_decay = 0.01}, {.gaps = true, .targets = classes});
    train<small>(out, "losses_of_columns",
                 loss::columns(column::binary{}, column::squared{.weight = 0.5}, column::squared{}, column::binary{},
                               column::squared{.weight = 2.0}),
                 opt::adamw{.learning_rate = warm, .weight_decay = 0.05}, {.targets = classes, .holes = true});
    train<small>(out, "early_learning", loss::early_learning{}, opt::adamw{.learning_rate = 0.01}, {.gaps = true});
    train<small_twice>(out, "early_learning_of_samples", loss::early_learning{.lambda = 1.0}, plain, {.tagged = true});
    // Target rows behind a head that runs several times.
    train<small_twice>(out, "mean_squared_error_of_samples", loss::mean_squared_error{}, plain,
                       {.tagged = true, .targets = classes});
}

} // namespace bits
