// SPDX-License-Identifier: Apache-2.0
// The product seam: the three matrix products of a layer, over views with run-time sizes.
//
// Archetype:
//
//     struct my_product {
//         using axis = espalier::axis::product;
//         static constexpr std::string_view name = "mine";
//         // bytes of packing space for any product whose extents are at most these
//         template <class T> static std::size_t scratch(index_t rows, index_t inner, index_t columns);
//         // z = x W + bias          x: rows x in, W: in x out, bias: out or null, z: rows x out
//         template <class T> static void forward(matrix_view<T const> x, matrix_view<T const> w, T const* bias,
//                                                matrix_view<T> z, scratch_view space);
//         // dx = dz W^T
//         template <class T> static void input_gradient(matrix_view<T const> dz, matrix_view<T const> w,
//                                                       matrix_view<T> dx, scratch_view space);
//         // dW = x^T dz
//         template <class T> static void weight_gradient(matrix_view<T const> x, matrix_view<T const> dz,
//                                                        matrix_view<T> dw, scratch_view space);
//     };
//
// Optional, for layers whose result is a sum of products (weight::low_rank_adapter): the first two added to what is
// there.
//
//         // z = z + x W
//         template <class T> static void add_forward(matrix_view<T const> x, matrix_view<T const> w, matrix_view<T> z,
//                                                    scratch_view space);
//         // dx = dx + dz W^T
//         template <class T> static void add_input_gradient(matrix_view<T const> dz, matrix_view<T const> w,
//                                                           matrix_view<T> dx, scratch_view space);
//
// Optional too: `static constexpr bool cuts_freely = true` when the bits of an element do not depend on how many other
// rows are computed with it, so that a device may give parts of a product to several threads.
//
// A product never allocates: its packing space comes from the executor's arena.
#pragma once

#include <espalier/core/members.hpp>
#include <espalier/core/view.hpp>
#include <espalier/product/axis.hpp>

#include <cstddef>

namespace espalier {

/// Memory that a product may use while it runs, 64-byte aligned.
struct scratch_view {
    std::byte* data = nullptr;
    std::size_t size = 0;
};

template <class P, class T>
concept product_policy = requires(matrix_view<T const> in, matrix_view<T> out, T const* bias, scratch_view space,
                                  index_t n) {
    { P::template scratch<T>(n, n, n) } -> std::convertible_to<std::size_t>;
    P::template forward<T>(in, in, bias, out, space);
    P::template input_gradient<T>(in, in, out, space);
    P::template weight_gradient<T>(in, in, out, space);
};

/// A product that can add to what is there.
template <class P, class T>
concept adding_product = requires(matrix_view<T const> in, matrix_view<T> out, scratch_view space) {
    P::template add_forward<T>(in, in, out, space);
    P::template add_input_gradient<T>(in, in, out, space);
};

/// What a policy on the axis needs.
template <class Asked> consteval bool axis::product::members() {
    using P = typename Asked::policy;
    constexpr bool complete = product_policy<P, float> || product_policy<P, double>;
    ESPALIER_NEEDS(complete, "a product needs `scratch`, `forward`, `input_gradient` and `weight_gradient`; "
                             "product/concept.hpp has their signatures");
    return complete;
}

} // namespace espalier
