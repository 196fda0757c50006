// SPDX-License-Identifier: Apache-2.0
// expect: no entry of optimizer::by_group is for this tensor
// expect: given<espalier::role::kernel>
// expect: group_named<>
// expect: add esp::optimizer::rest
// nvcc: skip training is host code
// The kernel of the first layer is of no group and has no optimizer.
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
using namespace espalier;
using namespace espalier::literals;
using stack = sequence<input<4>, dense<3>, dense<2, in_group<"head"_name>>>;
void train(network<stack, device::cpu, float>& model, data_set const& data) {
    auto const head = optimizer::of<"head"_name>(optimizer::sgd{.learning_rate = 0.1});
    auto const biases = optimizer::of<role::bias>(optimizer::sgd{.learning_rate = 0.01});
#ifdef ESPALIER_POSITIVE_TWIN
    fit(model, loss::mean_squared_error{}, optimizer::by_group{head, biases, optimizer::rest(optimizer::adam{})}, data);
#else
    fit(model, loss::mean_squared_error{}, optimizer::by_group{head, biases}, data);
#endif
}
