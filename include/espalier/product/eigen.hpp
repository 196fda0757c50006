// SPDX-License-Identifier: Apache-2.0
// host only. Products by Eigen's blocked kernel, called with packing space from the arena: through Eigen's own
// expressions every large product allocates its packing buffers anew, which costs a third of a training step.
#pragma once

#include <espalier/core/text.hpp>
#include <espalier/core/view.hpp>
#include <espalier/product/axis.hpp>
#include <espalier/product/concept.hpp>

#include <Eigen/Core>

#include <cstddef>
#include <cstring>
#include <string_view>

namespace espalier::product {

namespace detail {

template <class T>
using eigen_blocking = Eigen::internal::gemm_blocking_space<Eigen::ColMajor, T, T, Eigen::Dynamic, Eigen::Dynamic,
                                                            Eigen::Dynamic, 1, false>;

inline constexpr std::size_t scratch_alignment = 64;

template <class T> std::size_t block_bytes(Eigen::Index elements) {
    std::size_t const bytes = static_cast<std::size_t>(elements) * sizeof(T);
    return (bytes + scratch_alignment - 1) / scratch_alignment * scratch_alignment;
}

// Eigen's choice of block sizes with our memory. The base would release the blocks, so they are taken back first.
template <class T> struct blocking_in : eigen_blocking<T> {
    blocking_in(index_t rows, index_t columns, index_t depth, scratch_view space)
        : eigen_blocking<T>(rows, columns, depth, 1, true) {
        std::size_t const bytes_a = block_bytes<T>(this->mc() * this->kc());
        std::size_t const bytes_b = block_bytes<T>(this->kc() * this->nc());
        if (bytes_a + bytes_b > space.size)
            espalier::detail::throw_shape_error("product::eigen: packing space has ", space.size, " bytes, ",
                                                bytes_a + bytes_b, " are needed");
        this->m_blockA = reinterpret_cast<T*>(space.data);
        this->m_blockB = reinterpret_cast<T*>(space.data + bytes_a);
    }
    blocking_in(blocking_in const&) = delete;
    blocking_in& operator=(blocking_in const&) = delete;
    ~blocking_in() {
        this->m_blockA = nullptr;
        this->m_blockB = nullptr;
    }
};

template <class T> std::size_t eigen_scratch(index_t rows, index_t columns, index_t depth) {
    eigen_blocking<T> const blocking(rows, columns, depth, 1, true);
    return block_bytes<T>(blocking.mc() * blocking.kc()) + block_bytes<T>(blocking.kc() * blocking.nc());
}

// result += left * right, all in Eigen's column-major reading of our row-major memory.
template <class T, int LeftOrder, int RightOrder>
void accumulate(index_t rows, index_t columns, index_t depth, T const* left, index_t left_stride, T const* right,
                index_t right_stride, T* result, index_t result_stride, scratch_view space) {
    if (rows == 0 || columns == 0 || depth == 0) return;
    blocking_in<T> blocking(rows, columns, depth, space);
    Eigen::internal::general_matrix_matrix_product<Eigen::Index, T, LeftOrder, false, T, RightOrder, false,
                                                   Eigen::ColMajor, 1>::run(rows, columns, depth, left, left_stride,
                                                                            right, right_stride, result, 1,
                                                                            result_stride, T(1), blocking, nullptr);
}

template <class T> void fill_rows(matrix_view<T> m, T const* row) {
    auto const bytes = static_cast<std::size_t>(m.columns) * sizeof(T);
    for (index_t r = 0; r < m.rows; ++r) {
        if (row)
            std::memcpy(m.row(r), row, bytes);
        else
            std::memset(m.row(r), 0, bytes);
    }
}

} // namespace detail

/// Products by Eigen (single-threaded, no allocation). The bits of a row depend on how many rows are computed together.
struct eigen {
    using axis = espalier::axis::product;
    static constexpr std::string_view name = "eigen";

    template <class T> static std::size_t scratch(index_t rows, index_t inner, index_t columns) {
        std::size_t most = 0;
        // Eigen's block sizes are not monotone in the extents, so partial batches are asked for too.
        for (index_t r = rows; r > 0; r = r > 16 ? r - 16 : r - 1) {
            for (std::size_t const need :
                 {detail::eigen_scratch<T>(columns, r, inner), detail::eigen_scratch<T>(inner, r, columns),
                  detail::eigen_scratch<T>(columns, inner, r)})
                if (need > most) most = need;
        }
        return most + most / 4;
    }

    template <class T>
    static void forward(matrix_view<T const> x, matrix_view<T const> w, T const* bias, matrix_view<T> z,
                        scratch_view space) {
        detail::fill_rows(z, bias);
        add_forward(x, w, z, space);
    }
    template <class T>
    static void add_forward(matrix_view<T const> x, matrix_view<T const> w, matrix_view<T> z, scratch_view space) {
        detail::accumulate<T, Eigen::ColMajor, Eigen::ColMajor>(z.columns, z.rows, x.columns, w.data, w.stride, x.data,
                                                                x.stride, z.data, z.stride, space);
    }

    template <class T>
    static void input_gradient(matrix_view<T const> dz, matrix_view<T const> w, matrix_view<T> dx, scratch_view space) {
        detail::fill_rows<T>(dx, nullptr);
        add_input_gradient(dz, w, dx, space);
    }
    template <class T>
    static void add_input_gradient(matrix_view<T const> dz, matrix_view<T const> w, matrix_view<T> dx,
                                   scratch_view space) {
        detail::accumulate<T, Eigen::RowMajor, Eigen::ColMajor>(dx.columns, dx.rows, dz.columns, w.data, w.stride,
                                                                dz.data, dz.stride, dx.data, dx.stride, space);
    }

    template <class T>
    static void weight_gradient(matrix_view<T const> x, matrix_view<T const> dz, matrix_view<T> dw,
                                scratch_view space) {
        detail::fill_rows<T>(dw, nullptr);
        detail::accumulate<T, Eigen::ColMajor, Eigen::RowMajor>(dw.columns, dw.rows, x.rows, dz.data, dz.stride, x.data,
                                                                x.stride, dw.data, dw.stride, space);
    }
};

} // namespace espalier::product
