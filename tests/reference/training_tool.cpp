// SPDX-License-Identifier: Apache-2.0
// Trains a stack on the batches of a file, in double: what training.py compares with.
//
//   training_tool STACK BATCHES FIRST LAST
//
// BATCHES has `count` (rows of every step), `inputs` and, as the loss asks, `labels` or `targets`: the rows of all
// steps, one step after the other. FIRST and LAST are written: the network before and after. stdout: a line of numbers
// a step, the loss and the terms that were added to it.
#include <espalier/activation/relu.hpp>
#include <espalier/activation/tanh.hpp>
#include <espalier/device/cpu/cpu.hpp>
#include <espalier/gate/balance.hpp>
#include <espalier/gate/dispatch.hpp>
#include <espalier/gate/importance.hpp>
#include <espalier/gate/top_k.hpp>
#include <espalier/gate/z_loss.hpp>
#include <espalier/io/checkpoint.hpp>
#include <espalier/layer/batch_norm.hpp>
#include <espalier/layer/dense.hpp>
#include <espalier/layer/everywhere.hpp>
#include <espalier/layer/input.hpp>
#include <espalier/layer/moe.hpp>
#include <espalier/layer/residual.hpp>
#include <espalier/layer/sequence.hpp>
#include <espalier/loss/cross_entropy.hpp>
#include <espalier/loss/mean_squared_error.hpp>
#include <espalier/network/network.hpp>
#include <espalier/optimizer/adamw.hpp>
#include <espalier/optimizer/sgd.hpp>
#include <espalier/schedule/cosine.hpp>
#include <espalier/train/training.hpp>
#include <espalier/transform/clip_global_norm.hpp>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <string>
#include <string_view>
#include <vector>

using namespace espalier;

namespace {

constexpr int in = 6, out = 3;

using perceptron = everywhere<sequence<input<in>, dense<16, activation::tanh>, dense<12, activation::relu>, dense<out>>,
                              transform::clip_global_norm<0.65>>;

template <class Dispatch, class... Terms>
using mixture =
    sequence<input<in>,
             residual<moe<gate::top_k<4, 2, Terms...>, sequence<dense<8, activation::tanh>, dense<in>>, Dispatch>>,
             dense<out>>;

using normalised = sequence<input<in>, dense<8>, batch_norm<>, dense<out>>;

template <class Stack, class Loss, class Optimizer>
int train(char** files, Loss const& loss, Optimizer const& optimizer) {
    auto const file = read_safetensors(files[0]);
    auto const count = file.at("count").values<std::int64_t>();
    auto const inputs = file.at("inputs").values<double>();
    std::vector<std::int32_t> labels;
    std::vector<double> targets;
    if constexpr (loss::needs_labels<Loss>)
        labels = file.at("labels").values<std::int32_t>();
    else
        targets = file.at("targets").converted<double>();

    network<Stack, device::cpu, double> net(seed{5}, *std::max_element(count.begin(), count.end()));
    save(net, files[1]);
    training run(net, loss, optimizer);
    index_t row = 0;
    for (index_t const n : count) {
        batch_view<double> batch;
        batch.inputs = contiguous_view(inputs.data() + row * in, n, in);
        batch.tags.count = n;
        if (!labels.empty()) batch.tags.label = labels.data() + row;
        if (!targets.empty()) batch.targets = contiguous_view(targets.data() + row * out, n, out);
        run.step(batch);
        for (double const value : run.terms())
            std::printf("%.17g ", value);
        std::printf("\n");
        row += n;
    }
    save(net, files[2]);
    return 0;
}

int run(std::string_view stack, char** files) {
    constexpr loss::mean_squared_error squares{};
    auto const adamw = optimizer::adamw{.learning_rate = 1e-2, .weight_decay = 0.02};
    if (stack == "perceptron") {
        constexpr schedule::cosine rate{.from = 2e-2, .to = 1e-3, .steps = 40};
        return train<perceptron>(files, loss::cross_entropy{},
                                 optimizer::adamw{.learning_rate = rate, .beta2 = 0.99, .weight_decay = 0.05});
    }
    if (stack == "balance") return train<mixture<dispatch::compacted, gate::balance<0.05>>>(files, squares, adamw);
    if (stack == "importance")
        return train<mixture<dispatch::dense, gate::importance<0.2>, gate::z_loss<0.01>>>(files, squares, adamw);
    if (stack == "normalised")
        return train<normalised>(
            files, squares,
            optimizer::sgd{.learning_rate = 0.05, .momentum = optimizer::nesterov{0.9}, .weight_decay = 1e-3});
    return 2;
}

} // namespace

int main(int count, char** arguments) {
    if (count != 5) {
        std::fputs("usage: training_tool STACK BATCHES FIRST LAST\n", stderr);
        return 2;
    }
    try {
        return run(arguments[1], arguments + 2);
    } catch (std::exception const& error) {
        std::fprintf(stderr, "%s\n", error.what());
        return 3;
    }
}
