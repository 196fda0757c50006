// SPDX-License-Identifier: Apache-2.0
// expect: a batch_norm or a search of a gate learns from all samples of a batch
// expect: put that layer before the multi_sample, or out of the expert
// Running statistics inside an expert whose rows differ from sample to sample.
#include <espalier/device/cpu/cpu.hpp>
#include <espalier/dropout/bernoulli.hpp>
#include <espalier/gate/top_k.hpp>
#include <espalier/layer/batch_norm.hpp>
#include <espalier/layer/dense.hpp>
#include <espalier/layer/elementwise.hpp>
#include <espalier/layer/input.hpp>
#include <espalier/layer/moe.hpp>
#include <espalier/layer/multi_sample.hpp>
#include <espalier/layer/sequence.hpp>
#include <espalier/network/network.hpp>
using namespace espalier;
#ifdef ESPALIER_POSITIVE_TWIN
using expert = sequence<dense<4>, dense<4>>;
#else
using expert = sequence<dense<4>, batch_norm<>>;
#endif
using stack =
    sequence<input<16>, multi_sample<2, elementwise<dropout::bernoulli<0.5>>, moe<gate::top_k<4, 2>, expert>>>;
network<stack, device::cpu, float> make() {
    return network<stack, device::cpu, float>(seed{1}, 8);
}
