// SPDX-License-Identifier: Apache-2.0
// Kernel bodies of embeddings: rows of tables by number, and the tables' gradient.
#pragma once

#include <espalier/core/layout.hpp>
#include <espalier/core/macros.hpp>
#include <espalier/core/view.hpp>
#include <espalier/kernels/access.hpp>

#include <cstdint>

namespace espalier::kernels {

/// Where the tables of up to 16 columns of ids begin: table f is the rows begin[f] ... begin[f + 1] - 1. More columns
/// are several launches, so that what travels with one stays small.
struct id_tables {
    static constexpr index_t most = 16;
    std::int32_t begin[most + 1];

    /// Tables of so many rows each, one below the other.
    static id_tables of(index_t const* sizes, index_t count) {
        id_tables tables{};
        for (index_t f = 0; f < count; ++f)
            tables.begin[f + 1] = tables.begin[f] + static_cast<std::int32_t>(sizes[f]);
        return tables;
    }
    ESPALIER_FN std::int32_t size(std::uint32_t f) const { return begin[f + 1] - begin[f]; }
};

namespace detail {

/// The whole number x below `size`; -1 where it is none.
template <class T> ESPALIER_FN std::int32_t id_below(T x, std::int32_t size) {
    if (!(x >= T(0) && x < static_cast<T>(size))) return -1;
    auto const id = static_cast<std::int32_t>(x);
    return static_cast<T>(id) == x ? id : -1;
}

/// Place of the lowest one of a word that has one.
ESPALIER_FN int lowest_one(std::uint32_t word) {
#if ESPALIER_ON_DEVICE
    return __ffs(static_cast<int>(word)) - 1;
#else
    return __builtin_ctz(word);
#endif
}

} // namespace detail

/// y_r = the rows of `table` that the ids of row r name, side by side, `width` numbers each. What is no id is reported,
/// and reads row 0 of its table so that nothing else is touched before the host can throw. Floor: rows columns
/// (2 width + 1) numbers.
template <class Group, class T>
ESPALIER_FN void embed(Group const& group, matrix_view<T const> ids, id_tables const& tables, T const* table,
                       index_t width, matrix_view<T> y, error_word* error) {
    bool const vector = (static_cast<std::uintptr_t>(width) * sizeof(T) & 15u) == 0 && aligned16(table) && aligned16(y);
    auto const octets = static_cast<std::uint32_t>(octets_of(width));
    for (pair_walk at(grid_lane(group), grid_lanes(group), ids.columns * octets); at.line < ids.rows; at.advance()) {
        auto const place = static_cast<std::uint32_t>(at.place);
        std::uint32_t const f = place / octets;
        index_t const c = index_t{place - f * octets} * octet;
        std::int32_t const id = detail::id_below(ids(at.line, f), tables.size(f));
        if (id < 0) report(error, id_out_of_range, at.line);
        T const* const from = table + (index_t{tables.begin[f]} + (id < 0 ? 0 : id)) * width + c;
        int const count = count8(c, width);
        master_of<T> v[octet];
        load8(from, count, vector, v);
        store8(y.row(at.line) + f * width + c, count, vector, v);
    }
}

/// Gradient of the tables; `gradient` is 0 before. The first row of the batch with an id adds up dy over all rows with
/// that id, in row order, and writes what nobody else does: the same bits for every launch, those of the CPU. A row
/// looks for its id among the rows before it, the first one also among those behind it: at most rows^2 comparisons for
/// every column and 32 numbers of its width. They read the ids alone, which stay in the first-level cache for batches
/// of some thousand rows. What is no id adds nothing. Floor: rows columns (width + 1) numbers, and the table's.
template <class Block, class T, class Wide>
ESPALIER_FN void embed_backward(Block const& block, matrix_view<T const> ids, id_tables const& tables,
                                matrix_view<T const> dy, index_t width, Wide* gradient) {
    constexpr std::uint32_t tile_lanes = Block::lanes < 32 ? Block::lanes : 32;
    constexpr int ahead = 4; // accesses of a lane that do not wait for each other
    auto const tile = block.template tile<tile_lanes>();
    auto const lane = static_cast<index_t>(tile.thread_rank()), lanes = static_cast<index_t>(tile.size());
    auto const slices = static_cast<std::uint32_t>((width + lanes - 1) / lanes);
    for (pair_walk at(tile.group_rank(), tile.group_count(), ids.columns * slices); at.line < ids.rows; at.advance()) {
        auto const place = static_cast<std::uint32_t>(at.place);
        std::uint32_t const f = place / slices;
        index_t const c = index_t{place - f * slices} * lanes + lane;
        T const x = ids(at.line, f);
        std::int32_t const id = detail::id_below(x, tables.size(f));
        bool seen = id < 0;
        ESPALIER_KERNEL_LOOP
        for (index_t first = 0; first < at.line && !seen; first += ahead * lanes) {
            bool same = false;
            ESPALIER_KERNEL_UNROLL
            for (int j = 0; j < ahead; ++j) {
                index_t const r = first + j * lanes + lane;
                same |= r < at.line && ids(r, f) == x;
            }
            seen = tile.any(same);
        }
        if (seen) continue;
        bool const mine = c < width;
        T const* const column = dy.data + f * width + c;
        Wide sum(0);
        ESPALIER_KERNEL_LOOP
        for (index_t first = at.line; first < ids.rows; first += lanes) {
            index_t const other = first + lane;
            std::uint32_t same = tile.ballot(other < ids.rows && ids(other, f) == x);
            while (same != 0) {
                Wide part[ahead];
                ESPALIER_KERNEL_UNROLL
                for (int j = 0; j < ahead; ++j) {
                    part[j] = mine && same != 0
                                  ? static_cast<Wide>(column[(first + detail::lowest_one(same)) * dy.stride])
                                  : Wide(0);
                    same &= same - 1;
                }
                ESPALIER_KERNEL_UNROLL
                for (int j = 0; j < ahead; ++j)
                    sum += part[j]; // a sum that began at +0 is never -0: 0 more changes no bit
            }
        }
        if (mine) gradient[(index_t{tables.begin[f]} + id) * width + c] = sum;
    }
}

} // namespace espalier::kernels
