// SPDX-License-Identifier: Apache-2.0
// Compiles every member of the CUDA groups, and of the serial group on the device, in one kernel a group width.
#include <espalier/core/group.hpp>
#include <espalier/device/cuda/group.hpp>

#include <cstdint>

namespace group_compile {

using espalier::index_t;

struct candidate {
    float score;
    std::uint32_t expert;
};

struct better {
    ESPALIER_FN candidate operator()(candidate a, candidate b) const {
        return b.score > a.score || (b.score == a.score && b.expert < a.expert) ? b : a;
    }
};

template <class Group> ESPALIER_FN double common_members(Group group, double const* in) {
    double x = in[group.group_rank() * group.size() + group.thread_rank()];
    float const f = static_cast<float>(x);
    int const i = static_cast<int>(group.thread_rank());
    x += group.reduce_add(x) + group.reduce_add(f) + group.reduce_add(i);
    x += group.reduce_max(x) + group.reduce_max(f) + group.reduce_max(i);
    x += group.reduce_min(x) + group.reduce_min(f) + group.reduce_min(std::int64_t{i});
    x += group.reduce(candidate{f, group.thread_rank()}, better{}).score;
    group.sync();
    x += group.inclusive_scan_add(i) + group.exclusive_scan_add(std::int64_t{i});
    x += group.any(f > 0) + group.all(f > 0);
    return x + static_cast<double>(group.group_count() + group.block_rank() + group.block_count());
}

template <class Tile> ESPALIER_FN double tile_members(Tile tile, double x) {
    x += tile.shuffle(x, 0) + tile.shuffle(static_cast<float>(x), 0) + tile.shuffle(std::int16_t{3}, 0);
    x += tile.shuffle_xor(x, 0) + tile.shuffle_down(x, 1) + tile.shuffle_up(x, 1);
    x += tile.shuffle_xor(candidate{1, 2}, 0).score + tile.ballot(x > 0);
    return x + tile.template tile<1>().reduce_add(x);
}

template <class Tile> ESPALIER_FN double matrix_members(Tile tile, void const* row, double x) {
    if constexpr (espalier::matrix_tile<Tile>) {
        std::uint32_t words[4], more[4];
        float d[4] = {static_cast<float>(x), 1, 2, 3};
        tile.template load_matrices<false>(words, row);
        tile.template load_matrices<true>(more, row);
        std::uint32_t const b[2] = {more[0], more[3]};
        tile.multiply_add(d, words, b);
        return d[0] + d[1] + d[2] + d[3];
    }
    return x;
}

struct storage {
    double value[64];
};

template <class Block> ESPALIER_FN double block_members(Block block, double x) {
    storage& s = block.template shared<storage>();
    float(&extra)[32] = block.template shared<float[32]>();
    if (block.thread_rank() < 32) s.value[block.thread_rank()] = extra[block.thread_rank()] = static_cast<float>(x);
    block.sync();
    return x + s.value[0] + extra[block.thread_rank() % 32];
}

template <std::uint32_t Threads, std::uint32_t W> ESPALIER_KERNEL void all_members(double const* in, double* out) {
    espalier::block_group<Threads> const block;
    espalier::warp_tile<W> const tile = block.template tile<W>();
    static_assert(espalier::cooperative_block<espalier::block_group<Threads>>);
    static_assert(!espalier::cooperative_tile<espalier::block_group<Threads>>);
    static_assert(espalier::cooperative_tile<espalier::warp_tile<W>>);
    static_assert(!espalier::cooperative_block<espalier::warp_tile<W>>);
    static_assert(espalier::matrix_tile<espalier::warp_tile<W>> == (W == 32));
    double x = common_members(block, in) + common_members(tile, in);
    x = matrix_members(tile, block.template shared<storage>().value, x);
    x = block_members(block, tile_members(tile, x));
    espalier::serial_group const thread = espalier::cuda_thread_group();
    out[thread.group_rank()] = x + common_members(thread, in) + tile_members(thread, x);
}

} // namespace group_compile

void launch_all_members(double const* in, double* out) {
    group_compile::all_members<32, 1><<<1, 32>>>(in, out);
    group_compile::all_members<32, 2><<<1, 32>>>(in, out);
    group_compile::all_members<64, 4><<<2, 64>>>(in, out);
    group_compile::all_members<96, 8><<<2, 96>>>(in, out);
    group_compile::all_members<256, 16><<<2, 256>>>(in, out);
    group_compile::all_members<1024, 32><<<2, 1024>>>(in, out);
    group_compile::all_members<16, 16><<<2, 16>>>(in, out);
}
