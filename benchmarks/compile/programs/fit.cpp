// SPDX-License-Identifier: Apache-2.0
// Measured as it is compiled (benchmarks/compile): a program that reads a table, describes, fits with validation and
// saves.
#include <espalier/activation/relu.hpp>
#include <espalier/data/csv.hpp>
#include <espalier/device/cpu/cpu.hpp>
#include <espalier/dropout/bernoulli.hpp>
#include <espalier/gate/top_k.hpp>
#include <espalier/io/checkpoint.hpp>
#include <espalier/layer/dense.hpp>
#include <espalier/layer/input.hpp>
#include <espalier/layer/moe.hpp>
#include <espalier/layer/sequence.hpp>
#include <espalier/loss/cross_entropy.hpp>
#include <espalier/network/describe.hpp>
#include <espalier/network/network.hpp>
#include <espalier/optimizer/adamw.hpp>
#include <espalier/penalty/l1.hpp>
#include <espalier/train/fit.hpp>

#include <cstdio>

namespace esp = espalier;
using net = esp::sequence<
    esp::input<64>, esp::dense<64, esp::activation::relu, esp::dropout::bernoulli<0.1>, esp::penalty::l1<1e-5>>,
    esp::moe<esp::gate::top_k<5, 2>, esp::sequence<esp::dense<32, esp::activation::relu>, esp::dense<64>>>,
    esp::dense<10>>;
int main() {
    esp::data_set digits = esp::read_csv("examples/data/digits.csv.gz");
    esp::scale(digits, 1.0 / 16);
    auto const [train, test] = esp::split(digits, 1347);
    std::fputs(esp::describe<net>().c_str(), stdout);
    esp::network<net, esp::device::cpu, float> model{esp::seed{42}};
    esp::history const history =
        esp::fit(model, esp::loss::cross_entropy{}, esp::optimizer::adamw{.learning_rate = 1e-3}, train,
                 {.epochs = 5, .batch = 64, .validation = test});
    std::printf("test accuracy %.4f\n", history.last("validation_accuracy"));
    esp::save(model, "digits.safetensors");
}
