// SPDX-License-Identifier: Apache-2.0
// Layers that hold layers, every dropout, and running statistics.
#include <bits/train.hpp>

#include <espalier/activation/all.hpp>
#include <espalier/activation_penalty/l1.hpp>
#include <espalier/dropout/bernoulli.hpp>
#include <espalier/dropout/drop_path.hpp>
#include <espalier/dropout/none.hpp>
#include <espalier/initial/constant.hpp>
#include <espalier/initial/xavier_uniform.hpp>
#include <espalier/layer/batch_norm.hpp>
#include <espalier/layer/elementwise.hpp>
#include <espalier/layer/everywhere.hpp>
#include <espalier/layer/in_group.hpp>
#include <espalier/layer/multi_sample.hpp>
#include <espalier/layer/parallel.hpp>
#include <espalier/layer/residual.hpp>
#include <espalier/layer/slice.hpp>
#include <espalier/optimizer/adam.hpp>
#include <espalier/penalty/l2.hpp>

namespace bits {

namespace {

using namespace espalier::literals;
namespace act = espalier::activation;

// Random bits of every kind of branch, and statistics that are learned.
using branches =
    sequence<input<width>, batch_norm<>, residual<dense<20, act::silu, dropout::bernoulli<0.25>>, dense<width>>,
             residual<dense<width, act::tanh, dropout::drop_path<0.3>>>,
             parallel<merge::concatenate, sequence<slice<0, 5>, dense<6, act::relu>>,
                      sequence<slice<5, 7>, elementwise<act::sigmoid, dropout::bernoulli<0.125>>>>,
             parallel<merge::add, dense<10, initial::constant<0.0625>>, sequence<dense<3, dropout::none>, dense<10>>>,
             batch_norm<batch_norm_options{.momentum = 0.25}>, dense<classes, in_group<"head"_name>>>;

using samples_of_a_head =
    sequence<input<width>, dense<11, act::tanh>,
             multi_sample<3, dense<8, act::relu, dropout::bernoulli<0.5>, activation_penalty::l1<0.01>>, batch_norm<>,
                          dense<classes>>>;

using everything_inherited =
    everywhere<sequence<input<width>, dense<9>, everywhere<residual<dense<9, act::relu>>, dropout::bernoulli<0.25>>,
                        dense<classes, act::identity>>,
               act::tanh, penalty::l2<0.01>, initial::xavier_uniform>;

} // namespace

void train_combinators(table& out) {
    train<branches>(out, "branches", entropy, optimizer::adam{.learning_rate = 0.01});
    train<branches, double>(out, "branches_double", entropy, optimizer::adam{.learning_rate = 0.01}, {.gaps = true});
    train<samples_of_a_head>(out, "multi_sample", entropy, plain, {.tagged = true, .gaps = true});
    train<everything_inherited>(out, "everywhere", entropy, plain);
}

} // namespace bits
