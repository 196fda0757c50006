// SPDX-License-Identifier: Apache-2.0
// What the programs of tests/gpu share: skipping without a GPU, checks, data, device copies.
#pragma once

#include <espalier/core/view.hpp>
#include <espalier/device/cuda/cuda.hpp>

#include <cuda_runtime_api.h>

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <exception>
#include <string>
#include <vector>

namespace gpu_tests {

using espalier::index_t;

inline int failures = 0;
inline int checks = 0;
inline bool short_run = false; ///< --short: few shapes, for the slow tools that look over a program's shoulder
inline std::string launches;   ///< --launches FILE: what is to be launched (stand_in/launch_table.hpp)

/// Prints the first failures of a run and counts all.
inline void expect(bool right, std::string const& what) {
    ++checks;
    if (right) return;
    if (++failures <= 20) std::printf("FAILED: %s\n", what.c_str());
}

/// Runs `tests` on a GPU. Exit status: 0 all right, 1 a failure, 77 no GPU here.
template <class Tests> int run(Tests const& tests, int count, char** arguments) {
    for (int i = 1; i < count; ++i) {
        std::string const argument = arguments[i];
        short_run = short_run || argument == "--short";
        if (argument == "--launches" && i + 1 < count) launches = arguments[++i];
    }
    int gpus = 0;
    if (cudaGetDeviceCount(&gpus) != cudaSuccess || gpus == 0) {
        std::printf("skipped: no GPU\n");
        return 77;
    }
    try {
        tests();
    } catch (std::exception const& e) {
        std::printf("FAILED: an exception: %s\n", e.what());
        return 1;
    }
    std::printf("%d checks, %d failed\n", checks, failures);
    return failures == 0 && checks > 0 ? 0 : 1;
}

/// Numbers in [-2, 2), different for every `salt`.
inline std::vector<float> numbers(index_t n, std::uint32_t salt) {
    std::vector<float> v(static_cast<std::size_t>(n));
    std::uint32_t x = 2654435761u * (salt + 1);
    for (float& e : v) {
        x = x * 1664525u + 1013904223u;
        e = static_cast<float>(x >> 8) * 0x1p-22f - 2.0f;
    }
    return v;
}

template <class T> std::vector<T> as(std::vector<float> const& from) {
    std::vector<T> v;
    for (float x : from)
        v.push_back(static_cast<T>(x));
    return v;
}

template <class T> bool same_bits(std::vector<T> const& a, std::vector<T> const& b) {
    return a.size() == b.size() && (a.empty() || std::memcmp(a.data(), b.data(), a.size() * sizeof(T)) == 0);
}
/// Largest |a - b| / max(1, |b|); infinite when a NaN stands on one side only.
template <class A, class B> double distance(std::vector<A> const& a, std::vector<B> const& b) {
    if (a.size() != b.size()) return INFINITY;
    double worst = 0;
    for (std::size_t i = 0; i < a.size(); ++i) {
        double const x = static_cast<double>(a[i]), y = static_cast<double>(b[i]);
        if (std::isnan(x) && std::isnan(y)) continue;
        double const d = std::fabs(x - y) / std::fmax(1.0, std::fabs(y));
        worst = d <= worst ? worst : std::isnan(d) ? INFINITY : d;
    }
    return worst;
}

/// What a buffer of the device holds.
template <class T> std::vector<T> on_host(espalier::cuda::buffer<T> const& from) {
    std::vector<T> v(static_cast<std::size_t>(from.size()));
    from.copy_to_host(v.data(), from.size());
    return v;
}

/// Device memory with the elements of a vector.
template <class T> class on_device {
public:
    explicit on_device(std::vector<T> const& from) : memory_(static_cast<index_t>(from.size())) {
        memory_.copy_from_host(from.data(), memory_.size());
    }
    T* data() { return memory_.data(); }
    std::vector<T> back() const { return on_host(memory_); }

private:
    espalier::cuda::buffer<T> memory_;
};

/// A device with scratch for the tests' shapes.
struct test_device : espalier::device::cuda {
    explicit test_device(index_t bytes = index_t{64} << 20) : arena_(bytes) {
        scratch = {arena_.data(), static_cast<std::size_t>(bytes)};
    }

private:
    espalier::cuda::buffer<std::byte> arena_;
};

/// Launch shapes that may change no bit.
inline constexpr index_t block_counts[] = {1, 3, 64, 1056};

} // namespace gpu_tests
