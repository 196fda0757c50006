// SPDX-License-Identifier: Apache-2.0
// The composed epilogue with 0 to 4 policies, forward and backward, in cache and beyond, and dropout on its own (family
// `dropout`) against the same loops written by hand.
// Floor: forward reads and writes each element once (8 bytes), backward reads two and writes one in the place of one
// of them (12 bytes), at the bandwidth of a copy; draws cost nothing in it.
#include "common.hpp"

#include <espalier/activation/identity.hpp>
#include <espalier/activation/relu.hpp>
#include <espalier/activation_penalty/flops.hpp>
#include <espalier/activation_penalty/l1.hpp>
#include <espalier/device/cpu/epilogue.hpp>
#include <espalier/dropout/bernoulli.hpp>
#include <espalier/dropout/none.hpp>

#include <map>
#include <memory>

namespace esp = espalier;
using bench::array;
using bench::index_t;

namespace {

constexpr index_t columns = 512;
constexpr float penalty = 1e-3f;
esp::random_site const site = esp::make_site(42, 7, 3);
esp::keep_threshold const keep = esp::quantise(0.2);

struct data {
    index_t rows, n;
    array<float> z, y, dy, bias, sums;
    std::vector<double> terms = std::vector<double>(8);
    esp::rows batch;
    explicit data(index_t r)
        : rows(r), n(r * columns), z(n, 0), y(n, 7), dy(n, 13), bias(columns, 19), sums(4 * columns, 23) {
        bench::fill_normal(z.data(), n, 1);
        bench::fill_normal(dy.data(), n, 2);
        batch.count = rows;
    }
    esp::matrix_view<float const> in() const { return {z.data(), rows, columns, columns}; }
    esp::matrix_view<float> out() { return {y.data(), rows, columns, columns}; }
    esp::matrix_view<float> gradient() { return {dy.data(), rows, columns, columns}; }
    esp::epilogue_statistics<float> statistics() { return {terms.data(), sums.data(), columns}; }
};

template <class Op> void forward(Op const& op, data& d) {
    esp::cpu::epilogue_forward<float>(op, d.in(), d.out(), site, d.batch, d.statistics());
}
template <class Op> void backward(Op const& op, data& d) {
    esp::cpu::epilogue_backward<float>(op, d.in(), d.gradient(), d.gradient(), d.bias.data(), site, d.batch,
                                       d.statistics());
}

// ---- by hand. Draws are made ahead for as many rows as fit the first-level cache, as anyone who measures would do.

#define RESTRICT __restrict__
constexpr index_t strip = 8; // rows

[[gnu::noinline]] void hand_copy(index_t n, float const* RESTRICT z, float* RESTRICT y) {
    for (index_t i = 0; i < n; ++i)
        y[i] = z[i];
}
[[gnu::noinline]] void hand_relu(index_t n, float const* RESTRICT z, float* RESTRICT y) {
    for (index_t i = 0; i < n; ++i)
        y[i] = z[i] > 0.0f ? z[i] : 0.0f;
}
[[gnu::noinline]] void hand_dropout(index_t rows, float const* RESTRICT z, float* RESTRICT y) {
    alignas(64) std::uint16_t bits[strip * columns];
    auto const threshold = static_cast<std::uint16_t>(keep.threshold);
    auto const scale = static_cast<float>(keep.scale);
    for (index_t r = 0; r < rows; r += strip) {
        index_t const count = rows - r < strip ? rows - r : strip;
        esp::fill_bits(site, static_cast<std::uint32_t>(r), count, 0, columns / 8, bits);
        float const* RESTRICT const from = z + r * columns;
        float* RESTRICT const to = y + r * columns;
        for (index_t i = 0; i < count * columns; ++i) {
            float const a = from[i] > 0.0f ? from[i] : 0.0f;
            to[i] = a * (bits[i] >= threshold ? scale : 0.0f);
        }
    }
}
[[gnu::noinline]] double hand_dropout_l1(index_t rows, float const* RESTRICT z, float* RESTRICT y) {
    alignas(64) std::uint16_t bits[strip * columns];
    auto const threshold = static_cast<std::uint16_t>(keep.threshold);
    auto const scale = static_cast<float>(keep.scale);
    double total = 0.0;
    for (index_t r = 0; r < rows; r += strip) {
        index_t const count = rows - r < strip ? rows - r : strip;
        esp::fill_bits(site, static_cast<std::uint32_t>(r), count, 0, columns / 8, bits);
        float const* RESTRICT const from = z + r * columns;
        float* RESTRICT const to = y + r * columns;
        float part[16] = {};
        for (index_t i = 0; i < count * columns; i += 16)
            for (int j = 0; j < 16; ++j) {
                float const a = from[i + j] > 0.0f ? from[i + j] : 0.0f;
                float const value = a * (bits[i + j] >= threshold ? scale : 0.0f);
                to[i + j] = value;
                part[j] += __builtin_fabsf(value);
            }
        for (float p : part)
            total += static_cast<double>(p);
    }
    return total;
}
[[gnu::noinline]] void hand_backward(index_t rows, float const* RESTRICT z, float* RESTRICT dy, float* RESTRICT bias) {
    alignas(64) std::uint16_t bits[strip * columns];
    auto const threshold = static_cast<std::uint16_t>(keep.threshold);
    auto const scale = static_cast<float>(keep.scale);
    for (index_t c = 0; c < columns; ++c)
        bias[c] = 0.0f;
    for (index_t r = 0; r < rows; r += strip) {
        index_t const count = rows - r < strip ? rows - r : strip;
        esp::fill_bits(site, static_cast<std::uint32_t>(r), count, 0, columns / 8, bits);
        for (index_t c = 0; c < columns; c += 16) {
            float sum[16];
            for (int j = 0; j < 16; ++j)
                sum[j] = bias[c + j];
            for (index_t i = 0; i < count; ++i) {
                float const* RESTRICT const from = z + (r + i) * columns + c;
                float* RESTRICT const to = dy + (r + i) * columns + c;
                std::uint16_t const* RESTRICT const b = bits + i * columns + c;
                for (int j = 0; j < 16; ++j) {
                    float const kept = b[j] >= threshold ? scale : 0.0f;
                    float const slope = from[j] > 0.0f ? kept : 0.0f;
                    to[j] *= slope;
                    sum[j] += to[j];
                }
            }
            for (int j = 0; j < 16; ++j)
                bias[c + j] = sum[j];
        }
    }
}

// ---- checks

double factor(index_t r, index_t c) {
    esp::bits8 const bits = esp::draw(site, static_cast<std::uint32_t>(r), static_cast<std::uint32_t>(c / 8));
    return bits[static_cast<int>(c % 8)] >= keep.threshold ? keep.scale : 0.0;
}

struct form {
    bool relu = false, dropout = false;
};

template <class Body> void check_forward(char const* what, form f, Body const& body) {
    data d(21);
    body(d);
    for (index_t i = 0; i < d.n; ++i) {
        double value = double(d.z.data()[i]);
        if (f.relu) value = value > 0.0 ? value : 0.0;
        if (f.dropout) value *= factor(i / columns, i % columns);
        bench::expect_close(what, double(d.y.data()[i]), value, 1e-6);
    }
}
template <class Body> void check_backward(char const* what, form f, bool l1, Body const& body) {
    data d(21);
    std::vector<double> expected(static_cast<std::size_t>(d.n)), sums(columns);
    for (index_t i = 0; i < d.n; ++i) {
        double const z = double(d.z.data()[i]), k = f.dropout ? factor(i / columns, i % columns) : 1.0;
        double const y = (f.relu && z <= 0.0 ? 0.0 : z) * k;
        double upstream = double(d.dy.data()[i]);
        if (l1) upstream += double(penalty) / double(d.rows) * (y > 0.0 ? 1.0 : y < 0.0 ? -1.0 : 0.0);
        double const g = f.relu && z <= 0.0 ? 0.0 : upstream * k;
        expected[static_cast<std::size_t>(i)] = g;
        sums[static_cast<std::size_t>(i % columns)] += g;
    }
    body(d);
    for (index_t i = 0; i < d.n; ++i)
        bench::expect_close(what, double(d.dy.data()[i]), expected[static_cast<std::size_t>(i)], 1e-6);
    for (index_t c = 0; c < columns; ++c)
        bench::expect_close(what, double(d.bias.data()[c]), sums[static_cast<std::size_t>(c)], 1e-5);
}

struct size_case {
    char const* name;
    index_t rows;
    bool cached;
};
constexpr size_case sizes[] = {{"128x512", 128, true}, {"32768x512", 32768, false}};

std::map<index_t, std::shared_ptr<data>> data_of_size;

template <class Body>
void add(std::string const& name, char const* what, double bytes, bool backward, Body const& body) {
    for (auto const& size : sizes) {
        // One set of data a size for all cases. Backward works in place as it does in a network, so what is not dropped
        // grows from call to call until it is infinite, which costs the processor nothing.
        std::shared_ptr<data>& shared = data_of_size[size.rows];
        if (!shared) shared = std::make_shared<data>(size.rows);
        std::shared_ptr<data> const d = shared;
        double const total = bytes * static_cast<double>(d->n);
        double const floor =
            backward ? bench::roof().in_place_ns(total, size.cached) : bench::roof().copy_ns(total, size.cached);
        bench::add(name + "_" + size.name + "/" + what, floor, [d, body] { body(*d); });
    }
}

using relu = esp::activation::relu;
using identity = esp::activation::identity;
using none = esp::dropout::none;
using drop = esp::dropout::bernoulli_op;
using l1 = esp::op_of<esp::activation_penalty::l1<1e-3>>;
using flops = esp::op_of<esp::activation_penalty::flops<1e-3>>;

} // namespace

int main(int argc, char** argv) {
    esp::epilogue_op<identity, none> const op0{};
    esp::epilogue_op<relu, none> const op1{};
    esp::epilogue_op<relu, drop> op2{};
    op2.dropout = {keep.threshold, keep.scale};
    esp::epilogue_op<relu, drop, l1> op3{};
    op3.dropout = op2.dropout;
    get<0>(op3.penalties) = esp::op_at<esp::activation_penalty::l1<1e-3>>(esp::clock{});
    esp::epilogue_op<relu, drop, l1, flops> op4{};
    op4.dropout = op2.dropout;
    get<0>(op4.penalties) = get<0>(op3.penalties);
    get<1>(op4.penalties) = esp::op_at<esp::activation_penalty::flops<1e-3>>(esp::clock{});

    auto const ours = [](auto const& op) { return [op](data& d) { forward(op, d); }; };
    auto const copy = [](data& d) { hand_copy(d.n, d.z.data(), d.y.data()); };
    auto const rectify = [](data& d) { hand_relu(d.n, d.z.data(), d.y.data()); };
    auto const dropped = [](data& d) { hand_dropout(d.rows, d.z.data(), d.y.data()); };
    auto const dropped_l1 = [](data& d) { d.terms[0] = hand_dropout_l1(d.rows, d.z.data(), d.y.data()); };

    check_forward("0 policies", {}, ours(op0));
    check_forward("relu", {.relu = true}, ours(op1));
    check_forward("relu, dropout", {.relu = true, .dropout = true}, ours(op2));
    check_forward("relu, dropout, l1", {.relu = true, .dropout = true}, ours(op3));
    check_forward("relu, dropout, l1, flops", {.relu = true, .dropout = true}, ours(op4));
    check_forward("relu by hand", {.relu = true}, rectify);
    check_forward("relu, dropout by hand", {.relu = true, .dropout = true}, dropped);
    check_forward("relu, dropout, l1 by hand", {.relu = true, .dropout = true}, dropped_l1);
    check_backward("relu, dropout backward", {.relu = true, .dropout = true}, false,
                   [&](data& d) { backward(op2, d); });
    check_backward("relu, dropout, l1 backward", {.relu = true, .dropout = true}, true,
                   [&](data& d) { backward(op3, d); });
    check_backward("relu, dropout backward by hand", {.relu = true, .dropout = true}, false,
                   [](data& d) { hand_backward(d.rows, d.z.data(), d.dy.data(), d.bias.data()); });

    add("epilogue/0_policies", "ours", 8.0, false, ours(op0));
    add("epilogue/0_policies", "hand", 8.0, false, copy);
    add("epilogue/1_relu", "ours", 8.0, false, ours(op1));
    add("epilogue/1_relu", "hand", 8.0, false, rectify);
    add("dropout/relu+dropout", "ours", 8.0, false, ours(op2));
    add("dropout/relu+dropout", "hand", 8.0, false, dropped);
    add("epilogue/3_relu+dropout+l1", "ours", 8.0, false, ours(op3));
    add("epilogue/3_relu+dropout+l1", "hand", 8.0, false, dropped_l1);
    add("epilogue/4_relu+dropout+l1+flops", "ours", 8.0, false, ours(op4));
    add("dropout/backward_relu+dropout", "ours", 12.0, true, [&](data& d) { backward(op2, d); });
    add("dropout/backward_relu+dropout", "hand", 12.0, true,
        [](data& d) { hand_backward(d.rows, d.z.data(), d.dy.data(), d.bias.data()); });
    add("epilogue/backward_3_relu+dropout+l1", "ours", 12.0, true, [&](data& d) { backward(op3, d); });
    return bench::run(argc, argv);
}
