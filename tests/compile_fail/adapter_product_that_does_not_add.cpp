// SPDX-License-Identifier: Apache-2.0
// expect: the product of a layer with weight::low_rank_adapter must add to what is there
// expect: plain_product
// expect: add_forward
// A product without the functions that add.
#include <espalier/device/cpu/cpu.hpp>
using namespace espalier;
struct plain_product {
    using axis = espalier::axis::product;
    static constexpr std::string_view name = "plain";
    template <class T> static std::size_t scratch(index_t, index_t, index_t) { return 0; }
    template <class T>
    static void forward(matrix_view<T const>, matrix_view<T const>, T const*, matrix_view<T>, scratch_view) {}
    template <class T>
    static void input_gradient(matrix_view<T const>, matrix_view<T const>, matrix_view<T>, scratch_view) {}
    template <class T>
    static void weight_gradient(matrix_view<T const>, matrix_view<T const>, matrix_view<T>, scratch_view) {}
#ifdef ESPALIER_POSITIVE_TWIN
    template <class T>
    static void add_forward(matrix_view<T const>, matrix_view<T const>, matrix_view<T>, scratch_view) {}
    template <class T>
    static void add_input_gradient(matrix_view<T const>, matrix_view<T const>, matrix_view<T>, scratch_view) {}
#endif
};
void add(device::cpu& on, matrix_view<float const> x, matrix_view<float> z) {
    on.add_product_forward<plain_product>(x, x, z);
}
