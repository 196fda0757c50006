// SPDX-License-Identifier: Apache-2.0
// What a mixture of experts does around its experts on a GPU: from weights and experts of two slots a row to the table
// of pairs, the rows gathered into the experts' blocks, and their weighted sums back. Once with a capacity of 1.25 (the
// blocks are that large, and what is left of them is filled with zeros), once with rows that the device counts (the
// blocks have room for all rows).
//
// "By hand": our table, then one kernel that reads a row once and writes it to both its places, and one that sums.
// Floor: every row is read once and written twice, read twice and written once, and the table is written, at the
// bandwidth of a copy. Gathering expert by expert reads a row twice, so it cannot pass 6/7 of it.
#include "bench.hpp"

#include <espalier/core/pairs.hpp>
#include <espalier/gate/dispatch.hpp>

namespace {

namespace esp = espalier;
using namespace gpu_bench;

constexpr index_t row_count = 65536, width = 1024, slots = 2;
constexpr int experts = 64;

template <class T> struct alignas(16) vector16 { T v[16 / sizeof(T)]; };
template <class T> constexpr index_t vectors_of_row = width* static_cast<index_t>(sizeof(T)) / 16;

template <class T>
__global__ void __launch_bounds__(256)
    hand_scatter(vector16<T> const* x, std::int32_t const* pair, vector16<T>* blocks) {
    constexpr index_t of_row = vectors_of_row<T>;
    for (index_t i = static_cast<index_t>(blockIdx.x) * 256 + threadIdx.x; i < row_count * of_row;
         i += static_cast<index_t>(gridDim.x) * 256) {
        index_t const r = i / of_row, c = i % of_row;
        vector16<T> const value = x[i];
        blocks[pair[2 * r] * of_row + c] = value;
        blocks[pair[2 * r + 1] * of_row + c] = value;
    }
}

template <class T>
__global__ void __launch_bounds__(256)
    hand_sum(vector16<T> const* blocks, std::int32_t const* pair, float const* weights, vector16<T>* y) {
    constexpr index_t of_row = vectors_of_row<T>;
    for (index_t i = static_cast<index_t>(blockIdx.x) * 256 + threadIdx.x; i < row_count * of_row;
         i += static_cast<index_t>(gridDim.x) * 256) {
        index_t const r = i / of_row, c = i % of_row;
        vector16<T> const a = blocks[pair[2 * r] * of_row + c], b = blocks[pair[2 * r + 1] * of_row + c];
        float const v = weights[2 * r], w = weights[2 * r + 1];
        vector16<T> sum;
#pragma unroll
        for (int j = 0; j < static_cast<int>(16 / sizeof(T)); ++j)
            sum.v[j] = static_cast<T>(v * static_cast<float>(a.v[j]) + w * static_cast<float>(b.v[j]));
        y[i] = sum;
    }
}

/// A batch and the memory around its experts. `Counted`: without a capacity.
template <class T, bool Counted> struct moved {
    static constexpr index_t capacity = esp::dispatch::capacity<1.25>::capacity_of(slots, row_count, experts);
    static constexpr index_t block = Counted ? row_count : esp::round_up(capacity, esp::row_granule);
    static constexpr index_t places = experts * block;

    bench_device& device;
    unsigned blocks_at_once;
    device_array<T> x = normal<T>(row_count * width, 1), y{row_count * width}, blocks{places * width};
    device_array<float> weights{row_count * slots};
    device_array<std::int32_t> chosen{row_count * slots}, pair{row_count * slots}, pair_row{places}, pair_slot{places},
        first{experts}, count{experts};
    device_array<std::uint32_t> origin{places};

    moved(bench_device& on, report& results) : device(on), blocks_at_once(results.blocks()) {
        std::mt19937 generator(5);
        std::vector<std::int32_t> e;
        std::vector<float> w;
        for (index_t r = 0; r < row_count; ++r) {
            auto const a = static_cast<std::int32_t>(generator() % experts);
            auto const b = static_cast<std::int32_t>(generator() % (experts - 1));
            float const share = 0.1f + 0.8f * static_cast<float>(generator() % 1024) / 1024.0f;
            e.insert(e.end(), {a, b < a ? b : b + 1});
            w.insert(w.end(), {share, 1.0f - share});
        }
        chosen.copy_from_host(e.data(), chosen.size());
        weights.copy_from_host(w.data(), weights.size());
    }

    esp::matrix_view<float const> shares() const { return {weights.data(), row_count, slots, slots}; }
    void build_table() {
        esp::rows batch;
        batch.count = row_count;
        esp::pair_plan plan;
        plan.experts = experts;
        plan.granule = esp::row_granule;
        plan.capacity = Counted ? 0 : capacity;
        plan.block = block;
        device.build_pairs(shares(), esp::matrix_view<std::int32_t const>{chosen.data(), row_count, slots, slots},
                           batch, plan,
                           {pair_row.data(), origin.data(), pair_slot.data(), pair.data(), first.data(), count.data()});
    }
    void gather() {
        esp::matrix_view<T const> const from{x.data(), row_count, width, width};
        esp::live_groups live;
        if constexpr (Counted) live.count = count.data();
        live.first = first.data();
        live.groups = static_cast<int>(experts);
        device.on_live_rows(live, [&] {
            device.gather(from, static_cast<std::int32_t const*>(pair_row.data()),
                          esp::matrix_view<T>{blocks.data(), block, width, width});
        });
    }
    void combine() {
        esp::expert_outputs<T> outputs;
        outputs.all = {blocks.data(), places, width, width};
        outputs.slots = slots;
        outputs.block = block;
        outputs.pair = pair.data();
        outputs.expert = chosen.data();
        device.combine(shares(), outputs, esp::matrix_view<T>{y.data(), row_count, width, width});
    }
    void all() {
        build_table();
        gather();
        combine();
    }

    vector16<T>* vectors(device_array<T>& of) { return reinterpret_cast<vector16<T>*>(of.data()); }
    void scatter_by_hand() {
        hand_scatter<T><<<blocks_at_once, 256, 0, device.stream()>>>(
            vectors(x), static_cast<std::int32_t const*>(pair.data()), vectors(blocks));
    }
    void sum_by_hand() {
        hand_sum<T><<<blocks_at_once, 256, 0, device.stream()>>>(vectors(blocks),
                                                                 static_cast<std::int32_t const*>(pair.data()),
                                                                 static_cast<float const*>(weights.data()), vectors(y));
    }
    void all_by_hand() {
        build_table();
        scatter_by_hand();
        sum_by_hand();
    }

    /// The weights of a row add up to 1 and its pairs are copies of it: y = x. Every slot has a pair, and an expert's
    /// pairs are sorted by row. Afterwards nothing of the result is left.
    void check_result(std::string const& what) {
        device.throw_on_error();
        auto const e = first_of(chosen, chosen.size()), p = first_of(pair, pair.size()), n = first_of(count, experts);
        auto const of = first_of(pair_row, pair_row.size());
        std::vector<std::int32_t> next(experts, 0);
        for (index_t i = 0; i < row_count * slots; ++i) {
            auto const expert = static_cast<std::size_t>(e[static_cast<std::size_t>(i)]);
            expect_close(what + ": pair of a slot", p[static_cast<std::size_t>(i)],
                         static_cast<double>(expert) * block + next[expert]++, 0.0);
            expect_close(what + ": row of a pair", of[static_cast<std::size_t>(p[static_cast<std::size_t>(i)])],
                         static_cast<double>(i / slots), 0.0);
        }
        for (std::size_t i = 0; i < experts; ++i)
            expect_close(what + ": pairs of an expert", n[i], next[i], 0.0);
        auto const from = first_of(x, x.size()), to = first_of(y, y.size());
        for (std::size_t i = 0; i < from.size(); ++i)
            expect_close(what, static_cast<double>(static_cast<float>(to[i])),
                         static_cast<double>(static_cast<float>(from[i])), sizeof(T) == 4 ? 1e-6 : 8e-3);
        y.clear();
        blocks.clear();
        device.wait();
    }
};

template <class T, bool Counted>
void measure_moved(bench_device& device, report& results, std::string const& type, bool with_parts) {
    moved<T, Counted> m(device, results);
    std::string const name = "_" + std::to_string(experts) + "_" + std::to_string(row_count) + "x" +
                             std::to_string(width) + "_" + type + (Counted ? "_counted" : "_capacity");
    m.all();
    m.check_result("top2" + name);
    m.all_by_hand();
    m.check_result("top2" + name + " by hand");

    double const once = static_cast<double>(row_count * width) * sizeof(T);
    // Weight and expert of a slot; its pair; row, slot and origin of a pair.
    double const table = 24.0 * static_cast<double>(row_count * slots);
    auto const ns = [&](auto const& body, bool graph) {
        auto const call = [&](int) { body(); };
        return graph ? median_graph_ns(device.stream(), call, 10) : median_ns(device.stream(), call, 10);
    };
    auto const add = [&](char const* kind, auto const& ours, auto const& hand, double bytes, bool graph) {
        double by_hand = 0.0;
        if constexpr (!std::is_null_pointer_v<std::remove_cvref_t<decltype(hand)>>) by_hand = ns(hand, graph);
        results.add({"dispatch", kind + name + (graph ? "_in_a_graph" : ""), ns(ours, graph), by_hand,
                     results.floor_of(bytes)});
    };
    auto const all = [&] { m.all(); };
    auto const all_by_hand = [&] { m.all_by_hand(); };
    add("top2", all, all_by_hand, 6.0 * once + table, false);
    add("top2", all, all_by_hand, 6.0 * once + table, true);
    if (!with_parts) return;
    add(
        "table", [&] { m.build_table(); }, nullptr, table, true);
    add(
        "gather", [&] { m.gather(); }, [&] { m.scatter_by_hand(); }, 3.0 * once, true);
    add(
        "combine", [&] { m.combine(); }, [&] { m.sum_by_hand(); }, 3.0 * once, true);
}

void measure(bench_device& device, report& results) {
    measure_moved<esp::bfloat16, false>(device, results, "bf16", true);
    measure_moved<esp::bfloat16, true>(device, results, "bf16", true);
    measure_moved<float, false>(device, results, "f32", false);
    measure_moved<float, true>(device, results, "f32", false);
}

} // namespace

int main(int count, char** arguments) {
    return run(measure, count, arguments);
}
