// SPDX-License-Identifier: Apache-2.0
// A whole training step on a GPU: forward, loss, backward, Adam, with dropout, put on a stream without waiting.
// Floor: the products at the rate that this run's large products reach, plus the update's 28 bytes a weight at the
// bandwidth of a copy. A small network's step is bound by its launches instead, which the floor leaves out.
#include "bench.hpp"

#include <espalier/activation/relu.hpp>
#include <espalier/dropout/bernoulli.hpp>
#include <espalier/layer/dense.hpp>
#include <espalier/layer/input.hpp>
#include <espalier/layer/sequence.hpp>
#include <espalier/loss/cross_entropy.hpp>
#include <espalier/network/network.hpp>
#include <espalier/optimizer/adam.hpp>
#include <espalier/train/training.hpp>

#include <memory>

namespace {

namespace esp = espalier;
using namespace gpu_bench;

constexpr int classes = 10;

template <class T, int In, int... Hidden> struct model {
    using layers =
        esp::sequence<esp::input<In>, esp::dense<Hidden, esp::activation::relu, esp::dropout::bernoulli<0.2>>...,
                      esp::dense<classes>>;
    index_t batch;
    esp::network<layers, esp::device::cuda, T> net;
    esp::training<decltype(net), esp::loss::cross_entropy, esp::optimizer::adam<>> train;
    device_array<T> x;
    device_array<std::int32_t> y;

    model(cudaStream_t stream, index_t rows)
        : batch(rows), net(esp::seed{42}, rows, std::make_unique<esp::device::cuda>(stream)), train(net, {}, {}),
          x(normal<T>(rows * In, 1)), y(rows) {
        std::mt19937 generator(3);
        std::vector<std::int32_t> labels(static_cast<std::size_t>(rows));
        for (auto& label : labels)
            label = static_cast<std::int32_t>(generator() % classes);
        y.copy_from_host(labels.data(), rows);
    }
    void step() {
        esp::rows tags;
        tags.count = batch;
        tags.label = y.data();
        train.enqueue({esp::contiguous_view<T const>(x.data(), batch, In), tags, {}});
    }
};

template <class T, int In, int... Hidden>
void measure_network(bench_device& device, report& results, index_t batch, std::string const& type, double tflops) {
    model<T, In, Hidden...> m(device.stream(), batch);
    std::string name = std::to_string(In);
    ((name += "-" + std::to_string(Hidden)), ...);
    name += "-" + std::to_string(classes) + "_b" + std::to_string(batch) + "_" + type;
    m.step();
    double const first = m.train.result().loss;
    for (int i = 0; i < 100; ++i)
        m.step();
    double const last = m.train.result().loss;
    // One batch again and again is learned.
    if (!(last < first))
        throw std::runtime_error(name + ": the loss went from " + std::to_string(first) + " to " +
                                 std::to_string(last));
    double const ns = median_ns(device.stream(), [&](int) { m.step(); });
    double weights = 0.0, products = 0.0, before = In;
    int layer = 0;
    for (double const width : {static_cast<double>(Hidden)..., static_cast<double>(classes)}) {
        weights += (before + 1.0) * width;
        products += (layer++ ? 6.0 : 4.0) * before * width; // the first layer's input has no gradient
        before = width;
    }
    results.add({"step", name, ns, 0.0,
                 1e-3 * products * static_cast<double>(batch) / tflops + results.floor_of(28.0 * weights)});
}

void measure(bench_device& device, report& results) {
    double const narrow = product_rate<esp::bfloat16>(device, 8192), wide = product_rate<float>(device, 4096);
    std::printf("products: bf16 %.0f TFLOP/s, float %.1f TFLOP/s\n", narrow, wide);
    results.roof("product_bf16_tflops", narrow);
    results.roof("product_f32_tflops", wide);
    measure_network<float, 784, 256>(device, results, 128, "f32", wide);
    measure_network<float, 64, 64>(device, results, 64, "f32", wide);
    measure_network<esp::bfloat16, 1024, 4096, 4096>(device, results, 8192, "bf16", narrow);
}

} // namespace

int main(int count, char** arguments) {
    return run(measure, count, arguments);
}
