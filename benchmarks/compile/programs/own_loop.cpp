// SPDX-License-Identifier: Apache-2.0
// Measured as it is compiled (benchmarks/compile): a program with its own loop over training steps.
#include <espalier/activation/relu.hpp>
#include <espalier/device/cpu/cpu.hpp>
#include <espalier/io/checkpoint.hpp>
#include <espalier/layer/dense.hpp>
#include <espalier/layer/input.hpp>
#include <espalier/layer/sequence.hpp>
#include <espalier/loss/cross_entropy.hpp>
#include <espalier/network/describe.hpp>
#include <espalier/network/network.hpp>
#include <espalier/optimizer/adam.hpp>
#include <espalier/train/training.hpp>

#include <cstdio>

namespace esp = espalier;
using net = esp::sequence<esp::input<16>, esp::dense<64, esp::activation::relu>, esp::dense<32, esp::activation::relu>,
                          esp::dense<10>>;
int main() {
    std::fputs(esp::describe<net>().c_str(), stdout);
    esp::network<net, esp::device::cpu, float> model{esp::seed{1}, 32};
    esp::training train{model, esp::loss::cross_entropy{}, esp::optimizer::adam{}};
    float x[32 * 16] = {};
    std::int32_t y[32] = {};
    esp::rows tags;
    tags.count = 32;
    tags.label = y;
    for (int i = 0; i < 100; ++i)
        train.step({esp::contiguous_view<float const>(x, 32, 16), tags, {}});
    esp::save(model, "own.safetensors");
}
