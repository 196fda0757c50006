// SPDX-License-Identifier: Apache-2.0
// expect: what stands in the place of a network is none
// expect c++: given_type<.*sequence<
// expect: the last argument of a network is the type of its numbers
// expect: a device has host_memory, threads
// expect: the argument of device::basic_cpu is a product
// nvcc: skip training is host code
// A stack where a network is meant; a network with its arguments in another order, in whole numbers, or with another
// kind of product.
#include <espalier/activation/relu.hpp>
#include <espalier/device/cpu/cpu.hpp>
#include <espalier/io/checkpoint.hpp>
#include <espalier/layer/dense.hpp>
#include <espalier/layer/input.hpp>
#include <espalier/layer/sequence.hpp>
#include <espalier/loss/mean_squared_error.hpp>
#include <espalier/network/network.hpp>
#include <espalier/optimizer/sgd.hpp>
#include <espalier/train/fit.hpp>
using namespace espalier;
using stack = sequence<input<4>, dense<2>>;
#ifdef ESPALIER_POSITIVE_TWIN
using model_type = network<stack, device::cpu, float>;
using in_numbers = network<stack, device::cpu, double>;
using in_order = network<stack, device::cpu>;
using product_type = product::direct;
#else
using model_type = stack;
using in_numbers = network<stack, device::cpu, int>;
using in_order = network<device::cpu, stack>;
using product_type = activation::relu;
#endif
void train(model_type& model, data_set const& data) {
    fit(model, loss::mean_squared_error{}, optimizer::sgd{.learning_rate = 0.1}, data);
    save(model, "model.safetensors");
}
index_t capacities(in_numbers const& one, in_order const& other) {
    return one.capacity() + other.capacity() + static_cast<index_t>(sizeof(device::basic_cpu<product_type>));
}
