// SPDX-License-Identifier: Apache-2.0
// Whole training steps, for what it costs that every number is looked at before it can enter a weight: compiled with
// and without ESPALIER_UNWATCHED, compared by finite.py.
#include "common.hpp"

#include <espalier/activation/relu.hpp>
#include <espalier/device/cpu/cpu.hpp>
#include <espalier/gate/comet.hpp>
#include <espalier/gate/top_k.hpp>
#include <espalier/layer/dense.hpp>
#include <espalier/layer/input.hpp>
#include <espalier/layer/moe.hpp>
#include <espalier/layer/sequence.hpp>
#include <espalier/loss/cross_entropy.hpp>
#include <espalier/network/network.hpp>
#include <espalier/optimizer/adam.hpp>
#include <espalier/train/training.hpp>

#include <memory>

namespace esp = espalier;
using bench::index_t;

namespace {

template <class Stack> struct steps {
    index_t batch;
    esp::network<Stack, esp::device::cpu, float> net;
    esp::training<decltype(net), esp::loss::cross_entropy, esp::optimizer::adam<>> train;
    std::vector<float> x;
    std::vector<std::int32_t> y;

    explicit steps(index_t rows)
        : batch(rows), net(esp::seed{42}, rows), train(net, {}, {}),
          x(static_cast<std::size_t>(rows * net.input_width)), y(static_cast<std::size_t>(rows)) {
        bench::fill_normal(x.data(), static_cast<index_t>(x.size()), 1);
        std::mt19937 generator(3);
        for (auto& label : y)
            label = static_cast<std::int32_t>(generator() % 10);
    }
    void step() {
        esp::rows tags;
        tags.count = batch;
        tags.label = y.data();
        train.step({esp::contiguous_view<float const>(x.data(), batch, net.input_width), tags, {}});
    }
};

template <class Stack> void add(std::string const& name, index_t batch) {
    auto const s = std::make_shared<steps<Stack>>(batch);
    bench::add("finite/" + name + "_b" + std::to_string(batch) + "/ours", 0.0, [s] { s->step(); });
}

template <int In, int Hidden>
using dense = esp::sequence<esp::input<In>, esp::dense<Hidden, esp::activation::relu>, esp::dense<10>>;
template <class Gate, int Width, class... Dispatch>
using mixture = esp::sequence<esp::input<Width>, esp::moe<Gate, esp::dense<Width, esp::activation::relu>, Dispatch...>,
                              esp::dense<10>>;

} // namespace

int main(int argc, char** argv) {
    add<dense<64, 64>>("64-64-10", 64);
    add<dense<784, 256>>("784-256-10", 128);
    add<mixture<esp::gate::top_k<64, 2>, 64, esp::dispatch::compacted>>("top_k_64_2_64-64-10", 512);
    add<mixture<esp::gate::comet<64, 4>, 64>>("comet_64_4_64-64-10", 512);
    // Ratios only: no roof is measured.
    benchmark::Initialize(&argc, argv);
    benchmark::RunSpecifiedBenchmarks();
    benchmark::Shutdown();
    return 0;
}
