// SPDX-License-Identifier: Apache-2.0
// A captured step: products, epilogue, loss and update as one graph, replayed with new numbers from the step block,
// against the same steps put on the stream one by one.
#include "verify.hpp"

#include <espalier/activation/relu.hpp>
#include <espalier/dropout/bernoulli.hpp>
#include <espalier/loss/cross_entropy.hpp>
#include <espalier/optimizer/adamw.hpp>
#include <espalier/penalty/l2.hpp>
#include <espalier/weight/identity.hpp>

namespace {

using namespace espalier;
using namespace gpu_tests;

constexpr index_t batch_rows = 64, in = 64, out = 16;

using epilogue = epilogue_op<activation::relu, dropout::bernoulli_op>;
using rule = tensor_rule<weight::identity, flat_tuple<penalty::l2_op>, flat_tuple<>>;

/// The numbers of one step, as a network keeps them.
struct numbers_block {
    epilogue op;
    rule weight_rule;
    optimizer::adamw_op optimizer;
    loss::cross_entropy loss;

    explicit numbers_block(std::uint32_t step = 0) {
        op.dropout = {1000 * (step + 1), 65536.0 / (65536.0 - 1000.0 * (step + 1))};
        get<0>(weight_rule.penalties) = {0.01 * (step + 1)};
        optimizer = {1e-2 / (step + 1), 0.9, 0.99, 1e-6, 1e-2, 1.0 / (step + 1), 1.3};
        loss.smoothing = 0.05 * step;
    }
};

struct model {
    on_device<float> x{numbers(batch_rows * in, 1)}, w{numbers(in * out, 2)}, bias{numbers(out, 3)},
        z{std::vector<float>(batch_rows * out)}, y{std::vector<float>(batch_rows * out)},
        dw{std::vector<float>(in * out)}, db{std::vector<float>(out)}, moments{std::vector<float>(2 * in * out)};
    on_device<double> values{std::vector<double>(1)};
    on_device<std::int32_t> label{std::vector<std::int32_t>(batch_rows, 5)};
    on_device<kernels::row_loss_result> result{std::vector<kernels::row_loss_result>(1)};

    void step(test_device& device, numbers_block const& n, std::uint32_t now) {
        rows batch;
        batch.count = batch_rows;
        batch.label = label.data();
        random_site const site = make_site(1, 2, now);
        matrix_view<float const> const xv{x.data(), batch_rows, in, in}, wv{w.data(), in, out, out},
            zv{z.data(), batch_rows, out, out};
        matrix_view<float> const yv{y.data(), batch_rows, out, out};
        device.product_forward<void>(xv, wv, static_cast<float const*>(bias.data()),
                                     matrix_view<float>{z.data(), batch_rows, out, out});
        device.epilogue_forward(n.op, zv, yv, site, batch, epilogue_statistics<float>{});
        kernels::row_loss_arguments<float> a;
        a.z = yv;
        a.batch = batch;
        a.gradient = yv;
        device.row_loss<static_cast<int>(out)>(n.loss, a, result.data());
        device.epilogue_backward(n.op, zv, matrix_view<float const>(yv), yv, db.data(), site, batch,
                                 epilogue_statistics<float>{});
        device.product_weight_gradient<void>(xv, matrix_view<float const>(yv),
                                             matrix_view<float>{dw.data(), in, out, out});
        update_segment<float> s;
        s.rows = in;
        s.columns = out;
        s.weights = w.data();
        s.gradients = dw.data();
        s.moments = moments.data();
        s.moment_stride = in * out;
        s.values = values.data();
        device.update(n.optimizer, n.weight_rule, s);
    }
};

void tests() {
    constexpr std::uint32_t steps = 5;
    std::vector<float> plain_weights;
    std::vector<double> plain_values;
    double plain_loss = 0;
    {
        test_device device;
        model m;
        for (std::uint32_t i = 0; i < steps; ++i)
            m.step(device, numbers_block(i), i);
        device.throw_on_error();
        plain_weights = m.w.back();
        plain_values = m.values.back();
        plain_loss = m.result.back()[0].value;
    }

    test_device device;
    model m;
    numbers_block block(0);
    device.declare_step(&block, sizeof block);
    {
        // Plans of the products are made before anything is captured.
        model warm_up;
        device.upload_step(0);
        warm_up.step(device, block, 0);
        device.wait();
    }
    cudaGraph_t graph = nullptr;
    cudaGraphExec_t executable = nullptr;
    using espalier::cuda::check;
    check(cudaStreamBeginCapture(device.stream(), cudaStreamCaptureModeThreadLocal), "cudaStreamBeginCapture");
    m.step(device, block, 0);
    check(cudaStreamEndCapture(device.stream(), &graph), "cudaStreamEndCapture");
    check(cudaGraphInstantiate(&executable, graph, 0), "cudaGraphInstantiate");
    for (std::uint32_t i = 0; i < steps; ++i) {
        block = numbers_block(i);
        device.upload_step(i);
        check(cudaGraphLaunch(executable, device.stream()), "cudaGraphLaunch");
        block = numbers_block(77); // what was uploaded is what counts
    }
    device.throw_on_error();
    expect(same_bits(m.w.back(), plain_weights), "the weights of replayed steps differ from those of plain steps");
    expect(same_bits(m.values.back(), plain_values), "the penalty values differ");
    expect(m.result.back()[0].value == plain_loss, "the loss differs");
    check(cudaGraphExecDestroy(executable), "cudaGraphExecDestroy");
    check(cudaGraphDestroy(graph), "cudaGraphDestroy");
}

} // namespace

int main(int count, char** arguments) {
    return run(tests, count, arguments);
}
