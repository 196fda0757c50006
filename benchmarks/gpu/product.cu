// SPDX-License-Identifier: Apache-2.0
// Products by tiles, for as many rows as a number in device memory says, against cuBLASLt for all rows: what an expert
// costs that got all, half or an eighth of the rows there is room for. The column "hand" is cuBLASLt on exactly the
// live rows, as if the host had known them. Floor: the live rows of the factors and the result moved once; where the
// products are large it is far from what arithmetic allows.
#include "bench.hpp"

#include <espalier/product/tiles.hpp>

namespace {

namespace esp = espalier;
using namespace gpu_bench;
using esp::master_of;
using esp::matrix_view;

struct extents {
    index_t rows, in, out;
};

template <class T> void measure_products(bench_device& device, report& results, char const* type, extents e) {
    using W = master_of<T>;
    auto const x = normal<T>(e.rows * e.in, 1), w = normal<T>(e.in * e.out, 2, 0.03), dz = normal<T>(e.rows * e.out, 3);
    device_array<T> z(e.rows * e.out), dx(e.rows * e.in);
    device_array<W> dw(e.in * e.out);
    device_array<std::int32_t> count(1);
    matrix_view<T const> const wv{w.data(), e.in, e.out, e.out};

    struct numbers {
        std::vector<T> z, dx;
        std::vector<W> dw;
    };
    auto const first_numbers = [&](index_t live) {
        index_t const n = std::min<index_t>(live, 4);
        device.wait();
        return numbers{first_of(z, n * e.out), first_of(dx, n * e.in), first_of(dw, 4 * e.out)};
    };
    auto const compare = [](std::string const& what, auto const& got, auto const& want) {
        constexpr double tolerance = sizeof(T) == 2 ? 2e-2 : 2e-3;
        for (std::size_t i = 0; i < got.size(); ++i)
            expect_close(what, static_cast<double>(static_cast<W>(got[i])),
                         static_cast<double>(static_cast<W>(want[i])), tolerance);
    };
    for (index_t const part : {index_t{1}, index_t{2}, index_t{8}}) {
        index_t const live = e.rows / part;
        auto const n = static_cast<std::int32_t>(live);
        count.copy_from_host(&n, 1);
        // As the host knows it: all the rows that there is room for.
        matrix_view<T const> const xv{x.data(), e.rows, e.in, e.in}, gv{dz.data(), e.rows, e.out, e.out};
        matrix_view<T> const zv{z.data(), e.rows, e.out, e.out}, dxv{dx.data(), e.rows, e.in, e.in};
        matrix_view<W> const dwv{dw.data(), e.in, e.out, e.out};
        int plans = 0;
        auto const forward = [&](int) {
            esp::product::tiles::forward<T>(plans, xv, wv, nullptr, zv, false, {}, device.stream(), {count.data()});
        };
        auto const input = [&](int) {
            esp::product::tiles::input_gradient<T>(plans, gv, wv, dxv, {}, device.stream(), {count.data()});
        };
        auto const weight = [&](int) {
            esp::product::tiles::weight_gradient<T>(plans, xv, gv, dwv, {}, device.stream(), {count.data()});
        };
        auto const known = [&](auto view) { return view.middle_rows(0, live); };
        using library = esp::product::cublaslt;
        auto const forward_library = [&](int) {
            device.template product_forward<library>(known(xv), wv, static_cast<W const*>(nullptr), known(zv));
        };
        auto const input_library = [&](int) {
            device.template product_input_gradient<library>(known(gv), wv, known(dxv));
        };
        auto const weight_library = [&](int) {
            device.template product_weight_gradient<library>(known(xv), known(gv), dwv);
        };
        std::string const name = std::string(type) + "_" + std::to_string(e.rows) + "x" + std::to_string(e.in) + "x" +
                                 std::to_string(e.out) + "_" + (part == 1 ? "all" : "1_" + std::to_string(part));
        forward(0);
        input(0);
        weight(0);
        numbers const ours = first_numbers(live);
        forward_library(0);
        input_library(0);
        weight_library(0);
        numbers const theirs = first_numbers(live);
        compare(name + ": z", ours.z, theirs.z);
        compare(name + ": dx", ours.dx, theirs.dx);
        compare(name + ": dW", ours.dw, theirs.dw);

        double const size = sizeof(T), l = static_cast<double>(live);
        double const in = static_cast<double>(e.in), out = static_cast<double>(e.out);
        double const moved = size * (l * (in + out) + in * out);
        double const moved_weights = size * l * (in + out) + static_cast<double>(sizeof(W)) * in * out;
        cudaStream_t const stream = device.stream();
        results.add({"product", "forward_" + name, median_graph_ns(stream, forward),
                     median_graph_ns(stream, forward_library), results.floor_of(moved)});
        results.add({"product", "input_gradient_" + name, median_graph_ns(stream, input),
                     median_graph_ns(stream, input_library), results.floor_of(moved)});
        results.add({"product", "weight_gradient_" + name, median_graph_ns(stream, weight),
                     median_graph_ns(stream, weight_library), results.floor_of(moved_weights)});
    }
}

void measure(bench_device& device, report& results) {
    for (extents const e : {extents{4096, 1024, 1024}, extents{512, 256, 1024}}) {
        measure_products<float>(device, results, "f32", e);
        measure_products<esp::bfloat16>(device, results, "bf16", e);
    }
}

} // namespace

int main(int count, char** arguments) {
    return run(measure, count, arguments);
}
