// SPDX-License-Identifier: Apache-2.0
// A whole program on a GPU, compiled: fit with validation and checkpoints, pruning, groups, in float and bfloat16.
#include <espalier/activation/relu.hpp>
#include <espalier/activation/softmax.hpp>
#include <espalier/device/cuda/cuda.hpp>
#include <espalier/dropout/bernoulli.hpp>
#include <espalier/layer/dense.hpp>
#include <espalier/layer/input.hpp>
#include <espalier/layer/parallel.hpp>
#include <espalier/layer/residual.hpp>
#include <espalier/layer/sequence.hpp>
#include <espalier/loss/cross_entropy.hpp>
#include <espalier/optimizer/adamw.hpp>
#include <espalier/penalty/group_lasso.hpp>
#include <espalier/penalty/l2.hpp>
#include <espalier/penalty/proximal.hpp>
#include <espalier/prune/n_m_magnitude.hpp>
#include <espalier/train/fit.hpp>
#include <espalier/transform/clip_global_norm.hpp>

namespace esp = espalier;

using stack =
    esp::sequence<esp::input<64>,
                  esp::dense<256, esp::activation::relu, esp::dropout::bernoulli<0.2>, esp::penalty::l2<1e-4>,
                             esp::transform::clip_global_norm<1.0>, esp::prune::n_m_magnitude<2, 4>>,
                  esp::residual<esp::dense<256>>, esp::parallel<esp::merge::concatenate, esp::dense<8>, esp::dense<8>>,
                  esp::dense<10, esp::penalty::group_lasso<0.1, esp::penalty::over::columns>,
                             esp::penalty::proximal<esp::penalty::group_lasso<0.1, esp::penalty::over::rows>>>>;

template <class T> void train_on_gpu(esp::data_view const& data) {
    esp::network<stack, esp::device::cuda, T> model{esp::seed{42}, 128};
    esp::fit(model, esp::loss::cross_entropy{}, esp::optimizer::adamw{.learning_rate = 1e-3}, data,
             {.epochs = 2, .validation = data, .checkpoints = "checkpoints", .resume = true});
    esp::save(model, "model.safetensors");
    esp::load(model, "model.safetensors");
}

void fit_on_gpu(esp::data_view const& data) {
    train_on_gpu<float>(data);
    train_on_gpu<__nv_bfloat16>(data);
}
