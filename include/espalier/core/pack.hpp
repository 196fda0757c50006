// SPDX-License-Identifier: Apache-2.0
// A short vector of numbers that element functions can take in place of one number, so that one definition of a policy
// is scalar code, SIMD code over columns or rows, and device code.
#pragma once

#include <espalier/core/macros.hpp>

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <type_traits>

// The width of the registers a pack is made of. 0: no vector types at all, which is what nvcc needs, because a
// __host__ __device__ function may not mention one. The width is part of the namespace (an inline one), so that objects
// compiled for different machines never share one instantiation.
#if defined(__CUDACC__)
#define ESPALIER_PACK_BYTES 0
#define ESPALIER_PACK_ABI pack_plain
#define ESPALIER_PACK_UNROLL
#elif defined(__AVX512F__)
#define ESPALIER_PACK_BYTES 64
#define ESPALIER_PACK_ABI pack_64
#elif defined(__AVX__)
#define ESPALIER_PACK_BYTES 32
#define ESPALIER_PACK_ABI pack_32
#else
#define ESPALIER_PACK_BYTES 16
#define ESPALIER_PACK_ABI pack_16
#endif
// Loops that depend on the width but on no policy are in the library once for each width, compiled for the baseline,
// for AVX2 (Haswell's instruction set) and for AVX-512 (x86-64-v4). A program compiled for one of these or more uses
// them; one for something between compiles them itself.
#if defined(ESPALIER_HEADER_ONLY) || ESPALIER_PACK_BYTES == 0
#define ESPALIER_PACK_IN_LIBRARY 0
#elif ESPALIER_PACK_BYTES == 16
#define ESPALIER_PACK_IN_LIBRARY 1
#elif defined(__AVX2__) && defined(__FMA__) && defined(__BMI__) && defined(__BMI2__) && defined(__F16C__) &&           \
    defined(__LZCNT__) && defined(__MOVBE__) &&                                                                        \
    (ESPALIER_PACK_BYTES == 32 ||                                                                                      \
     (defined(__AVX512BW__) && defined(__AVX512CD__) && defined(__AVX512DQ__) && defined(__AVX512VL__)))
#define ESPALIER_PACK_IN_LIBRARY 1
#else
#define ESPALIER_PACK_IN_LIBRARY 0
#endif
#if !defined(ESPALIER_PACK_UNROLL)
#if defined(__clang__)
#define ESPALIER_PACK_UNROLL _Pragma("clang loop unroll(full)")
#else
#define ESPALIER_PACK_UNROLL _Pragma("GCC unroll 64")
#endif
#endif

namespace espalier {
inline namespace ESPALIER_PACK_ABI {

template <class T, int N> struct pack;

namespace pack_impl {

template <int Bytes> struct integer_of_size;
template <> struct integer_of_size<4> { using type = std::int32_t; };
template <> struct integer_of_size<8> { using type = std::int64_t; };

/// The signed integer as wide as T: what comparisons of T produce (0 or -1).
template <class T> using lane_integer = typename integer_of_size<sizeof(T)>::type;

template <class T>
concept lane_type = std::is_same_v<T, float> || std::is_same_v<T, double> || std::is_same_v<T, std::int32_t> ||
    std::is_same_v<T, std::uint32_t> || std::is_same_v<T, std::int64_t> || std::is_same_v<T, std::uint64_t>;

#if ESPALIER_PACK_BYTES == 0
template <class T, int N> inline constexpr int chunk_lanes = 1;
template <class T, int Lanes> struct chunk_of {
    static_assert(Lanes == 1);
    using type = T;
    using in_memory = T;
};
#else
template <class T, int N>
inline constexpr int chunk_lanes = N* int(sizeof(T)) < ESPALIER_PACK_BYTES ? N : ESPALIER_PACK_BYTES / int(sizeof(T));
template <class T, int Lanes> struct chunk_of {
    typedef T type __attribute__((vector_size(Lanes * sizeof(T))));
    // Loads and stores name this type instead of memcpy: GCC 12 may turn the copy of a pack that lies in memory into
    // copies of 16 bytes through general registers.
    typedef T in_memory __attribute__((vector_size(Lanes * sizeof(T)), aligned(alignof(T)), may_alias));
};
#endif
template <class T, int N> using chunk = typename chunk_of<T, chunk_lanes<T, N>>::type;

/// False for every T: what an assertion in a function that nobody may call asks.
template <class T> inline constexpr bool no_type = false;

template <class To, class From> ESPALIER_FN To same_bits(From const& from) {
    static_assert(sizeof(To) == sizeof(From));
    return __builtin_bit_cast(To, from);
}

/// a and b, between which lanes will choose, as registers of which the compiler does not know where they come from.
///
/// GCC 12 with AVX-512 makes one masked operation of a choice and of the arithmetic that gave a or b. It takes that for
/// a call that may throw and, in a function with something to destroy, keeps it where nobody reads the result; its pass
/// `slp` (-O2) stops at the call without a result. A further use of a and b would prevent that too, but only until GCC
/// moves the choice to another place without it.
template <class Chunk> ESPALIER_FN void hide_origin([[maybe_unused]] Chunk& a, [[maybe_unused]] Chunk& b) {
#if defined(__AVX512F__) && !defined(__clang__) && !defined(__CUDACC__)
    // There are masked operations of whole registers only.
    if constexpr (sizeof(Chunk) >= 16) asm("" : "+v"(a), "+v"(b));
#endif
}

/// Bit i is the sign of lane i.
template <class Integer, class Chunk> ESPALIER_FN std::uint32_t signs(Chunk const& x) {
    constexpr int lanes = int(sizeof(Chunk) / sizeof(Integer));
    // One instruction, which compilers make of no expression.
#if defined(__SSE2__) && !defined(__CUDACC__)
    constexpr int bytes = lanes == 1 ? 0 : int(sizeof(Chunk));
    constexpr bool narrow = sizeof(Integer) == 4;
    using floats = typename chunk_of<float, lanes>::type;
    using doubles = typename chunk_of<double, lanes>::type;
    if constexpr (bytes == 16 && narrow)
        return static_cast<std::uint32_t>(__builtin_ia32_movmskps((floats)x));
    else if constexpr (bytes == 16)
        return static_cast<std::uint32_t>(__builtin_ia32_movmskpd((doubles)x));
#if defined(__AVX__)
    else if constexpr (bytes == 32 && narrow)
        return static_cast<std::uint32_t>(__builtin_ia32_movmskps256((floats)x));
    else if constexpr (bytes == 32)
        return static_cast<std::uint32_t>(__builtin_ia32_movmskpd256((doubles)x));
#endif
#if defined(__AVX512DQ__)
    else if constexpr (bytes == 64 && narrow)
        return __builtin_ia32_cvtd2mask512((typename chunk_of<int, lanes>::type)x);
    else if constexpr (bytes == 64)
        return __builtin_ia32_cvtq2mask512((typename chunk_of<long long, lanes>::type)x);
#endif
    else
#endif
    {
        std::uint32_t bits = 0;
        for (int i = 0; i < lanes; ++i)
#if ESPALIER_PACK_BYTES == 0
            bits |= static_cast<std::uint32_t>(x < 0) << i;
#else
            bits |= static_cast<std::uint32_t>(x[i] < 0) << i;
#endif
        return bits;
    }
}

} // namespace pack_impl

/// N truth values, kept as integers of 0 or -1 of the width of the numbers compared. `Integer` is int32_t or int64_t,
/// so packs of float, int32_t and uint32_t share one mask type.
template <class Integer, int N> struct pack_mask {
    using chunk = pack_impl::chunk<Integer, N>;
    static constexpr int width = N;
    static constexpr int lanes = pack_impl::chunk_lanes<Integer, N>;
    static constexpr int chunks = N / lanes;

    chunk v[std::size_t{chunks}];

    pack_mask() = default;
    /// All lanes `b`.
    ESPALIER_FN pack_mask(bool b) {
        Integer const s = b ? Integer(-1) : Integer(0);
        ESPALIER_PACK_UNROLL
        for (int i = 0; i < chunks; ++i)
            v[i] = chunk{} + s;
    }
    /// The first `count` lanes true, the rest false.
    ESPALIER_FN static pack_mask first(int count) {
        pack_mask m;
        for (int i = 0; i < N; ++i)
            m.set(i, i < count);
        return m;
    }

    ESPALIER_FN bool operator[](int i) const {
#if ESPALIER_PACK_BYTES == 0
        return v[i] != 0;
#else
        return v[i / lanes][i % lanes] != 0;
#endif
    }
    ESPALIER_FN void set(int i, bool b) {
#if ESPALIER_PACK_BYTES == 0
        v[i] = b ? Integer(-1) : Integer(0);
#else
        v[i / lanes][i % lanes] = b ? Integer(-1) : Integer(0);
#endif
    }

    // Choices, not bitwise operators: GCC 12 (reassociation, -fno-tree-reassoc avoids it) merges two comparisons that
    // are joined by & or | by rewriting the first in place, even where its result is used elsewhere too, which is then
    // wrong. None of them chooses a result of arithmetic, so none needs pack_impl::hide_origin.
    friend ESPALIER_FN pack_mask operator&(pack_mask const& a, pack_mask const& b) {
        pack_mask r;
        ESPALIER_PACK_UNROLL
        for (int i = 0; i < chunks; ++i)
            r.v[i] = a.v[i] != 0 ? b.v[i] : chunk{};
        return r;
    }
    friend ESPALIER_FN pack_mask operator|(pack_mask const& a, pack_mask const& b) {
        pack_mask r;
        ESPALIER_PACK_UNROLL
        for (int i = 0; i < chunks; ++i)
            r.v[i] = a.v[i] != 0 ? a.v[i] : b.v[i];
        return r;
    }
    friend ESPALIER_FN pack_mask operator^(pack_mask const& a, pack_mask const& b) {
        pack_mask r;
        ESPALIER_PACK_UNROLL
        for (int i = 0; i < chunks; ++i)
            r.v[i] = a.v[i] != 0 ? ~b.v[i] : b.v[i];
        return r;
    }
    friend ESPALIER_FN pack_mask operator!(pack_mask const& a) {
        pack_mask r;
        ESPALIER_PACK_UNROLL
        for (int i = 0; i < chunks; ++i)
            r.v[i] = ~a.v[i];
        return r;
    }
    friend ESPALIER_FN pack_mask operator==(pack_mask const& a, pack_mask const& b) {
        return !(a ^ b);
    }
    friend ESPALIER_FN pack_mask operator!=(pack_mask const& a, pack_mask const& b) {
        return a ^ b;
    }

    /// There is none; it says so.
    template <class B>
    requires std::is_same_v<B, bool>
    explicit ESPALIER_FN operator B() const {
        static_assert(
            pack_impl::no_type<B>,
            "espalier: a comparison of packs has an answer for every element and decides no `if`, `while`, `?:`, `&&`, "
            "`||`, std::min, std::max or std::clamp; lines around this one name the place; write select(condition, a, "
            "b), min, max, & and | of namespace espalier, or any(condition) and all(condition) for one answer");
        return false;
    }
};

/// True when at least one lane is.
template <class Integer, int N> ESPALIER_FN bool any(pack_mask<Integer, N> const& m) {
    constexpr int words = N * int(sizeof(Integer)) / 4;
    std::uint32_t w[std::size_t{words}];
    std::memcpy(w, m.v, sizeof w);
    std::uint32_t r = 0;
    ESPALIER_PACK_UNROLL
    for (int i = 0; i < words; ++i)
        r |= w[i];
    return r != 0;
}
/// Bit i is lane i.
template <class Integer, int N>
requires(N <= 32) ESPALIER_FN std::uint32_t bits_of(pack_mask<Integer, N> const& m) {
    using M = pack_mask<Integer, N>;
    std::uint32_t bits = 0;
    ESPALIER_PACK_UNROLL
    for (int i = 0; i < M::chunks; ++i)
        bits |= pack_impl::signs<Integer>(m.v[i]) << i * M::lanes;
    return bits;
}
/// True when every lane is.
template <class Integer, int N> ESPALIER_FN bool all(pack_mask<Integer, N> const& m) {
    return !any(!m);
}
/// The same for a plain comparison.
ESPALIER_FN bool any(bool m) {
    return m;
}
/// The same for a plain comparison.
ESPALIER_FN bool all(bool m) {
    return m;
}

/// N numbers of type T (float, double, 32- or 64-bit integers); N is a power of two. Operators work lane by lane, a
/// plain number stands for N equal ones, comparisons give a `pack_mask`. A pack has no alignment requirement of the
/// memory it is loaded from. It is trivially copyable where it fits one register.
template <class T, int N> struct pack {
    static_assert(pack_impl::lane_type<T>, "a pack holds float, double or 32- or 64-bit integers");
    static_assert(N >= 1 && (N & (N - 1)) == 0, "the width of a pack is a power of two");

    using value_type = T;
    using mask = pack_mask<pack_impl::lane_integer<T>, N>;
    using chunk = pack_impl::chunk<T, N>;
    static constexpr int width = N;
    static constexpr int lanes = pack_impl::chunk_lanes<T, N>;
    static constexpr int chunks = N / lanes;
    using chunk_in_memory = typename pack_impl::chunk_of<T, lanes>::in_memory;

    chunk v[std::size_t{chunks}];

    pack() = default;
#if ESPALIER_PACK_BYTES != 0
    // Several registers are copied one by one: GCC 12 copies the whole of them through general registers or the stack.
    pack(pack const&) requires(chunks == 1) = default;
    pack& operator=(pack const&) requires(chunks == 1) = default;
    ESPALIER_FN pack(pack const& other) requires(chunks > 1) {
        *this = other;
    }
    ESPALIER_FN pack& operator=(pack const& other) requires(chunks > 1) {
        ESPALIER_PACK_UNROLL
        for (int i = 0; i < chunks; ++i)
            v[i] = other.v[i];
        return *this;
    }
#endif
    /// N copies of `s`.
    ESPALIER_FN pack(T s) {
        ESPALIER_PACK_UNROLL
        for (int i = 0; i < chunks; ++i)
            v[i] = s - chunk{}; // not s + 0: that would turn -0 into +0
    }
    /// Lane by lane conversion, rounding as static_cast does.
    template <class U>
    requires(!std::is_same_v<T, U>) explicit ESPALIER_FN pack(pack<U, N> const& other) {
#if ESPALIER_PACK_BYTES == 0
        for (int i = 0; i < N; ++i)
            v[i] = static_cast<T>(other.v[i]);
#else
        if constexpr (sizeof(T) == sizeof(U)) {
            ESPALIER_PACK_UNROLL
            for (int i = 0; i < chunks; ++i)
                v[i] = __builtin_convertvector(other.v[i], chunk);
        } else {
            constexpr int step = lanes < pack<U, N>::lanes ? lanes : pack<U, N>::lanes;
            typedef T part_to __attribute__((vector_size(step * sizeof(T))));
            typedef U part_from __attribute__((vector_size(step * sizeof(U))));
            ESPALIER_PACK_UNROLL
            for (int i = 0; i < N / step; ++i) {
                part_from from;
                std::memcpy(&from, reinterpret_cast<char const*>(other.v) + static_cast<std::size_t>(i) * sizeof(from),
                            sizeof(from));
                part_to const to = __builtin_convertvector(from, part_to);
                std::memcpy(reinterpret_cast<char*>(v) + static_cast<std::size_t>(i) * sizeof(to), &to, sizeof(to));
            }
        }
#endif
    }

    /// p[0 .. N).
    ESPALIER_FN static pack load(T const* p) {
        pack r;
        ESPALIER_PACK_UNROLL
        for (int i = 0; i < chunks; ++i)
            r.v[i] = *reinterpret_cast<chunk_in_memory const*>(p + i * lanes);
        return r;
    }
    /// p[0 .. count), the other lanes `fill`; memory at and after p + count is not touched.
    ESPALIER_FN static pack load(T const* p, int count, T fill = T(0)) {
        if (count >= N) return load(p);
        T lane[std::size_t{N}];
        for (int i = 0; i < N; ++i)
            lane[i] = i < count ? p[i] : fill;
        return load(lane);
    }
    /// base[i * stride] in lane i.
    template <class Index>
    requires std::is_integral_v<Index> ESPALIER_FN static pack gather(T const* base, Index stride) {
        T lane[std::size_t{N}];
        for (int i = 0; i < N; ++i)
            lane[i] = base[i * stride];
        return load(lane);
    }
    /// base[index[i]] in lane i.
    template <class Index>
    requires std::is_integral_v<Index> ESPALIER_FN static pack gather(T const* base, pack<Index, N> const& index) {
        T lane[std::size_t{N}];
        for (int i = 0; i < N; ++i)
            lane[i] = base[index[i]];
        return load(lane);
    }
    /// first, first + 1, ...
    ESPALIER_FN static pack iota(T first = T(0)) {
        T lane[std::size_t{N}];
        for (int i = 0; i < N; ++i)
            lane[i] = first + static_cast<T>(i);
        return load(lane);
    }

    ESPALIER_FN void store(T* p) const {
        ESPALIER_PACK_UNROLL
        for (int i = 0; i < chunks; ++i)
            *reinterpret_cast<chunk_in_memory*>(p + i * lanes) = v[i];
    }
    /// The first `count` lanes; memory at and after p + count is not touched.
    ESPALIER_FN void store(T* p, int count) const {
        if (count >= N) return store(p);
        T lane[std::size_t{N}];
        store(lane);
        for (int i = 0; i < count; ++i)
            p[i] = lane[i];
    }
    /// Lane i to base[i * stride].
    template <class Index>
    requires std::is_integral_v<Index> ESPALIER_FN void scatter(T* base, Index stride) const {
        T lane[std::size_t{N}];
        store(lane);
        for (int i = 0; i < N; ++i)
            base[i * stride] = lane[i];
    }

    ESPALIER_FN T operator[](int i) const {
#if ESPALIER_PACK_BYTES == 0
        return v[i];
#else
        return v[i / lanes][i % lanes];
#endif
    }
    ESPALIER_FN void set(int i, T s) {
#if ESPALIER_PACK_BYTES == 0
        v[i] = s;
#else
        v[i / lanes][i % lanes] = s;
#endif
    }

#define ESPALIER_PACK_BINARY(op, condition)                                                                            \
    friend ESPALIER_FN pack operator op(pack const& a, pack const& b) requires(condition) {                            \
        pack r;                                                                                                        \
        ESPALIER_PACK_UNROLL                                                                                           \
        for (int i = 0; i < chunks; ++i)                                                                               \
            r.v[i] = a.v[i] op b.v[i];                                                                                 \
        return r;                                                                                                      \
    }                                                                                                                  \
    ESPALIER_FN pack& operator op##=(pack const& b) requires(condition) {                                              \
        return *this = *this op b;                                                                                     \
    }
    ESPALIER_PACK_BINARY(+, true)
    ESPALIER_PACK_BINARY(-, true)
    ESPALIER_PACK_BINARY(*, true)
    ESPALIER_PACK_BINARY(/, true)
    ESPALIER_PACK_BINARY(&, std::is_integral_v<T>)
    ESPALIER_PACK_BINARY(|, std::is_integral_v<T>)
    ESPALIER_PACK_BINARY(^, std::is_integral_v<T>)
#undef ESPALIER_PACK_BINARY

    friend ESPALIER_FN pack operator-(pack const& a) {
        pack r;
        ESPALIER_PACK_UNROLL
        for (int i = 0; i < chunks; ++i)
            r.v[i] = -a.v[i];
        return r;
    }
    friend ESPALIER_FN pack operator+(pack const& a) {
        return a;
    }
    friend ESPALIER_FN pack operator~(pack const& a) requires(std::is_integral_v<T>) {
        pack r;
        ESPALIER_PACK_UNROLL
        for (int i = 0; i < chunks; ++i)
            r.v[i] = ~a.v[i];
        return r;
    }
    /// Shifts by one count for all lanes; right shifts of signed lanes keep the sign.
    friend ESPALIER_FN pack operator<<(pack const& a, int count) requires(std::is_integral_v<T>) {
        pack r;
        ESPALIER_PACK_UNROLL
        for (int i = 0; i < chunks; ++i)
            r.v[i] = a.v[i] << count;
        return r;
    }
    friend ESPALIER_FN pack operator>>(pack const& a, int count) requires(std::is_integral_v<T>) {
        pack r;
        ESPALIER_PACK_UNROLL
        for (int i = 0; i < chunks; ++i)
            r.v[i] = a.v[i] >> count;
        return r;
    }

#if ESPALIER_PACK_BYTES == 0
#define ESPALIER_PACK_COMPARE(op) r.v[i] = a.v[i] op b.v[i] ? -1 : 0
#else
#define ESPALIER_PACK_COMPARE(op) r.v[i] = (typename mask::chunk)(a.v[i] op b.v[i])
#endif
#define ESPALIER_PACK_RELATION(op)                                                                                     \
    friend ESPALIER_FN mask operator op(pack const& a, pack const& b) {                                                \
        mask r;                                                                                                        \
        ESPALIER_PACK_UNROLL                                                                                           \
        for (int i = 0; i < chunks; ++i)                                                                               \
            ESPALIER_PACK_COMPARE(op);                                                                                 \
        return r;                                                                                                      \
    }
    ESPALIER_PACK_RELATION(<)
    ESPALIER_PACK_RELATION(<=)
    ESPALIER_PACK_RELATION(>)
    ESPALIER_PACK_RELATION(>=)
    ESPALIER_PACK_RELATION(==)
    ESPALIER_PACK_RELATION(!=)
#undef ESPALIER_PACK_RELATION
#undef ESPALIER_PACK_COMPARE

    /// There is none; it says so.
    template <class U>
    requires std::is_arithmetic_v<U>
    explicit ESPALIER_FN operator U() const {
        static_assert(pack_impl::no_type<U>,
                      "espalier: a pack of numbers was made one number; lines around this one name the place; write "
                      "T(x) with the T of the function's template, which may be a pack, or x[i] for one element");
        return U{};
    }
};

} // namespace ESPALIER_PACK_ABI

// ---- traits

namespace detail {
template <class T> struct pack_traits {
    using scalar = T;
    using mask = bool;
    static constexpr int width = 1;
    static constexpr bool is_pack = false;
};
template <class T, int N> struct pack_traits<pack<T, N>> {
    using scalar = T;
    using mask = typename pack<T, N>::mask;
    static constexpr int width = N;
    static constexpr bool is_pack = true;
};
} // namespace detail

/// Lanes of a pack, 1 for a plain number.
template <class T> inline constexpr int pack_width = detail::pack_traits<T>::width;
/// Whether T is a pack.
template <class T> inline constexpr bool is_pack = detail::pack_traits<T>::is_pack;
/// The number type of a pack, or T itself.
template <class T> using scalar_of = typename detail::pack_traits<T>::scalar;
/// What comparisons of T give: bool or a `pack_mask`.
template <class T> using mask_of = typename detail::pack_traits<T>::mask;
/// What holds a random draw for T: a number, or a pack of unsigned integers as wide as T's numbers.
template <class T>
using drawn_bits =
    std::conditional_t<is_pack<T>,
                       pack<std::conditional_t<sizeof(scalar_of<T>) == 4, std::uint32_t, std::uint64_t>, pack_width<T>>,
                       std::uint32_t>;
/// The pack that loops over T use: 64 bytes, whatever the machine, so that results do not depend on it.
template <class T> using native_pack = pack<T, 64 / int(sizeof(T))>;

/// Concept for what element functions take: a floating-point number or a pack of them.
template <class T>
concept real = std::is_floating_point_v<scalar_of<T>>;

/// What a function of a policy may return where a T is meant: for a pack nothing else, since a number that becomes one
/// has lost the others; for a number whatever converts.
template <class Result, class T>
concept gives = std::convertible_to<Result, T> &&(!is_pack<T> || std::same_as<Result, T>);

namespace detail {
/// The common type of a pack and something that broadcasts to it.
template <class A, class B, bool PackA = is_pack<A>, bool PackB = is_pack<B>> struct joined {};
template <class A, class B, bool PackB> struct joined<A, B, true, PackB> { using type = A; };
template <class A, class B> struct joined<A, B, false, true> { using type = B; };
template <class A>
requires std::is_arithmetic_v<A>
struct joined<A, A, false, false> {
    using type = A;
};
template <class A, class B> using joined_t = typename joined<A, B>::type;
} // namespace detail

// ---- functions of packs and of plain numbers alike

/// a where the mask is true, b elsewhere; both are computed, nothing branches.
template <class T>
requires std::is_arithmetic_v<T> ESPALIER_FN constexpr T select(bool m, T a, T b) {
    return m ? a : b;
}
/// The same lane by lane; a plain number stands for all lanes.
template <class A, class B>
requires(is_pack<A> || is_pack<B>) ESPALIER_FN detail::joined_t<A, B> select(mask_of<detail::joined_t<A, B>> const& m,
                                                                             A const& x, B const& y) {
    using P = detail::joined_t<A, B>;
    P const a(x), b(y);
    P r;
    ESPALIER_PACK_UNROLL
    for (int i = 0; i < P::chunks; ++i) {
        auto first = a.v[i], second = b.v[i];
        pack_impl::hide_origin(first, second);
        r.v[i] = m.v[i] ? first : second;
    }
    return r;
}

namespace detail {
// Not by way of select: one instruction chooses between the very registers that it compares.
template <class T> ESPALIER_FN T smaller(T const& x, T const& y) {
    if constexpr (is_pack<T>) {
        T r;
        ESPALIER_PACK_UNROLL
        for (int i = 0; i < T::chunks; ++i) {
            auto a = x.v[i], b = y.v[i];
            pack_impl::hide_origin(a, b);
            r.v[i] = a < b ? a : b;
        }
        return r;
    } else
        return x < y ? x : y;
}
template <class T> ESPALIER_FN T larger(T const& x, T const& y) {
    if constexpr (is_pack<T>) {
        T r;
        ESPALIER_PACK_UNROLL
        for (int i = 0; i < T::chunks; ++i) {
            auto a = x.v[i], b = y.v[i];
            pack_impl::hide_origin(a, b);
            r.v[i] = a > b ? a : b;
        }
        return r;
    } else
        return x > y ? x : y;
}
} // namespace detail

/// The smaller of a and b: `a < b ? a : b`. When either is NaN the result is b, so `min(limit, x)` keeps the NaN of x
/// and `min(x, limit)` replaces it. Of zeros of different sign the result is b.
template <class A, class B> ESPALIER_FN detail::joined_t<A, B> min(A const& x, B const& y) {
    using P = detail::joined_t<A, B>;
    P const a(x), b(y);
    return detail::smaller(a, b);
}
/// The larger of a and b: `a > b ? a : b`. When either is NaN the result is b, so `max(limit, x)` keeps the NaN of x
/// and `max(x, limit)` replaces it. Of zeros of different sign the result is b.
template <class A, class B> ESPALIER_FN detail::joined_t<A, B> max(A const& x, B const& y) {
    using P = detail::joined_t<A, B>;
    P const a(x), b(y);
    return detail::larger(a, b);
}

/// The bits of a floating-point value as an unsigned integer (or a pack of them), and back.
ESPALIER_FN std::uint32_t to_bits(float x) {
    return pack_impl::same_bits<std::uint32_t>(x);
}
/// The same for a double.
ESPALIER_FN std::uint64_t to_bits(double x) {
    return pack_impl::same_bits<std::uint64_t>(x);
}
/// Back from bits.
ESPALIER_FN float from_bits(std::uint32_t x) {
    return pack_impl::same_bits<float>(x);
}
/// Back from bits.
ESPALIER_FN double from_bits(std::uint64_t x) {
    return pack_impl::same_bits<double>(x);
}
/// The same for every lane.
template <class T, int N>
requires std::is_floating_point_v<T> ESPALIER_FN auto to_bits(pack<T, N> const& x) {
    using U = std::make_unsigned_t<pack_impl::lane_integer<T>>;
    pack<std::conditional_t<sizeof(T) == 4, std::uint32_t, std::uint64_t>, N> r;
    static_assert(sizeof(U) == sizeof(T));
    ESPALIER_PACK_UNROLL
    for (int i = 0; i < r.chunks; ++i)
        r.v[i] = pack_impl::same_bits<typename decltype(r)::chunk>(x.v[i]);
    return r;
}
/// The same for every lane.
template <class U, int N>
requires std::is_unsigned_v<U> ESPALIER_FN auto from_bits(pack<U, N> const& x) {
    pack<std::conditional_t<sizeof(U) == 4, float, double>, N> r;
    ESPALIER_PACK_UNROLL
    for (int i = 0; i < r.chunks; ++i)
        r.v[i] = pack_impl::same_bits<typename decltype(r)::chunk>(x.v[i]);
    return r;
}

/// |x|; clears the sign of floating-point values, NaN and -0 included.
ESPALIER_FN float abs(float x) {
    return __builtin_fabsf(x);
}
/// The same for a double.
ESPALIER_FN double abs(double x) {
    return __builtin_fabs(x);
}
/// The same for every lane.
template <class T, int N> ESPALIER_FN pack<T, N> abs(pack<T, N> const& x) {
    if constexpr (std::is_same_v<T, float>)
        return from_bits(to_bits(x) & std::uint32_t(0x7fffffff));
    else if constexpr (std::is_same_v<T, double>)
        return from_bits(to_bits(x) & std::uint64_t(0x7fffffffffffffff));
    else
        return select(x < pack<T, N>(T(0)), -x, x);
}

/// |magnitude| with the sign of `sign`.
template <class T>
requires std::is_floating_point_v<scalar_of<T>> ESPALIER_FN T copysign(T const& magnitude, T const& sign) {
    if constexpr (std::is_same_v<T, float>)
        return __builtin_copysignf(magnitude, sign);
    else if constexpr (std::is_same_v<T, double>)
        return __builtin_copysign(magnitude, sign);
    else {
        using U = std::conditional_t<sizeof(scalar_of<T>) == 4, std::uint32_t, std::uint64_t>;
        constexpr U top = U(1) << (8 * sizeof(U) - 1);
        return from_bits((to_bits(magnitude) & U(~top)) | (to_bits(sign) & top));
    }
}

/// a * b + c, with one rounding where the target has a fused multiply-add (every x86-64-v3 machine, every GPU), with
/// two where it has none.
ESPALIER_FN float fma(float a, float b, float c) {
#if defined(__FMA__) || ESPALIER_ON_DEVICE || defined(__aarch64__)
    return __builtin_fmaf(a, b, c);
#else
    return a * b + c;
#endif
}
/// The same for doubles.
ESPALIER_FN double fma(double a, double b, double c) {
#if defined(__FMA__) || ESPALIER_ON_DEVICE || defined(__aarch64__)
    return __builtin_fma(a, b, c);
#else
    return a * b + c;
#endif
}
namespace detail {
#if ESPALIER_PACK_BYTES == 0
template <class Chunk> ESPALIER_FN Chunk chunk_fma(Chunk a, Chunk b, Chunk c) {
    return fma(a, b, c);
}
#else
// One expression, which compilers fuse. Not the target's built-in function: GCC neither folds nor hoists it and thinks
// that it may throw.
template <class Chunk> ESPALIER_FN Chunk chunk_fma(Chunk const& a, Chunk const& b, Chunk const& c) {
#if defined(__OPTIMIZE__)
    return a * b + c;
#else // nothing is fused without optimisation, and packs shall agree with plain numbers then too
    Chunk r = c;
    for (std::size_t i = 0; i < sizeof(Chunk) / sizeof(a[0]); ++i)
        r[i] = fma(a[i], b[i], c[i]);
    return r;
#endif
}
#endif

/// x, of which the compiler does not know that it is a product. In a * b + c * d GCC may fuse either product; where
/// packs and plain numbers must agree, the one that stays is written with this.
template <class T> ESPALIER_FN T keep_product(T x) {
#if defined(__GNUC__) && defined(__SSE2__) && !defined(__CUDACC__)
    if constexpr (is_pack<T>) {
        ESPALIER_PACK_UNROLL
        for (int i = 0; i < T::chunks; ++i)
            if constexpr (sizeof(x.v[i]) == 16 || sizeof(x.v[i]) == 32) asm("" : "+x"(x.v[i]));
#if defined(__AVX512F__)
            else if constexpr (sizeof(x.v[i]) == 64)
                asm("" : "+v"(x.v[i]));
#endif
    }
#endif
    return x;
}
} // namespace detail

/// The same lane by lane; a plain number stands for all lanes.
template <class A, class B, class C>
requires(is_pack<A> || is_pack<B> || is_pack<C>) ESPALIER_FN auto fma(A const& x, B const& y, C const& z) {
    using P = std::conditional_t<is_pack<A>, A, std::conditional_t<is_pack<B>, B, C>>;
    P const a(x), b(y), c(z);
    P r;
    ESPALIER_PACK_UNROLL
    for (int i = 0; i < P::chunks; ++i)
        r.v[i] = detail::chunk_fma(a.v[i], b.v[i], c.v[i]);
    return r;
}

/// T with every lane `s`; for a plain number, that number.
template <class T> ESPALIER_FN T broadcast(scalar_of<T> s) {
    return T(s);
}
/// Loads a T (pack or plain number) from p; the partial form reads `count` numbers only and fills the rest.
template <class T> ESPALIER_FN T load(scalar_of<T> const* p) {
    if constexpr (is_pack<T>)
        return T::load(p);
    else
        return *p;
}
/// The first `count` numbers, and `fill` for the rest.
template <class T> ESPALIER_FN T load(scalar_of<T> const* p, int count, scalar_of<T> fill = scalar_of<T>(0)) {
    if constexpr (is_pack<T>)
        return T::load(p, count, fill);
    else
        return count > 0 ? *p : fill;
}
/// Stores a pack or plain number to p; the partial form writes `count` numbers only.
template <class T> ESPALIER_FN void store(scalar_of<T>* p, T const& x) {
    if constexpr (is_pack<T>)
        x.store(p);
    else
        *p = x;
}
/// The first `count` numbers only.
template <class T> ESPALIER_FN void store(scalar_of<T>* p, T const& x, int count) {
    if constexpr (is_pack<T>)
        x.store(p, count);
    else if (count > 0)
        *p = x;
}

/// The sum of the lanes as a balanced tree: lane i + lane i + N/2, and so on with the halves. The order is fixed, so
/// the bits do not depend on the machine's register width.
template <class T> ESPALIER_FN scalar_of<T> horizontal_sum(T const& x) {
    if constexpr (is_pack<T>) {
        scalar_of<T> lane[T::width];
        x.store(lane);
        ESPALIER_PACK_UNROLL
        for (int half = T::width / 2; half > 0; half /= 2) {
            ESPALIER_PACK_UNROLL
            for (int i = 0; i < half; ++i)
                lane[i] += lane[i + half];
        }
        return lane[0];
    } else
        return x;
}
/// The largest (smallest) lane, by the same tree and with the NaN rule of `max(lane i, lane i + half)`.
template <class T> ESPALIER_FN scalar_of<T> horizontal_max(T const& x) {
    if constexpr (is_pack<T>) {
        scalar_of<T> lane[T::width];
        x.store(lane);
        for (int half = T::width / 2; half > 0; half /= 2)
            for (int i = 0; i < half; ++i)
                lane[i] = lane[i] > lane[i + half] ? lane[i] : lane[i + half];
        return lane[0];
    } else
        return x;
}
/// The least of all lanes; x itself where it is a plain number.
template <class T> ESPALIER_FN scalar_of<T> horizontal_min(T const& x) {
    if constexpr (is_pack<T>) {
        scalar_of<T> lane[T::width];
        x.store(lane);
        for (int half = T::width / 2; half > 0; half /= 2)
            for (int i = 0; i < half; ++i)
                lane[i] = lane[i] < lane[i + half] ? lane[i] : lane[i + half];
        return lane[0];
    } else
        return x;
}

} // namespace espalier
