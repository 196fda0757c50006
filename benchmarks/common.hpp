// SPDX-License-Identifier: Apache-2.0
// What the benchmark programs share: data, checks against a reference before anything is timed, and names.
//
// A benchmark is called FAMILY/CASE/ours, the same work written by hand FAMILY/CASE/hand. CASE@VARIANT is one way of
// ours to do CASE: peers are measured for CASE. The counter `floor_ns` is the time that the roofs of this run allow at
// best; `floor_of` in a comment or a call says what it counts. Other counters (rows, experts, k, density) describe the
// case.
#pragma once

#include "roof.hpp"

#include <espalier/core/view.hpp>
#include <espalier/device/cpu/buffer.hpp>

#include <benchmark/benchmark.h>

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <string>
#include <utility>
#include <vector>

namespace bench {

using espalier::index_t;

/// A buffer that does not begin at the same place of a page as its neighbours: streams at equal offsets modulo a power
/// of two push each other out of the first-level cache.
template <class T> class array {
public:
    explicit array(index_t n, int skew = 0) : memory_(n + 16 * 37), offset_(16 * skew) {}
    T* data() { return memory_.data() + offset_; }
    T const* data() const { return memory_.data() + offset_; }

private:
    espalier::cpu::buffer<T> memory_;
    index_t offset_;
};

template <class T> void fill_normal(T* p, index_t n, unsigned seed, double deviation = 1.0) {
    // A table repeated with a shift: random numbers for the processor, and quick to make.
    constexpr index_t table_size = 65521;
    static std::vector<float> const table = [] {
        std::mt19937 generator(1234);
        std::normal_distribution<float> normal;
        std::vector<float> t(table_size);
        for (float& v : t)
            v = normal(generator);
        return t;
    }();
    index_t at = static_cast<index_t>(seed * 7919u) % table_size;
    for (index_t i = 0; i < n; ++i) {
        p[i] = static_cast<T>(deviation * static_cast<double>(table[static_cast<std::size_t>(at)]));
        if (++at == table_size) at = (i / table_size) % 13;
    }
}

/// Stops the program when a result is wrong: a wrong kernel has no speed.
inline void expect_close(char const* what, double got, double want, double tolerance) {
    if (std::abs(got - want) <= tolerance * (1.0 + std::abs(want))) return;
    std::fprintf(stderr, "%s: got %.9g, the reference is %.9g\n", what, got, want);
    std::exit(1);
}

using counters = std::vector<std::pair<char const*, double>>;

template <class Body> void add(std::string const& name, double floor_ns, Body body, counters const& about = {}) {
    benchmark::RegisterBenchmark(name.c_str(), [body, floor_ns, about](benchmark::State& state) mutable {
        for (auto _ : state) {
            body();
            benchmark::ClobberMemory();
        }
        if (floor_ns > 0.0) state.counters["floor_ns"] = floor_ns;
        for (auto const& [what, value] : about)
            state.counters[what] = value;
    });
}

inline std::string number(double x) {
    char text[32];
    std::snprintf(text, sizeof text, "%.2f", x);
    return text;
}

inline int run(int argc, char** argv) {
    roofs const& r = roof();
    benchmark::AddCustomContext("roof_copy_gbps", number(r.copy));
    benchmark::AddCustomContext("roof_in_place_gbps", number(r.in_place));
    benchmark::AddCustomContext("roof_copy_cached_gbps", number(r.copy_cached));
    benchmark::AddCustomContext("roof_in_place_cached_gbps", number(r.in_place_cached));
    benchmark::AddCustomContext("roof_fma_gflops", number(r.fma));
    benchmark::Initialize(&argc, argv);
    if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 1;
    benchmark::RunSpecifiedBenchmarks();
    benchmark::Shutdown();
    return 0;
}

} // namespace bench
