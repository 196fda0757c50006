// SPDX-License-Identifier: Apache-2.0
// Kernel bodies that look at all numbers of a tensor: the sum of their squares, in a fixed order, and whether they are
// finite.
#pragma once

#include <espalier/core/layout.hpp>
#include <espalier/core/macros.hpp>
#include <espalier/core/view.hpp>
#include <espalier/kernels/access.hpp>

namespace espalier::kernels {

/// Elements whose squares one tile adds up into one partial sum.
inline constexpr index_t norm_chunk = 4096;

ESPALIER_FN constexpr index_t norm_chunks(index_t size) {
    return (size + norm_chunk - 1) / norm_chunk;
}

/// partial[i] = sum of squares of chunk i, for sum_numbers to finish. Floor: b n bytes. The order is that of tiles of
/// 32 lanes; squares of an octet are added in the tensor's type, octets in double.
template <class Block, class T>
ESPALIER_FN void square_partials(Block const& block, T const* x, index_t n, double* partial) {
    using W = master_of<T>;
    auto const tile = block.template tile<(Block::lanes < 32 ? Block::lanes : 32)>();
    bool const vector = aligned16(x);
    for (index_t chunk = tile.group_rank(); chunk < norm_chunks(n); chunk += tile.group_count()) {
        index_t const end = (chunk + 1) * norm_chunk < n ? (chunk + 1) * norm_chunk : n;
        double sum = 0.0;
        for (index_t i = chunk * norm_chunk + static_cast<index_t>(tile.thread_rank()) * octet; i < end;
             i += static_cast<index_t>(tile.size()) * octet) {
            W v[octet];
            load8(x + i, count8(i, n), vector, v);
            W square(0);
            ESPALIER_KERNEL_UNROLL
            for (int j = 0; j < octet; ++j)
                square += v[j] * v[j];
            double part = static_cast<double>(square);
            if constexpr (std::is_same_v<W, float>)
                if (!(square <= 3.4e38f)) { // finite numbers whose squares are not, as far as W can say
                    part = 0.0;
                    ESPALIER_KERNEL_UNROLL
                    for (int j = 0; j < octet; ++j)
                        part += static_cast<double>(v[j]) * static_cast<double>(v[j]);
                }
            sum += part;
        }
        sum = tile.reduce_add(sum);
        if (tile.thread_rank() == 0) partial[chunk] = sum;
    }
}

/// Reports what is not finite among n numbers, with the place of its eight. Floor: b n bytes.
template <class Group, class T>
ESPALIER_FN void find_not_finite(Group const& group, T const* x, index_t n, std::uint32_t bit, error_word* error) {
    bool const vector = aligned16(x);
    for (index_t o = grid_lane(group); o < octets_of(n); o += grid_lanes(group)) {
        master_of<T> v[octet];
        load8(x + o * octet, count8(o * octet, n), vector, v);
        report_unless_finite(error, bit, o * octet, v);
    }
}

/// Reports what is not finite in the first x.rows rows of each of `blocks` blocks of a matrix, `apart` rows from one to
/// the next, with the row in its block. Floor: b blocks rows columns bytes.
template <class Group, class T>
ESPALIER_FN void find_rows_not_finite(Group const& group, matrix_view<T const> x, index_t blocks, index_t apart,
                                      std::uint32_t bit, error_word* error) {
    bool const vector = aligned16(x);
    for (pair_walk at(grid_lane(group), grid_lanes(group), octets_of(x.columns)); at.line < blocks * x.rows;
         at.advance()) {
        index_t const row = at.line % x.rows, c = at.place * octet;
        master_of<T> v[octet];
        load8(x.row(at.line / x.rows * apart + row) + c, count8(c, x.columns), vector, v);
        report_unless_finite(error, bit, row, v);
    }
}

/// Elements that the mask does not keep become 0. Floor: 2 b n bytes.
template <class Group, class T>
ESPALIER_FN void clear_left_out(Group const& group, T* x, std::uint32_t const* mask, index_t n) {
    bool const vector = aligned16(x);
    for (index_t o = grid_lane(group); o < octets_of(n); o += grid_lanes(group)) {
        index_t const i = o * octet;
        int const count = count8(i, n);
        std::uint32_t const kept = mask8(mask, i, count);
        master_of<T> v[octet];
        load8(x + i, count, vector, v);
        ESPALIER_KERNEL_UNROLL
        for (int j = 0; j < octet; ++j)
            if ((kept >> j & 1u) == 0) v[j] = master_of<T>(0);
        store8(x + i, count, vector, v);
    }
}

} // namespace espalier::kernels
