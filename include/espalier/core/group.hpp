// SPDX-License-Identifier: Apache-2.0
// Cooperative groups: what a kernel body may ask of the lanes that run it together. The body is a template over the
// group; the same text runs as one lane (serial_group), as a CUDA warp or block, and lane by lane on the emulated
// block.
#pragma once

#include <espalier/core/macros.hpp>
#include <espalier/core/view.hpp>

#include <concepts>
#include <cstdint>
#include <type_traits>

// Archetype. A body is per-lane code: every lane of the group executes it with its own `thread_rank()`. All members are
// const, and a group is small: pass it by value or by reference.
//
//     struct group {
//         static constexpr std::uint32_t lanes;            // lanes of the group, known at compile time
//
//         // --- every group: cooperative_group ------------------------------------------------------------------
//         constexpr std::uint32_t size() const;            // lanes
//         std::uint32_t thread_rank() const;               // this lane's place in the group, 0 ... lanes - 1
//         index_t block_rank() const;                      // place of the lane's block in the grid
//         index_t block_count() const;                     // blocks in the grid
//         index_t group_rank() const;                      // place of this group among all groups of its kind and
//         index_t group_count() const;                     //   width in the grid: what a loop over rows starts from
//                                                          //   and steps by (a block: block_rank, block_count)
//         void sync() const;                               // barrier; shared and global writes of the group before it
//                                                          //   are visible to the group after it
//         bool any(bool) const;                            // true on every lane if it is true on one, or on all
//         bool all(bool) const;
//         T reduce(T, operation) const;                    // the same value on every lane, T of at most 16 bytes;
//                                                          //   `operation(a, b)` is commutative to the bit
//         T reduce_add(T), reduce_max(T), reduce_min(T) const;          // T: float, double or an integer
//         T inclusive_scan_add(T), exclusive_scan_add(T) const;         // T: an integer
//
//         // --- up to 32 neighbouring lanes: cooperative_tile ---------------------------------------------------
//         T shuffle(T, std::uint32_t lane) const;          // the value of `lane`, which must be < lanes
//         T shuffle_xor(T, std::uint32_t mask) const;      // of lane thread_rank() ^ mask, which must be < lanes
//         T shuffle_down(T, std::uint32_t delta) const;    // of thread_rank() + delta, the lane's own past the end
//         T shuffle_up(T, std::uint32_t delta) const;      // of thread_rank() - delta, the lane's own before lane 0
//         std::uint32_t ballot(bool) const;                // bit i is the argument of lane i
//         auto tile<W>() const;                            // this lane's tile of W lanes, W a power of two <= lanes
//
//         // --- exactly 32 lanes: matrix_tile, for tensor cores --------------------------------------------------
//         void multiply_add(float (&d)[4], std::uint32_t const (&a)[4], std::uint32_t const (&b)[2]) const;
//                                                          // d += a b for 16 x 16 and 16 x 8 numbers of bf16, two in
//                                                          //   a word, the first in the lower half
//         void load_matrices<Transposed>(std::uint32_t (&words)[4], void const* row) const;
//                                                          // four 8 x 8 matrices of 16 bits from shared storage
//
//         // --- a block: cooperative_block ----------------------------------------------------------------------
//         auto tile<W>() const;                            // this lane's tile; tile i holds lanes i W ... (i + 1) W -
//         1 T& shared<T>() const;                            // storage of the block, uninitialised, one object for
//         each
//                                                          //   T: asking twice for the same T gives the same object
//     };
//
// Every lane of a group calls its collective members (all but the ranks, counts, `tile` and `shared`) in the same
// order. Only `sync` orders memory: a shuffle or a ballot does not make another lane's writes visible on a GPU.
//
// Values that are shuffled are trivially copyable: numbers of any width, or a struct such as {score, expert}.
//
// Shares of the lanes in the matrices, as PTX defines them for mma.m16n8k16 and ldmatrix.x4, with g = lane / 4 and
// t = lane % 4:
//   - a[i] holds a(g + 8 (i % 2), 2 t + 8 (i / 2)) and the number to its right,
//   - b[i] holds b(2 t + 8 i, g) and the number below it,
//   - d[i] is d(g + 8 (i / 2), 2 t + i % 2);
//   - row r of matrix i is the 16 bytes, 16-byte aligned, at the `row` that lane 8 i + r gives;
//   - words[i] holds matrix_i(g, 2 t) and (g, 2 t + 1), or, transposed, matrix_i(2 t, g) and (2 t + 1, g).
// In which order multiply_add adds its sixteen products is the hardware's affair, but it is always the same.
//
// Order of reductions, the same in every implementation, so that the results have the same bits: a tile is a butterfly,
// v_i <- operation(v_i, v_{i ^ m}) for m = W/2, W/4, ..., 1. A block is a butterfly in each tile of 32 lanes, then the
// tiles' values from left to right. `reduce_add` never contracts into a fused multiply-add. `reduce_max` and
// `reduce_min` ignore NaN beside a number, and +0 is greater than -0. The payload of a NaN is unspecified.
//
// The serial group is a block and a tile of one lane, so reductions and shuffles return their argument. That also makes
// it the group of the packs: T may be a pack of rows, one row an element, and `tile<W>()` is again one lane.

namespace espalier {

namespace detail {

// Functions for reduce_*. Contraction must not reach into the addition: lane i would compute fma(x_i, y_i, v_j) where
// lane j computes fma(x_j, y_j, v_i), and the lanes of one sum would disagree.
struct group_add {
    template <class T> ESPALIER_FN constexpr T operator()(T a, T b) const {
#if ESPALIER_ON_DEVICE
        if constexpr (std::same_as<T, float>) return __fadd_rn(a, b);
        if constexpr (std::same_as<T, double>) return __dadd_rn(a, b);
#endif
        return static_cast<T>(a + b);
    }
};

// As PTX max.f32 and max.f64 define it; std::max and std::fmax leave the sign of zero open, and then two lanes that see
// (a, b) and (b, a) may keep different zeros.
struct group_max {
    template <class T> ESPALIER_FN constexpr T operator()(T a, T b) const {
        if constexpr (std::floating_point<T>) {
#if ESPALIER_ON_DEVICE
            if constexpr (std::same_as<T, float>) return fmaxf(a, b);
            if constexpr (std::same_as<T, double>) return fmax(a, b);
#endif
            if (a != a) return b;
            if (b != b) return a;
            if (a == b) return __builtin_signbit(a) ? b : a;
        }
        return a < b ? b : a;
    }
};

struct group_min {
    template <class T> ESPALIER_FN constexpr T operator()(T a, T b) const {
        if constexpr (std::floating_point<T>) {
#if ESPALIER_ON_DEVICE
            if constexpr (std::same_as<T, float>) return fminf(a, b);
            if constexpr (std::same_as<T, double>) return fmin(a, b);
#endif
            if (a != a) return b;
            if (b != b) return a;
            if (a == b) return __builtin_signbit(a) ? a : b;
        }
        return b < a ? b : a;
    }
};

ESPALIER_FN constexpr bool is_tile_width(std::uint32_t width) {
    return width >= 1 && width <= 32 && (width & (width - 1)) == 0;
}

ESPALIER_FN constexpr bool is_block_width(std::uint32_t width) {
    return is_tile_width(width) || (width % 32 == 0 && width >= 32 && width <= 1024);
}

} // namespace detail

/// What every kernel body may use; the archetype at the top of this header says what each member means.
template <class G>
concept cooperative_group = requires(G const g, float x, double y, int i, bool p) {
    requires std::integral_constant<bool, (G::lanes >= 1)>::value;
    { g.size() } -> std::same_as<std::uint32_t>;
    { g.thread_rank() } -> std::same_as<std::uint32_t>;
    { g.block_rank() } -> std::same_as<index_t>;
    { g.block_count() } -> std::same_as<index_t>;
    { g.group_rank() } -> std::same_as<index_t>;
    { g.group_count() } -> std::same_as<index_t>;
    g.sync();
    { g.any(p) } -> std::same_as<bool>;
    { g.all(p) } -> std::same_as<bool>;
    { g.reduce(x, detail::group_add{}) } -> std::same_as<float>;
    { g.reduce_add(x) } -> std::same_as<float>;
    { g.reduce_add(y) } -> std::same_as<double>;
    { g.reduce_max(x) } -> std::same_as<float>;
    { g.reduce_min(i) } -> std::same_as<int>;
    { g.inclusive_scan_add(i) } -> std::same_as<int>;
    { g.exclusive_scan_add(i) } -> std::same_as<int>;
};

/// Up to 32 neighbouring lanes that exchange values without shared memory.
template <class G>
concept cooperative_tile = cooperative_group<G> && requires(G const g, float x, std::uint32_t lane, bool p) {
    { g.shuffle(x, lane) } -> std::same_as<float>;
    { g.shuffle_xor(x, lane) } -> std::same_as<float>;
    { g.shuffle_down(x, lane) } -> std::same_as<float>;
    { g.shuffle_up(x, lane) } -> std::same_as<float>;
    { g.ballot(p) } -> std::same_as<std::uint32_t>;
    { g.template tile<1>() } -> cooperative_group;
};

/// A warp that multiplies small matrices.
template <class G>
concept matrix_tile = cooperative_tile<G> && requires(G const g, float (&d)[4], std::uint32_t (&words)[4],
                                                      std::uint32_t const (&a)[4], std::uint32_t const (&b)[2]) {
    requires G::lanes == 32;
    g.multiply_add(d, a, b);
    g.template load_matrices<false>(words, static_cast<void const*>(nullptr));
    g.template load_matrices<true>(words, static_cast<void const*>(nullptr));
};

/// A block: it hands out tiles and shared storage.
template <class G>
concept cooperative_block = cooperative_group<G> && requires(G const g) {
    { g.template tile<1>() } -> cooperative_tile;
    { g.template shared<float>() } -> std::same_as<float&>;
};

/// One lane on its own: a loop of the CPU path, or one CUDA thread. `T` may be a number or a pack.
///
/// `rank` and `count` say which of several serial groups this one is (threads of a CUDA grid, parts of a loop).
/// `shared_memory` is what `shared<T>()` hands out; it must be suitably aligned for T and large enough, and is only
/// needed for bodies that ask for it.
struct serial_group {
    index_t rank = 0;
    index_t count = 1;
    void* shared_memory = nullptr;

    static constexpr std::uint32_t lanes = 1;

    ESPALIER_FN constexpr std::uint32_t size() const { return 1; }
    ESPALIER_FN constexpr std::uint32_t thread_rank() const { return 0; }
    ESPALIER_FN constexpr index_t block_rank() const { return rank; }
    ESPALIER_FN constexpr index_t block_count() const { return count; }
    ESPALIER_FN constexpr index_t group_rank() const { return rank; }
    ESPALIER_FN constexpr index_t group_count() const { return count; }
    ESPALIER_FN constexpr void sync() const {}

    /// `P` is bool, or the mask of a pack: each element of a pack is a row of its own, so there is nothing to combine.
    template <class P> ESPALIER_FN constexpr P any(P predicate) const { return predicate; }
    template <class P> ESPALIER_FN constexpr P all(P predicate) const { return predicate; }
    template <class T, class Operation> ESPALIER_FN constexpr T reduce(T value, Operation) const { return value; }
    template <class T> ESPALIER_FN constexpr T reduce_add(T value) const { return value; }
    template <class T> ESPALIER_FN constexpr T reduce_max(T value) const { return value; }
    template <class T> ESPALIER_FN constexpr T reduce_min(T value) const { return value; }
    template <class T> ESPALIER_FN constexpr T inclusive_scan_add(T value) const { return value; }
    template <class T> ESPALIER_FN constexpr T exclusive_scan_add(T) const { return T{}; }

    template <class T> ESPALIER_FN constexpr T shuffle(T value, std::uint32_t) const { return value; }
    template <class T> ESPALIER_FN constexpr T shuffle_xor(T value, std::uint32_t) const { return value; }
    template <class T> ESPALIER_FN constexpr T shuffle_down(T value, std::uint32_t) const { return value; }
    template <class T> ESPALIER_FN constexpr T shuffle_up(T value, std::uint32_t) const { return value; }
    ESPALIER_FN constexpr std::uint32_t ballot(bool predicate) const { return predicate ? 1u : 0u; }

    /// One lane for every W, so that a body written for tiles of 32 runs serially as it stands.
    template <std::uint32_t W> ESPALIER_FN constexpr serial_group tile() const {
        static_assert(detail::is_tile_width(W), "espalier: a tile has 1, 2, 4, 8, 16 or 32 lanes");
        return *this;
    }
    template <class T> ESPALIER_FN T& shared() const {
        static_assert(std::is_trivially_default_constructible_v<T> && std::is_trivially_destructible_v<T>,
                      "espalier: shared storage is a type without constructor and destructor");
        return *static_cast<T*>(shared_memory);
    }
};

} // namespace espalier
