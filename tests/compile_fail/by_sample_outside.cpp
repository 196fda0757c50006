// SPDX-License-Identifier: Apache-2.0
// expect: a by_sample of the stack stands in no multi_sample
// Rates for samples that there are none of.
#include <espalier/device/cpu/cpu.hpp>
#include <espalier/dropout/bernoulli.hpp>
#include <espalier/layer/by_sample.hpp>
#include <espalier/layer/dense.hpp>
#include <espalier/layer/elementwise.hpp>
#include <espalier/layer/input.hpp>
#include <espalier/layer/multi_sample.hpp>
#include <espalier/layer/sequence.hpp>
#include <espalier/network/network.hpp>
using namespace espalier;
using rates = by_sample<elementwise<dropout::bernoulli<0.2>>, elementwise<dropout::bernoulli<0.5>>>;
#ifdef ESPALIER_POSITIVE_TWIN
using stack = sequence<input<16>, multi_sample<2, rates, dense<4>>>;
#else
using stack = sequence<input<16>, rates, dense<4>>;
#endif
network<stack, device::cpu, float> make() {
    return network<stack, device::cpu, float>(seed{1}, 8);
}
