// SPDX-License-Identifier: Apache-2.0
// What kernel bodies share: eight columns at a time in 16-byte accesses, the random bits and mask bits of eight
// elements, numbers that may stand in device memory, and the error word.
#pragma once

#include <espalier/core/epilogue.hpp>
#include <espalier/core/finite.hpp>
#include <espalier/core/layout.hpp>
#include <espalier/core/live_window.hpp>
#include <espalier/core/macros.hpp>
#include <espalier/core/random.hpp>
#include <espalier/core/rows.hpp>
#include <espalier/core/view.hpp>
#include <espalier/core/word_bits.hpp>

#include <cstddef>
#include <cstdint>
#include <type_traits>

// Loops over the eight columns of a thread: on a GPU they must be unrolled, because an array that is indexed at run
// time leaves the registers. Loops over the rounds of a thread are not, because the registers of several rounds would
// add up.
#if ESPALIER_ON_DEVICE
#define ESPALIER_KERNEL_UNROLL _Pragma("unroll")
#define ESPALIER_KERNEL_LOOP _Pragma("unroll 1")
#else
#define ESPALIER_KERNEL_UNROLL
#define ESPALIER_KERNEL_LOOP
#endif

namespace espalier::kernels {

/// Columns of one thread: one Philox draw, two accesses of 16 bytes in float, one in bf16.
inline constexpr int octet = 8;

ESPALIER_FN constexpr index_t octets_of(index_t columns) {
    return (columns + octet - 1) / octet;
}

/// Of so many rows those in the window, never more than there are; where it begins; and what lies there.
ESPALIER_FN index_t live_count(index_t rows, live_window live) {
    index_t const n = live.count ? *live.count : rows;
    return n < 0 ? 0 : n < rows ? n : rows;
}
ESPALIER_FN index_t live_first(live_window live) {
    return live.first ? *live.first : 0;
}
template <class T> ESPALIER_FN matrix_view<T> live_rows(matrix_view<T> all, live_window live) {
    return {all.data + live_first(live) * all.stride, live_count(all.rows, live), all.columns, all.stride};
}
ESPALIER_FN rows live_rows(rows const& all, live_window live) {
    return live.first ? all.slice(live_first(live), live_count(all.count, live)) : all;
}

/// Lane of the grid and lanes in it.
template <class Group> ESPALIER_FN index_t grid_lane(Group const& group) {
    return group.block_rank() * static_cast<index_t>(Group::lanes) + static_cast<index_t>(group.thread_rank());
}
template <class Group> ESPALIER_FN index_t grid_lanes(Group const& group) {
    return group.block_count() * static_cast<index_t>(Group::lanes);
}

/// The tiles that walk in order over what a lane of a block is too narrow for.
template <class Block> ESPALIER_FN auto tile_of_32(Block const& block) {
    return block.template tile<(Block::lanes < 32 ? 1 : 32)>();
}

using espalier::detail::count_bits;

// What many lanes change at once. The results do not depend on who comes first.

template <class Count> ESPALIER_FN void add_to(Count& counter, Count n) {
#if ESPALIER_ON_DEVICE
    atomicAdd(&counter, n);
#else
    counter += n;
#endif
}
ESPALIER_FN void set_bits(std::uint32_t& word, std::uint32_t bits) {
#if ESPALIER_ON_DEVICE
    atomicOr(&word, bits);
#else
    word |= bits;
#endif
}

/// Pairs (line, octet) dealt to the lanes of a grid one after the other. The division by the run-time number of octets
/// happens twice per lane, not once per pair.
struct pair_walk {
    static constexpr index_t end = index_t(1) << 62; ///< past every line, for lines without octets
    index_t line;
    index_t place;
    index_t line_step;
    index_t place_step;
    index_t places;

    ESPALIER_FN pair_walk(index_t lane, index_t lanes, index_t places_)
        : line(places_ > 0 ? lane / places_ : end), place(places_ > 0 ? lane % places_ : 0),
          line_step(places_ > 0 ? lanes / places_ : 0), place_step(places_ > 0 ? lanes % places_ : 0), places(places_) {
    }
    ESPALIER_FN void advance() {
        line += line_step;
        place += place_step;
        if (place >= places) {
            place -= places;
            ++line;
        }
    }
};

// ---- memory

/// Whether `p` can be read 16 bytes at a time.
template <class T> ESPALIER_FN bool aligned16(T const* p) {
    return (reinterpret_cast<std::uintptr_t>(p) & 15u) == 0;
}
/// Whether every octet of every row of the view can.
template <class T> ESPALIER_FN bool aligned16(matrix_view<T> const& m) {
    return aligned16(m.data) && (static_cast<std::uintptr_t>(m.stride) * sizeof(T) & 15u) == 0;
}

namespace detail {

template <class T> struct alignas(16) access_unit {
    static constexpr int size = 16 / static_cast<int>(sizeof(T));
    T v[std::size_t{size}];
};

template <class T> ESPALIER_FN access_unit<T> load16(T const* p) {
    access_unit<T> unit;
#if ESPALIER_ON_DEVICE
    // Kernels read global memory only; saying so lets pointers that were themselves loaded use global accesses.
    __builtin_assume(__isGlobal(p));
    uint4 const words = *reinterpret_cast<uint4 const*>(p);
    __builtin_memcpy(&unit, &words, 16);
#else
    __builtin_memcpy(&unit, p, 16);
#endif
    return unit;
}
template <class T> ESPALIER_FN void store16(T* p, access_unit<T> const& unit) {
#if ESPALIER_ON_DEVICE
    __builtin_assume(__isGlobal(p));
    uint4 words;
    __builtin_memcpy(&words, &unit, 16);
    *reinterpret_cast<uint4*>(p) = words;
#else
    __builtin_memcpy(static_cast<void*>(p), &unit, 16);
#endif
}

} // namespace detail

/// Eight elements from `p` as wide numbers; elements from `count` on are 0 and not read. `vector`: p is 16-byte
/// aligned.
template <class T> ESPALIER_FN void load8(T const* p, int count, bool vector, master_of<T> (&v)[octet]) {
    using W = master_of<T>;
    constexpr int size = detail::access_unit<T>::size;
    if (vector && count == octet) {
        detail::access_unit<T> unit[std::size_t{octet / size}];
        ESPALIER_KERNEL_UNROLL
        for (int k = 0; k < octet / size; ++k)
            unit[k] = detail::load16(p + k * size);
        ESPALIER_KERNEL_UNROLL
        for (int j = 0; j < octet; ++j)
            v[j] = static_cast<W>(unit[j / size].v[j % size]);
    } else {
        ESPALIER_KERNEL_UNROLL
        for (int j = 0; j < octet; ++j)
            v[j] = j < count ? static_cast<W>(p[j]) : W(0);
    }
}
/// Writes the first `count` of eight numbers.
template <class T> ESPALIER_FN void store8(T* p, int count, bool vector, master_of<T> const (&v)[octet]) {
    constexpr int size = detail::access_unit<T>::size;
    if (vector && count == octet) {
        ESPALIER_KERNEL_UNROLL
        for (int k = 0; k < octet / size; ++k) {
            detail::access_unit<T> unit;
            ESPALIER_KERNEL_UNROLL
            for (int j = 0; j < size; ++j)
                unit.v[j] = static_cast<T>(v[k * size + j]);
            detail::store16(p + k * size, unit);
        }
    } else {
        ESPALIER_KERNEL_UNROLL
        for (int j = 0; j < octet; ++j)
            if (j < count) p[j] = static_cast<T>(v[j]);
    }
}

/// How many of the eight elements from `first` on exist.
ESPALIER_FN int count8(index_t first, index_t size) {
    return size - first < octet ? static_cast<int>(size - first) : octet;
}

// ---- random bits and masks

namespace detail {

/// Eight times the same decision.
ESPALIER_FN constexpr bits8 one_for_all(std::uint32_t bits) {
    std::uint32_t const both = bits | bits << 16;
    return {{both, both, both, both}};
}
/// Decision j of a draw, where j is known at run time: no register array is indexed with it.
ESPALIER_FN constexpr std::uint32_t decision(bits8 const& bits, std::uint32_t j) {
    std::uint32_t const low = j & 2u ? bits.word[1] : bits.word[0], high = j & 2u ? bits.word[3] : bits.word[2];
    return ((j & 4u ? high : low) >> (16 * (j & 1u))) & 0xffffu;
}

} // namespace detail

/// The draws of an octet of an epilogue: for each element, for its segment, one for the row or for all, or none.
template <class Dropout>
ESPALIER_FN bits8 octet_bits(Dropout const& op, random_site const& site, std::uint32_t place, index_t block) {
    if constexpr (Dropout::scope == random_scope::element) {
        return draw(site, place, static_cast<std::uint32_t>(block));
    } else if constexpr (Dropout::scope == random_scope::row) {
        return detail::one_for_all(draw(site, place, 0)[0]);
    } else if constexpr (Dropout::scope == random_scope::step) {
        return detail::one_for_all(draw(site, 0, 0)[0]);
    } else if constexpr (Dropout::scope == random_scope::segment) {
        // The first of eight segments begins with an octet, so all segments of an octet have one draw.
        auto const column = static_cast<std::uint32_t>(block * octet);
        bits8 const drawn = draw(site, place, column / op.segment / 8);
        bits8 bits;
        ESPALIER_KERNEL_UNROLL
        for (std::uint32_t j = 0; j < octet; ++j)
            bits.word[j >> 1] |= detail::decision(drawn, (column + j) / op.segment % 8) << (16 * (j & 1u));
        return bits;
    } else {
        return {};
    }
}

/// The draws `number` of the elements first ... first + 7 of a tensor that is one long row: element i has column i of
/// row 0.
ESPALIER_FN bits8 flat_bits(random_site const& site, index_t first, std::uint32_t number = 0) {
    auto const block = static_cast<std::uint32_t>(first / octet);
    auto const shift = static_cast<std::uint32_t>(first % octet);
    bits8 const low = draw(site, 0, block, number);
    if (shift == 0) return low;
    bits8 const high = draw(site, 0, block + 1, number);
    // The 256 bits of both, shifted by 16 `shift`, in steps that never index a register array at run time.
    std::uint32_t w[8] = {low.word[0],  low.word[1],  low.word[2],  low.word[3],
                          high.word[0], high.word[1], high.word[2], high.word[3]};
    if (shift & 4u) {
        ESPALIER_KERNEL_UNROLL
        for (int i = 0; i < 6; ++i)
            w[i] = w[i + 2];
    }
    if (shift & 2u) {
        ESPALIER_KERNEL_UNROLL
        for (int i = 0; i < 5; ++i)
            w[i] = w[i + 1];
    }
    if (shift & 1u) {
        ESPALIER_KERNEL_UNROLL
        for (int i = 0; i < 4; ++i)
            w[i] = w[i] >> 16 | w[i + 1] << 16;
    }
    return {{w[0], w[1], w[2], w[3]}};
}

/// Bits first ... first + count - 1 of a mask, the first one lowest. Words without any of them are not read.
ESPALIER_FN std::uint32_t mask8(std::uint32_t const* words, index_t first, int count) {
    index_t const word = first / 32;
    auto const shift = static_cast<std::uint32_t>(first % 32);
    std::uint32_t bits = words[word] >> shift;
    if ((first + count - 1) / 32 != word) bits |= words[word + 1] << (32 - shift);
    return bits;
}

// ---- numbers of a step

/// The numbers of an op: given with the launch, or read at `device`, where the next step's numbers will stand when a
/// captured graph is replayed.
template <class Op> struct numbers {
    Op const* device = nullptr;
    Op given{};

    ESPALIER_FN Op get() const {
        if constexpr (std::is_empty_v<Op>) {
            return given;
        } else {
            if (device) return *device;
            return given;
        }
    }
};

/// Where random bits are drawn; the step likewise.
struct site_numbers {
    random_site given{};
    std::uint32_t const* step = nullptr;

    ESPALIER_FN random_site get() const {
        random_site site = given;
        if (step) site.step = *step;
        return site;
    }
};

// ---- what only the device can see

/// Error bits.
enum error_bit : std::uint32_t {
    label_out_of_range = 1,
    sample_out_of_range = 2,
    mixing_out_of_range = 4,
    loss_not_finite = 8,
    expert_out_of_range = 16,
    id_out_of_range = 32,
    activation_not_finite = 64, ///< what goes into an activation or a dropout, or the gradient that comes back to it
    gate_not_finite = 128,      ///< a gate's logits, weights or the gradient of its weights
    gradient_not_finite = 256,  ///< of a tensor; the row is an element of the arena
    moments_not_finite = 512,   ///< of the columns of a batch; the row is a column
    norm_not_finite = 1024,     ///< of all gradients
    update_not_finite = 2048,   ///< what an update makes of finite numbers: the one that comes too late
    rows_not_finite = 4096,     ///< what a layer passes on in part: a slice, experts behind a gate
};

/// Errors of a step, gathered by kernels, read by the host when it next waits. Everything that changes weights or state
/// looks here first, so nothing is damaged before the host can throw.
struct error_word {
    std::uint32_t bits = 0;
    std::uint32_t row = 0xffffffffu; ///< the first row with an error

    ESPALIER_FN bool clear() const { return bits == 0; }
};

/// The result does not depend on who comes first.
ESPALIER_FN void report(error_word* error, std::uint32_t bit, index_t row) {
    if (!error) return;
    auto const number = static_cast<std::uint32_t>(row);
#if ESPALIER_ON_DEVICE
    atomicOr(&error->bits, bit);
    atomicMin(&error->row, number);
#else
    error->bits |= bit;
    error->row = error->row < number ? error->row : number;
#endif
}

/// Reports that one of eight numbers is not finite.
template <class W>
ESPALIER_FN void report_unless_finite(error_word* error, std::uint32_t bit, index_t row, W const (&x)[octet]) {
    if (!error) return;
    finite_watch<W> watch;
    ESPALIER_KERNEL_UNROLL
    for (int j = 0; j < octet; ++j)
        watch.see(x[j]);
    if (!watch.all_finite()) report(error, bit, row);
}

/// A null error word reports nothing. An update that went wrong stops none of its other blocks: which of them had begun
/// would be chance.
ESPALIER_FN bool failed(error_word const* error) {
    return error && (error->bits & ~std::uint32_t{update_not_finite}) != 0;
}

} // namespace espalier::kernels
