// SPDX-License-Identifier: Apache-2.0
// Kernel bodies of the three matrix products of a layer, for as many rows as a number in device memory says: an expert
// multiplies the rows it got, and the host never learns how many. bf16 on tensor cores, float and double without.
#pragma once

#include <espalier/core/group.hpp>
#include <espalier/core/layout.hpp>
#include <espalier/core/live_groups.hpp>
#include <espalier/core/live_window.hpp>
#include <espalier/core/macros.hpp>
#include <espalier/core/pack.hpp>
#include <espalier/core/view.hpp>
#include <espalier/kernels/access.hpp>

#include <cstddef>
#include <cstdint>
#include <type_traits>

namespace espalier::kernels {

/// Lanes of the blocks that run the bodies here.
inline constexpr std::uint32_t tile_product_threads = 256;

/// A block computes M x N numbers of the result at once and goes along their sums in steps of K.
template <int M, int N, int K> struct tile_shape { static constexpr int m = M, n = N, k = K; };

/// The shapes for a T: large tiles read each number less often, small ones keep more blocks busy. They give the same
/// bits: a number of the result is one sum in the order of its terms.
template <class T> struct tile_shapes {
    using large = tile_shape<128, 128, 16>;
    using small = tile_shape<64, 64, 16>;
};
template <> struct tile_shapes<double> {
    using large = tile_shape<64, 64, 16>;
    using small = tile_shape<64, 64, 16>;
};
template <class T>
requires(sizeof(T) == 2) struct tile_shapes<T> {
    using large = tile_shape<128, 128, 32>;
    using small = tile_shape<64, 64, 32>;
};

namespace detail {

template <int Bytes> struct alignas(Bytes) access_words { std::uint32_t word[std::size_t{Bytes / 4}]; };

/// Shared storage of a block. Shapes of one kernel use the same.
template <class Word, int Count> struct alignas(16) tile_storage { Word word[std::size_t{Count}]; };

ESPALIER_FN constexpr int larger(int a, int b) {
    return a < b ? b : a;
}

/// One factor of a product: `outer` rows or columns of the result times `inner` terms of a sum. Terms: the terms of a
/// sum lie side by side in memory; otherwise what belongs to one term does.
template <class T, bool Terms> struct tile_factor {
    using element = T;
    static constexpr bool terms = Terms;

    T const* data;
    index_t stride, outer, inner;
    bool vector;
    live_window window{}; ///< of lines. Looked up when a tile begins: a number kept for that would cost a register
};

/// What a lane reads of a factor: of each piece of O x K numbers some units of 16 bytes, which lie below each other.
/// What is not there is 0. Distances in 32 bits and one pointer for all units: registers are what tiles are short of.
template <class Factor, int O, int K> struct tile_reader {
    using factor = Factor;
    using T = typename Factor::element;
    static constexpr int lanes = static_cast<int>(tile_product_threads), size = access_unit<T>::size;
    static constexpr int in_line = (Factor::terms ? K : O) / size, apart = lanes / in_line;
    static constexpr int units = O * K / size / lanes;
    static_assert(lanes % in_line == 0 && units * size * lanes == O * K);

    access_unit<T> unit[std::size_t{units}];
    T const* at;
    index_t stride;
    int lines, length; ///< left from `at` on
    bool vector;

    ESPALIER_FN tile_reader(Factor const& from, int thread, index_t first_outer) : stride(from.stride) {
        index_t const line = line_of(thread) + (Factor::terms ? first_outer : 0);
        index_t const place = place_of(thread) + (Factor::terms ? 0 : first_outer);
        lines = left((Factor::terms ? from.outer : from.inner) - line);
        length = left((Factor::terms ? from.inner : from.outer) - place);
        at = from.data; // of a factor without numbers it may be null
        if (lines > 0 && length > 0) at += (line + live_first(from.window)) * stride + place;
        vector = from.vector;
    }
    ESPALIER_FN static int line_of(int thread) { return thread / in_line; }
    ESPALIER_FN static int place_of(int thread) { return thread % in_line * size; }

    /// The next piece.
    ESPALIER_FN void load() {
        ESPALIER_KERNEL_UNROLL
        for (int i = 0; i < units; ++i) {
            T const* const p = at + i * apart * stride;
            if (vector && i * apart < lines && length >= size) {
                unit[i] = load16(p);
            } else {
                ESPALIER_KERNEL_UNROLL
                for (int j = 0; j < size; ++j) {
                    unit[i].v[j] = static_cast<T>(master_of<T>(0));
                    if (i * apart < lines && j < length) unit[i].v[j] = p[j];
                }
            }
        }
        if constexpr (Factor::terms) {
            at += K;
            length -= K;
        } else {
            at += K * stride;
            lines -= K;
        }
    }

private:
    ESPALIER_FN static int left(index_t n) { return static_cast<int>(n < index_t(1) << 30 ? n : index_t(1) << 30); }
};

/// Where the numbers of a result go: rows below `rows`. A sum starts from the bias, which may be null, and from what
/// the result holds already when it is added to.
template <class T, class Bias> struct tile_result {
    matrix_view<T> to;
    index_t rows;
    Bias const* bias;
    bool accumulate;
    live_window window{}; ///< of rows

    /// Row 0 is the first one of the window.
    ESPALIER_FN tile_result from_window() const {
        tile_result r = *this;
        r.to.data += live_first(window) * to.stride;
        return r;
    }
    template <int Count> ESPALIER_FN bool aligned() const {
        constexpr std::uintptr_t bytes = Count * sizeof(T);
        return (reinterpret_cast<std::uintptr_t>(to.data) | static_cast<std::uintptr_t>(to.stride) * sizeof(T)) %
                   bytes ==
               0;
    }
    ESPALIER_FN bool starts_from_zero() const { return !bias && !accumulate; }
    template <class W> ESPALIER_FN W start(index_t r, index_t c) const {
        W value(0);
        if (bias && c < to.columns) value = static_cast<W>(bias[c]);
        if (accumulate && r < rows && c < to.columns) value += static_cast<W>(to.data[r * to.stride + c]);
        return value;
    }
    /// Neighbours from column c on, c a multiple of their number.
    template <std::size_t Neighbours, class W>
    ESPALIER_FN void put(index_t r, index_t c, bool vector, W const (&v)[Neighbours]) const {
        constexpr int Count = int{Neighbours};
        if (r >= rows) return;
        T* const p = to.data + r * to.stride + c;
        struct {
            T v[Neighbours];
        } out;
        ESPALIER_KERNEL_UNROLL
        for (int j = 0; j < Count; ++j)
            out.v[j] = static_cast<T>(v[j]);
        if (vector && c + Count <= to.columns) {
#if ESPALIER_ON_DEVICE
            access_words<Count * sizeof(T)> words;
            __builtin_memcpy(&words, &out, sizeof words);
            *reinterpret_cast<decltype(words)*>(p) = words;
#else
            __builtin_memcpy(static_cast<void*>(p), &out, sizeof out);
#endif
        } else {
            ESPALIER_KERNEL_UNROLL
            for (int j = 0; j < Count; ++j)
                if (c + j < to.columns) p[j] = out.v[j];
        }
    }
};

template <class To, class From> ESPALIER_FN void copy_unit(To* to, From const* from) {
#if ESPALIER_ON_DEVICE
    *reinterpret_cast<access_words<16>*>(to) = *reinterpret_cast<access_words<16> const*>(from);
#else
    __builtin_memcpy(to, from, 16);
#endif
}

/// Tiles by multiply-adds of single numbers: a lane has (M / 16) x (N / 16) numbers of the result, in groups of 16
/// bytes, and shared storage holds a term of all rows or columns of the tile in a line.
template <class T, class Shape> struct plain_tile {
    using W = master_of<T>;
    static constexpr int group = 16 / static_cast<int>(sizeof(W)), pad = group;
    static constexpr int tall = Shape::m / 16, wide = Shape::n / 16;
    static constexpr int a_line = Shape::m + pad, b_line = Shape::n + pad;
    static constexpr int a_words = Shape::k * a_line, words = 2 * Shape::k * (a_line + b_line);
    using word = W;

    W sum[std::size_t{tall}][std::size_t{wide}] = {};
    int row, column; ///< of the lane among 16 x 16; a warp has 4 x 8, so that it reads few different numbers

    template <class Block> ESPALIER_FN explicit plain_tile(Block const& block) {
        int const thread = static_cast<int>(block.thread_rank()), warp = thread / 32, lane = thread % 32;
        row = warp / 2 * 4 + lane / 8;
        column = warp % 2 * 8 + lane % 8;
    }

    /// What a reader holds goes to shared storage.
    template <class A> ESPALIER_FN static void store_a(int thread, W* buffer, A const& a) {
        store<typename A::factor, a_line>(thread, buffer, a);
    }
    template <class B> ESPALIER_FN static void store_b(int thread, W* buffer, B const& b) {
        store<typename B::factor, b_line>(thread, buffer + a_words, b);
    }

    /// The first or second half of the terms in shared storage.
    template <class A, class B, class Block> ESPALIER_FN void add(Block const&, W const* buffer, int half) {
        W const* const a = buffer + row * group;
        W const* const b = buffer + a_words + column * group;
        ESPALIER_KERNEL_UNROLL
        for (int step = 0; step < Shape::k / 2; ++step) {
            int const k = half * (Shape::k / 2) + step;
            access_unit<W> left[std::size_t{tall / group}], right[std::size_t{wide / group}];
            ESPALIER_KERNEL_UNROLL
            for (int i = 0; i < tall / group; ++i)
                copy_unit(&left[i], a + k * a_line + i * 16 * group);
            ESPALIER_KERNEL_UNROLL
            for (int j = 0; j < wide / group; ++j)
                copy_unit(&right[j], b + k * b_line + j * 16 * group);
            ESPALIER_KERNEL_UNROLL
            for (int i = 0; i < tall; ++i) {
                ESPALIER_KERNEL_UNROLL
                for (int j = 0; j < wide; ++j)
                    sum[i][j] = fma(left[i / group].v[i % group], right[j / group].v[j % group], sum[i][j]);
            }
        }
    }

    template <class Result> ESPALIER_FN void start(index_t r0, index_t c0, Result const& result) {
        if (result.starts_from_zero()) return;
        ESPALIER_KERNEL_UNROLL
        for (int i = 0; i < tall; ++i) {
            ESPALIER_KERNEL_UNROLL
            for (int j = 0; j < wide; ++j)
                sum[i][j] = result.template start<W>(row_of(r0, i), column_of(c0, j) + j % group);
        }
    }
    template <class Result> ESPALIER_FN void finish(index_t r0, index_t c0, Result const& result) const {
        bool const vector = result.template aligned<group>();
        ESPALIER_KERNEL_UNROLL
        for (int i = 0; i < tall; ++i) {
            ESPALIER_KERNEL_UNROLL
            for (int j = 0; j < wide; j += group) {
                W v[std::size_t{group}];
                ESPALIER_KERNEL_UNROLL
                for (int e = 0; e < group; ++e)
                    v[e] = sum[i][j + e];
                result.put(row_of(r0, i), column_of(c0, j), vector, v);
            }
        }
    }

private:
    ESPALIER_FN index_t row_of(index_t r0, int i) const { return r0 + (i / group * 16 + row) * group + i % group; }
    /// Of the first of the group that j belongs to.
    ESPALIER_FN index_t column_of(index_t c0, int j) const { return c0 + (j / group * 16 + column) * group; }

    template <class Factor, int Line, class Reader>
    ESPALIER_FN static void store(int thread, W* to, Reader const& from) {
        constexpr int size = Reader::size;
        ESPALIER_KERNEL_UNROLL
        for (int i = 0; i < Reader::units; ++i) {
            int const line = Reader::line_of(thread) + i * Reader::apart, place = Reader::place_of(thread);
            if constexpr (Factor::terms) {
                ESPALIER_KERNEL_UNROLL
                for (int j = 0; j < size; ++j)
                    to[(place + j) * Line + line] = static_cast<W>(from.unit[i].v[j]);
            } else if constexpr (std::is_same_v<T, W>) {
                copy_unit(to + line * Line + place, &from.unit[i]);
            } else {
                ESPALIER_KERNEL_UNROLL
                for (int j = 0; j < size; ++j)
                    to[line * Line + place + j] = static_cast<W>(from.unit[i].v[j]);
            }
        }
    }
};

/// Tiles of bf16 on tensor cores: two by four warps, each with (M / 2) x (N / 4) numbers of the result, and shared
/// storage that holds the factors as they lie in memory. Lines are 8 numbers longer than they need to be, so that the
/// eight rows of a matrix lie in different banks.
template <class T, class Shape> struct matrix_tile_sums {
    static_assert(sizeof(T) == 2 && std::is_same_v<master_of<T>, float>,
                  "espalier: tensor cores multiply bf16 and add in float");
    static constexpr int pad = 8;
    static constexpr int tall = Shape::m / 2 / 16, wide = Shape::n / 4 / 8;
    static constexpr int a_words = larger(Shape::m * (Shape::k + pad), Shape::k*(Shape::m + pad));
    static constexpr int b_words = larger(Shape::n * (Shape::k + pad), Shape::k*(Shape::n + pad));
    static constexpr int words = 2 * (a_words + b_words);
    using word = std::uint16_t;

    float sum[std::size_t{tall}][std::size_t{wide}][4] = {};
    int row, column, lane; ///< where the warp's part of the tile begins

    template <class Block> ESPALIER_FN explicit matrix_tile_sums(Block const& block) {
        int const thread = static_cast<int>(block.thread_rank()), warp = thread / 32;
        row = warp / 4 * (Shape::m / 2);
        column = warp % 4 * (Shape::n / 4);
        lane = thread % 32;
    }

    /// What a reader holds goes to shared storage.
    template <class A> ESPALIER_FN static void store_a(int thread, word* buffer, A const& a) {
        store<typename A::factor, Shape::m>(thread, buffer, a);
    }
    template <class B> ESPALIER_FN static void store_b(int thread, word* buffer, B const& b) {
        store<typename B::factor, Shape::n>(thread, buffer + a_words, b);
    }

    /// The first or second half of the terms in shared storage.
    template <class A, class B, class Block> ESPALIER_FN void add(Block const& block, word const* buffer, int half) {
        auto const warp = block.template tile<32>();
        // Matrix lane / 8 of the four that a lane gives a row of, and which row.
        int const low = lane / 8 % 2 * 8, high = lane / 16 * 8, r = lane % 8;
        ESPALIER_KERNEL_UNROLL
        for (int part = 0; part < Shape::k / 32; ++part) {
            int const k = half * (Shape::k / 2) + part * 16;
            std::uint32_t a[std::size_t{tall}][4], b[std::size_t{wide / 2}][4];
            ESPALIER_KERNEL_UNROLL
            for (int i = 0; i < tall; ++i) {
                // Matrices 0 and 1 lie below each other, 2 and 3 to their right.
                int const m = row + i * 16;
                if constexpr (A::terms)
                    warp.template load_matrices<false>(a[i], buffer + (m + low + r) * (Shape::k + pad) + k + high);
                else
                    warp.template load_matrices<true>(a[i], buffer + (k + high + r) * (Shape::m + pad) + m + low);
            }
            ESPALIER_KERNEL_UNROLL
            for (int j = 0; j < wide / 2; ++j) {
                int const n = column + j * 16;
                word const* const from = buffer + a_words;
                if constexpr (B::terms)
                    warp.template load_matrices<false>(b[j], from + (n + high + r) * (Shape::k + pad) + k + low);
                else
                    warp.template load_matrices<true>(b[j], from + (k + low + r) * (Shape::n + pad) + n + high);
            }
            ESPALIER_KERNEL_UNROLL
            for (int i = 0; i < tall; ++i) {
                ESPALIER_KERNEL_UNROLL
                for (int j = 0; j < wide; ++j) {
                    std::uint32_t const right[2] = {b[j / 2][j % 2 * 2], b[j / 2][j % 2 * 2 + 1]};
                    warp.multiply_add(sum[i][j], a[i], right);
                }
            }
        }
    }

    template <class Result> ESPALIER_FN void start(index_t r0, index_t c0, Result const& result) {
        if (result.starts_from_zero()) return;
        ESPALIER_KERNEL_UNROLL
        for (int i = 0; i < tall; ++i) {
            ESPALIER_KERNEL_UNROLL
            for (int j = 0; j < wide; ++j) {
                ESPALIER_KERNEL_UNROLL
                for (int e = 0; e < 4; ++e)
                    sum[i][j][e] = result.template start<float>(row_of(r0, i, e / 2), column_of(c0, j) + e % 2);
            }
        }
    }
    template <class Result> ESPALIER_FN void finish(index_t r0, index_t c0, Result const& result) const {
        bool const vector = result.template aligned<2>();
        ESPALIER_KERNEL_UNROLL
        for (int i = 0; i < tall; ++i) {
            ESPALIER_KERNEL_UNROLL
            for (int h = 0; h < 2; ++h) {
                ESPALIER_KERNEL_UNROLL
                for (int j = 0; j < wide; ++j) {
                    float const v[2] = {sum[i][j][2 * h], sum[i][j][2 * h + 1]};
                    result.put(row_of(r0, i, h), column_of(c0, j), vector, v);
                }
            }
        }
    }

private:
    ESPALIER_FN index_t row_of(index_t r0, int i, int h) const { return r0 + row + i * 16 + h * 8 + lane / 4; }
    ESPALIER_FN index_t column_of(index_t c0, int j) const { return c0 + column + j * 8 + lane % 4 * 2; }

    template <class Factor, int O, class Reader>
    ESPALIER_FN static void store(int thread, word* to, Reader const& from) {
        constexpr int line_length = (Factor::terms ? Shape::k : O) + pad;
        ESPALIER_KERNEL_UNROLL
        for (int i = 0; i < Reader::units; ++i)
            copy_unit(to + (Reader::line_of(thread) + i * Reader::apart) * line_length + Reader::place_of(thread),
                      &from.unit[i]);
    }
};

template <class T, class Shape> struct sums_by_shape { using type = plain_tile<T, Shape>; };
template <class T, class Shape>
requires(sizeof(T) == 2) struct sums_by_shape<T, Shape> {
    using type = matrix_tile_sums<T, Shape>;
};
template <class T, class Shape> using sums_of_tile = typename sums_by_shape<T, Shape>::type;

template <class Shape> ESPALIER_FN index_t tile_count(index_t rows, index_t columns) {
    return ((rows + Shape::m - 1) / Shape::m) * ((columns + Shape::n - 1) / Shape::n);
}

/// result = a b, tile by tile: the blocks take the tiles that there are in turns. The next step's numbers are on their
/// way from memory while one step's are multiplied, one factor at a time.
template <class Sums, class Shape, int Words, class Block, class A, class B, class Result>
ESPALIER_FN void tile_loop(Block const& block, A const& a, B const& b, Result const& result) {
    using word = typename Sums::word;
    auto& shared = block.template shared<tile_storage<word, Words>>();
    int const thread = static_cast<int>(block.thread_rank());
    index_t const across = (b.outer + Shape::n - 1) / Shape::n, tiles = tile_count<Shape>(a.outer, b.outer);
    index_t const steps = (a.inner + Shape::k - 1) / Shape::k;
    ESPALIER_KERNEL_LOOP
    for (index_t t = block.block_rank(); t < tiles; t += block.block_count()) {
        index_t const r0 = t / across * Shape::m, c0 = t % across * Shape::n;
        Sums sums(block);
        sums.start(r0, c0, result.from_window());
        tile_reader<A, Shape::m, Shape::k> from_a(a, thread, r0);
        tile_reader<B, Shape::n, Shape::k> from_b(b, thread, c0);
        if (steps > 0) {
            from_a.load();
            Sums::store_a(thread, shared.word, from_a);
            from_b.load();
            Sums::store_b(thread, shared.word, from_b);
        }
        block.sync();
        ESPALIER_KERNEL_LOOP
        for (index_t s = 0; s < steps; ++s) {
            word* const now = shared.word + (s & 1) * (Sums::words / 2);
            word* const next = shared.word + (~s & 1) * (Sums::words / 2);
            bool const more = s + 1 < steps;
            if (more) from_a.load();
            sums.template add<A, B>(block, now, 0);
            if (more) {
                Sums::store_a(thread, next, from_a);
                from_b.load();
            }
            sums.template add<A, B>(block, now, 1);
            if (more) Sums::store_b(thread, next, from_b);
            block.sync();
        }
        sums.finish(r0, c0, result.from_window());
    }
}

/// Large tiles where they fill the blocks of the grid about as evenly as small ones. A small tile is a quarter of the
/// work of a large one but takes more than a quarter of the time; two fifths is assumed. A launch for `groups` groups,
/// of which the block's is one, is assumed to have as much to do for each.
template <class T, class Block, class A, class B, class Result>
ESPALIER_FN void tile_product(Block const& block, int groups, A const& a, B const& b, Result const& result) {
    static_assert(Block::lanes == tile_product_threads, "espalier: products of tiles need blocks of 256 lanes");
    using large = typename tile_shapes<T>::large;
    using small = typename tile_shapes<T>::small;
    constexpr int words = larger(sums_of_tile<T, large>::words, sums_of_tile<T, small>::words);
    if constexpr (std::is_same_v<large, small>) {
        tile_loop<sums_of_tile<T, small>, small, words>(block, a, b, result);
    } else {
        index_t const launched = block.block_count() * groups;
        index_t const blocks = groups == 1                                ? launched
                               : launched < live_groups::oversubscription ? 1
                                                                          : launched / live_groups::oversubscription;
        index_t const large_rounds = (groups * tile_count<large>(a.outer, b.outer) + blocks - 1) / blocks;
        index_t const small_rounds = (groups * tile_count<small>(a.outer, b.outer) + blocks - 1) / blocks;
        if (5 * large_rounds <= 2 * small_rounds)
            tile_loop<sums_of_tile<T, large>, large, words>(block, a, b, result);
        else
            tile_loop<sums_of_tile<T, small>, small, words>(block, a, b, result);
    }
}

} // namespace detail

/// z = x w (+ bias), or z += ...; x: rows x in, w: in x out, z: rows x out. Rows outside the window are neither
/// read nor written. The same bits for every number of blocks, and for a row whatever the other rows are. `groups`: of
/// how many launches' worth of blocks these are; it decides about the size of tiles, not about bits.
template <class Block, class T, class Bias>
ESPALIER_FN void tile_forward(Block const& block, matrix_view<T const> x, matrix_view<T const> w, Bias const* bias,
                              matrix_view<T> z, bool accumulate, live_window live, int groups = 1) {
    index_t const rows = live_count(z.rows, live);
    detail::tile_factor<T, true> const a{x.data, x.stride, rows, x.columns, aligned16(x), live};
    detail::tile_factor<T, false> const b{w.data, w.stride, z.columns, x.columns, aligned16(w)};
    detail::tile_product<T>(block, groups, a, b, detail::tile_result<T, Bias>{z, rows, bias, accumulate, live});
}

/// dx = dz w^T; rows outside the window are neither read nor written.
template <class Block, class T>
ESPALIER_FN void tile_input_gradient(Block const& block, matrix_view<T const> dz, matrix_view<T const> w,
                                     matrix_view<T> dx, live_window live, int groups = 1) {
    index_t const rows = live_count(dx.rows, live);
    detail::tile_factor<T, true> const a{dz.data, dz.stride, rows, dz.columns, aligned16(dz), live};
    detail::tile_factor<T, true> const b{w.data, w.stride, dx.columns, dz.columns, aligned16(w)};
    detail::tile_product<T>(block, groups, a, b, detail::tile_result<T, master_of<T>>{dx, rows, nullptr, false, live});
}

/// dw = x^T dz over the rows of the window, in their order; always written, with zeros when there are none.
template <class Block, class T>
ESPALIER_FN void tile_weight_gradient(Block const& block, matrix_view<T const> x, matrix_view<T const> dz,
                                      matrix_view<master_of<T>> dw, live_window live, int groups = 1) {
    using W = master_of<T>;
    index_t const rows = live_count(x.rows, live);
    detail::tile_factor<T, false> const a{x.data, x.stride, dw.rows, rows, aligned16(x), live};
    detail::tile_factor<T, false> const b{dz.data, dz.stride, dw.columns, rows, aligned16(dz), live};
    detail::tile_product<T>(block, groups, a, b, detail::tile_result<W, W>{dw, dw.rows, nullptr, false});
}

} // namespace espalier::kernels
