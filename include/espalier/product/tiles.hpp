// SPDX-License-Identifier: Apache-2.0
// Products on a GPU by this library's own kernels, for as many rows as a number in device memory says. For .cu files,
// without a CUDA compiler it is empty.
#pragma once

#include <espalier/core/live_groups.hpp>
#include <espalier/core/view.hpp>
#include <espalier/product/axis.hpp>
#include <espalier/product/concept.hpp>

#if defined(__CUDACC__)

#include <espalier/core/layout.hpp>
#include <espalier/device/cuda/product_launch.hpp>

#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <type_traits>

namespace espalier::product {

/// The products of a layer by tiles of shared memory: float and double by fused multiply-adds, bf16 on the tensor cores
/// with sums in float (compute capability 8.0). Each takes `live`: which rows hold something, if only the device knows,
/// for one matrix of weights or for several in one launch. The other rows are neither read nor written, and a weight
/// gradient without rows is zero.
///
/// A number of the result is one sum in the order of its terms, begun with the bias: its bits depend neither on the
/// number of blocks nor on the other rows. No work space, no plans (the first argument of each is not looked at),
/// nothing to set up, and no waiting; a captured graph reads the window anew each time.
struct tiles {
    using axis = espalier::axis::product;
    static constexpr std::string_view name = "tiles";

    /// The bias is added inside the product. It may be of the parameters' type or of the result's.
    template <class T> static constexpr bool adds_bias = true;
    template <class T> static constexpr std::size_t scratch(index_t, index_t, index_t) { return 0; }

    /// z = x W + bias (or z + x W + bias), x: rows x in, W: in x out, bias: out or null, z: rows x out.
    template <class T, class Plans>
    static void forward(Plans&, matrix_view<T const> x, matrix_view<T const> w, master_of<T> const* bias,
                        matrix_view<T> z, bool accumulate, scratch_view, cudaStream_t stream,
                        live_groups const& live = {}) {
        cuda::launch_tile_forward(cuda::tile_target{stream}, x, w, bias, z, accumulate, live);
    }
    template <class T, class Plans>
    requires(!std::is_same_v<T, master_of<T>>) static void forward(Plans&, matrix_view<T const> x,
                                                                   matrix_view<T const> w, T const* bias,
                                                                   matrix_view<T> z, bool accumulate, scratch_view,
                                                                   cudaStream_t stream, live_groups const& live = {}) {
        cuda::launch_tile_forward(cuda::tile_target{stream}, x, w, bias, z, accumulate, live);
    }
    template <class T, class Plans>
    static void forward(Plans& plans, matrix_view<T const> x, matrix_view<T const> w, std::nullptr_t, matrix_view<T> z,
                        bool accumulate, scratch_view space, cudaStream_t stream, live_groups const& live = {}) {
        forward<T>(plans, x, w, static_cast<master_of<T> const*>(nullptr), z, accumulate, space, stream, live);
    }
    /// dx = dz W^T
    template <class T, class Plans>
    static void input_gradient(Plans&, matrix_view<T const> dz, matrix_view<T const> w, matrix_view<T> dx, scratch_view,
                               cudaStream_t stream, live_groups const& live = {}) {
        cuda::launch_tile_input_gradient(cuda::tile_target{stream}, dz, w, dx, live);
    }
    /// dW = x^T dz
    template <class T, class Plans>
    static void weight_gradient(Plans&, matrix_view<T const> x, matrix_view<T const> dz, matrix_view<master_of<T>> dw,
                                scratch_view, cudaStream_t stream, live_groups const& live = {}) {
        cuda::launch_tile_weight_gradient(cuda::tile_target{stream}, x, dz, dw, live);
    }
};

} // namespace espalier::product

#endif
