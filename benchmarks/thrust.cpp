// SPDX-License-Identifier: Apache-2.0
// Wall time, and CPU time of all threads, of algorithms on systems of Thrust, beside the library's serial functions. By
// hand is what a program that has Thrust writes: keys of all weights, thrust::sort, and a loop that writes the mask
// from the threshold and the number of its ties.
//
//     bench_thrust [--large] [Google Benchmark's arguments]
//
// --large adds the selection of 256 M weights, which takes 3 GB. Take turns against a busy machine:
// --benchmark_enable_random_interleaving=true --benchmark_repetitions=9.
#include "common.hpp"

#include <espalier/core/random.hpp>
#include <espalier/prune/by_magnitude.hpp>
#include <espalier/prune/select.hpp>
#include <espalier/thrust/area_under_curve.hpp>
#include <espalier/thrust/random_order.hpp>
#include <espalier/thrust/select.hpp>
#include <espalier/train/area_under_curve.hpp>

#include <omp.h>
#include <thrust/functional.h>
#include <thrust/sort.h>
#include <thrust/system/cpp/execution_policy.h>
#include <thrust/system/omp/execution_policy.h>
#include <thrust/transform.h>

#include <algorithm>
#include <cstring>
#include <functional>
#include <memory>
#include <string>

namespace esp = espalier;
using bench::index_t;
using criterion = esp::prune::by_magnitude;

namespace {

template <class Body> void add(std::string const& name, int threads, Body const& body) {
    benchmark::RegisterBenchmark(name.c_str(),
                                 [body, threads](benchmark::State& state) {
                                     omp_set_num_threads(threads);
                                     for (auto _ : state) {
                                         body();
                                         benchmark::ClobberMemory();
                                     }
                                 })
        ->UseRealTime()
        ->MeasureProcessCPUTime();
}

/// `body` on every system: thrust::cpp, and thrust::omp with one thread and all.
template <class Body> void add_systems(std::string const& name, Body const& body) {
    add(name + "@cpp/ours", 1, [body] { body(thrust::cpp::par); });
    int const most = omp_get_num_procs();
    for (int threads = 1; threads <= most; threads *= 2)
        add(name + "@omp_" + std::to_string(threads) + "/ours", threads, [body] { body(thrust::omp::par); });
}

struct selection {
    index_t n, keep;
    std::vector<float> weights = std::vector<float>(static_cast<std::size_t>(n));
    std::vector<std::uint32_t> mask = std::vector<std::uint32_t>(static_cast<std::size_t>((n + 31) / 32));
    std::vector<std::uint32_t> keys; // for the way by hand

    selection(index_t count, double sparsity) : n(count), keep(esp::prune::kept_count(n, sparsity)) {
        bench::fill_normal(weights.data(), n, 1);
    }
    std::vector<esp::prune::piece<float>> pieces() { return {{weights.data(), n, mask.data()}}; }

    struct key_of_weight {
        std::uint32_t operator()(float w) const { return criterion::key(w); }
    };
    template <class System> void by_sorting(System const& system) {
        keys.resize(weights.size());
        thrust::transform(system, weights.begin(), weights.end(), keys.begin(), key_of_weight());
        thrust::sort(system, keys.begin(), keys.end(), thrust::greater<std::uint32_t>());
        std::uint32_t const threshold = keys[static_cast<std::size_t>(keep - 1)];
        index_t ties = keep - (std::lower_bound(keys.begin(), keys.end(), threshold, std::greater<std::uint32_t>()) -
                               keys.begin());
        for (index_t first = 0; first < n; first += 32) {
            std::uint32_t word = 0;
            for (index_t i = first; i < std::min(first + 32, n); ++i) {
                std::uint32_t const key = criterion::key(weights[static_cast<std::size_t>(i)]);
                bool const kept = key > threshold || (key == threshold && ties-- > 0);
                word |= static_cast<std::uint32_t>(kept) << (i - first);
            }
            mask[static_cast<std::size_t>(first / 32)] = word;
        }
    }
};

void expect_same(char const* what, bool same) {
    bench::expect_close(what, same, true, 0.0);
}

void add_selection(std::string const& size, index_t n, double sparsity) {
    auto const s = std::make_shared<selection>(n, sparsity);
    auto const serial = [s] { esp::prune::select_largest<criterion>(s->pieces(), s->keep); };
    auto const on_system = [s](auto const& system) {
        esp::prune::select_largest<criterion>(system, s->pieces(), s->keep);
    };
    auto const by_hand = [s](auto const& system) { s->by_sorting(system); };
    serial();
    auto const expected = s->mask;
    on_system(thrust::omp::par);
    expect_same("thrust selection", s->mask == expected);
    by_hand(thrust::omp::par);
    expect_same("selection by sorting", s->mask == expected);

    std::string const name = "thrust/select_" + bench::number(sparsity) + "_" + size;
    add(name + "@serial/ours", 1, serial);
    add_systems(name, on_system);
    add(name + "/hand_cpp", 1, [by_hand] { by_hand(thrust::cpp::par); });
    add(name + "/hand_omp", omp_get_num_procs(), [by_hand] { by_hand(thrust::omp::par); });
}

void add_order(index_t n) {
    auto const order = std::make_shared<std::vector<std::int32_t>>(static_cast<std::size_t>(n));
    esp::array_view<std::int32_t> const out{order->data(), n};
    auto const site = esp::make_site(1, 2);
    add("thrust/random_order_1M@serial/ours", 1, [=] { esp::random_order(site, out), void(order); });
    add_systems("thrust/random_order_1M",
                [=](auto const& system) { esp::random_order(system, site, out), void(order); });
    add("thrust/random_order_1M/shuffle", 1, [=] { esp::random_permutation(site, out), void(order); });
}

void add_area(index_t n) {
    struct rows {
        std::vector<float> scores, labels;
    };
    auto const r = std::make_shared<rows>();
    r->scores.resize(static_cast<std::size_t>(n));
    r->labels.resize(r->scores.size());
    bench::fill_normal(r->scores.data(), n, 3);
    for (index_t i = 0; i < n; ++i)
        r->labels[static_cast<std::size_t>(i)] = i % 4 == 0 ? 1.0f : 0.0f;
    add("thrust/area_under_curve_1M@serial/ours", 1, [r] {
        benchmark::DoNotOptimize(esp::area_under_curve(r->scores.begin(), r->scores.end(), r->labels.begin()));
    });
    add_systems("thrust/area_under_curve_1M", [r](auto const& system) {
        benchmark::DoNotOptimize(esp::area_under_curve(system, r->scores.begin(), r->scores.end(), r->labels.begin()));
    });
}

} // namespace

int main(int argc, char** argv) {
    bool large = false;
    int kept = 1;
    for (int i = 1; i < argc; ++i)
        if (std::strcmp(argv[i], "--large") == 0)
            large = true;
        else
            argv[kept++] = argv[i];
    add_selection("4M", index_t(4) << 20, 0.5);
    add_selection("4M", index_t(4) << 20, 0.9);
    if (large) add_selection("256M", index_t(256) << 20, 0.9);
    add_order(index_t(1) << 20);
    add_area(index_t(1) << 20);
    return bench::run(kept, argv);
}
