// SPDX-License-Identifier: Apache-2.0
// Gates on their own, 4096 rows in cache: from logits to weights and experts (top-k), or to weights (softmax). "By
// hand" is the same method for one case: sixteen rows in the elements of a pack, read by way of a transposition in
// registers, and for top-k one insertion for every column. Floor: every logit is read once, every weight (and expert)
// written once, at the bandwidth of a copy in cache; comparisons and exponentials cost nothing in it.
#include "common.hpp"

#include <espalier/core/math.hpp>
#include <espalier/device/cpu/row_gate.hpp>
#include <espalier/gate/softmax.hpp>
#include <espalier/gate/top_k.hpp>

#include <algorithm>
#include <memory>
#include <numeric>

namespace esp = espalier;
using bench::array;
using bench::index_t;

namespace {

constexpr index_t rows = 4096;
using lanes = esp::pack<float, 16>;

template <int Experts, int Slots> struct data {
    array<float> logits, weights;
    array<std::int32_t> experts;
    data() : logits(rows * Experts, 0), weights(rows * Slots, 7), experts(rows * Slots, 13) {
        bench::fill_normal(logits.data(), rows * Experts, 1);
    }
    esp::matrix_view<float const> in() const { return {logits.data(), rows, Experts, Experts}; }
    esp::matrix_view<float> out() { return {weights.data(), rows, Slots, Slots}; }
    esp::matrix_view<std::int32_t> chosen() { return {experts.data(), rows, Slots, Slots}; }
};

/// The floor of a case in ns.
template <int Experts, int Slots> double floor_of(double bytes_of_slot) {
    double const bytes = static_cast<double>(rows) * (4.0 * Experts + bytes_of_slot * Slots);
    return bench::roof().copy_ns(bytes, true);
}

// ---- by hand

/// Columns c ... c + 15 of sixteen rows as sixteen packs.
void read_square(float const* from, index_t stride, lanes (&square)[16]) {
    float const* row[16];
    alignas(64) float turned[16][16];
    for (int r = 0; r < 16; ++r)
        row[r] = from + r * stride;
    esp::cpu::detail::transpose(row, turned);
    for (int c = 0; c < 16; ++c)
        square[c] = lanes::load(turned[c]);
}

template <int Experts, int K> [[gnu::noinline]] void hand_top_k(data<Experts, K>& d) {
    for (index_t r = 0; r < rows; r += 16) {
        lanes value[K], expert[K];
        for (int k = 0; k < K; ++k)
            value[k] = lanes(-__builtin_inff()), expert[k] = lanes(0.0f);
        lanes column(0.0f);
        for (int block = 0; block < Experts; block += 16) {
            lanes square[16];
            read_square(d.logits.data() + r * Experts + block, Experts, square);
            for (int c = 0; c < 16; ++c) {
                lanes const z = square[c];
                auto above = z > value[K - 1];
                ESPALIER_PACK_UNROLL
                for (int k = K - 1; k > 0; --k) {
                    auto const next = z > value[k - 1];
                    value[k] = select(next, value[k - 1], select(above, z, value[k]));
                    expert[k] = select(next, expert[k - 1], select(above, column, expert[k]));
                    above = next;
                }
                value[0] = select(above, z, value[0]);
                expert[0] = select(above, column, expert[0]);
                column += lanes(1.0f);
            }
        }
        lanes total(1.0f), e[K];
        e[0] = lanes(1.0f);
        for (int k = 1; k < K; ++k)
            total += e[k] = exp(value[k] - value[0]);
        lanes const share = lanes(1.0f) / total;
        for (int k = 0; k < K; ++k) {
            (e[k] * share).scatter(d.weights.data() + r * K + k, K);
            for (int i = 0; i < 16; ++i)
                d.experts.data()[(r + i) * K + k] = static_cast<std::int32_t>(expert[k][i]);
        }
    }
}

template <int Experts> [[gnu::noinline]] void hand_softmax(data<Experts, Experts>& d) {
    for (index_t r = 0; r < rows; r += 16) {
        lanes z[Experts];
        lanes top(-__builtin_inff());
        for (int block = 0; block < Experts; block += 16) {
            lanes square[16];
            read_square(d.logits.data() + r * Experts + block, Experts, square);
            for (int c = 0; c < 16; ++c) {
                z[block + c] = square[c];
                top = max(square[c], top);
            }
        }
        lanes total(0.0f);
        for (int c = 0; c < Experts; ++c)
            total += z[c] = exp(z[c] - top);
        lanes const share = lanes(1.0f) / total;
        for (int block = 0; block < Experts; block += 16) {
            float const* column[16];
            alignas(64) float scaled[16][16], turned[16][16];
            for (int c = 0; c < 16; ++c) {
                (z[block + c] * share).store(scaled[c]);
                column[c] = scaled[c];
            }
            esp::cpu::detail::transpose(column, turned);
            for (int i = 0; i < 16; ++i)
                lanes::load(turned[i]).store(d.weights.data() + (r + i) * Experts + block);
        }
    }
}

// ---- checks against sorting, in double

template <int Experts, int K, class Body> void check_top_k(std::string const& what, Body const& body) {
    data<Experts, K> d;
    // Equal logits: the lower expert has to win.
    for (index_t r = 0; r < rows; r += 3)
        for (int c = 0; c < Experts; ++c)
            d.logits.data()[r * Experts + c] = static_cast<float>(static_cast<int>(d.logits.data()[r * Experts + c]));
    body(d);
    for (index_t r = 0; r < rows; ++r) {
        float const* const z = d.logits.data() + r * Experts;
        int order[Experts];
        std::iota(order, order + Experts, 0);
        std::stable_sort(order, order + Experts, [&](int a, int b) { return z[a] > z[b]; });
        double total = 0.0;
        for (int k = 0; k < K; ++k)
            total += std::exp(double(z[order[k]]) - double(z[order[0]]));
        for (int k = 0; k < K; ++k) {
            double const share = std::exp(double(z[order[k]]) - double(z[order[0]])) / total;
            bench::expect_close((what + ": expert").c_str(), d.experts.data()[r * K + k], order[k], 0.0);
            bench::expect_close((what + ": weight").c_str(), double(d.weights.data()[r * K + k]), share, 1e-6);
        }
    }
}

template <int Experts, class Body> void check_softmax(std::string const& what, Body const& body) {
    data<Experts, Experts> d;
    body(d);
    for (index_t r = 0; r < rows; ++r) {
        float const* const z = d.logits.data() + r * Experts;
        double const top = double(*std::max_element(z, z + Experts));
        double total = 0.0;
        for (int c = 0; c < Experts; ++c)
            total += std::exp(double(z[c]) - top);
        for (int c = 0; c < Experts; ++c)
            bench::expect_close(what.c_str(), double(d.weights.data()[r * Experts + c]),
                                std::exp(double(z[c]) - top) / total, 1e-6);
    }
}

template <int Experts, int K> void add_top_k() {
    using gate = esp::gate::top_k<Experts, K>;
    using of_case = data<Experts, K>;
    auto const ours = [](of_case& d) {
        esp::cpu::route<float, gate>(esp::op_at<gate>(esp::clock{}), d.in(), d.out(), d.chosen());
    };
    auto const hand = [](of_case& d) { hand_top_k(d); };
    std::string const name = "gate/top_k_" + std::to_string(Experts) + "_" + std::to_string(K);
    check_top_k<Experts, K>(name, ours);
    check_top_k<Experts, K>(name + " by hand", hand);
    auto const d = std::make_shared<of_case>();
    bench::add(name + "/ours", floor_of<Experts, K>(8.0), [d, ours] { ours(*d); });
    bench::add(name + "/hand", floor_of<Experts, K>(8.0), [d, hand] { hand(*d); });
}

template <int Experts> void add_softmax() {
    using gate = esp::gate::softmax<Experts>;
    using of_case = data<Experts, Experts>;
    auto const ours = [](of_case& d) {
        esp::cpu::route<float, gate>(esp::op_at<gate>(esp::clock{}), d.in(), d.out(), d.chosen());
    };
    auto const hand = [](of_case& d) { hand_softmax(d); };
    std::string const name = "gate/softmax_" + std::to_string(Experts);
    check_softmax<Experts>(name, ours);
    check_softmax<Experts>(name + " by hand", hand);
    auto const d = std::make_shared<of_case>();
    bench::add(name + "/ours", floor_of<Experts, Experts>(4.0), [d, ours] { ours(*d); });
    bench::add(name + "/hand", floor_of<Experts, Experts>(4.0), [d, hand] { hand(*d); });
}

} // namespace

int main(int argc, char** argv) {
    add_top_k<16, 2>();
    add_top_k<64, 2>();
    add_top_k<128, 8>();
    add_softmax<16>();
    add_softmax<64>();
    add_softmax<128>();
    return bench::run(argc, argv);
}
