// SPDX-License-Identifier: Apache-2.0
// Every dispatch, and experts of different types.
#include <bits/train.hpp>

#include <espalier/activation/tanh.hpp>
#include <espalier/activation_penalty/flops.hpp>
#include <espalier/activation_penalty/l1.hpp>
#include <espalier/dropout/bernoulli.hpp>
#include <espalier/gate/comet.hpp>
#include <espalier/gate/dispatch.hpp>
#include <espalier/gate/softmax.hpp>
#include <espalier/gate/top_k.hpp>
#include <espalier/layer/batch_norm.hpp>
#include <espalier/layer/moe.hpp>
#include <espalier/layer/multi_sample.hpp>
#include <espalier/layer/residual.hpp>

namespace bits {

namespace {

template <class Mixture> using stack_of = sequence<input<width>, Mixture, dense<classes>>;

using expert = sequence<dense<6, activation::tanh, dropout::bernoulli<0.25>>, dense<7>>;
// Its terms are of its own rows, so every dispatch gathers them.
using penalised =
    sequence<dense<6, activation::tanh, activation_penalty::l1<0.01>, activation_penalty::flops<0.02>>, dense<7>>;
using top_2 = gate::top_k<4, 2>;
template <class Dispatch> using top_2_by = stack_of<moe<top_2, expert, Dispatch>>;

// Experts that have other layers, and a mixture whose rows pass where there is no room.
using different =
    stack_of<moe<gate::top_k<3, 2>, experts<dense<7>, penalised, sequence<residual<dense<width>>, dense<7>>>,
                 dispatch::compacted>>;
using passing = sequence<input<width>,
                         residual<moe<gate::top_k<4, 1>, dense<width, activation::tanh>,
                                      dispatch::capacity<0.75, dispatch::overflow::pass>>>,
                         dense<classes>>;
// Statistics in experts, and a mixture that runs several times.
using normal_experts = stack_of<moe<gate::softmax<3>, sequence<dense<6>, batch_norm<>, dense<7>>, dispatch::dense>>;
using many_samples =
    sequence<input<width>, multi_sample<2, moe<top_2, expert, dispatch::capacity<1.0>>, dense<classes>>>;

} // namespace

void train_dispatches(table& out) {
    train<top_2_by<dispatch::compacted>>(out, "dispatch_compacted", entropy, plain, {.gaps = true});
    train<top_2_by<dispatch::dense>>(out, "dispatch_dense", entropy, plain, {.gaps = true});
    train<top_2_by<dispatch::chunked<1>>>(out, "dispatch_chunked", entropy, plain, {.gaps = true});
    train<top_2_by<dispatch::capacity<1.0>>>(out, "dispatch_capacity", entropy, plain, {.gaps = true});
    train<top_2_by<dispatch::capacity<0.5, dispatch::overflow::drop, dispatch::bounds_rows::always>>>(
        out, "dispatch_capacity_always", entropy, plain);
    train<passing>(out, "dispatch_passing", entropy, plain);
    train<stack_of<moe<gate::comet<4, 2>, expert, dispatch::automatic<>>>>(out, "dispatch_automatic", entropy, plain);
    train<stack_of<moe<top_2, penalised, dispatch::dense>>>(out, "dispatch_dense_gathered", entropy, plain,
                                                            {.gaps = true});
    train<different>(out, "different_experts", entropy, plain);
    train<normal_experts>(out, "batch_norm_in_experts", entropy, plain);
    train<many_samples>(out, "mixture_of_samples", entropy, plain, {.tagged = true});
}

} // namespace bits
