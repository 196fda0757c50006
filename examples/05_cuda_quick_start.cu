// SPDX-License-Identifier: Apache-2.0
// Lesson 5: the stack of lesson 1 on a GPU. The type is the same; memory is the device's, and steps are put on a stream
// without waiting. Trains in float and with activations and products in bfloat16 (weights stay float), and shows that
// two runs are bitwise equal. Ends with status 77 where there is no GPU.
//
//     example_05_cuda_quick_start [--quick]
#include <espalier/activation/relu.hpp>
#include <espalier/data/csv.hpp>
#include <espalier/device/cuda/cuda.hpp>
#include <espalier/dropout/bernoulli.hpp>
#include <espalier/layer/dense.hpp>
#include <espalier/layer/input.hpp>
#include <espalier/layer/sequence.hpp>
#include <espalier/loss/cross_entropy.hpp>
#include <espalier/optimizer/adamw.hpp>
#include <espalier/penalty/l2.hpp>
#include <espalier/train/training.hpp>

#include <cuda_runtime_api.h>

#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <exception>
#include <vector>

#ifndef ESPALIER_EXAMPLE_DATA
#define ESPALIER_EXAMPLE_DATA "examples/data"
#endif

namespace {

namespace esp = espalier;

using net = esp::sequence<esp::input<64>,
                          esp::dense<256, esp::activation::relu, esp::dropout::bernoulli<0.2>, esp::penalty::l2<1e-4>>,
                          esp::dense<10>>;
template <class T> using model_of = esp::network<net, esp::device::cuda, T>;

constexpr esp::index_t batch = 64;

/// A data set in the memory of the GPU, features in the type of the network's activations.
template <class T> struct on_device {
    explicit on_device(esp::data_set const& data)
        : features(data.count * data.width), labels(data.count), count(data.count), width(data.width) {
        std::vector<T> converted;
        for (float const value : data.features)
            converted.push_back(static_cast<T>(value));
        features.copy_from_host(converted.data(), features.size());
        labels.copy_from_host(data.labels.data(), labels.size());
    }
    esp::matrix_view<T const> rows(esp::index_t first, esp::index_t n) const {
        return {features.data() + first * width, n, width, width};
    }

    esp::cuda::buffer<T> features;
    esp::cuda::buffer<std::int32_t> labels;
    esp::index_t count;
    esp::index_t width;
};

struct result {
    std::vector<float> outputs; ///< of the test rows
    double loss = 0.0;          ///< of the last step
    double step_us = 0.0;
};

template <class T> result train(esp::data_set const& train_set, esp::data_set const& test_set, int epochs) {
    on_device<T> const data(train_set), test(test_set);
    model_of<T> model{esp::seed{42}, batch};
    esp::training trainer{model, esp::loss::cross_entropy{}, esp::optimizer::adamw{.learning_rate = 1e-3}};
    result found;
    long steps = 0;
    auto const start = std::chrono::steady_clock::now();
    for (int e = 0; e < epochs; ++e) {
        for (esp::index_t r = 0; r + batch <= data.count; r += batch, ++steps) {
            esp::rows tags; // every pointer in it is a device pointer
            tags.count = batch;
            tags.label = data.labels.data() + r;
            trainer.enqueue({data.rows(r, batch), tags, {}}); // the host goes on at once
        }
        found.loss = trainer.result().loss; // waits, and throws what the device found wrong with a batch
    }
    found.step_us =
        std::chrono::duration<double, std::micro>(std::chrono::steady_clock::now() - start).count() / double(steps);

    esp::cuda::buffer<T> y(test.count * 10);
    model.predict(test.rows(0, test.count), esp::contiguous_view(y.data(), test.count, 10));
    std::vector<T> outputs(static_cast<std::size_t>(y.size()));
    y.copy_to_host(outputs.data(), y.size());
    for (T const value : outputs)
        found.outputs.push_back(static_cast<float>(value));
    return found;
}

double accuracy_of(std::vector<float> const& outputs, esp::data_set const& data) {
    esp::index_t right = 0;
    for (esp::index_t i = 0; i < data.count; ++i) {
        float const* const row = outputs.data() + i * 10;
        int best = 0;
        for (int c = 1; c < 10; ++c)
            if (row[c] > row[best]) best = c;
        right += best == data.labels[static_cast<std::size_t>(i)];
    }
    return static_cast<double>(right) / static_cast<double>(data.count);
}

int run(bool quick) {
    esp::data_set digits = esp::read_csv(ESPALIER_EXAMPLE_DATA "/digits.csv.gz");
    esp::scale(digits, 1.0 / 16);
    auto const [train_set, test_set] = esp::split(digits, digits.count * 3 / 4);
    int const epochs = quick ? 3 : 20;

    result const first = train<float>(train_set, test_set, epochs);
    result const again = train<float>(train_set, test_set, epochs);
    result const narrow = train<esp::bfloat16>(train_set, test_set, epochs);

    bool const repeatable = first.outputs == again.outputs;
    double const accuracy = accuracy_of(first.outputs, test_set), of_narrow = accuracy_of(narrow.outputs, test_set);
    std::printf("float:    test accuracy %.4f after %d epochs, loss %.4f, %.0f us a step\n", accuracy, epochs,
                first.loss, again.step_us);
    std::printf("bfloat16: test accuracy %.4f after %d epochs, loss %.4f, %.0f us a step\n", of_narrow, epochs,
                narrow.loss, narrow.step_us);
    std::printf("two runs in float are %s\n", repeatable ? "bitwise equal" : "DIFFERENT");
    double const least = quick ? 0.7 : 0.85;
    return repeatable && accuracy > least && of_narrow > least ? 0 : 1;
}

} // namespace

int main(int argc, char** argv) {
    int devices = 0;
    if (cudaGetDeviceCount(&devices) != cudaSuccess || devices == 0) {
        std::puts("no GPU here: nothing to show");
        return 77;
    }
    try {
        return run(argc > 1 && std::strcmp(argv[1], "--quick") == 0);
    } catch (std::exception const& problem) {
        std::fprintf(stderr, "cuda quick start: %s\n", problem.what());
        return 1;
    }
}
