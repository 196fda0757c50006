// SPDX-License-Identifier: Apache-2.0
// expect: is for a group or role that no trained tensor of the network has
// expect: group_named<.h., .e., .a., .t.>
// expect: put in_group<"head"_name> into the list of a layer
// nvcc: skip training is host code
// The layer says "head"; layers with operators say what their tensors are too.
#include <espalier/device/cpu/cpu.hpp>
#include <espalier/layer/dense.hpp>
#include <espalier/layer/in_group.hpp>
#include <espalier/layer/input.hpp>
#include <espalier/layer/sequence.hpp>
#include <espalier/loss/mean_squared_error.hpp>
#include <espalier/network/network.hpp>
#include <espalier/optimizer/adam.hpp>
#include <espalier/optimizer/by_group.hpp>
#include <espalier/optimizer/sgd.hpp>
#include <espalier/train/fit.hpp>
#include <espalier/weight/low_rank.hpp>
#include <espalier/weight/low_rank_adapter.hpp>
using namespace espalier;
using namespace espalier::literals;
using stack = sequence<input<4>, dense<3, weight::low_rank_adapter<2>>, dense<3, weight::low_rank<2>>,
                       dense<2, in_group<"head"_name>>>;
void train(network<stack, device::cpu, float>& model, data_set const& data) {
#ifdef ESPALIER_POSITIVE_TWIN
    auto const head = optimizer::of<"head"_name>(optimizer::sgd{.learning_rate = 0.1});
#else
    auto const head = optimizer::of<"heat"_name>(optimizer::sgd{.learning_rate = 0.1});
#endif
    fit(model, loss::mean_squared_error{}, optimizer::by_group{head, optimizer::rest(optimizer::adam{})}, data);
}
