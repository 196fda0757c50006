// SPDX-License-Identifier: Apache-2.0
// Kernels of the products by tiles and the functions that launch them. Include it from .cu files.
#pragma once

#include <espalier/core/layout.hpp>
#include <espalier/core/live_groups.hpp>
#include <espalier/core/macros.hpp>
#include <espalier/core/view.hpp>
#include <espalier/device/cuda/before_launch.hpp>
#include <espalier/device/cuda/check.hpp>
#include <espalier/device/cuda/group.hpp>
#include <espalier/device/cuda/launched_group.hpp>
#include <espalier/kernels/grouped.hpp>
#include <espalier/kernels/tile_product.hpp>

#include <cuda_runtime_api.h>

#include <cstdint>

namespace espalier::cuda {

using tile_block = block_group<kernels::tile_product_threads>;

/// Where the products of tiles go, and the most blocks of one launch; 0: twice as many as the GPU has multiprocessors.
struct tile_target {
    cudaStream_t stream = nullptr;
    index_t most_blocks = 0;

    /// No more blocks than there are small tiles in the result when every row is live; for each group a row of them.
    template <class T> dim3 grid(index_t rows, index_t columns, live_groups const& live) const {
        index_t most = most_blocks;
        if (most <= 0) {
            int gpu = 0, multiprocessors = 0;
            check(cudaGetDevice(&gpu), "cudaGetDevice");
            check(cudaDeviceGetAttribute(&multiprocessors, cudaDevAttrMultiProcessorCount, gpu),
                  "cudaDeviceGetAttribute");
            most = 2 * index_t{multiprocessors};
        }
        index_t const tiles = kernels::detail::tile_count<typename kernels::tile_shapes<T>::small>(rows, columns);
        most = live.blocks_each(most);
        return dim3(static_cast<unsigned>(tiles < most ? tiles : most), static_cast<unsigned>(live.groups));
    }
};

template <class T, class Bias>
ESPALIER_KERNEL void __launch_bounds__(kernels::tile_product_threads, 2)
    tile_forward_kernel(matrix_view<T const> x, matrix_view<T const> w, Bias const* bias, matrix_view<T> z,
                        bool accumulate, live_groups live) {
    kernels::grouped::tile_forward(tile_block{}, live, launched_group(), x, w, bias, z, accumulate);
}
template <class T>
ESPALIER_KERNEL void __launch_bounds__(kernels::tile_product_threads, 2)
    tile_input_gradient_kernel(matrix_view<T const> dz, matrix_view<T const> w, matrix_view<T> dx, live_groups live) {
    kernels::grouped::tile_input_gradient(tile_block{}, live, launched_group(), dz, w, dx);
}
template <class T>
ESPALIER_KERNEL void __launch_bounds__(kernels::tile_product_threads, 2)
    tile_weight_gradient_kernel(matrix_view<T const> x, matrix_view<T const> dz, matrix_view<master_of<T>> dw,
                                live_groups live) {
    kernels::grouped::tile_weight_gradient(tile_block{}, live, launched_group(), x, dz, dw);
}

template <class T, class Bias>
void launch_tile_forward(tile_target const& target, matrix_view<T const> x, matrix_view<T const> w, Bias const* bias,
                         matrix_view<T> z, bool accumulate, live_groups const& live) {
    dim3 const blocks = target.grid<T>(z.rows, z.columns, live);
    if (blocks.x == 0) return;
    ESPALIER_BEFORE_LAUNCH(kernels::tile_product_threads, (tile_forward_kernel<T, Bias>),
                           [](auto const& lanes, int group, matrix_view<T const> x_, matrix_view<T const> w_,
                              Bias const* bias_, matrix_view<T> z_, bool accumulate_, live_groups const& live_) {
                               kernels::grouped::tile_forward(lanes, live_, group, x_, w_, bias_, z_, accumulate_);
                           });
    tile_forward_kernel<<<blocks, kernels::tile_product_threads, 0, target.stream>>>(x, w, bias, z, accumulate, live);
    check_launch("tile_forward");
}
template <class T>
void launch_tile_input_gradient(tile_target const& target, matrix_view<T const> dz, matrix_view<T const> w,
                                matrix_view<T> dx, live_groups const& live) {
    dim3 const blocks = target.grid<T>(dx.rows, dx.columns, live);
    if (blocks.x == 0) return;
    ESPALIER_BEFORE_LAUNCH(
        kernels::tile_product_threads, tile_input_gradient_kernel<T>,
        [](auto const& lanes, int group, matrix_view<T const> dz_, matrix_view<T const> w_, matrix_view<T> dx_,
           live_groups const& live_) { kernels::grouped::tile_input_gradient(lanes, live_, group, dz_, w_, dx_); });
    tile_input_gradient_kernel<<<blocks, kernels::tile_product_threads, 0, target.stream>>>(dz, w, dx, live);
    check_launch("tile_input_gradient");
}
template <class T>
void launch_tile_weight_gradient(tile_target const& target, matrix_view<T const> x, matrix_view<T const> dz,
                                 matrix_view<master_of<T>> dw, live_groups const& live) {
    dim3 const blocks = target.grid<T>(dw.rows, dw.columns, live);
    if (blocks.x == 0) return;
    ESPALIER_BEFORE_LAUNCH(kernels::tile_product_threads, tile_weight_gradient_kernel<T>,
                           [](auto const& lanes, int group, matrix_view<T const> x_, matrix_view<T const> dz_,
                              matrix_view<master_of<T>> dw_, live_groups const& live_) {
                               kernels::grouped::tile_weight_gradient(lanes, live_, group, x_, dz_, dw_);
                           });
    tile_weight_gradient_kernel<<<blocks, kernels::tile_product_threads, 0, target.stream>>>(x, dz, dw, live);
    check_launch("tile_weight_gradient");
}

} // namespace espalier::cuda
