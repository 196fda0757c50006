// SPDX-License-Identifier: Apache-2.0
// The cooperative groups of CUDA kernels: a block of threads and a tile of a warp, over the intrinsics themselves (the
// toolkit's cooperative_groups header costs each .cu several seconds). For one-dimensional blocks; include it from .cu.
#pragma once

#include <espalier/core/group.hpp>
#include <espalier/core/macros.hpp>
#include <espalier/core/view.hpp>

#include <concepts>
#include <cstdint>
#include <type_traits>

#if !defined(__CUDACC__)
#error "espalier/device/cuda/group.hpp is for CUDA code: include it from a .cu file compiled by nvcc"
#endif

namespace espalier {

namespace detail {

// The intrinsics, callable from host and device functions: kernel bodies are both, and the host compiler must be able
// to read them. On the host none of these is ever called.
#if ESPALIER_ON_DEVICE
#define ESPALIER_DEVICE_OR(DEVICE, HOST) return DEVICE
#else
#define ESPALIER_DEVICE_OR(DEVICE, HOST) return HOST
#endif

ESPALIER_FN std::uint32_t cuda_thread() {
    ESPALIER_DEVICE_OR(threadIdx.x, 0);
}
ESPALIER_FN std::uint32_t cuda_threads() {
    ESPALIER_DEVICE_OR(blockDim.x, 1);
}
ESPALIER_FN index_t cuda_block() {
    ESPALIER_DEVICE_OR(blockIdx.x, 0);
}
ESPALIER_FN index_t cuda_blocks() {
    ESPALIER_DEVICE_OR(gridDim.x, 1);
}

ESPALIER_FN void cuda_sync_tile([[maybe_unused]] std::uint32_t mask) {
    ESPALIER_DEVICE_OR(__syncwarp(mask), void());
}
ESPALIER_FN void cuda_sync_block() {
    ESPALIER_DEVICE_OR(__syncthreads(), void());
}
ESPALIER_FN bool cuda_any_block(bool p) {
    ESPALIER_DEVICE_OR(__syncthreads_or(p) != 0, p);
}
ESPALIER_FN bool cuda_all_block(bool p) {
    ESPALIER_DEVICE_OR(__syncthreads_and(p) != 0, p);
}
ESPALIER_FN bool cuda_any([[maybe_unused]] std::uint32_t mask, bool p) {
    ESPALIER_DEVICE_OR(__any_sync(mask, p) != 0, p);
}
ESPALIER_FN bool cuda_all([[maybe_unused]] std::uint32_t mask, bool p) {
    ESPALIER_DEVICE_OR(__all_sync(mask, p) != 0, p);
}
ESPALIER_FN std::uint32_t cuda_ballot([[maybe_unused]] std::uint32_t mask, bool p) {
    ESPALIER_DEVICE_OR(__ballot_sync(mask, p), p);
}

enum class cuda_shuffle { from, exclusive_or, down, up };

template <cuda_shuffle Kind, std::uint32_t W>
ESPALIER_FN std::uint32_t cuda_shuffle_word([[maybe_unused]] std::uint32_t mask, std::uint32_t word,
                                            [[maybe_unused]] std::uint32_t argument) {
#if ESPALIER_ON_DEVICE
    if constexpr (Kind == cuda_shuffle::from) return __shfl_sync(mask, word, static_cast<int>(argument), W);
    if constexpr (Kind == cuda_shuffle::exclusive_or) {
        return __shfl_xor_sync(mask, word, static_cast<int>(argument), W);
    }
    if constexpr (Kind == cuda_shuffle::down) return __shfl_down_sync(mask, word, argument, W);
    if constexpr (Kind == cuda_shuffle::up) return __shfl_up_sync(mask, word, argument, W);
#endif
    return word;
}

// Any trivially copyable value, word by word: a double or a {score, index} pair is two shuffles, a bf16 one.
template <cuda_shuffle Kind, std::uint32_t W, class T>
ESPALIER_FN T cuda_shuffle_value(std::uint32_t mask, T value, std::uint32_t argument) {
    static_assert(std::is_trivially_copyable_v<T>, "espalier: a value that is shuffled is trivially copyable");
    constexpr unsigned words = (sizeof(T) + 3) / 4;
    std::uint32_t word[words];
    word[words - 1] = 0;
    __builtin_memcpy(word, &value, sizeof(T));
    for (unsigned i = 0; i < words; ++i) {
        word[i] = cuda_shuffle_word<Kind, W>(mask, word[i], argument);
    }
    __builtin_memcpy(&value, word, sizeof(T));
    return value;
}

// d += a b on the tensor cores. A program for a GPU without bf16 (compute capability below 8.0) stops here.
ESPALIER_FN void cuda_multiply_add([[maybe_unused]] float (&d)[4], [[maybe_unused]] std::uint32_t const (&a)[4],
                                   [[maybe_unused]] std::uint32_t const (&b)[2]) {
#if ESPALIER_ON_DEVICE
#if __CUDA_ARCH__ >= 800
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 "
                 "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
                 : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#else
    __trap();
#endif
#endif
}

template <bool Transposed>
ESPALIER_FN void cuda_load_matrices([[maybe_unused]] std::uint32_t (&w)[4], [[maybe_unused]] void const* row) {
#if ESPALIER_ON_DEVICE
    auto const at = static_cast<std::uint32_t>(__cvta_generic_to_shared(row));
    // Reads memory: neither it nor a store may pass the other.
    if constexpr (Transposed)
        asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                     : "=r"(w[0]), "=r"(w[1]), "=r"(w[2]), "=r"(w[3])
                     : "r"(at)
                     : "memory");
    else
        asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                     : "=r"(w[0]), "=r"(w[1]), "=r"(w[2]), "=r"(w[3])
                     : "r"(at)
                     : "memory");
#endif
}

// One object of the block for each T.
template <class T> ESPALIER_FN T& cuda_shared() {
#if ESPALIER_ON_DEVICE
    __shared__ T storage;
    return storage;
#else
    return *static_cast<T*>(nullptr);
#endif
}

// What the block's reductions and scans leave for each other: one value of up to 16 bytes a warp.
struct alignas(16) cuda_scratch {
    unsigned char bytes[32 * 16];
};

#undef ESPALIER_DEVICE_OR

} // namespace detail

/// This lane's W neighbours in its warp, W a power of two up to 32. Meaning of the members: core/group.hpp.
template <std::uint32_t W> struct warp_tile {
    static_assert(detail::is_tile_width(W), "espalier: a tile has 1, 2, 4, 8, 16 or 32 lanes");

    static constexpr std::uint32_t lanes = W;

    ESPALIER_FN constexpr std::uint32_t size() const { return W; }
    ESPALIER_FN std::uint32_t thread_rank() const { return detail::cuda_thread() % W; }
    ESPALIER_FN index_t block_rank() const { return detail::cuda_block(); }
    ESPALIER_FN index_t block_count() const { return detail::cuda_blocks(); }
    ESPALIER_FN index_t group_rank() const {
        return detail::cuda_block() * (detail::cuda_threads() / W) + detail::cuda_thread() / W;
    }
    ESPALIER_FN index_t group_count() const { return detail::cuda_blocks() * (detail::cuda_threads() / W); }

    ESPALIER_FN void sync() const { detail::cuda_sync_tile(mask()); }
    ESPALIER_FN bool any(bool predicate) const {
        if constexpr (W == 1)
            return predicate;
        else
            return detail::cuda_any(mask(), predicate);
    }
    ESPALIER_FN bool all(bool predicate) const {
        if constexpr (W == 1)
            return predicate;
        else
            return detail::cuda_all(mask(), predicate);
    }
    ESPALIER_FN std::uint32_t ballot(bool predicate) const {
        if constexpr (W == 1)
            return predicate;
        else
            return detail::cuda_ballot(mask(), predicate) >> first();
    }

    template <class T> ESPALIER_FN T shuffle(T value, std::uint32_t lane) const {
        return exchange<detail::cuda_shuffle::from>(value, lane);
    }
    template <class T> ESPALIER_FN T shuffle_xor(T value, std::uint32_t lane_mask) const {
        return exchange<detail::cuda_shuffle::exclusive_or>(value, lane_mask);
    }
    template <class T> ESPALIER_FN T shuffle_down(T value, std::uint32_t delta) const {
        return exchange<detail::cuda_shuffle::down>(value, delta);
    }
    template <class T> ESPALIER_FN T shuffle_up(T value, std::uint32_t delta) const {
        return exchange<detail::cuda_shuffle::up>(value, delta);
    }

    template <class T, class Operation> ESPALIER_FN T reduce(T value, Operation operation) const {
        for (std::uint32_t m = W / 2; m > 0; m /= 2) {
            value = operation(value, shuffle_xor(value, m));
        }
        return value;
    }
    template <class T> ESPALIER_FN T reduce_add(T value) const {
        static_assert(std::is_arithmetic_v<T>, "espalier: reduce_add takes a number; convert narrow floats first");
        return reduce(value, detail::group_add{});
    }
    template <class T> ESPALIER_FN T reduce_max(T value) const {
        static_assert(std::is_arithmetic_v<T>, "espalier: reduce_max takes a number; convert narrow floats first");
        return reduce(value, detail::group_max{});
    }
    template <class T> ESPALIER_FN T reduce_min(T value) const {
        static_assert(std::is_arithmetic_v<T>, "espalier: reduce_min takes a number; convert narrow floats first");
        return reduce(value, detail::group_min{});
    }

    template <std::integral T> ESPALIER_FN T inclusive_scan_add(T value) const {
        for (std::uint32_t delta = 1; delta < W; delta *= 2) {
            T const before = shuffle_up(value, delta);
            if (thread_rank() >= delta) value = static_cast<T>(value + before);
        }
        return value;
    }
    template <std::integral T> ESPALIER_FN T exclusive_scan_add(T value) const {
        return static_cast<T>(inclusive_scan_add(value) - value);
    }

    ESPALIER_FN void multiply_add(float (&d)[4], std::uint32_t const (&a)[4], std::uint32_t const (&b)[2]) const
        requires(W == 32) {
        detail::cuda_multiply_add(d, a, b);
    }
    template <bool Transposed>
    ESPALIER_FN void load_matrices(std::uint32_t (&words)[4], void const* row) const requires(W == 32) {
        detail::cuda_load_matrices<Transposed>(words, row);
    }

    template <std::uint32_t V> ESPALIER_FN warp_tile<V> tile() const {
        static_assert(V <= W, "espalier: a tile of a tile has at most as many lanes");
        return {};
    }

private:
    // Where the tile starts in its warp.
    ESPALIER_FN std::uint32_t first() const {
        if constexpr (W == 32)
            return 0;
        else
            return detail::cuda_thread() % 32 & ~(W - 1);
    }
    ESPALIER_FN std::uint32_t mask() const {
        if constexpr (W == 32)
            return 0xffffffffu;
        else
            return ((1u << W) - 1) << first();
    }
    template <detail::cuda_shuffle Kind, class T> ESPALIER_FN T exchange(T value, std::uint32_t argument) const {
        if constexpr (W == 1)
            return value;
        else
            return detail::cuda_shuffle_value<Kind, W>(mask(), value, argument);
    }
};

/// The block of a kernel launched with `BlockThreads` threads in one dimension: a power of two up to 32, or a multiple
/// of 32 up to 1024. Meaning of the members: core/group.hpp. Reductions and scans need 512 bytes of shared memory.
template <std::uint32_t BlockThreads> struct block_group {
    static_assert(detail::is_block_width(BlockThreads),
                  "espalier: a block has 1, 2, 4, 8, 16 or 32 threads, or a multiple of 32 up to 1024");

    static constexpr std::uint32_t lanes = BlockThreads;

    ESPALIER_FN constexpr std::uint32_t size() const { return BlockThreads; }
    ESPALIER_FN std::uint32_t thread_rank() const { return detail::cuda_thread(); }
    ESPALIER_FN index_t block_rank() const { return detail::cuda_block(); }
    ESPALIER_FN index_t block_count() const { return detail::cuda_blocks(); }
    ESPALIER_FN index_t group_rank() const { return block_rank(); }
    ESPALIER_FN index_t group_count() const { return block_count(); }

    ESPALIER_FN void sync() const { detail::cuda_sync_block(); }
    ESPALIER_FN bool any(bool predicate) const { return detail::cuda_any_block(predicate); }
    ESPALIER_FN bool all(bool predicate) const { return detail::cuda_all_block(predicate); }

    template <std::uint32_t W> ESPALIER_FN warp_tile<W> tile() const {
        static_assert(W <= BlockThreads, "espalier: a tile of a block has at most as many lanes");
        return {};
    }

    template <class T> ESPALIER_FN T& shared() const {
        static_assert(std::is_trivially_default_constructible_v<T> && std::is_trivially_destructible_v<T>,
                      "espalier: shared storage is a type without constructor and destructor");
        return detail::cuda_shared<T>();
    }

    template <class T, class Operation> ESPALIER_FN T reduce(T value, Operation operation) const {
        value = warp().reduce(value, operation);
        if constexpr (warps > 1) {
            T* const partial = leave(value, 0);
            value = partial[0];
            for (std::uint32_t w = 1; w < warps; ++w) {
                value = operation(value, partial[w]);
            }
            // Nobody may overwrite the partial values before everybody has read them.
            sync();
        }
        return value;
    }
    template <class T> ESPALIER_FN T reduce_add(T value) const {
        static_assert(std::is_arithmetic_v<T>, "espalier: reduce_add takes a number; convert narrow floats first");
        return reduce(value, detail::group_add{});
    }
    template <class T> ESPALIER_FN T reduce_max(T value) const {
        static_assert(std::is_arithmetic_v<T>, "espalier: reduce_max takes a number; convert narrow floats first");
        return reduce(value, detail::group_max{});
    }
    template <class T> ESPALIER_FN T reduce_min(T value) const {
        static_assert(std::is_arithmetic_v<T>, "espalier: reduce_min takes a number; convert narrow floats first");
        return reduce(value, detail::group_min{});
    }

    template <std::integral T> ESPALIER_FN T inclusive_scan_add(T value) const {
        value = warp().inclusive_scan_add(value);
        if constexpr (warps > 1) {
            T* const total = leave(value, 31);
            T before = 0;
            for (std::uint32_t w = 0; w + 1 < warps; ++w) {
                before = static_cast<T>(before + (w < thread_rank() / 32 ? total[w] : T(0)));
            }
            sync();
            value = static_cast<T>(before + value);
        }
        return value;
    }
    template <std::integral T> ESPALIER_FN T exclusive_scan_add(T value) const {
        return static_cast<T>(inclusive_scan_add(value) - value);
    }

private:
    static constexpr std::uint32_t warps = BlockThreads / 32;

    ESPALIER_FN auto warp() const { return warp_tile<(BlockThreads < 32 ? BlockThreads : 32)>{}; }

    // Lane `from` of every warp leaves its value where all threads of the block can read it.
    template <class T> ESPALIER_FN T* leave(T value, std::uint32_t from) const {
        static_assert(std::is_trivially_copyable_v<T> && sizeof(T) <= 16 && alignof(T) <= 16,
                      "espalier: a block reduces trivially copyable values of at most 16 bytes");
        T* const slots = reinterpret_cast<T*>(detail::cuda_shared<detail::cuda_scratch>().bytes);
        if (thread_rank() % 32 == from) slots[thread_rank() / 32] = value;
        sync();
        return slots;
    }
};

/// The serial group of one CUDA thread: which thread of the grid it is, and how many there are.
ESPALIER_FN serial_group cuda_thread_group() {
    return {detail::cuda_block() * detail::cuda_threads() + detail::cuda_thread(),
            detail::cuda_blocks() * detail::cuda_threads(), nullptr};
}

} // namespace espalier
