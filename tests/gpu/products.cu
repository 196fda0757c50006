// SPDX-License-Identifier: Apache-2.0
// Products by cuBLASLt and by tiles against sums in double, in float, tf32, double and bf16, with and without bias;
// tiles for as many rows as a number in device memory says.
#include "verify.hpp"

#include <espalier/device/live_rows.hpp>
#include <espalier/product/tiles.hpp>

#include <type_traits>

namespace {

using namespace espalier;
using namespace gpu_tests;

template <class Chosen, class T>
void check(test_device& device, char const* name, index_t r, index_t in, index_t out, bool with_bias,
           double tolerance) {
    using W = master_of<T>;
    std::string const what = std::string(name) + " " + std::to_string(r) + " x " + std::to_string(in) + " x " +
                             std::to_string(out) + (with_bias ? " with bias: " : ": ");
    auto const x = as<T>(numbers(r * in, 1)), w = as<T>(numbers(in * out, 2)), dz = as<T>(numbers(r * out, 3));
    auto const bias = as<W>(numbers(out, 4));
    on_device<T> dx(x), dw(w), ddz(dz), z(std::vector<T>(dz.size())), input(std::vector<T>(x.size()));
    on_device<W> db(bias), weight(std::vector<W>(w.size(), W(3)));
    matrix_view<T const> const xv{dx.data(), r, in, in}, wv{dw.data(), in, out, out}, gv{ddz.data(), r, out, out};
    device.product_forward<Chosen>(xv, wv, with_bias ? static_cast<W const*>(db.data()) : nullptr,
                                   matrix_view<T>{z.data(), r, out, out});
    device.product_input_gradient<Chosen>(gv, wv, matrix_view<T>{input.data(), r, in, in});
    device.product_weight_gradient<Chosen>(xv, gv, matrix_view<W>{weight.data(), in, out, out});
    device.wait();

    auto const at = [](auto const& m, index_t row, index_t columns, index_t c) {
        return static_cast<double>(static_cast<W>(m[static_cast<std::size_t>(row * columns + c)]));
    };
    std::vector<double> z64, input64, weight64;
    for (index_t i = 0; i < r; ++i)
        for (index_t o = 0; o < out; ++o) {
            double sum = with_bias ? static_cast<double>(bias[static_cast<std::size_t>(o)]) : 0.0;
            for (index_t k = 0; k < in; ++k)
                sum += at(x, i, in, k) * at(w, k, out, o);
            z64.push_back(sum);
        }
    for (index_t i = 0; i < r; ++i)
        for (index_t k = 0; k < in; ++k) {
            double sum = 0;
            for (index_t o = 0; o < out; ++o)
                sum += at(dz, i, out, o) * at(w, k, out, o);
            input64.push_back(sum);
        }
    for (index_t k = 0; k < in; ++k)
        for (index_t o = 0; o < out; ++o) {
            double sum = 0;
            for (index_t i = 0; i < r; ++i)
                sum += at(x, i, in, k) * at(dz, i, out, o);
            weight64.push_back(sum);
        }
    auto const wide = [](auto const& v) { return as<double>(std::vector<float>(v.begin(), v.end())); };
    // A double that goes through float would lose what is tested.
    if constexpr (std::is_same_v<T, double>) {
        expect(distance(z.back(), z64) < tolerance, what + "z");
        expect(distance(input.back(), input64) < tolerance, what + "dx");
        expect(distance(weight.back(), weight64) < tolerance, what + "dW");
    } else {
        expect(distance(wide(z.back()), z64) < tolerance, what + "z");
        expect(distance(wide(input.back()), input64) < tolerance, what + "dx");
        expect(distance(wide(weight.back()), weight64) < tolerance, what + "dW");
    }
}

/// The three products of `live` of r rows, from row `first` on, by tiles: what belongs to them against sums in double,
/// everything else untouched, and the same bits for every number of blocks.
template <class T>
void check_live(test_device& device, char const* name, index_t r, index_t in, index_t out, std::int32_t live,
                std::int32_t first, index_t padding, double tolerance) {
    using W = master_of<T>;
    std::string const what = std::string("tiles ") + name + " " + std::to_string(r) + " x " + std::to_string(in) +
                             " x " + std::to_string(out) + ", " + std::to_string(live) + " live from " +
                             std::to_string(first) + ", padding " + std::to_string(padding) + ": ";
    index_t const x_stride = in + padding, z_stride = out + padding;
    auto x = as<T>(numbers(r * x_stride, 1)), dz = as<T>(numbers(r * z_stride, 3));
    auto const w = as<T>(numbers(in * z_stride, 2)), z0 = as<T>(numbers(r * z_stride, 5));
    auto const dx0 = as<T>(numbers(r * x_stride, 6));
    auto const bias = as<W>(numbers(out, 4)), dw0 = as<W>(numbers(in * z_stride, 7));
    // Rows that are not live must not be read.
    auto const is_live = [&](index_t row) { return row >= first && row < first + live; };
    for (index_t i = 0; i < r * x_stride; ++i)
        if (!is_live(i / x_stride)) x[static_cast<std::size_t>(i)] = static_cast<T>(NAN);
    for (index_t i = 0; i < r * z_stride; ++i)
        if (!is_live(i / z_stride)) dz[static_cast<std::size_t>(i)] = static_cast<T>(NAN);
    on_device<T> const_x(x), const_w(w), const_dz(dz);
    on_device<W> const_bias(bias);
    on_device<std::int32_t> counts(std::vector<std::int32_t>{live, first});
    espalier::live_groups const window{counts.data(), counts.data() + 1};
    matrix_view<T const> const xv{const_x.data(), r, in, x_stride}, wv{const_w.data(), in, out, z_stride},
        gv{const_dz.data(), r, out, z_stride};
    std::vector<T> z, dx;
    std::vector<W> dw;
    for (index_t const blocks : block_counts) {
        on_device<T> z_memory(z0), dx_memory(dx0);
        on_device<W> dw_memory(dw0);
        espalier::cuda::tile_target const target{device.stream(), blocks};
        espalier::cuda::launch_tile_forward(target, xv, wv, static_cast<W const*>(const_bias.data()),
                                            matrix_view<T>{z_memory.data(), r, out, z_stride}, false, window);
        espalier::cuda::launch_tile_input_gradient(target, gv, wv, matrix_view<T>{dx_memory.data(), r, in, x_stride},
                                                   window);
        espalier::cuda::launch_tile_weight_gradient(target, xv, gv, matrix_view<W>{dw_memory.data(), in, out, z_stride},
                                                    window);
        device.wait();
        if (blocks == block_counts[0]) {
            z = z_memory.back();
            dx = dx_memory.back();
            dw = dw_memory.back();
        }
        expect(same_bits(z, z_memory.back()) && same_bits(dx, dx_memory.back()) && same_bits(dw, dw_memory.back()),
               what + "bits with " + std::to_string(blocks) + " blocks");
    }

    auto const at = [](auto const& m, index_t i) {
        return static_cast<double>(static_cast<W>(m[static_cast<std::size_t>(i)]));
    };
    std::vector<double> got, want;
    for (index_t i = 0; i < r * z_stride; ++i) {
        index_t const row = i / z_stride, c = i % z_stride;
        double sum = at(z0, i);
        if (is_live(row) && c < out) {
            sum = at(bias, c);
            for (index_t k = 0; k < in; ++k)
                sum += at(x, row * x_stride + k) * at(w, k * z_stride + c);
        } else {
            expect(at(z, i) == sum, what + "z outside the live rows");
        }
        got.push_back(at(z, i));
        want.push_back(sum);
    }
    expect(distance(got, want) < tolerance, what + "z");
    got.clear();
    want.clear();
    for (index_t i = 0; i < r * x_stride; ++i) {
        index_t const row = i / x_stride, k = i % x_stride;
        double sum = at(dx0, i);
        if (is_live(row) && k < in) {
            sum = 0;
            for (index_t c = 0; c < out; ++c)
                sum += at(dz, row * z_stride + c) * at(w, k * z_stride + c);
        } else {
            expect(at(dx, i) == sum, what + "dx outside the live rows");
        }
        got.push_back(at(dx, i));
        want.push_back(sum);
    }
    expect(distance(got, want) < tolerance, what + "dx");
    got.clear();
    want.clear();
    for (index_t i = 0; i < in * z_stride; ++i) {
        index_t const k = i / z_stride, c = i % z_stride;
        double sum = at(dw0, i);
        if (c < out) {
            sum = 0;
            for (index_t row = first; row < first + live; ++row)
                sum += at(x, row * x_stride + k) * at(dz, row * z_stride + c);
        } else {
            expect(at(dw, i) == sum, what + "dW outside its columns");
        }
        got.push_back(at(dw, i));
        want.push_back(sum);
    }
    expect(distance(got, want) < tolerance, what + "dW");
}

// cuBLASLt takes several groups in one call. Double adds its bias before the product, so that is one call a group.
template <class T>
concept one_call = requires(test_device device, matrix_view<T const> in, master_of<T> const* bias, matrix_view<T> out,
                            live_groups const& live) {
    device.template group_product_forward<void>(in, in, bias, out, live);
};
static_assert(one_call<float> && one_call<bfloat16> && !one_call<double>);
static_assert(test_device::repeats_products<void> && !test_device::repeats_products<product::tiles>);

/// Products of several groups in blocks that the host knows: what one call a group gives.
template <class Chosen, class T>
void check_groups(test_device& device, char const* name, index_t in, index_t out, bool with_bias, double tolerance) {
    using W = master_of<T>;
    std::string const what = std::string("groups, ") + name + ", " + std::to_string(in) + " x " + std::to_string(out) +
                             (with_bias ? " with bias: " : ": ");
    live_groups live;
    live.groups = 5;
    live.apart = 64;
    live.parameters = in * out + 64;
    index_t const n = 40, all = live.groups * live.apart, size = live.groups * live.parameters;
    on_device<T> x(as<T>(numbers(all * in, 1))), dz(as<T>(numbers(all * out, 2))), w(as<T>(numbers(size, 3)));
    on_device<W> bias(as<W>(numbers(size, 4)));
    auto const z0 = as<T>(numbers(all * out, 5)), dx0 = as<T>(numbers(all * in, 6));
    auto const dw0 = as<W>(numbers(size, 7));
    on_device<T> z(z0), z_alone(z0), dx(dx0), dx_alone(dx0);
    on_device<W> dw(dw0), dw_alone(dw0);
    matrix_view<T const> const xv{x.data(), n, in, in}, gv{dz.data(), n, out, out}, wv{w.data(), in, out, out};
    W const* const offset = with_bias ? bias.data() : nullptr;
    device::live_rows<test_device> together(device, live);
    together.template product_forward<Chosen>(xv, wv, offset, matrix_view<T>{z.data(), n, out, out});
    together.template product_input_gradient<Chosen>(gv, wv, matrix_view<T>{dx.data(), n, in, in});
    together.template product_weight_gradient<Chosen>(xv, gv, matrix_view<W>{dw.data(), in, out, out});
    for (int g = 0; g < live.groups; ++g) {
        device.template product_forward<Chosen>(live.block(xv, g), live.tensor(wv, g), live.tensor(offset, g),
                                                live.block(matrix_view<T>{z_alone.data(), n, out, out}, g));
        device.template product_input_gradient<Chosen>(live.block(gv, g), live.tensor(wv, g),
                                                       live.block(matrix_view<T>{dx_alone.data(), n, in, in}, g));
        device.template product_weight_gradient<Chosen>(live.block(xv, g), live.block(gv, g),
                                                        live.tensor(matrix_view<W>{dw_alone.data(), in, out, out}, g));
    }
    device.wait();
    // The library may take another algorithm for several products. What lies between the groups was not written.
    auto const wide = [](auto const& v) {
        std::vector<double> result;
        for (auto const& e : v)
            result.push_back(static_cast<double>(static_cast<W>(e)));
        return result;
    };
    expect(distance(wide(z.back()), wide(z_alone.back())) < tolerance, what + "z");
    expect(distance(wide(dx.back()), wide(dx_alone.back())) < tolerance, what + "dx");
    expect(distance(wide(dw.back()), wide(dw_alone.back())) < tolerance, what + "dW");
}

void tests() {
    test_device device;
    for (bool const bias : {false, true}) {
        check_groups<void, float>(device, "float", 64, 96, bias, 2e-5);
        check_groups<void, double>(device, "double", 64, 96, bias, 1e-13);
        check_groups<void, bfloat16>(device, "bf16", 64, 96, bias, 2e-2);
        check_groups<product::tiles, float>(device, "tiles", 33, 7, bias, 2e-5);
    }
    struct extents {
        index_t r, in, out;
    };
    for (bool bias : {false, true})
        for (extents const e : {extents{128, 784, 256}, extents{128, 256, 10}, extents{64, 64, 10}, extents{1, 64, 64},
                                extents{33, 7, 9}, extents{0, 8, 8}}) {
            if (short_run && e.r != 33) continue;
            check<void, float>(device, "float", e.r, e.in, e.out, bias, 2e-5);
            check<product::cublaslt_tf32, float>(device, "tf32", e.r, e.in, e.out, bias, 2e-2);
            check<void, double>(device, "double", e.r, e.in, e.out, bias, 1e-13);
            // Odd leading dimensions of bf16 matrices are not part of the contract of every cuBLASLt algorithm.
            if (e.in % 8 == 0 && e.out % 8 == 0) check<void, bfloat16>(device, "bf16", e.r, e.in, e.out, bias, 2e-2);
            // A sum of 784 terms one after the other is off by up to 7.1e-5 in float for these numbers, as a plain loop
            // on the host shows: it does what the contract says, in the order of the terms.
            check<product::tiles, float>(device, "tiles, float", e.r, e.in, e.out, bias, 1e-4);
            check<product::tiles, double>(device, "tiles, double", e.r, e.in, e.out, bias, 4e-13);
            check<product::tiles, bfloat16>(device, "tiles, bf16", e.r, e.in, e.out, bias, 2e-2);
        }
    for (extents const e : {extents{1, 1, 1}, extents{33, 7, 9}, extents{300, 136, 264}, extents{256, 256, 256}})
        for (index_t const padding : {index_t{0}, index_t{5}, index_t{8}})
            for (index_t const live : {index_t{0}, index_t{1}, e.r / 2 + 1, e.r}) {
                if (live > e.r || (short_run && e.r != 33)) continue;
                auto const n = static_cast<std::int32_t>(live);
                for (std::int32_t const first : {0, static_cast<std::int32_t>(e.r) - n}) {
                    check_live<float>(device, "float", e.r, e.in, e.out, n, first, padding, 4e-5);
                    check_live<double>(device, "double", e.r, e.in, e.out, n, first, padding, 1e-13);
                    check_live<bfloat16>(device, "bf16", e.r, e.in, e.out, n, first, padding, 2e-2);
                }
            }
}

} // namespace

int main(int count, char** arguments) {
    return run(tests, count, arguments);
}
