// SPDX-License-Identifier: Apache-2.0
// The update pass on a GPU: AdamW alone and with policies, against one kernel written by hand.
// Floor: 28 bytes a weight (weight and two moments read and written, gradient read), 1/8 more for a mask; a penalty
// costs none. In cache-sized networks a launch is what it costs, so the small case is also measured inside a graph.
#include "bench.hpp"

#include <espalier/optimizer/adamw.hpp>
#include <espalier/penalty/l1.hpp>
#include <espalier/weight/fixed_mask.hpp>
#include <espalier/weight/identity.hpp>

namespace {

namespace esp = espalier;
using namespace gpu_bench;

constexpr double rate = 1e-4, weight_decay = 1e-2, l1_strength = 1e-4;
esp::optimizer::adamw_op const adamw{rate, 0.9, 0.999, 1e-8, weight_decay, 10.0, 31.6227766};

struct state {
    index_t n;
    device_array<float> w, g, moments;
    device_array<std::uint32_t> mask;
    device_array<double> values{8};
    explicit state(index_t count)
        : n(count), w(normal<float>(n, 1)), g(normal<float>(n, 2, 0.1)), moments(2 * n), mask((n + 31) / 32) {
        std::mt19937 bits(5);
        std::vector<std::uint32_t> words(static_cast<std::size_t>(mask.size()));
        for (auto& word : words)
            word = static_cast<std::uint32_t>(bits());
        mask.copy_from_host(words.data(), mask.size());
    }
    esp::update_segment<float> segment(bool values_too) {
        esp::update_segment<float> s;
        s.rows = 1;
        s.columns = n;
        s.weights = w.data();
        s.gradients = g.data();
        s.moments = moments.data();
        s.moment_stride = n;
        s.mask = mask.data();
        if (values_too) s.values = values.data();
        return s;
    }
};

__global__ void __launch_bounds__(256)
    hand_adamw(float4* w, float4 const* g, float4* m, float4* v, index_t quads, float decay, float step, float c2) {
    for (index_t i = static_cast<index_t>(blockIdx.x) * 256 + threadIdx.x; i < quads;
         i += static_cast<index_t>(gridDim.x) * 256) {
        float4 a = w[i], x = m[i], y = v[i];
        float4 const b = g[i];
        auto const one = [&](float& weight, float gradient, float& first, float& second) {
            first += 0.1f * (gradient - first);
            second = 0.001f * gradient * gradient + 0.999f * second;
            weight = weight - decay * weight - step * first / (sqrtf(second) * c2 + 1e-8f);
        };
        one(a.x, b.x, x.x, y.x);
        one(a.y, b.y, x.y, y.y);
        one(a.z, b.z, x.z, y.z);
        one(a.w, b.w, x.w, y.w);
        w[i] = a, m[i] = x, v[i] = y;
    }
}

void launch_by_hand(state& s, unsigned blocks, cudaStream_t stream) {
    auto const at = [](float* p) { return reinterpret_cast<float4*>(p); };
    hand_adamw<<<blocks, 256, 0, stream>>>(at(s.w.data()), at(s.g.data()), at(s.moments.data()),
                                           at(s.moments.data() + s.n), s.n / 4, static_cast<float>(rate * weight_decay),
                                           static_cast<float>(rate * 10.0), 31.6227766f);
}

/// The first weights after one update from fresh moments.
template <class Body> void check_update(std::string const& what, bool l1, bool masked, Body const& body) {
    state s(4096);
    auto const w = first_of(s.w, 4096), g = first_of(s.g, 4096);
    auto const mask = first_of(s.mask, 128);
    body(s);
    auto const got = first_of(s.w, 4096);
    for (std::size_t i = 0; i < 4096; ++i) {
        bool const kept = !masked || (mask[i / 32] >> i % 32 & 1u) != 0;
        double const x = static_cast<double>(w[i]);
        double const gradient =
            (kept ? static_cast<double>(g[i]) : 0.0) + (l1 ? (x > 0.0) - (x < 0.0) : 0) * l1_strength;
        double const m = 0.1 * gradient, v = 0.001 * gradient * gradient;
        double const next = x - rate * weight_decay * x - rate * 10.0 * m / (std::sqrt(v) * 31.6227766 + 1e-8);
        expect_close(what, static_cast<double>(got[i]), kept ? next : 0.0, 2e-6);
    }
}

template <class Rule>
void measure_rule(bench_device& device, report& results, std::string const& name, Rule const& rule, double bytes,
                  bool l1, bool masked, bool by_hand) {
    auto const update = [&](state& s) { device.update(adamw, rule, s.segment(l1)); };
    auto const hand = [&](state& s) { launch_by_hand(s, results.blocks(), device.stream()); };
    check_update("adamw, " + name, l1, masked, update);
    if (by_hand) check_update("adamw by hand", l1, masked, hand);
    struct size_case {
        char const* name;
        index_t n;
        bool graph;
    };
    for (size_case const size : {size_case{"256k_in_a_graph", 256 << 10, true}, {"64M", 64 << 20, false}}) {
        state s(size.n);
        auto const ns = [&](auto const& body) {
            auto const call = [&](int) { body(s); };
            return size.graph ? median_graph_ns(device.stream(), call) : median_ns(device.stream(), call, 10);
        };
        results.add({"update", name + "_" + size.name, ns(update), by_hand ? ns(hand) : 0.0,
                     size.graph ? 0.0 : results.floor_of(bytes * static_cast<double>(size.n))});
    }
}

void measure(bench_device& device, report& results) {
    using esp::flat_tuple;
    using l1 = esp::penalty::l1_op;
    l1 const strength{l1_strength};
    measure_rule(device, results, "adamw", esp::tensor_rule<esp::weight::identity, flat_tuple<>, flat_tuple<>>{}, 28.0,
                 false, false, true);
    measure_rule(device, results, "adamw+l1",
                 esp::tensor_rule<esp::weight::identity, flat_tuple<l1>, flat_tuple<>>{{}, {{strength}}, {}}, 28.0,
                 true, false, false);
    measure_rule(device, results, "adamw+l1+mask",
                 esp::tensor_rule<esp::weight::fixed_mask, flat_tuple<l1>, flat_tuple<>>{{}, {{strength}}, {}}, 28.125,
                 true, true, false);
}

} // namespace

int main(int count, char** arguments) {
    return run(measure, count, arguments);
}
