// SPDX-License-Identifier: Apache-2.0
// What this machine can do, measured in the same run as everything that is compared with it: bandwidths of copying and
// of working in place, in cache and beyond, and the rate of fused multiply-adds. Best of many short trials, because
// only a disturbance makes a trial slower.
#pragma once

#include <espalier/core/pack.hpp>
#include <espalier/device/cpu/buffer.hpp>

#include <ctime>

#include <algorithm>
#include <cstddef>
#include <cstring>

namespace bench {

/// CPU seconds of this thread: what other programs do on the machine does not count.
inline double thread_seconds() {
    timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return static_cast<double>(t.tv_sec) + 1e-9 * static_cast<double>(t.tv_nsec);
}

template <class Body> double best_seconds(Body const& body, int trials) {
    double best = 1e30;
    for (int i = 0; i < trials; ++i) {
        double const start = thread_seconds();
        body();
        best = std::min(best, thread_seconds() - start);
    }
    return best;
}

/// GB/s count every byte read and every byte written once.
struct roofs {
    double copy = 0.0;        ///< GB/s of memcpy far beyond the caches
    double in_place = 0.0;    ///< GB/s of x = c * x far beyond the caches
    double copy_cached = 0.0; ///< GB/s of a copy in the second-level cache
    double in_place_cached = 0.0;
    double fma = 0.0; ///< GFLOP/s of fused multiply-adds of floats

    /// ns to move `bytes`
    double copy_ns(double bytes, bool cached) const { return bytes / (cached ? copy_cached : copy); }
    double in_place_ns(double bytes, bool cached) const { return bytes / (cached ? in_place_cached : in_place); }
    double flop_ns(double flops) const { return flops / fma; }
};

namespace detail {

using lanes = espalier::native_pack<float>;

[[gnu::noinline]] inline void copy_packs(float const* from, float* to, std::ptrdiff_t n) {
    for (std::ptrdiff_t i = 0; i < n; i += 4 * lanes::width)
        for (int k = 0; k < 4; ++k)
            lanes::load(from + i + k * lanes::width).store(to + i + k * lanes::width);
}

[[gnu::noinline]] inline void scale_packs(float* x, std::ptrdiff_t n, float by) {
    for (std::ptrdiff_t i = 0; i < n; i += 4 * lanes::width)
        for (int k = 0; k < 4; ++k)
            (lanes::load(x + i + k * lanes::width) * lanes(by)).store(x + i + k * lanes::width);
}

/// Sums that go on side by side: enough to hide the latency, few enough for the registers of every width.
inline constexpr int chains = 10 / lanes::chunks;

[[gnu::noinline]] inline float multiply_add(int rounds, float a, float b) {
    lanes sum[chains];
    for (auto& s : sum)
        s = lanes(a);
    lanes const x(a), y(b);
    for (int i = 0; i < rounds; ++i) {
        ESPALIER_PACK_UNROLL
        for (int k = 0; k < chains; ++k)
            sum[k] = fma(sum[k], x, y);
    }
    lanes total = sum[0];
    for (int k = 1; k < chains; ++k)
        total = total + sum[k];
    return horizontal_sum(total);
}

} // namespace detail

inline roofs measure_roofs() {
    roofs r;
    constexpr std::ptrdiff_t big = std::ptrdiff_t{32} << 20; // floats: 128 MB
    constexpr std::ptrdiff_t small = 48 << 10;               // 192 KB, two of them in the second level
    {
        espalier::cpu::buffer<float> from(big), to(big + 272);
        std::fill_n(from.data(), big, 1.0f);
        double const bytes = 2.0 * static_cast<double>(big) * sizeof(float);
        r.copy =
            1e-9 * bytes / best_seconds([&] { std::memcpy(to.data() + 272, from.data(), big * sizeof(float)); }, 7);
        r.in_place = 1e-9 * bytes / best_seconds([&] { detail::scale_packs(from.data(), big, 0.99999f); }, 7);
    }
    {
        espalier::cpu::buffer<float> from(small), to(small + 272);
        std::fill_n(from.data(), small, 1.0f);
        double const bytes = 100 * 2.0 * static_cast<double>(small) * sizeof(float);
        r.copy_cached = 1e-9 * bytes /
                        best_seconds(
                            [&] {
                                for (int i = 0; i < 100; ++i)
                                    detail::copy_packs(from.data(), to.data() + 272, small);
                            },
                            15);
        r.in_place_cached = 1e-9 * bytes /
                            best_seconds(
                                [&] {
                                    for (int i = 0; i < 100; ++i)
                                        detail::scale_packs(from.data(), small, 0.99999f);
                                },
                                15);
    }
    float volatile sink = 0.0f;
    float volatile a = 0.5f, b = 0.25f;
    constexpr int rounds = 100000;
    double const flops = 2.0 * detail::chains * detail::lanes::width * rounds;
    r.fma = 1e-9 * flops / best_seconds([&] { sink = detail::multiply_add(rounds, a, b); }, 25);
    static_cast<void>(sink);
    return r;
}

/// Measured once in a process.
inline roofs const& roof() {
    static roofs const r = measure_roofs();
    return r;
}

} // namespace bench
