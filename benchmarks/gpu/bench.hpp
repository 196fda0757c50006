// SPDX-License-Identifier: Apache-2.0
// What the GPU benchmarks share: time by CUDA events, device memory with random numbers, checks, the roof of a copy,
// and rows in the format of scripts/bench.py.
//
// A time is the median over repetitions of many launches on one stream, after a warm-up. Data is larger than twice the
// second-level cache, or the launches take several sets of it in turns.
#pragma once

#include <espalier/core/view.hpp>
#include <espalier/device/cuda/cuda.hpp>

#include <cuda_runtime_api.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <fstream>
#include <random>
#include <stdexcept>
#include <string>
#include <vector>

namespace gpu_bench {

using espalier::index_t;
using espalier::cuda::check;

template <class T> using device_array = espalier::cuda::buffer<T>;

/// Random numbers in device memory: a table of normal ones, repeated with shifts.
template <class T> device_array<T> normal(index_t n, unsigned seed, double deviation = 1.0) {
    constexpr index_t piece = index_t{1} << 20;
    std::mt19937 generator(seed);
    std::normal_distribution<float> draw(0.0f, static_cast<float>(deviation));
    std::vector<T> table(static_cast<std::size_t>(piece + 4096));
    for (T& v : table)
        v = static_cast<T>(draw(generator));
    device_array<T> to(n);
    for (index_t at = 0, shift = 0; at < n; at += piece, shift = (shift + 411) % 4096)
        to.copy_from_host(table.data() + shift, std::min(piece, n - at), at);
    return to;
}

template <class T> std::vector<T> first_of(device_array<T> const& from, index_t n) {
    std::vector<T> v(static_cast<std::size_t>(n));
    from.copy_to_host(v.data(), n);
    return v;
}

/// Throws when a result is wrong: a wrong kernel has no speed.
inline void expect_close(std::string const& what, double got, double want, double tolerance) {
    if (std::abs(got - want) <= tolerance * (1.0 + std::abs(want))) return;
    throw std::runtime_error(what + ": got " + std::to_string(got) + ", the reference is " + std::to_string(want));
}

/// A device with scratch for what the benchmarks do.
struct bench_device : espalier::device::cuda {
    explicit bench_device(index_t bytes = index_t{256} << 20) : arena_(bytes) {
        scratch = {arena_.data(), static_cast<std::size_t>(bytes)};
    }

private:
    espalier::cuda::buffer<std::byte> arena_;
};

/// Median ns of one body(i), i = 0, 1, ...
template <class Body> double median_ns(cudaStream_t stream, Body const& body, int launches = 20, int repetitions = 15) {
    cudaEvent_t start, stop;
    check(cudaEventCreate(&start), "cudaEventCreate");
    check(cudaEventCreate(&stop), "cudaEventCreate");
    std::vector<double> times;
    int at = 0;
    for (int r = -3; r < repetitions; ++r) {
        check(cudaEventRecord(start, stream), "cudaEventRecord");
        for (int i = 0; i < launches; ++i)
            body(at++);
        check(cudaEventRecord(stop, stream), "cudaEventRecord");
        check(cudaEventSynchronize(stop), "cudaEventSynchronize");
        float ms = 0.0f;
        check(cudaEventElapsedTime(&ms, start, stop), "cudaEventElapsedTime");
        if (r >= 0) times.push_back(1e6 * static_cast<double>(ms) / launches);
    }
    check(cudaEventDestroy(start), "cudaEventDestroy");
    check(cudaEventDestroy(stop), "cudaEventDestroy");
    std::sort(times.begin(), times.end());
    return times[times.size() / 2];
}

/// The same for launches that take microseconds, of which the host's part would be most of the time: they are captured
/// once as a graph and replayed.
template <class Body> double median_graph_ns(cudaStream_t stream, Body const& body, int launches = 50) {
    cudaGraph_t graph = nullptr;
    cudaGraphExec_t executable = nullptr;
    body(0); // what is set up at first use does not belong into a graph
    check(cudaStreamSynchronize(stream), "cudaStreamSynchronize");
    check(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal), "cudaStreamBeginCapture");
    for (int i = 0; i < launches; ++i)
        body(i);
    check(cudaStreamEndCapture(stream, &graph), "cudaStreamEndCapture");
    check(cudaGraphInstantiate(&executable, graph, 0), "cudaGraphInstantiate");
    double const ns = median_ns(
        stream, [&](int) { check(cudaGraphLaunch(executable, stream), "cudaGraphLaunch"); }, 2);
    check(cudaGraphExecDestroy(executable), "cudaGraphExecDestroy");
    check(cudaGraphDestroy(graph), "cudaGraphDestroy");
    return ns / launches;
}

struct alignas(16) sixteen_bytes {
    std::uint32_t word[4];
};

static __global__ void __launch_bounds__(256) copy_kernel(sixteen_bytes const* from, sixteen_bytes* to, index_t n) {
    index_t const step = static_cast<index_t>(gridDim.x) * blockDim.x;
    for (index_t i = static_cast<index_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < n; i += step)
        to[i] = from[i];
}

struct row {
    std::string family, name;
    double ns = 0.0, hand_ns = 0.0, floor_ns = 0.0; ///< 0: there is none
};

/// TFLOP/s of products of n x n matrices.
template <class T> double product_rate(bench_device& device, index_t n) {
    auto const a = normal<T>(n * n, 1), b = normal<T>(n * n, 2);
    device_array<T> c(n * n);
    double const ns = median_ns(
        device.stream(),
        [&](int) {
            device.template product_forward<void>(
                espalier::matrix_view<T const>{a.data(), n, n, n}, espalier::matrix_view<T const>{b.data(), n, n, n},
                static_cast<espalier::master_of<T> const*>(nullptr), espalier::matrix_view<T>{c.data(), n, n, n});
        },
        5);
    return 2e-3 * static_cast<double>(n) * static_cast<double>(n) * static_cast<double>(n) / ns;
}

/// Collects rows, prints them, writes them.
class report {
public:
    explicit report(bench_device& device) {
        cudaDeviceProp properties;
        int gpu = 0;
        check(cudaGetDevice(&gpu), "cudaGetDevice");
        check(cudaGetDeviceProperties(&properties, gpu), "cudaGetDeviceProperties");
        name_ = properties.name;
        cache_ = properties.l2CacheSize;
        multiprocessors_ = properties.multiProcessorCount;
        // The faster of the library's copy and our own; 512 MB each way, or what fits.
        std::size_t free = 0, total = 0;
        check(cudaMemGetInfo(&free, &total), "cudaMemGetInfo");
        index_t const n = static_cast<index_t>(std::min<std::size_t>(std::size_t{512} << 20, free / 4)) / 16;
        device_array<sixteen_bytes> from(n), to(n);
        double const bytes = 32.0 * static_cast<double>(n);
        double const library = median_ns(
            device.stream(),
            [&](int) {
                check(cudaMemcpyAsync(to.data(), from.data(), from.bytes(), cudaMemcpyDeviceToDevice, device.stream()),
                      "cudaMemcpyAsync");
            },
            5);
        double const own = median_ns(
            device.stream(),
            [&](int) { copy_kernel<<<blocks(), 256, 0, device.stream()>>>(from.data(), to.data(), n); }, 5);
        espalier::cuda::check_launch("copy");
        copy_gbps_ = bytes / std::min(library, own);
        std::printf("%s: copy %.0f GB/s (the library's %.0f, by hand %.0f)\n", name_.c_str(), copy_gbps_,
                    bytes / library, bytes / own);
    }

    /// ns that a copy takes to move so many bytes.
    double floor_of(double bytes) const { return bytes / copy_gbps_; }
    /// Blocks of 256 threads that run at once.
    unsigned blocks() const { return static_cast<unsigned>(8 * multiprocessors_); }
    /// Sets of `bytes` that launches have to take in turns so that no data is found in the cache.
    int sets(double bytes) const { return 1 + static_cast<int>(2.0 * static_cast<double>(cache_) / bytes); }
    void roof(std::string const& name, double value) { roofs_.emplace_back(name, value); }

    void add(row const& r) {
        std::printf("%-64s %10.2f us", (r.family + "/" + r.name).c_str(), 1e-3 * r.ns);
        if (r.hand_ns > 0.0) std::printf("  hand/ours %5.2f", r.hand_ns / r.ns);
        if (r.floor_ns > 0.0) std::printf("  floor/ours %5.2f", r.floor_ns / r.ns);
        std::printf("\n");
        std::fflush(stdout);
        rows_.push_back(r);
    }

    void write(std::string const& path) const {
        std::ofstream out(path);
        auto const number = [](double x) { return x > 0.0 ? std::to_string(x) : std::string("null"); };
        out << "{\"rows\": [";
        for (std::size_t i = 0; i < rows_.size(); ++i) {
            row const& r = rows_[i];
            out << (i ? ",\n " : "\n ") << "{\"family\": \"" << r.family << "\", \"case\": \"" << r.name
                << "\", \"ns\": " << number(r.ns) << ", \"hand_ns\": " << number(r.hand_ns)
                << ", \"floor_ns\": " << number(r.floor_ns) << ", \"peer\": null, \"peer_ns\": null}";
        }
        out << "],\n \"roofs\": {\"copy_gbps\": " << number(copy_gbps_);
        for (auto const& [name, value] : roofs_)
            out << ", \"" << name << "\": " << number(value);
        out << "}, \"machine\": {\"processor\": \"" << name_ << "\"}}\n";
        if (!out.flush()) throw std::runtime_error("'" + path + "' cannot be written");
    }

private:
    std::string name_;
    int cache_ = 0, multiprocessors_ = 0;
    double copy_gbps_ = 0.0;
    std::vector<row> rows_;
    std::vector<std::pair<std::string, double>> roofs_;
};

/// PROGRAM [--json FILE]. Exit status: 0, 1 for a wrong result or an error, 77 where there is no GPU.
template <class Measure> int run(Measure const& measure, int count, char** arguments) {
    std::string path;
    if (count == 3 && std::strcmp(arguments[1], "--json") == 0)
        path = arguments[2];
    else if (count > 1) {
        std::fprintf(stderr, "usage: %s [--json FILE]\n", arguments[0]);
        return 2;
    }
    int gpus = 0;
    if (cudaGetDeviceCount(&gpus) != cudaSuccess || gpus == 0) {
        std::printf("skipped: no GPU\n");
        return 77;
    }
    try {
        bench_device device;
        report results(device);
        measure(device, results);
        device.throw_on_error();
        if (!path.empty()) results.write(path);
    } catch (std::exception const& e) {
        std::fprintf(stderr, "%s: %s\n", arguments[0], e.what());
        return 1;
    }
    return 0;
}

} // namespace gpu_bench
