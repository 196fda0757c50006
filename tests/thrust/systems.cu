// SPDX-License-Identifier: Apache-2.0
// What runs on any system of Thrust, compiled by nvcc with the toolkit's Thrust: on the host's systems, or with --gpu
// on a GPU, against the serial functions. The status is 77 where no GPU is.
#include <espalier/prune/by_magnitude.hpp>
#include <espalier/prune/select.hpp>
#include <espalier/thrust/area_under_curve.hpp>
#include <espalier/thrust/random_order.hpp>
#include <espalier/thrust/select.hpp>
#include <espalier/train/area_under_curve.hpp>

#include <cuda_runtime_api.h>
#include <thrust/copy.h>
#include <thrust/device_vector.h>
#include <thrust/execution_policy.h>

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <limits>
#include <new>
#include <random>
#include <vector>

namespace esp = espalier;
namespace prune = espalier::prune;
using esp::index_t;

namespace {

int failures = 0;
void expect(bool holds, char const* system, char const* what) {
    if (holds) return;
    std::printf("%s: not so: %s\n", system, what);
    ++failures;
}

template <class Vector> auto* pointer_to(Vector& v) {
    return thrust::raw_pointer_cast(v.data());
}
template <class T> T const* pointer_to(std::vector<T> const& v) {
    return v.data();
}

/// `Vector<T>` lies in the memory of the system.
template <template <class> class Vector, class System>
void selects(System const& system, char const* name, std::vector<float> const& first, std::vector<float> const& second,
             double share) {
    std::vector<std::uint32_t> expected[2];
    std::vector<float> const* const host[2] = {&first, &second};
    Vector<float> const weights[2] = {{first.begin(), first.end()}, {second.begin(), second.end()}};
    Vector<std::uint32_t> masks[2];
    prune::piece<float> serial[2], ours[2];
    for (int i = 0; i < 2; ++i) {
        auto const size = static_cast<index_t>(host[i]->size());
        expected[i].assign((host[i]->size() + 31) / 32, 0xdeadbeefu);
        masks[i].assign(expected[i].size(), 0xdeadbeefu);
        serial[i] = {host[i]->data(), size, expected[i].data()};
        ours[i] = {pointer_to(weights[i]), size, pointer_to(masks[i])};
    }
    auto const keep = static_cast<index_t>(share * static_cast<double>(first.size() + second.size()));
    prune::select_largest<prune::by_magnitude>(serial, keep);
    prune::select_largest<prune::by_magnitude>(system, ours, keep);
    for (int i = 0; i < 2; ++i) {
        std::vector<std::uint32_t> found(expected[i].size());
        thrust::copy(masks[i].begin(), masks[i].end(), found.begin());
        expect(found == expected[i], name, "masks are those of the serial selection");
    }
}

template <template <class> class Vector, class System> void check(System const& system, char const* name) {
    std::mt19937_64 random(3);
    std::normal_distribution<float> normal;
    std::vector<float> any(70033), tied(any.size()), odd(513), labels(any.size());
    for (std::size_t i = 0; i < any.size(); ++i) {
        any[i] = normal(random);
        tied[i] = std::round(4 * any[i]);
        labels[i] = random() % 3 == 0 ? 1.0f : 0.0f;
        float const strange[] = {std::numeric_limits<float>::quiet_NaN(), -std::numeric_limits<float>::infinity(),
                                 -0.0f, any[i]};
        if (i < odd.size()) odd[i] = strange[random() % 4];
    }
    for (double share : {0.0, 0.1, 0.5, 0.9999, 1.0}) {
        selects<Vector>(system, name, any, odd, share);
        selects<Vector>(system, name, odd, tied, share);
    }

    auto const site = esp::make_site(5, 7);
    index_t const n = 5001;
    for (index_t k : {n, index_t(17)}) {
        std::vector<std::int32_t> serial(static_cast<std::size_t>(k)), found(serial.size());
        Vector<std::int32_t> ours(serial.size());
        esp::array_view<std::int32_t> const to_serial{serial.data(), k}, to_ours{pointer_to(ours), k};
        if (k == n) {
            esp::random_order(site, to_serial);
            esp::random_order(system, site, to_ours);
        } else {
            esp::random_subset(site, n, to_serial);
            esp::random_subset(system, site, n, to_ours);
        }
        thrust::copy(ours.begin(), ours.end(), found.begin());
        expect(found == serial, name, "rows are those of the serial order or subset");
    }

    for (auto const& scores : {any, tied}) {
        Vector<float> const on_it(scores.begin(), scores.end()), labels_on_it(labels.begin(), labels.end());
        double const area = esp::area_under_curve(scores.begin(), scores.end(), labels.begin());
        expect(esp::area_under_curve(system, on_it.begin(), on_it.end(), labels_on_it.begin()) == area, name,
               "the area under the curve is that of the serial function");
    }
}

template <class T> using host_memory = std::vector<T>;
template <class T> using device_memory = thrust::device_vector<T>;

/// Keeps what it is given back, as programs do that must not allocate in every step.
struct caching_allocator {
    using value_type = char;
    struct block {
        char* memory;
        std::size_t size;
        bool taken;
    };
    std::vector<block>* blocks;

    char* allocate(std::ptrdiff_t bytes) {
        auto const size = static_cast<std::size_t>(bytes);
        for (block& b : *blocks)
            if (!b.taken && b.size >= size) return b.taken = true, b.memory;
        char* memory = nullptr;
        if (cudaMalloc(&memory, size) != cudaSuccess) throw std::bad_alloc();
        blocks->push_back({memory, size, true});
        return memory;
    }
    void deallocate(char* p, std::size_t) {
        for (block& b : *blocks)
            if (b.memory == p) b.taken = false;
    }
};

void on_gpu() {
    cudaStream_t stream = nullptr;
    expect(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking) == cudaSuccess, "CUDA", "a stream is made");
    std::vector<caching_allocator::block> blocks;
    caching_allocator allocator{&blocks};
    char const* const name = "thrust::cuda::par with an allocator and a stream";
    check<device_memory>(thrust::cuda::par(allocator).on(stream), name);
    std::size_t const after_one = blocks.size();
    check<device_memory>(thrust::cuda::par(allocator).on(stream), name);
    expect(blocks.size() == after_one && after_one > 0, name, "a second run allocates nothing");
    for (auto const& b : blocks) {
        expect(!b.taken, name, "all memory is given back");
        cudaFree(b.memory);
    }
    cudaStreamDestroy(stream);
}

} // namespace

int main(int count, char** arguments) {
    if (count > 1 && std::strcmp(arguments[1], "--gpu") == 0) {
        int gpus = 0;
        if (cudaGetDeviceCount(&gpus) != cudaSuccess || gpus == 0) {
            std::printf("skipped: no GPU\n");
            return 77;
        }
        on_gpu();
    } else {
        check<host_memory>(thrust::host, "thrust::host");
        check<host_memory>(thrust::seq, "thrust::seq");
    }
    return failures == 0 ? 0 : 1;
}
