// SPDX-License-Identifier: Apache-2.0
// expect: what an expert keeps of a batch is overwritten by later chunks
// expect: give moe dispatch::compacted as its last argument
// A layer whose update reads what it kept of the batch, in experts that run chunk by chunk.
#include <espalier/core/context.hpp>
#include <espalier/device/cpu/cpu.hpp>
#include <espalier/gate/softmax.hpp>
#include <espalier/layer/batch_norm.hpp>
#include <espalier/layer/dense.hpp>
#include <espalier/layer/input.hpp>
#include <espalier/layer/moe.hpp>
#include <espalier/layer/sequence.hpp>
using namespace espalier;
#ifdef ESPALIER_POSITIVE_TWIN
using branch = dense<4>;
#else
using branch = sequence<dense<4>, batch_norm<>>;
#endif
struct stack : sequence<input<16>, moe<gate::softmax<8>, branch, dispatch::chunked<2>>> {};
template <class Stack> void run(device::cpu& device, matrix_view<float const> x, matrix_view<float> y) {
    using layer = typename Stack::template bind<shape{}, type_list<>>;
    context<device::cpu, float, mode::train> training{device};
    layer::forward(training, layer::at(espalier::clock{}), layer_memory<float>{}, rows{}, x, y);
}
void run_stack(device::cpu& device) {
    run<stack>(device, {}, {});
}
