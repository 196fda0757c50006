// SPDX-License-Identifier: Apache-2.0
// A GPU as a device: what layers, losses and updates ask a device to do, put on one stream. Include it from .cu files.
#pragma once

#include <espalier/core/layout.hpp>
#include <espalier/core/live_groups.hpp>
#include <espalier/core/view.hpp>
#include <espalier/device/cuda/bfloat16.hpp>
#include <espalier/device/cuda/runner.hpp>
#include <espalier/kernels/passes.hpp>
#include <espalier/kernels/verbs.hpp>
#include <espalier/product/cublaslt.hpp>
#include <espalier/product/tiles.hpp>

#include <cstddef>
#include <string_view>
#include <type_traits>

namespace espalier::device {

/// A GPU and a stream on it. docs/devices.md says what the verbs do; every pointer is a device pointer, `rows` too
/// holds device pointers. No verb waits for the device and none allocates device memory; the members that do say so.
/// Everything a verb needs for a short time comes from `scratch`, device memory that the owner provides
/// (product_scratch says how much) and that one stream's verbs share.
///
/// Numbers. An op is passed by reference. When it lies in the step block (the host memory named by `declare_step`),
/// the kernel reads it at the same place of the block's mirror in device memory, and `upload_step` renews that mirror
/// without waiting: a captured graph that is replayed sees the new numbers. An op that lies elsewhere travels with the
/// launch and would be frozen in a graph. The step of the random bits comes from the mirror too once there is one. What
/// stays frozen in a graph whatever is done: views, `rows`, the rates and pointers of an update_segment, pass numbers.
///
/// Errors that only the device sees stand in an error word; updates and losses do nothing once it is set, and
/// `throw_on_error` (which waits) tells the host.
template <class Product = product::cublaslt> class basic_cuda : public kernels::verbs<espalier::cuda::runner> {
public:
    static constexpr std::string_view name = "cuda";
    using product = Product;

    using kernels::verbs<espalier::cuda::runner>::verbs;

    // ---- products

    template <class Chosen> using product_for = std::conditional_t<std::is_void_v<Chosen>, Product, Chosen>;

    /// Bytes of scratch that any verb needs for batches of at most `batch_rows` rows and a layer of inner x columns
    /// weights with up to `most_sets` penalties.
    template <class T, class Chosen>
    static std::size_t product_scratch(index_t batch_rows, index_t inner, index_t columns) {
        std::size_t const own = product_for<Chosen>::template scratch<T>(batch_rows, inner, columns) +
                                kernels::piece(static_cast<std::size_t>(columns) * sizeof(T));
        std::size_t const others = verb_scratch<T>(batch_rows, inner, columns);
        return own > others ? own : others;
    }

    template <class Chosen, class T>
    void product_forward(matrix_view<T const> x, matrix_view<T const> w, master_of<T> const* bias, matrix_view<T> z) {
        using P = product_for<Chosen>;
        if (z.rows == 0) return;
        kernels::scratch_cursor space(scratch);
        if (!bias) {
            P::template forward<T>(plans_, x, w, nullptr, z, false, space.rest(), target_.stream);
        } else if constexpr (!P::template adds_bias<T>) {
            write_as(matrix_view<master_of<T> const>{bias, z.rows, z.columns, 0}, z);
            P::template forward<T>(plans_, x, w, nullptr, z, true, space.rest(), target_.stream);
        } else if constexpr (std::is_same_v<T, master_of<T>>) {
            P::template forward<T>(plans_, x, w, bias, z, false, space.rest(), target_.stream);
        } else {
            // The library adds a bias of the result's type only.
            T* const narrow = space.template take<T>(z.columns);
            write_as(matrix_view<master_of<T> const>{bias, 1, z.columns, z.columns},
                     matrix_view<T>{narrow, 1, z.columns, z.columns});
            P::template forward<T>(plans_, x, w, narrow, z, false, space.rest(), target_.stream);
        }
    }
    template <class Chosen, class T>
    void product_input_gradient(matrix_view<T const> dz, matrix_view<T const> w, matrix_view<T> dx) {
        if (dx.rows > 0) product_for<Chosen>::template input_gradient<T>(plans_, dz, w, dx, scratch, target_.stream);
    }
    /// z += x W, dx += dz W^T
    template <class Chosen, class T>
    void add_product_forward(matrix_view<T const> x, matrix_view<T const> w, matrix_view<T> z) {
        if (z.rows > 0)
            product_for<Chosen>::template forward<T>(plans_, x, w, nullptr, z, true, scratch, target_.stream);
    }
    template <class Chosen, class T>
    void add_product_input_gradient(matrix_view<T const> dz, matrix_view<T const> w, matrix_view<T> dx) {
        static_assert(repeats_products<Chosen>,
                      "espalier: the product of a layer with weight::low_rank_adapter must add to what is there, and "
                      "product::tiles does not for gradients of inputs; take product::cublaslt");
        if constexpr (repeats_products<Chosen>)
            if (dx.rows > 0)
                product_for<Chosen>::template input_gradient<T>(plans_, dz, w, dx, scratch, target_.stream, {}, true);
    }
    template <class Chosen, class T>
    void product_weight_gradient(matrix_view<T const> x, matrix_view<T const> dz, matrix_view<master_of<T>> dw) {
        product_for<Chosen>::template weight_gradient<T>(plans_, x, dz, dw, scratch, target_.stream);
    }

    // ---- rows that the device counts (device/live_rows.hpp)

    template <class T>
    void live_product_forward(matrix_view<T const> x, matrix_view<T const> w, master_of<T> const* bias,
                              matrix_view<T> z, live_groups const& live) {
        espalier::product::tiles::template forward<T>(plans_, x, w, bias, z, false, {}, target_.stream, live);
    }
    template <class T>
    void live_product_input_gradient(matrix_view<T const> dz, matrix_view<T const> w, matrix_view<T> dx,
                                     live_groups const& live) {
        espalier::product::tiles::template input_gradient<T>(plans_, dz, w, dx, {}, target_.stream, live);
    }
    template <class T>
    void live_product_weight_gradient(matrix_view<T const> x, matrix_view<T const> dz, matrix_view<master_of<T>> dw,
                                      live_groups const& live) {
        espalier::product::tiles::template weight_gradient<T>(plans_, x, dz, dw, {}, target_.stream, live);
    }

    // ---- the same for groups with as many rows each, which the host knows, in one call of a product that can do that

    template <class Chosen>
    static constexpr bool repeats_products = requires(espalier::product::product_batch const& batch, scratch_view space,
                                                      espalier::cuda::cublaslt_plans& plans, matrix_view<float> m) {
        product_for<Chosen>::template input_gradient<float>(plans, m, m, m, space, nullptr, batch);
    };
    template <class Chosen, class T>
    requires(repeats_products<Chosen>&& product_for<Chosen>::template adds_bias<T>) void group_product_forward(
        matrix_view<T const> x, matrix_view<T const> w, master_of<T> const* bias, matrix_view<T> z,
        live_groups const& live) {
        using P = product_for<Chosen>;
        if (z.rows == 0) return;
        espalier::product::product_batch batch{live.groups, live.apart * x.stride, live.parameters,
                                               live.apart * z.stride, live.parameters};
        kernels::scratch_cursor space(scratch);
        if constexpr (std::is_same_v<T, master_of<T>>) {
            P::template forward<T>(plans_, x, w, bias, z, false, space.rest(), target_.stream, batch);
        } else if (!bias) {
            P::template forward<T>(plans_, x, w, nullptr, z, false, space.rest(), target_.stream, batch);
        } else {
            // The biases of all groups in the result's type, one behind the other.
            T* const narrow = space.template take<T>(live.groups * z.columns);
            write_as(matrix_view<master_of<T> const>{bias, live.groups, z.columns, live.parameters},
                     matrix_view<T>{narrow, live.groups, z.columns, z.columns});
            batch.bias = z.columns;
            P::template forward<T>(plans_, x, w, narrow, z, false, space.rest(), target_.stream, batch);
        }
    }
    template <class Chosen, class T>
    requires(repeats_products<Chosen>) void group_product_input_gradient(matrix_view<T const> dz,
                                                                         matrix_view<T const> w, matrix_view<T> dx,
                                                                         live_groups const& live) {
        if (dx.rows > 0)
            product_for<Chosen>::template input_gradient<T>(
                plans_, dz, w, dx, scratch, target_.stream,
                {live.groups, live.apart * dz.stride, live.parameters, live.apart * dx.stride, 0});
    }
    template <class Chosen, class T>
    requires(repeats_products<Chosen>) void group_product_weight_gradient(matrix_view<T const> x,
                                                                          matrix_view<T const> dz,
                                                                          matrix_view<master_of<T>> dw,
                                                                          live_groups const& live) {
        product_for<Chosen>::template weight_gradient<T>(
            plans_, x, dz, dw, scratch, target_.stream,
            {live.groups, live.apart * x.stride, live.apart * dz.stride, live.parameters, 0});
    }

private:
    template <class From, class To> void write_as(matrix_view<From const> from, matrix_view<To> to) {
        run(kernels::passes::combine_rows<false, From, To>{from, to});
    }
};

/// A GPU with the default products.
using cuda = basic_cuda<>;

} // namespace espalier::device
