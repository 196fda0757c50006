// SPDX-License-Identifier: Apache-2.0
// expect: a batch_norm or a search of a gate learns from all samples of a batch
// expect: or out of the expert or the inner multi_sample
// Running statistics of samples within samples.
#include <espalier/device/cpu/cpu.hpp>
#include <espalier/dropout/bernoulli.hpp>
#include <espalier/layer/batch_norm.hpp>
#include <espalier/layer/dense.hpp>
#include <espalier/layer/elementwise.hpp>
#include <espalier/layer/input.hpp>
#include <espalier/layer/multi_sample.hpp>
#include <espalier/layer/sequence.hpp>
#include <espalier/network/network.hpp>
using namespace espalier;
using drop = elementwise<dropout::bernoulli<0.5>>;
#ifdef ESPALIER_POSITIVE_TWIN
using stack = sequence<input<16>, multi_sample<2, drop, batch_norm<>, multi_sample<2, drop, dense<4>>>>;
#else
using stack = sequence<input<16>, multi_sample<2, drop, multi_sample<2, drop, batch_norm<>, dense<4>>>>;
#endif
network<stack, device::cpu, float> make() {
    return network<stack, device::cpu, float>(seed{1}, 8);
}
