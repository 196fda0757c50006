// SPDX-License-Identifier: Apache-2.0
// A training in a program that selects masks with Thrust on OpenMP: other threads take part, and the masks and weights
// are the same bits whatever their number, those of the serial selection.
#include <espalier/activation/relu.hpp>
#include <espalier/device/cpu/cpu.hpp>
#include <espalier/layer/dense.hpp>
#include <espalier/layer/input.hpp>
#include <espalier/layer/sequence.hpp>
#include <espalier/loss/cross_entropy.hpp>
#include <espalier/network/network.hpp>
#include <espalier/optimizer/sgd.hpp>
#include <espalier/prune/by_magnitude.hpp>
#include <espalier/prune/constant.hpp>
#include <espalier/prune/global.hpp>
#include <espalier/prune/hard.hpp>
#include <espalier/prune/per_layer.hpp>
#include <espalier/prune/policy.hpp>
#include <espalier/train/fit.hpp>

#include <omp.h>

#include <atomic>
#include <cstdint>
#include <cstdio>
#include <string_view>
#include <vector>

namespace esp = espalier;
namespace prune = espalier::prune;

namespace {

std::atomic<int> threads_seen{0}; // one more than the highest number of a thread that computed a key

struct magnitude_by_threads {
    static constexpr std::string_view name = "magnitude";
    template <class T> ESPALIER_FN static auto key(T w) {
        int const number = omp_get_thread_num() + 1;
        for (int seen = threads_seen; seen < number && !threads_seen.compare_exchange_weak(seen, number);) {
        }
        return prune::by_magnitude::key(w);
    }
};

constexpr prune::constant half{.sparsity = 0.5, .start = 0, .every = 1};
template <class Selection> using pruned = prune::policy<magnitude_by_threads, Selection, half, prune::hard>;
// 98304 weights and more, so that there are slices for three threads
template <class Selection>
using stack = esp::sequence<esp::input<256>, esp::dense<400, esp::activation::relu, pruned<Selection>>,
                            esp::dense<10, pruned<Selection>>>;

struct outcome {
    std::vector<std::uint32_t> masks;
    std::vector<float> weights;

    bool operator==(outcome const&) const = default;
};

template <class Selection> outcome train(int threads) {
    omp_set_num_threads(threads);
    esp::data_set data;
    data.count = 8;
    data.width = 256;
    for (int i = 0; i < 8 * 256; ++i)
        data.features.push_back(static_cast<float>((i * 37) % 101) / 101.0f);
    for (int i = 0; i < 8; ++i)
        data.labels.push_back(i);
    esp::network<stack<Selection>, esp::device::cpu> net{esp::seed{5}, 4};
    esp::fit(net, esp::loss::cross_entropy{}, esp::optimizer::sgd{.learning_rate = 0.1}, data,
             {.epochs = 2, .batch = 4});
    auto const& values = net.values();
    return {{values.masks().data(), values.masks().data() + values.masks().size()},
            {values.weights().data(), values.weights().data() + values.weights().size()}};
}

int failures = 0;
void expect(bool holds, char const* what) {
    if (holds) return;
    std::printf("not so: %s\n", what);
    ++failures;
}

template <class Selection> void check() {
    outcome const alone = train<Selection>(1);
    expect(threads_seen == 1, "one thread computes keys alone");
    for (int threads : {2, 3}) {
        threads_seen = 0;
        outcome const shared = train<Selection>(threads);
        expect(shared == alone, "masks and weights do not depend on the number of threads");
        expect(threads_seen == threads, "all threads compute keys");
    }
    threads_seen = 0;
}

void check_against_serial() {
    std::vector<float> w(100000);
    for (std::size_t i = 0; i < w.size(); ++i)
        w[i] = static_cast<float>((i * 7919) % 10007) - 5000.0f;
    std::vector<std::uint32_t> ours(w.size() / 32, 1), serial(w.size() / 32, 2);
    prune::piece<float> const to_ours[] = {{w.data(), 100000, ours.data()}};
    prune::piece<float> const to_serial[] = {{w.data(), 100000, serial.data()}};
    prune::select_threshold<magnitude_by_threads>(to_ours, 0.3);
    expect(threads_seen == 3, "the threads of Thrust's device system select");
    prune::select_largest<magnitude_by_threads>(to_serial, 70000);
    expect(ours == serial, "the mask is that of the serial selection");
}

} // namespace

int main() {
    check<prune::per_layer>();
    check<prune::global_selection>();
    check_against_serial();
    return failures == 0 ? 0 : 1;
}
