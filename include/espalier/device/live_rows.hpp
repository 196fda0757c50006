// SPDX-License-Identifier: Apache-2.0
// A device as the layers of an expert see it where only the device knows which rows the expert got.
#pragma once

#include <espalier/core/live_window.hpp>
#include <espalier/core/view.hpp>

#include <cstdint>

namespace espalier::device {

/// The verbs of `Device` on the rows of a window in every view that they are given; the rest is neither read nor
/// written. The products are those that keep to rows that the host does not know (`live_product_...`), whatever the
/// layer's product policy says.
///
/// A device that has them offers `on_live_rows(window, body)`, which runs the verbs that body calls on its rows only.
template <class Device> class live_rows {
public:
    static constexpr bool host_memory = false;

    live_rows(Device& device, live_window live) : device_(device), live_(live) {}

    template <class Chosen, class T, class Bias>
    void product_forward(matrix_view<T const> x, matrix_view<T const> w, Bias const* bias, matrix_view<T> z) {
        device_.live_product_forward(x, w, bias, z, live_);
    }
    template <class Chosen, class T>
    void product_input_gradient(matrix_view<T const> dz, matrix_view<T const> w, matrix_view<T> dx) {
        device_.live_product_input_gradient(dz, w, dx, live_);
    }
    template <class Chosen, class T, class Wide>
    void product_weight_gradient(matrix_view<T const> x, matrix_view<T const> dz, matrix_view<Wide> dw) {
        device_.live_product_weight_gradient(x, dz, dw, live_);
    }

    template <class... Arguments> void epilogue_forward(Arguments const&... arguments) {
        device_.on_live_rows(live_, [&] { device_.epilogue_forward(arguments...); });
    }
    template <class... Arguments> void epilogue_backward(Arguments const&... arguments) {
        device_.on_live_rows(live_, [&] { device_.epilogue_backward(arguments...); });
    }
    template <class Activation, index_t Width, class T> void row_forward(matrix_view<T> y) {
        device_.on_live_rows(live_, [&] { device_.template row_forward<Activation, Width>(y); });
    }
    template <class Activation, index_t Width, class T> void row_backward(matrix_view<T const> y, matrix_view<T> dy) {
        device_.on_live_rows(live_, [&] { device_.template row_backward<Activation, Width>(y, dy); });
    }
    template <class... Arguments> void column_sums(Arguments const&... arguments) {
        device_.on_live_rows(live_, [&] { device_.column_sums(arguments...); });
    }
    template <class T> void copy(matrix_view<T const> from, matrix_view<T> to) {
        device_.on_live_rows(live_, [&] { device_.copy(from, to); });
    }
    template <class T> void add(matrix_view<T const> from, matrix_view<T> to) {
        device_.on_live_rows(live_, [&] { device_.add(from, to); });
    }
    /// Of a tensor, or of rows that belong to this expert alone: all of it.
    template <class T> void zero(T* p, index_t n) { device_.zero(p, n); }

    // ---- to the expert and back

    template <class T> void gather(matrix_view<T const> from, std::int32_t const* row, matrix_view<T> to) {
        device_.on_live_rows(live_, [&] { device_.gather(from, row, to); });
    }
    template <class T> void scatter_add(matrix_view<T const> from, std::int32_t const* row, matrix_view<T> to) {
        device_.on_live_rows(live_, [&] { device_.scatter_add(from, row, to); });
    }
    template <class... Arguments> void expert_gradient(Arguments const&... arguments) {
        device_.on_live_rows(live_, [&] { device_.expert_gradient(arguments...); });
    }

    template <class... Arguments> void embed(Arguments const&...) {
        static_assert(
            sizeof...(Arguments) == 0,
            "espalier: on a GPU an embedding cannot stand inside an expert that rows are gathered for; put it "
            "before the mixture, or give moe dispatch::dense as its last argument");
    }
    template <class... Arguments> void embed_backward(Arguments const&...) {}

private:
    Device& device_;
    live_window live_;
};

} // namespace espalier::device
