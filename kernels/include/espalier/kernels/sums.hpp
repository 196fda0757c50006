// SPDX-License-Identifier: Apache-2.0
// Sums in a fixed order: the same bits for every number of blocks and every block size.
#pragma once

#include <espalier/core/macros.hpp>
#include <espalier/core/view.hpp>
#include <espalier/kernels/access.hpp>

#include <cstdint>

namespace espalier::kernels {

/// A matrix cut into strips of rows. One thread adds up eight columns of one strip from top to bottom, which gives a
/// matrix of partial sums with one row for each strip. The cut depends on the number of rows alone, never on the
/// launch.
struct strips {
    index_t height = 1;
    index_t count = 0;
};

/// At most this many strips: the second pass reads that many rows.
inline constexpr index_t most_strips = 256, shortest_strip = 8;

ESPALIER_FN constexpr strips strips_of(index_t rows) {
    index_t const even = (rows + most_strips - 1) / most_strips;
    index_t const height = even < shortest_strip ? shortest_strip : even;
    return {height, (rows + height - 1) / height};
}

/// The most strips that so many rows or fewer are cut into: 2048 rows make 256, 2049 make 228.
ESPALIER_FN constexpr index_t strips_at_most(index_t rows) {
    index_t const short_ones = (rows + shortest_strip - 1) / shortest_strip;
    return short_ones < most_strips ? short_ones : most_strips;
}

/// Room for a matrix of partial sums of so many rows or fewer.
ESPALIER_FN constexpr index_t partial_size(index_t rows, index_t columns) {
    return strips_at_most(rows) * octets_of(columns) * octet;
}

/// Calls body(strip, k) for the strips in their order; k counts 0 ... 3 again and again, and is 0 for the last ones
/// that make no four: which of four running sums a strip goes to, so that four loads are under way.
template <class Body> ESPALIER_FN void for_strips(index_t count, Body const& body) {
    index_t s = 0;
    for (; s + 4 <= count; s += 4) {
        ESPALIER_KERNEL_UNROLL
        for (int k = 0; k < 4; ++k)
            body(s + k, k);
    }
    for (; s < count; ++s)
        body(s, 0);
}

/// The sum of `count` partial sums, the first at `first`, `stride` apart. Without any `partial` may be null.
template <class W> ESPALIER_FN W partial_total(W const* partial, index_t first, index_t count, index_t stride) {
    W sum[4] = {W(0), W(0), W(0), W(0)};
    for_strips(count, [&](index_t s, int k) { sum[k] += partial[first + s * stride]; });
    return (sum[0] + sum[1]) + (sum[2] + sum[3]);
}

/// out[c] = (or +=) the sum of column c of `count` partial rows, `stride` apart. Floor: count + 1 (2 when added)
/// numbers a column. One thread a column.
template <class Group, class W>
ESPALIER_FN void add_partial_rows(Group const& group, W const* partial, index_t count, index_t stride, index_t columns,
                                  W* out, bool accumulate, error_word const* error = nullptr) {
    if (failed(error)) return;
    for (index_t c = grid_lane(group); c < columns; c += grid_lanes(group)) {
        W const total = partial_total(partial, c, count, stride);
        out[c] = accumulate ? out[c] + total : total;
    }
}

/// sums[c] = sum of column c: the partial rows. Floor: b rows columns bytes.
template <class Group, class T>
ESPALIER_FN void column_partials(Group const& group, matrix_view<T const> m, master_of<T>* partial) {
    using W = master_of<T>;
    strips const cut = strips_of(m.rows);
    bool const vector = aligned16(m);
    index_t const stride = octets_of(m.columns) * octet;
    for (pair_walk at(grid_lane(group), grid_lanes(group), octets_of(m.columns)); at.line < cut.count; at.advance()) {
        index_t const c = at.place * octet, first = at.line * cut.height;
        index_t const last = first + cut.height < m.rows ? first + cut.height : m.rows;
        int const count = count8(c, m.columns);
        W sum[octet] = {};
        for (index_t r = first; r < last; ++r) {
            W x[octet];
            load8(m.row(r) + c, count, vector, x);
            ESPALIER_KERNEL_UNROLL
            for (int j = 0; j < octet; ++j)
                sum[j] += x[j];
        }
        store8(partial + at.line * stride + c, octet, aligned16(partial), sum);
    }
}

namespace detail {
struct tile_sums {
    double value[32];
};
} // namespace detail

/// sum of f(0) ... f(n - 1) on every lane of one block. As 32 tiles of 32 lanes would add, whatever the block's size:
/// lane l of tile t adds f(32 t + l), f(32 t + l + 1024), ...; then lanes and tiles by butterflies. The block has at
/// least 32 lanes (a serial group adds in its own order).
template <class Block, class F> ESPALIER_FN double fixed_sum(Block const& block, index_t n, F const& f) {
    auto const tile = block.template tile<(Block::lanes < 32 ? 1 : 32)>();
    constexpr std::uint32_t lanes = decltype(tile)::lanes, tiles = Block::lanes / lanes;
    static_assert(Block::lanes == 1 || Block::lanes >= 32, "espalier: sums in a fixed order need blocks of 32 lanes");
    if constexpr (Block::lanes == 1) {
        double sum = 0.0;
        for (index_t i = 0; i < n; ++i)
            sum += f(i);
        return sum;
    } else {
        auto& shared = block.template shared<detail::tile_sums>();
        for (std::uint32_t t = block.thread_rank() / lanes; t < 32; t += tiles) {
            double sum = 0.0;
            for (index_t i = t * lanes + tile.thread_rank(); i < n; i += 1024)
                sum += f(i);
            sum = tile.reduce_add(sum);
            if (tile.thread_rank() == 0) shared.value[t] = sum;
        }
        block.sync();
        double const total = tile.reduce_add(shared.value[tile.thread_rank()]);
        block.sync(); // nobody overwrites the sums before everybody has read them
        return total;
    }
}

/// result = (or +=) the sum of n numbers, by one block. Floor: 8 n bytes.
template <class Block, class Result>
ESPALIER_FN void sum_numbers(Block const& block, double const* x, index_t n, Result* result, bool accumulate) {
    double const sum = fixed_sum(block, n, [&](index_t i) { return x[i]; });
    if (block.block_rank() == 0 && block.thread_rank() == 0)
        *result = static_cast<Result>(accumulate ? static_cast<double>(*result) + sum : sum);
}

} // namespace espalier::kernels
