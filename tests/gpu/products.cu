// SPDX-License-Identifier: Apache-2.0
// Products by cuBLASLt against sums in double, in float, tf32, double and bf16, with and without bias.
#include "verify.hpp"

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

void tests() {
    test_device device;
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
        }
}

} // namespace

int main(int count, char** arguments) {
    return run(tests, count, arguments);
}
