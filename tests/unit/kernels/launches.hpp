// SPDX-License-Identifier: Apache-2.0
// Shapes and launch shapes that the tests of kernel bodies run through, and a bf16-like storage type for them.
#pragma once

#include <espalier/core/layout.hpp>
#include <espalier/core/view.hpp>
#include <espalier/device/emulated/emulated_block.hpp>

#include <cmath>
#include <cstdint>
#include <cstring>
#include <type_traits>
#include <vector>

namespace kernel_tests {

/// 16 bits of storage: the upper half of a float, rounded to nearest even.
struct narrow {
    std::uint16_t bits;
    narrow() = default;
    explicit narrow(float x) {
        std::uint32_t word;
        std::memcpy(&word, &x, 4);
        word += 0x7fffu + (word >> 16 & 1u);
        bits = static_cast<std::uint16_t>(word >> 16);
    }
    explicit operator float() const {
        std::uint32_t const word = std::uint32_t{bits} << 16;
        float x;
        std::memcpy(&x, &word, 4);
        return x;
    }
};

} // namespace kernel_tests

template <> struct espalier::master<kernel_tests::narrow> { using type = float; };

namespace kernel_tests {

using espalier::index_t;

inline constexpr index_t all_columns[] = {0, 1, 7, 8, 9, 31, 33, 64, 100, 257};
inline constexpr index_t all_rows[] = {0, 1, 2, 33};

/// Calls `run` once for each launch shape with a function that launches a body in that shape: several numbers of
/// blocks, block sizes and orders of lanes.
template <class Run> void for_launches(Run const& run) {
    auto const shape = [&]<std::uint32_t Threads>(index_t blocks, std::uint64_t seed) {
        run([=](auto const& body) {
            espalier::emulated_launch<Threads>(blocks, [&](auto& group) { body(group); }, {.order_seed = seed});
        });
    };
    shape.template operator()<32>(1, 0);
    shape.template operator()<32>(5, 1);
    shape.template operator()<96>(2, 2);
}

/// A body for one block, in the block sizes of for_launches.
template <class Run> void for_blocks(Run const& run) {
    auto const shape = [&]<std::uint32_t Threads>(std::uint64_t seed) {
        run([=](auto const& body) {
            espalier::emulated_launch<Threads>(1, [&](auto& group) { body(group); }, {.order_seed = seed});
        });
    };
    shape.template operator()<32>(0);
    shape.template operator()<96>(1);
}

/// Numbers in [-2, 2), different for every `salt`.
template <class T> std::vector<T> numbers(index_t n, std::uint32_t salt) {
    std::vector<T> v(static_cast<std::size_t>(n));
    std::uint32_t x = 2654435761u * (salt + 1);
    for (T& e : v) {
        x = x * 1664525u + 1013904223u;
        e = static_cast<T>(static_cast<float>(x >> 8) * 0x1p-22f - 2.0f);
    }
    return v;
}

template <class T> bool same_bits(std::vector<T> const& a, std::vector<T> const& b) {
    return a.size() == b.size() && (a.empty() || std::memcmp(a.data(), b.data(), a.size() * sizeof(T)) == 0);
}

/// |a - b| <= tolerance max(1, |b|); false for NaN.
inline bool near(double a, double b, double tolerance) {
    return std::fabs(a - b) <= tolerance * std::fmax(1.0, std::fabs(b));
}

/// A matrix whose rows are longer than its columns say, so that what is written past them shows.
template <class T> struct padded_matrix {
    std::vector<T> data;
    index_t rows, columns, stride;

    padded_matrix(index_t r, index_t c, index_t extra, std::uint32_t salt)
        : data(numbers<T>(r * (c + extra), salt)), rows(r), columns(c), stride(c + extra) {}
    espalier::matrix_view<T> view() { return {data.data(), rows, columns, stride}; }
    espalier::matrix_view<T const> view() const { return {data.data(), rows, columns, stride}; }
    T operator()(index_t r, index_t c) const { return data[static_cast<std::size_t>(r * stride + c)]; }
    /// Whether everything past the columns is as in `other`.
    bool same_padding(padded_matrix const& other) const {
        for (index_t r = 0; r < rows; ++r)
            for (index_t c = columns; c < stride; ++c)
                if (std::memcmp(&data[static_cast<std::size_t>(r * stride + c)],
                                &other.data[static_cast<std::size_t>(r * stride + c)], sizeof(T)) != 0)
                    return false;
        return true;
    }
};

} // namespace kernel_tests
