// SPDX-License-Identifier: Apache-2.0
// expect: the experts of a compacted mixture keep their rows in blocks that they share
// expect: dispatch::automatic<> or dispatch::capacity<...>
// An activation penalty over columns inside the experts of a compacted mixture, where the host cannot read the counts.
#include <espalier/activation_penalty/flops.hpp>
#include <espalier/core/context.hpp>
#include <espalier/core/live_window.hpp>
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
    void build_pairs(auto&&...) {}
    void gather(auto&&...) {}
    void combine(auto&&...) {}
    void measure_mixture(auto&&...) {}
    void on_live_rows(live_window, auto&& body) { body(); }
    void live_product_forward(auto&&...) {}
};
#ifdef ESPALIER_POSITIVE_TWIN
using branch = dense<4>;
#else
using branch = dense<4, activation_penalty::flops<0.1>>;
#endif
struct stack : sequence<input<16>, moe<gate::top_k<8, 2>, branch, dispatch::compacted>> {};
template <class Stack> void run(far_away& device, matrix_view<float const> x, matrix_view<float> y) {
    using layer = typename Stack::template bind<shape{}, type_list<>>;
    context<far_away, float, mode::train> training{device};
    layer::forward(training, layer::at(espalier::clock{}), layer_memory<float>{}, rows{}, x, y);
}
void run_stack(far_away& device) {
    run<stack>(device, {}, {});
}
