// SPDX-License-Identifier: Apache-2.0
// A device as the layers of an expert see it where only the device knows which rows the expert got, or where the
// experts are equal and each launch is for all of them.
#pragma once

#include <espalier/core/live_groups.hpp>
#include <espalier/core/pass.hpp>
#include <espalier/core/view.hpp>

namespace espalier::device {

/// The verbs of `Device` for every group: on the rows of its window in every view that they are given, the rest is
/// neither read nor written, and with its tensors. Views and tensors are those of group 0.
///
/// Where the device counts the rows, the products are those that keep to rows that the host does not know
/// (`live_product_...`), whatever the layer's product policy says; otherwise the layer's own, in one call where the
/// device has that (`group_product_...`), or in one for each group.
///
/// A device that has them offers `on_live_rows(groups, body)`, which runs the verbs that body calls for the groups.
template <class Device> class live_rows {
public:
    static constexpr bool host_memory = false;

    live_rows(Device& device, live_groups const& live) : device_(device), live_(live) {}

    template <class Chosen, class T, class Bias>
    void product_forward(matrix_view<T const> x, matrix_view<T const> w, Bias const* bias, matrix_view<T> z) {
        if (live_.count)
            device_.live_product_forward(x, w, bias, z, live_);
        else if constexpr (requires { device_.template group_product_forward<Chosen>(x, w, bias, z, live_); })
            device_.template group_product_forward<Chosen>(x, w, bias, z, live_);
        else
            for (int g = 0; g < live_.groups; ++g)
                device_.template product_forward<Chosen>(live_.block(x, g), live_.tensor(w, g), live_.tensor(bias, g),
                                                         live_.block(z, g));
    }
    template <class Chosen, class T>
    void product_input_gradient(matrix_view<T const> dz, matrix_view<T const> w, matrix_view<T> dx) {
        if (live_.count)
            device_.live_product_input_gradient(dz, w, dx, live_);
        else if constexpr (requires { device_.template group_product_input_gradient<Chosen>(dz, w, dx, live_); })
            device_.template group_product_input_gradient<Chosen>(dz, w, dx, live_);
        else
            for (int g = 0; g < live_.groups; ++g)
                device_.template product_input_gradient<Chosen>(live_.block(dz, g), live_.tensor(w, g),
                                                                live_.block(dx, g));
    }
    template <class Chosen, class T, class Wide>
    void product_weight_gradient(matrix_view<T const> x, matrix_view<T const> dz, matrix_view<Wide> dw) {
        if (live_.count)
            device_.live_product_weight_gradient(x, dz, dw, live_);
        else if constexpr (requires { device_.template group_product_weight_gradient<Chosen>(x, dz, dw, live_); })
            device_.template group_product_weight_gradient<Chosen>(x, dz, dw, live_);
        else
            for (int g = 0; g < live_.groups; ++g)
                device_.template product_weight_gradient<Chosen>(live_.block(x, g), live_.block(dz, g),
                                                                 live_.tensor(dw, g));
    }

    template <class Chosen, class... Arguments> void add_product_forward(Arguments const&...) {
        static_assert(
            sizeof...(Arguments) == 0,
            "espalier: on a GPU a layer with weight::low_rank_adapter cannot stand inside an expert that rows "
            "are gathered for; put it before or behind the mixture, or give moe dispatch::dense as its last "
            "argument and take activation penalties out of the experts");
    }
    template <class Chosen, class... Arguments> void add_product_input_gradient(Arguments const&...) {}

    template <class Activation, index_t Width, class T> void row_forward(matrix_view<T> y) {
        device_.on_live_rows(live_, [&] { device_.template row_forward<Activation, Width>(y); });
    }
    template <class Activation, index_t Width, class T> void row_backward(matrix_view<T const> y, matrix_view<T> dy) {
        device_.on_live_rows(live_, [&] { device_.template row_backward<Activation, Width>(y, dy); });
    }
    /// Of a tensor.
    template <class T> void zero(T* p, index_t n) {
        for (int g = 0; g < live_.groups; ++g)
            device_.zero(live_.tensor(p, g), n);
    }

    template <class Pass> void run(Pass const& pass) {
        static_assert(group_pass<Pass>,
                      "espalier: a pass inside an expert is for groups: operator()(block, live_groups, group), which "
                      "keeps to live.window(group)");
        device_.on_live_rows(live_, [&] { device_.run(pass); });
    }

    // Verbs that need no more than the window. scatter_add is for one group: rows of several would be added to at once.
#define ESPALIER_VERB_none(name)
#define ESPALIER_VERB_each(name)                                                                                       \
    template <class... Arguments> void name(Arguments const&... arguments) {                                           \
        device_.on_live_rows(live_, [&] { device_.name(arguments...); });                                              \
    }
#define VERB(name, needed, cpu, body, live, ...) ESPALIER_VERB_##live(name)
#include <espalier/device/verbs.inc>
#undef ESPALIER_VERB_none
#undef ESPALIER_VERB_each

    template <class... Arguments> void embed(Arguments const&...) {
        static_assert(
            sizeof...(Arguments) == 0,
            "espalier: on a GPU an embedding cannot stand inside an expert that rows are gathered for; put it "
            "before the mixture, or give moe dispatch::dense as its last argument and take activation penalties out "
            "of the experts");
    }
    template <class... Arguments> void embed_backward(Arguments const&...) {}

private:
    Device& device_;
    live_groups live_;
};

} // namespace espalier::device
