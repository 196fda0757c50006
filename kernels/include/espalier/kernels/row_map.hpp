// SPDX-License-Identifier: Apache-2.0
// Kernel bodies of row-wise activations, and how rows are spread over lanes.
#pragma once

#include <espalier/core/layout.hpp>
#include <espalier/core/macros.hpp>
#include <espalier/core/row.hpp>
#include <espalier/core/view.hpp>
#include <espalier/kernels/access.hpp>

#include <cstdint>
#include <type_traits>

namespace espalier::kernels {

/// Rows wider than this take a whole block; narrower ones a tile of a warp.
inline constexpr int widest_tile_row = 1024;

/// Lanes of a row of N columns: about four columns a lane, so that narrow rows share a warp and the reductions are
/// short; from 128 columns on a warp, above widest_tile_row a block.
template <int N> consteval std::uint32_t row_lanes() {
    std::uint32_t lanes = 1;
    while (lanes < 32 && static_cast<int>(lanes) * 4 < N)
        lanes *= 2;
    return lanes;
}

/// The group that works on one row of N columns, from the block.
template <int N, class Block> ESPALIER_FN auto row_group(Block const& block) {
    if constexpr (N > widest_tile_row)
        return block;
    else
        return block.template tile<(row_lanes<N>() < Block::lanes ? row_lanes<N>() : Block::lanes)>();
}
template <int N, class Block>
using row_group_of = std::remove_cvref_t<decltype(row_group<N>(std::declval<Block const&>()))>;

/// Column of element i as an index; whether it exists.
template <int N, class Group> ESPALIER_FN int row_column(Group const& group, int i) {
    return row_part<Group, N>::number(group, i);
}

/// The row at p, elements past the last column 0. `Source` converts to the row's type.
template <class Group, class W, int N, class Source>
ESPALIER_FN void load_row(Group const& group, Source const* p, row<Group, W, N>& x) {
    ESPALIER_ROW_UNROLL
    for (int i = 0; i < x.local; ++i) {
        int const c = row_column<N>(group, i);
        x.v[i] = N % static_cast<int>(Group::lanes) == 0 || c < N ? static_cast<W>(p[c]) : W(0);
    }
}
template <class Group, class W, int N, class Target>
ESPALIER_FN void store_row(Group const& group, row<Group, W, N> const& x, Target* p) {
    ESPALIER_ROW_UNROLL
    for (int i = 0; i < x.local; ++i) {
        int const c = row_column<N>(group, i);
        if (N % static_cast<int>(Group::lanes) == 0 || c < N) p[c] = static_cast<Target>(x.v[i]);
    }
}

/// Reports row r when the lane's share of its numbers is not finite.
template <class Row> ESPALIER_FN void report_row(error_word* error, std::uint32_t bit, index_t r, Row const& x) {
    if (!error) return;
    finite_watch<std::remove_cvref_t<decltype(x.v[0])>> watch;
    ESPALIER_ROW_UNROLL
    for (int i = 0; i < x.local; ++i)
        watch.see(x.v[i]);
    if (!watch.all_finite()) report(error, bit, r);
}

/// A row-wise activation over y, in place. Floor: 2 b rows N bytes; a row is read once and held in registers.
template <int N, class Block, class Op, class T>
ESPALIER_FN void row_map_forward(Block const& block, Op const& op, matrix_view<T> y, error_word* error = nullptr) {
    auto const group = row_group<N>(block);
    for (index_t r = group.group_rank(); r < y.rows; r += group.group_count()) {
        row<row_group_of<N, Block>, master_of<T>, N> x;
        load_row(group, y.row(r), x);
        report_row(error, activation_not_finite, r, x);
        op.forward(group, x);
        store_row(group, x, y.row(r));
    }
}

/// dy <- its gradient, in place; y are the outputs of forward. Floor: 3 b rows N bytes.
template <int N, class Block, class Op, class T>
ESPALIER_FN void row_map_backward(Block const& block, Op const& op, matrix_view<T const> y, matrix_view<T> dy,
                                  error_word* error = nullptr) {
    auto const group = row_group<N>(block);
    for (index_t r = group.group_rank(); r < y.rows; r += group.group_count()) {
        row<row_group_of<N, Block>, master_of<T>, N> x, dx;
        load_row(group, y.row(r), x);
        load_row(group, dy.row(r), dx);
        report_row(error, activation_not_finite, r, dx);
        op.backward(group, x, dx);
        store_row(group, dx, dy.row(r));
    }
}

} // namespace espalier::kernels
