// SPDX-License-Identifier: Apache-2.0
// Top-k gates on a GPU, a million rows: from logits to weights and experts, against one kernel written by hand.
// Floor: the logits read once, a weight and an expert of each slot written once.
#include "bench.hpp"

#include <espalier/gate/top_k.hpp>

#include <numeric>

namespace {

namespace esp = espalier;
using namespace gpu_bench;

constexpr index_t row_count = index_t{1} << 20;

/// k times the largest of what is left, by butterflies over the lanes of a row.
template <int Experts, int K>
__global__ void __launch_bounds__(256) hand_top_k(float const* logits, float* weights, std::int32_t* experts) {
    constexpr int lanes = Experts < 32 ? Experts : 32, own = Experts / lanes;
    static_assert(Experts % lanes == 0 && (lanes & (lanes - 1)) == 0);
    int const lane = static_cast<int>(threadIdx.x) % lanes;
    index_t const rows_at_once = static_cast<index_t>(gridDim.x) * (256 / lanes);
    for (index_t r = static_cast<index_t>(blockIdx.x) * (256 / lanes) + threadIdx.x / lanes; r < row_count;
         r += rows_at_once) {
        float z[own], value[K];
        int expert[K];
#pragma unroll
        for (int i = 0; i < own; ++i)
            z[i] = logits[r * Experts + i * lanes + lane];
#pragma unroll
        for (int k = 0; k < K; ++k) {
            float best = -INFINITY;
            int column = lane;
#pragma unroll
            for (int i = 0; i < own; ++i)
                if (z[i] > best) best = z[i], column = i * lanes + lane;
#pragma unroll
            for (int half = lanes / 2; half > 0; half /= 2) {
                float const other = __shfl_xor_sync(0xffffffffu, best, half);
                int const from = __shfl_xor_sync(0xffffffffu, column, half);
                if (other > best || (other == best && from < column)) best = other, column = from;
            }
#pragma unroll
            for (int i = 0; i < own; ++i)
                if (i * lanes + lane == column) z[i] = -INFINITY;
            value[k] = best;
            expert[k] = column;
        }
        float const top = value[0];
        float total = 0.0f;
#pragma unroll
        for (int k = 0; k < K; ++k)
            total += value[k] = expf(value[k] - top);
#pragma unroll
        for (int k = 0; k < K; ++k)
            if (lane == k) {
                weights[r * K + k] = value[k] / total;
                experts[r * K + k] = expert[k];
            }
    }
}

template <int Experts, int K> void measure_gate(bench_device& device, report& results) {
    using gate = esp::gate::top_k<Experts, K>;
    double const bytes = static_cast<double>(row_count) * (4.0 * Experts + 8.0 * K);
    int const sets = results.sets(bytes);
    auto const logits = normal<float>(sets * row_count * Experts, 1);
    device_array<float> weights(sets * row_count * K);
    device_array<std::int32_t> experts(sets * row_count * K);
    auto const op = esp::op_at<gate>(esp::clock{});
    auto const ours = [&](int i) {
        index_t const at = i % sets * row_count;
        device.template route<gate>(
            op, esp::matrix_view<float const>{logits.data() + at * Experts, row_count, Experts, Experts},
            esp::matrix_view<float>{weights.data() + at * K, row_count, K, K},
            esp::matrix_view<std::int32_t>{experts.data() + at * K, row_count, K, K}, esp::gate_run{});
    };
    auto const hand = [&](int i) {
        index_t const at = i % sets * row_count;
        hand_top_k<Experts, K><<<results.blocks(), 256, 0, device.stream()>>>(
            logits.data() + at * Experts, weights.data() + at * K, experts.data() + at * K);
    };
    std::string const name = "top_k_" + std::to_string(Experts) + "_" + std::to_string(K) + "_1M";
    auto const check_rows = [&](std::string const& what) {
        constexpr index_t checked = 512;
        auto const z = first_of(logits, checked * Experts), w = first_of(weights, checked * K);
        auto const e = first_of(experts, checked * K);
        for (index_t r = 0; r < checked; ++r) {
            float const* const row = z.data() + r * Experts;
            int order[Experts];
            std::iota(order, order + Experts, 0);
            std::stable_sort(order, order + Experts, [&](int a, int b) { return row[a] > row[b]; });
            double total = 0.0;
            for (int k = 0; k < K; ++k)
                total += std::exp(static_cast<double>(row[order[k]]) - static_cast<double>(row[order[0]]));
            for (int k = 0; k < K; ++k) {
                auto const at = static_cast<std::size_t>(r * K + k);
                expect_close(what + ": expert", e[at], order[k], 0.0);
                expect_close(what + ": weight", static_cast<double>(w[at]),
                             std::exp(static_cast<double>(row[order[k]]) - static_cast<double>(row[order[0]])) / total,
                             2e-6);
            }
        }
    };
    ours(0);
    check_rows(name);
    hand(0);
    check_rows(name + " by hand");
    double const ns = median_ns(device.stream(), ours), hand_ns = median_ns(device.stream(), hand);
    results.add({"gate", name, ns, hand_ns, results.floor_of(bytes)});
}

void measure(bench_device& device, report& results) {
    measure_gate<16, 2>(device, results);
    measure_gate<64, 2>(device, results);
    measure_gate<128, 8>(device, results);
}

} // namespace

int main(int count, char** arguments) {
    return run(measure, count, arguments);
}
