// SPDX-License-Identifier: Apache-2.0
// Wall time of a training step on one, two and more threads: what threads bring wide layers, and that they cost narrow
// ones nothing.
#include "common.hpp"

#include <espalier/activation/relu.hpp>
#include <espalier/device/cpu/cpu.hpp>
#include <espalier/layer/dense.hpp>
#include <espalier/layer/input.hpp>
#include <espalier/layer/sequence.hpp>
#include <espalier/loss/cross_entropy.hpp>
#include <espalier/network/network.hpp>
#include <espalier/optimizer/adam.hpp>
#include <espalier/train/training.hpp>

#include <memory>
#include <thread>

namespace esp = espalier;
using bench::index_t;

namespace {

constexpr index_t batch = 256;

template <int Width> struct steps {
    using stack = esp::sequence<esp::input<Width>, esp::dense<Width, esp::activation::relu>, esp::dense<Width>>;
    esp::network<stack, esp::device::cpu, float> net;
    esp::training<decltype(net), esp::loss::cross_entropy, esp::optimizer::adam<>> train{net, {}, {}};
    std::vector<float> x = std::vector<float>(static_cast<std::size_t>(batch * Width));
    std::vector<std::int32_t> y = std::vector<std::int32_t>(batch);

    explicit steps(int threads) : net(esp::seed{42}, batch, std::make_unique<esp::device::cpu>(threads)) {
        bench::fill_normal(x.data(), batch * Width, 1);
        for (index_t i = 0; i < batch; ++i)
            y[static_cast<std::size_t>(i)] = static_cast<std::int32_t>(i % Width);
    }
    void step() {
        esp::rows tags;
        tags.count = batch;
        tags.label = y.data();
        train.step({esp::contiguous_view<float const>(x.data(), batch, Width), tags, {}});
    }
};

template <int Width> void add() {
    int const most = static_cast<int>(std::thread::hardware_concurrency());
    for (int threads = 1; threads <= (most > 2 ? most : 2); threads *= 2) {
        auto const s = std::make_shared<steps<Width>>(threads);
        std::string const name =
            "threads/" + std::to_string(Width) + "_b" + std::to_string(batch) + "/" + std::to_string(threads);
        benchmark::RegisterBenchmark(name.c_str(), [s](benchmark::State& state) {
            for (auto _ : state)
                s->step();
            state.counters["worth_cutting"] = static_cast<double>(s->net.runner().device().worth_cutting());
        })->UseRealTime();
    }
}

} // namespace

int main(int argc, char** argv) {
    add<64>();
    add<128>();
    add<256>();
    add<512>();
    add<1024>();
    return bench::run(argc, argv);
}
