// SPDX-License-Identifier: Apache-2.0
// expect: compares the gradients with those of a second stream; call training::step\(batch, reference_batch
// nvcc: skip training is host code
// A step of one batch for a stack whose transform compares two streams.
#include <espalier/device/cpu/cpu.hpp>
#include <espalier/layer/dense.hpp>
#include <espalier/layer/input.hpp>
#include <espalier/layer/sequence.hpp>
#include <espalier/loss/cross_entropy.hpp>
#include <espalier/network/network.hpp>
#include <espalier/optimizer/sgd.hpp>
#include <espalier/train/training.hpp>
#include <espalier/transform/agreement.hpp>
using namespace espalier;
using stack = sequence<input<16>, dense<8, transform::agreement<1.0>>>;
double one_step(network<stack, device::cpu, float>& net, batch_view<float> const& batch) {
    training run{net, loss::cross_entropy{}, optimizer::sgd{.learning_rate = 0.1}};
#ifdef ESPALIER_POSITIVE_TWIN
    return run.step(batch, batch, loss::cross_entropy{}).loss;
#else
    return run.step(batch).loss;
#endif
}
