// SPDX-License-Identifier: Apache-2.0
// Layers that the CPU runs with loops of its own, on a GPU: a few steps of training and a prediction of whole stacks
// against the same stacks on the CPU, and the same bits for every number of blocks.
// The loops of the CPU are host code throughout; nvcc would have them callable from device code.
#pragma nv_diag_suppress 20011, 20013, 20014, 20015

#include "verify.hpp"

#include <espalier/activation/relu.hpp>
#include <espalier/activation/tanh.hpp>
#include <espalier/activation_penalty/l1.hpp>
#include <espalier/device/cpu/cpu.hpp>
#include <espalier/dropout/bernoulli.hpp>
#include <espalier/gate/softmax.hpp>
#include <espalier/gate/top_k.hpp>
#include <espalier/layer/batch_norm.hpp>
#include <espalier/layer/dense.hpp>
#include <espalier/layer/input.hpp>
#include <espalier/layer/moe.hpp>
#include <espalier/layer/multi_sample.hpp>
#include <espalier/layer/sequence.hpp>
#include <espalier/loss/cross_entropy.hpp>
#include <espalier/optimizer/sgd.hpp>
#include <espalier/train/training.hpp>

namespace {

using namespace espalier;
using namespace gpu_tests;

constexpr index_t width = 12;
constexpr int classes = 5;
constexpr std::uint32_t steps = 3;

/// What a few steps leave: the terms of every step, weights, state, outputs of a prediction.
struct trace {
    std::vector<double> terms;
    std::vector<float> weights, state, outputs;
};

std::vector<std::int32_t> labels_of(index_t n) {
    std::vector<std::int32_t> label;
    for (index_t i = 0; i < n; ++i)
        label.push_back(static_cast<std::int32_t>(i * 7 % classes));
    return label;
}

template <class Stack> trace on_cpu(index_t n) {
    network<Stack, device::cpu, float> net{seed{5}, n};
    training run(net, loss::cross_entropy{}, optimizer::sgd{.learning_rate = 0.2});
    trace t;
    auto const label = labels_of(n);
    rows tags;
    tags.count = n;
    tags.label = label.data();
    for (std::uint32_t i = 0; i < steps; ++i) {
        auto const x = numbers(n * width, 10 + i);
        run.step({matrix_view<float const>{x.data(), n, width, width}, tags, {}});
        t.terms.insert(t.terms.end(), run.terms().begin(), run.terms().end());
    }
    auto const copy = [](auto const& from) { return std::vector<float>(from.data(), from.data() + from.size()); };
    t.weights = copy(net.values().weights());
    t.state = copy(net.values().state());
    auto const x = numbers(n * width, 9);
    t.outputs.resize(static_cast<std::size_t>(n * classes));
    net.predict(matrix_view<float const>{x.data(), n, width, width},
                matrix_view<float>{t.outputs.data(), n, classes, classes});
    return t;
}

template <class Stack> trace on_gpu(index_t n, index_t blocks) {
    network<Stack, device::cuda, float> net{seed{5}, n};
    net.runner().device().set_most_blocks(blocks);
    training run(net, loss::cross_entropy{}, optimizer::sgd{.learning_rate = 0.2});
    trace t;
    on_device<std::int32_t> label(labels_of(n));
    rows tags;
    tags.count = n;
    tags.label = label.data();
    for (std::uint32_t i = 0; i < steps; ++i) {
        on_device<float> x(numbers(n * width, 10 + i));
        run.step({matrix_view<float const>{x.data(), n, width, width}, tags, {}});
        t.terms.insert(t.terms.end(), run.terms().begin(), run.terms().end());
    }
    auto const copy = [](auto const& from) {
        std::vector<float> v(static_cast<std::size_t>(from.size()));
        from.copy_to_host(v.data(), from.size());
        return v;
    };
    t.weights = copy(net.values().weights());
    t.state = copy(net.values().state());
    on_device<float> x(numbers(n * width, 9)), y(std::vector<float>(static_cast<std::size_t>(n * classes)));
    net.predict(matrix_view<float const>{x.data(), n, width, width}, matrix_view<float>{y.data(), n, classes, classes});
    net.runner().device().wait();
    t.outputs = y.back();
    return t;
}

template <class Stack> void check(char const* name) {
    for (index_t n : {index_t{1}, index_t{33}, index_t{600}}) {
        if (short_run && n != 33) continue;
        std::string const what = std::string(name) + ", " + std::to_string(n) + " rows: ";
        trace const host = on_cpu<Stack>(n);
        trace first;
        for (index_t blocks : block_counts) {
            trace const device = on_gpu<Stack>(n, blocks);
            if (first.weights.empty()) first = device;
            std::string const shape = what + std::to_string(blocks) + " blocks change the ";
            expect(same_bits(device.terms, first.terms), shape + "terms");
            expect(same_bits(device.weights, first.weights), shape + "weights");
            expect(same_bits(device.state, first.state), shape + "state");
            expect(same_bits(device.outputs, first.outputs), shape + "outputs");
        }
        expect(distance(first.terms, host.terms) < 2e-5, what + "terms");
        expect(distance(first.weights, host.weights) < 1e-4, what + "weights");
        expect(distance(first.state, host.state) < 1e-4, what + "state");
        expect(distance(first.outputs, host.outputs) < 3e-4, what + "outputs");
    }
}

using plain = dense<16, activation::tanh, dropout::bernoulli<0.25>>;
using head = dense<classes>;

void tests() {
    check<sequence<input<width>, plain, batch_norm<>, head>>("batch_norm");
    check<sequence<input<width>, batch_norm<batch_norm_options{.momentum = 0.5}>, dense<9>, batch_norm<>, head>>(
        "two batch_norm");
    using expert = sequence<dense<8, activation::tanh, dropout::bernoulli<0.25>>, batch_norm<>, dense<7>>;
    check<sequence<input<width>, moe<gate::top_k<4, 2>, expert, dispatch::dense>, head>>("top-k mixture");
    check<sequence<input<width>, plain, moe<gate::softmax<3>, dense<9>, dispatch::dense>, head>>("softmax mixture");
    using sampled = multi_sample<3, dense<9, dropout::bernoulli<0.5>, activation_penalty::l1<0.1>>, head>;
    check<sequence<input<width>, plain, sampled>>("multi_sample");
}

} // namespace

int main(int count, char** arguments) {
    return run(tests, count, arguments);
}
