// SPDX-License-Identifier: Apache-2.0
// A device whose memory the host cannot read, with as many verbs as a forward pass through a mixture names. For
// messages about what such a device cannot do.
#pragma once

#include <espalier/core/context.hpp>
#include <espalier/core/live_groups.hpp>
#include <espalier/layer/concept.hpp>
#include <espalier/product/concept.hpp>

struct far_away {
    static constexpr bool host_memory = false;
    espalier::scratch_view scratch;
    template <class...> void product_forward(auto&&...) {}
    template <class...> void route(auto&&...) {}
    void build_pairs(auto&&...) {}
    void gather(auto&&...) {}
    void combine(auto&&...) {}
    void measure_mixture(auto&&...) {}
    void run(auto&&) {}
    void on_live_rows(espalier::live_groups const&, auto&& body) { body(); }
    void live_product_forward(auto&&...) {}
};

/// A forward pass of a stack there.
template <class Stack>
void run_far_away(far_away& device, espalier::matrix_view<float const> x, espalier::matrix_view<float> y) {
    using layer = typename Stack::template bind<espalier::shape{}, espalier::type_list<>>;
    espalier::context<far_away, float, espalier::mode::train> training{device};
    layer::forward(training, layer::at(espalier::clock{}), espalier::layer_memory<float>{}, espalier::rows{}, x, y);
}
