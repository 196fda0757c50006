// SPDX-License-Identifier: Apache-2.0
// A user's program that trains, saves, loads and predicts, and prints the bits of what it found: the same whether it is
// linked with the library or compiled from the headers alone, for each instruction set.
#include <espalier/activation/relu.hpp>
#include <espalier/data/table.hpp>
#include <espalier/device/cpu/cpu.hpp>
#include <espalier/dropout/bernoulli.hpp>
#include <espalier/io/checkpoint.hpp>
#include <espalier/layer/dense.hpp>
#include <espalier/layer/input.hpp>
#include <espalier/layer/sequence.hpp>
#include <espalier/loss/cross_entropy.hpp>
#include <espalier/network/describe.hpp>
#include <espalier/network/network.hpp>
#include <espalier/optimizer/adamw.hpp>
#include <espalier/train/fit.hpp>

#include <cstdint>
#include <cstdio>
#include <cstring>
#include <string>
#include <vector>

namespace esp = espalier;
using net =
    esp::sequence<esp::input<20>, esp::dense<50, esp::activation::relu, esp::dropout::bernoulli<0.1>>, esp::dense<7>>;

int main(int, char** argv) {
    esp::data_set data;
    data.count = 200;
    data.width = 20;
    for (int i = 0; i < 200 * 20; ++i)
        data.features.push_back(static_cast<float>((i * 7919 + i / 20 * 104729) % 1000) * 0.001f - 0.5f);
    for (int i = 0; i < 200; ++i)
        data.labels.push_back(i * i % 7);

    std::string const file = std::string(argv[0]) + ".safetensors";
    esp::network<net, esp::device::cpu, float> model{esp::seed{3}, 64};
    esp::history const record = esp::fit(model, esp::loss::cross_entropy{}, esp::optimizer::adamw{}, data,
                                         {.epochs = 3, .batch = 64, .validation = data, .progress = false});
    esp::save(model, file);
    esp::network<net, esp::device::cpu, float> copy{esp::seed{4}, 64};
    esp::load(copy, file);

    if (esp::history::from_json(record.to_json(), "record").to_csv() != record.to_csv()) {
        std::puts("a history that was written and read is another one");
        return 1;
    }
    std::vector<float> const outputs = esp::predict(copy, data);
    if (outputs != esp::predict(model, data)) {
        std::puts("a network that was saved and loaded predicts something else");
        return 1;
    }
    std::uint64_t hash = 14695981039346656037u;
    for (float const x : outputs) {
        std::uint32_t bits;
        std::memcpy(&bits, &x, sizeof bits);
        hash = (hash ^ bits) * 1099511628211u;
    }
    std::printf("%zu bytes described, loss %.17g, outputs %016llx\n", esp::describe<net>().size(),
                record.last("validation_loss"), static_cast<unsigned long long>(hash));
}
