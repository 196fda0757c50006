// SPDX-License-Identifier: Apache-2.0
// A stack that trains on the CPU compiles to CUDA as it stands: forward, backward and update of its bound layer, in
// float and with bf16 storage.
#include <espalier/activation/relu.hpp>
#include <espalier/activation_penalty/l1.hpp>
#include <espalier/core/context.hpp>
#include <espalier/device/cuda/cuda.hpp>
#include <espalier/dropout/bernoulli.hpp>
#include <espalier/gate/comet.hpp>
#include <espalier/gate/enforced.hpp>
#include <espalier/gate/expert_choice.hpp>
#include <espalier/gate/hash.hpp>
#include <espalier/gate/importance.hpp>
#include <espalier/gate/learned_noise.hpp>
#include <espalier/gate/load.hpp>
#include <espalier/gate/local_search.hpp>
#include <espalier/gate/softmax.hpp>
#include <espalier/gate/top_k.hpp>
#include <espalier/layer/batch_norm.hpp>
#include <espalier/layer/by_sample.hpp>
#include <espalier/layer/dense.hpp>
#include <espalier/layer/elementwise.hpp>
#include <espalier/layer/embedding.hpp>
#include <espalier/layer/input.hpp>
#include <espalier/layer/moe.hpp>
#include <espalier/layer/multi_gate.hpp>
#include <espalier/layer/multi_sample.hpp>
#include <espalier/layer/residual.hpp>
#include <espalier/layer/sequence.hpp>
#include <espalier/layer/tap.hpp>
#include <espalier/optimizer/adamw.hpp>
#include <espalier/penalty/elastic_net.hpp>
#include <espalier/schedule/linear.hpp>

namespace stack_compile {

using namespace espalier;

struct small_net
    : sequence<input<64>,
               dense<256, activation::relu, dropout::bernoulli<schedule::linear{.from = 0.0, .to = 0.3, .steps = 2000}>,
                     penalty::elastic_net<1e-5, 1e-4>>,
               dense<10>> {};

struct normalised : sequence<input<64>, dense<32, activation::relu>, batch_norm<>, dense<10>> {};

using namespace literals;
struct tapped : sequence<input<64>, dense<32>, tap<"hidden"_name, activation_penalty::l1<0.1>>,
                         residual<dense<32>, tap<"inside"_name>>, dense<10>> {};

struct sampled
    : sequence<input<64>, dense<32>,
               multi_sample<4, dense<16, dropout::bernoulli<0.5>, activation_penalty::l1<0.1>>,
                            by_sample<elementwise<dropout::bernoulli<0.2>>, elementwise<dropout::bernoulli<0.4>>>,
                            dense<10>>> {};

using expert = sequence<dense<32, activation::relu, dropout::bernoulli<0.5>>, batch_norm<>, dense<24>>;
struct mixed : sequence<input<64>, moe<gate::softmax<8>, expert, dispatch::dense>,
                        moe<gate::top_k<8, 2>, dense<24>, dispatch::dense>,
                        moe<gate::softmax<3>, dense<16>, dispatch::dense>, dense<10>> {};

using noisy = gate::top_k<8, 2, gate::learned_noise, gate::importance<0.1>, gate::load<0.1>>;
struct balanced : sequence<input<64>, moe<noisy, dense<16>, dispatch::dense>, dense<10>> {};

using branches = experts<dense<16, activation::relu>, sequence<dense<24>, dense<16>>, dense<16>, dense<16>>;
struct limited : sequence<input<64>, moe<gate::top_k<4, 2>, branches, dispatch::capacity<1.25>>, dense<64>,
                          moe<noisy, dense<64>, dispatch::capacity<1.0, dispatch::overflow::pass>>, dense<10>> {};

// Experts on as many rows as the device has counted.
using counting = sequence<dense<24, activation::relu, activation_penalty::l1<0.1>>, residual<dense<24>>, dense<16>>;
using in_window = sequence<dense<24, activation::relu, dropout::bernoulli<0.5>>, dense<16>>;
struct counted : sequence<input<64>, moe<gate::top_k<8, 2>, in_window, dispatch::compacted>,
                          moe<gate::top_k<8, 2>, counting, dispatch::automatic<>>,
                          moe<gate::top_k<8, 2>, counting, dispatch::dense>,
                          moe<gate::comet<4, 2>, dense<16>, dispatch::compacted>,
                          moe<gate::top_k<4, 2>, counting, dispatch::capacity<1.0>>, dense<10>> {};

using two_tasks = gates<gate::top_k<6, 2>, gate::softmax<6>>;
struct shared_experts
    : sequence<input<64>, multi_gate<two_tasks, dense<16>, dispatch::capacity<2.0>>,
               multi_gate<gates<gate::top_k<4, 2>, gate::top_k<4, 1>>, dense<16>, dispatch::dense>, dense<10>> {};

struct searching : sequence<input<64>, moe<gate::local_search<gate::comet<8, 2>>, dense<16>, dispatch::dense>,
                            moe<gate::local_search<gate::top_k<8, 2>>, dense<16>, dispatch::capacity<2.0>>, dense<10>> {
};

struct keyed : sequence<input<64>, moe<gate::hash<8, 1000>, dense<16>, dispatch::capacity<2.0>>,
                        moe<gate::enforced<4>, dense<16>, dispatch::dense>,
                        moe<gate::hash<4, 10, gate::from_column<3>>, dense<16>, dispatch::dense>, dense<10>> {};

struct choosing : sequence<input<64>, moe<gate::expert_choice<8>, dense<16>, dispatch::capacity<2.0>>,
                           moe<gate::expert_choice<8>, dense<16>, dispatch::dense>, dense<10>> {};

struct embedded : sequence<input<2>, embedding<vocabulary<671, 9066>, 16>, dense<32, activation::relu>, dense<10>> {};

template <class Stack, class T>
void step(device::cuda& device, layer_memory<T> const& memory, matrix_view<T> x, matrix_view<T> y) {
    using layer = typename Stack::template bind<shape{}, type_list<>>;
    context<device::cuda, T, mode::train> training{device};
    context<device::cuda, T, mode::evaluate> evaluation{device};
    auto const numbers = layer::at(espalier::clock{});
    rows const batch{};
    matrix_view<T const> const in = x, out = y;
    layer::forward(training, numbers, memory, batch, in, y);
    layer::template backward<differentiate{true, true}>(training, numbers, memory, batch, in, out, y, x);
    layer::update(training, optimizer::adamw_op{}, numbers, memory, update_numbers{});
    layer::initialise(training, memory);
    layer::forward(evaluation, numbers, memory, batch, in, y);
}

} // namespace stack_compile

void train_on_cuda(espalier::device::cuda& device) {
    using namespace stack_compile;
    auto const both = [&]<class Stack>(Stack const&) {
        step<Stack, float>(device, {}, {}, {});
        step<Stack, bfloat16>(device, {}, {}, {});
    };
    both(small_net{});
    both(normalised{});
    both(tapped{});
    both(sampled{});
    both(mixed{});
    both(balanced{});
    both(limited{});
    both(counted{});
    both(shared_experts{});
    both(searching{});
    both(keyed{});
    both(choosing{});
    step<embedded, float>(device, {}, {}, {}); // 16-bit numbers do not hold ids
}
