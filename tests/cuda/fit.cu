// SPDX-License-Identifier: Apache-2.0
// A whole program on a GPU, compiled: fit with validation and checkpoints, pruning, groups, in float and bfloat16.
#include <espalier/activation/relu.hpp>
#include <espalier/activation/softmax.hpp>
#include <espalier/device/cuda/cuda.hpp>
#include <espalier/dropout/bernoulli.hpp>
#include <espalier/gate/hash.hpp>
#include <espalier/layer/dense.hpp>
#include <espalier/layer/input.hpp>
#include <espalier/layer/moe.hpp>
#include <espalier/layer/parallel.hpp>
#include <espalier/layer/residual.hpp>
#include <espalier/layer/sequence.hpp>
#include <espalier/layer/tap.hpp>
#include <espalier/loss/cross_entropy.hpp>
#include <espalier/loss/mean_squared_error.hpp>
#include <espalier/loss/soft_cross_entropy.hpp>
#include <espalier/network/set_table.hpp>
#include <espalier/optimizer/adamw.hpp>
#include <espalier/penalty/group_lasso.hpp>
#include <espalier/penalty/l2.hpp>
#include <espalier/penalty/proximal.hpp>
#include <espalier/prune/n_m_magnitude.hpp>
#include <espalier/train/fit.hpp>
#include <espalier/transform/agreement.hpp>
#include <espalier/transform/clip_global_norm.hpp>

#include <cstdint>
#include <vector>

namespace esp = espalier;

using namespace esp::literals;

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

using gated = esp::sequence<esp::input<64>, esp::dense<32, esp::transform::agreement<0.5>>, esp::tap<"hidden"_name>,
                            esp::dense<10>>;
using tapped = esp::sequence<esp::input<64>, esp::dense<32>, esp::tap<"hidden"_name>, esp::dense<10>>;

/// A second stream of gradients, and a loss at a tap.
template <class T> void train_two_ways(esp::data_view const& data, esp::batch_view<T> const& batch) {
    esp::network<gated, esp::device::cuda, T> model{esp::seed{42}, 128};
    esp::fit(model, esp::loss::cross_entropy{}, esp::optimizer::adamw{}, data,
             esp::reference_stream{esp::loss::soft_cross_entropy{}, data}, {.epochs = 1});
    esp::network<tapped, esp::device::cuda, T> other{esp::seed{42}, 128};
    esp::training run{other, esp::loss::cross_entropy{}, esp::optimizer::adamw{}};
    run.step(batch, [&](auto& taps) {
        taps.template loss<"hidden"_name>(esp::loss::mean_squared_error{}, batch.targets);
        static_cast<void>(taps.gradient("hidden"));
    });
}

using routed = esp::sequence<esp::input<64>, esp::moe<esp::gate::hash<4, 8>, esp::dense<32>, esp::dispatch::dense>,
                             esp::dense<10>>;
void set_table_on_gpu() {
    esp::network<routed, esp::device::cuda, float> model{esp::seed{42}, 128};
    esp::set_table(model, "1.gate.table", std::vector<std::int32_t>{0, 1, 2, 3, 0, 1, 2, 3}, 4);
}

void fit_on_gpu(esp::data_view const& data) {
    train_on_gpu<float>(data);
    train_on_gpu<__nv_bfloat16>(data);
    train_two_ways<float>(data, {});
    train_two_ways<__nv_bfloat16>(data, {});
}
