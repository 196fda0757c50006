// SPDX-License-Identifier: Apache-2.0
// expect: a layer behind a multi_sample looks its rows up by label, group or key
// expect: put that layer before the multi_sample or into it
// A gate that reads the rows' keys, of which there are fewer than rows.
#include <espalier/device/cpu/cpu.hpp>
#include <espalier/dropout/bernoulli.hpp>
#include <espalier/gate/hash.hpp>
#include <espalier/gate/top_k.hpp>
#include <espalier/layer/dense.hpp>
#include <espalier/layer/elementwise.hpp>
#include <espalier/layer/input.hpp>
#include <espalier/layer/moe.hpp>
#include <espalier/layer/multi_sample.hpp>
#include <espalier/layer/sequence.hpp>
#include <espalier/network/network.hpp>
using namespace espalier;
#ifdef ESPALIER_POSITIVE_TWIN
using router = gate::top_k<4, 1>;
#else
using router = gate::hash<4, 100>;
#endif
using stack = sequence<input<16>, multi_sample<2, elementwise<dropout::bernoulli<0.5>>>, moe<router, dense<4>>>;
network<stack, device::cpu, float> make() {
    return network<stack, device::cpu, float>(seed{1}, 8);
}
