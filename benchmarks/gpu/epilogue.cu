// SPDX-License-Identifier: Apache-2.0
// The composed epilogue on a GPU, forward and backward, against one kernel written by hand for the case.
// Floor: forward reads and writes each element once, backward reads two and writes one; the bias gradient comes out of
// the same read, draws cost nothing.
#include "bench.hpp"

#include <espalier/activation/identity.hpp>
#include <espalier/activation/relu.hpp>
#include <espalier/core/random.hpp>
#include <espalier/dropout/bernoulli.hpp>
#include <espalier/dropout/none.hpp>

namespace {

namespace esp = espalier;
using namespace gpu_bench;

constexpr index_t row_count = 65536, columns = 1024, size = row_count * columns;
constexpr esp::keep_threshold keep = esp::quantise(0.2);
esp::random_site const site = esp::make_site(42, 7, 3);

template <class T> struct alignas(16) octet { T v[8]; };

template <class T, bool Drop>
__global__ void __launch_bounds__(256)
    hand_forward(T const* z, T* y, esp::random_site where, unsigned threshold, float scale) {
    constexpr unsigned of_row = columns / 8;
    constexpr unsigned vectors = static_cast<unsigned>(size / 8);
    for (unsigned i = blockIdx.x * 256 + threadIdx.x; i < vectors; i += gridDim.x * 256) {
        octet<T> x = reinterpret_cast<octet<T> const*>(z)[i];
        [[maybe_unused]] esp::bits8 bits{};
        if constexpr (Drop) bits = esp::draw(where, i / of_row, i % of_row);
#pragma unroll
        for (int j = 0; j < 8; ++j) {
            float a = static_cast<float>(x.v[j]);
            a = a > 0.0f ? a : 0.0f;
            if constexpr (Drop) a = bits[j] >= threshold ? a * scale : 0.0f;
            x.v[j] = static_cast<T>(a);
        }
        reinterpret_cast<octet<T>*>(y)[i] = x;
    }
}

template <class T> struct data {
    device_array<T> z = normal<T>(size, 1), dy = normal<T>(size, 2), y{size};
    device_array<float> bias{columns};
    esp::rows batch;
    data() { batch.count = row_count; }
    esp::matrix_view<T const> in() const { return {z.data(), row_count, columns, columns}; }
    esp::matrix_view<T const> gradient() const { return {dy.data(), row_count, columns, columns}; }
    esp::matrix_view<T> out() { return {y.data(), row_count, columns, columns}; }
};

double factor(index_t i, bool drop) {
    if (!drop) return 1.0;
    index_t const r = i / columns, c = i % columns;
    esp::bits8 const bits = esp::draw(site, static_cast<std::uint32_t>(r), static_cast<std::uint32_t>(c / 8));
    return bits[static_cast<int>(c % 8)] >= keep.threshold ? keep.scale : 0.0;
}

template <class T> void expect_forward(std::string const& what, data<T> const& d, bool relu, bool drop) {
    auto const z = first_of(d.z, 4096), y = first_of(d.y, 4096);
    for (index_t i = 0; i < 4096; ++i) {
        auto const at = static_cast<std::size_t>(i);
        double const a = static_cast<double>(static_cast<float>(z[at]));
        expect_close(what, static_cast<double>(static_cast<float>(y[at])),
                     (relu && a < 0.0 ? 0.0 : a) * factor(i, drop), sizeof(T) == 4 ? 1e-6 : 8e-3);
    }
}

template <class T> void measure_type(bench_device& device, report& results, std::string const& type) {
    data<T> d;
    double const once = static_cast<double>(size) * sizeof(T);
    esp::epilogue_op<esp::activation::identity, esp::dropout::none> const none{};
    esp::epilogue_op<esp::activation::relu, esp::dropout::none> const relu{};
    esp::epilogue_op<esp::activation::relu, esp::dropout::bernoulli_op> dropped{};
    dropped.dropout = {keep.threshold, keep.scale};
    auto const forward = [&](auto const& op) {
        return median_ns(device.stream(),
                         [&](int) { device.epilogue_forward(op, d.in(), d.out(), site, d.batch, {}); });
    };
    auto const by_hand = [&](auto drop) {
        return median_ns(device.stream(), [&](int) {
            hand_forward<T, drop()><<<results.blocks(), 256, 0, device.stream()>>>(
                d.z.data(), d.y.data(), site, keep.threshold, static_cast<float>(keep.scale));
        });
    };
    auto const add = [&](char const* name, double ours, double hand, double bytes) {
        results.add({"epilogue", std::string(name) + "_65536x1024_" + type, ours, hand, results.floor_of(bytes)});
    };
    double ours = forward(none);
    expect_forward(type + " without policies", d, false, false);
    add("0_policies", ours, 0.0, 2.0 * once);
    ours = forward(relu);
    expect_forward(type + " relu", d, true, false);
    double hand = by_hand(std::false_type{});
    expect_forward(type + " relu by hand", d, true, false);
    add("relu", ours, hand, 2.0 * once);
    ours = forward(dropped);
    expect_forward(type + " relu, dropout", d, true, true);
    hand = by_hand(std::true_type{});
    expect_forward(type + " relu, dropout by hand", d, true, true);
    add("relu+dropout", ours, hand, 2.0 * once);

    ours = median_ns(device.stream(), [&](int) {
        device.epilogue_backward(dropped, d.in(), d.gradient(), d.out(), d.bias.data(), site, d.batch, {});
    });
    auto const z = first_of(d.z, 4096), dy = first_of(d.dy, 4096), dz = first_of(d.y, 4096);
    for (index_t i = 0; i < 4096; ++i) {
        auto const at = static_cast<std::size_t>(i);
        double const g = static_cast<double>(static_cast<float>(dy[at]));
        expect_close(type + " backward", static_cast<double>(static_cast<float>(dz[at])),
                     static_cast<float>(z[at]) > 0.0f ? g * factor(i, true) : 0.0, sizeof(T) == 4 ? 1e-6 : 8e-3);
    }
    add("backward_relu+dropout+bias", ours, 0.0, 3.0 * once);
}

void measure(bench_device& device, report& results) {
    measure_type<esp::bfloat16>(device, results, "bf16");
    measure_type<float>(device, results, "f32");
}

} // namespace

int main(int count, char** arguments) {
    return run(measure, count, arguments);
}
