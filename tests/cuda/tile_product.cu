// SPDX-License-Identifier: Apache-2.0
// Compiles the products by tiles in float, double and bf16: as a product policy of a layer or a device, with a count of
// rows in device memory and without, with a bias of either type.
#include <espalier/device/cuda/cuda.hpp>
#include <espalier/product/tiles.hpp>

#include <cstdint>

namespace tile_product_compile {

using namespace espalier;

template <class T>
void all(device::cuda& device, cudaStream_t stream, T* memory, master_of<T>* wide, espalier::live_groups const& live) {
    using product = espalier::product::tiles;
    using W = master_of<T>;
    matrix_view<T> const m{memory, 8, 8, 8};
    matrix_view<T const> const in = m;
    matrix_view<W> const gradient{wide, 8, 8, 8};
    int plans = 0;
    product::forward<T>(plans, in, in, static_cast<W const*>(wide), m, false, {}, stream, live);
    product::forward<T>(plans, in, in, static_cast<T const*>(memory), m, true, {}, stream);
    product::forward<T>(plans, in, in, nullptr, m, false, {}, stream, live);
    product::input_gradient<T>(plans, in, in, m, {}, stream, live);
    product::weight_gradient<T>(plans, in, in, gradient, {}, stream, live);
    static_cast<void>(device::cuda::product_scratch<T, product>(8, 8, 8));
    device.product_forward<product>(in, in, static_cast<W const*>(wide), m);
    device.product_input_gradient<product>(in, in, m);
    device.product_weight_gradient<product>(in, in, gradient);
}

} // namespace tile_product_compile

void all_tile_products(espalier::device::cuda& device, float* f, double* d, espalier::bfloat16* b,
                       espalier::live_groups const& live) {
    using tile_product_compile::all;
    all(device, nullptr, f, f, live);
    all(device, nullptr, d, d, live);
    all(device, nullptr, b, f, live);
}
