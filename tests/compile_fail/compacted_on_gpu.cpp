// SPDX-License-Identifier: Apache-2.0
// expect: on a GPU the host does not know how many rows an expert gets
// expect: give moe dispatch::automatic<>, dispatch::capacity<...> or dispatch::dense as its last argument
// A mixture that gathers rows, on a device whose memory the host cannot read.
#include <espalier/core/context.hpp>
#include <espalier/gate/top_k.hpp>
#include <espalier/layer/dense.hpp>
#include <espalier/layer/input.hpp>
#include <espalier/layer/moe.hpp>
#include <espalier/layer/sequence.hpp>
using namespace espalier;
struct far_away {
    static constexpr bool host_memory = false;
    template <class...> void product_forward(auto&&...) {}
    template <class...> void route(auto&&...) {}
    void combine(auto&&...) {}
    void measure_mixture(auto&&...) {}
};
#ifdef ESPALIER_POSITIVE_TWIN
struct stack : sequence<input<16>, moe<gate::top_k<8, 2>, dense<4>, dispatch::dense>> {};
#else
struct stack : sequence<input<16>, moe<gate::top_k<8, 2>, dense<4>>> {};
#endif
template <class Stack> void run(far_away& device, matrix_view<float const> x, matrix_view<float> y) {
    using layer = typename Stack::template bind<shape{}, type_list<>>;
    context<far_away, float, mode::train> training{device};
    layer::forward(training, layer::at(espalier::clock{}), layer_memory<float>{}, rows{}, x, y);
}
void run_stack(far_away& device) {
    run<stack>(device, {}, {});
}
