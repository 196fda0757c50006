// SPDX-License-Identifier: Apache-2.0
// What a mixture of experts does around its experts. `dispatch/top2_EXPERTS_ROWSxWIDTH`: from weights and experts of
// two slots a row to the table of pairs, the rows gathered into the experts' blocks, and their weighted sums back. "By
// hand" is the same for two slots and this width: counts, first places, one pass that copies, one that sums. Floor:
// every row is read once and written twice, read twice and written once, at the bandwidth of a copy, in cache where it
// fits.
//
// `dispatch/grouped_EXPERTSxROWS_WIDTH`: one product for every expert with ROWS rows each. "By hand" is here the one
// dense product of as many rows in all: hand/ours is the share of its rate that the experts' products reach.
#include "common.hpp"

#include <espalier/core/layout.hpp>
#include <espalier/core/pairs.hpp>
#include <espalier/device/cpu/cpu.hpp>

#include <algorithm>
#include <cstring>
#include <memory>

namespace esp = espalier;
using bench::array;
using bench::index_t;

namespace {

template <int Rows, int Width, int Experts> struct moved {
    static constexpr int granule = static_cast<int>(esp::row_granule);
    static constexpr int pairs = 2 * Rows + Experts * granule;
    array<float> x, weights, y, blocks;
    array<std::int32_t> experts, pair, pair_row, pair_slot, first, count;
    array<std::uint32_t> origin;
    esp::device::cpu device;

    moved()
        : x(Rows * Width, 0), weights(Rows * 2, 3), y(Rows * Width, 5), blocks(index_t{pairs} * Width, 7),
          experts(Rows * 2, 9), pair(Rows * 2, 11), pair_row(pairs, 13), pair_slot(pairs, 21), first(Experts, 15),
          count(Experts, 17), origin(pairs, 19) {
        bench::fill_normal(x.data(), Rows * Width, 1);
        std::mt19937 generator(5);
        for (index_t r = 0; r < Rows; ++r) {
            int const a = static_cast<int>(generator() % Experts), b = static_cast<int>(generator() % (Experts - 1));
            experts.data()[2 * r] = a;
            experts.data()[2 * r + 1] = b < a ? b : b + 1;
            float const w = 0.1f + 0.8f * static_cast<float>(generator() % 1024) / 1024.0f;
            weights.data()[2 * r] = w;
            weights.data()[2 * r + 1] = 1.0f - w;
        }
    }

    void ours() {
        esp::rows batch;
        batch.count = Rows;
        esp::pair_table const table{.row = pair_row.data(),
                                    .origin = origin.data(),
                                    .slot = pair_slot.data(),
                                    .pair = pair.data(),
                                    .first = first.data(),
                                    .count = count.data()};
        esp::pair_plan plan;
        plan.experts = Experts;
        plan.granule = esp::row_granule;
        esp::matrix_view<float const> const w{weights.data(), Rows, 2, 2}, from{x.data(), Rows, Width, Width};
        device.build_pairs(w, esp::matrix_view<std::int32_t const>{experts.data(), Rows, 2, 2}, batch, plan, table);
        for (int e = 0; e < Experts; ++e) {
            index_t const at = table.first[e];
            device.gather(from, table.row + at,
                          esp::matrix_view<float>{blocks.data() + at * Width, table.count[e], Width, Width});
        }
        esp::expert_outputs<float> outputs;
        outputs.all = {blocks.data(), pairs, Width, Width};
        outputs.slots = 2;
        outputs.pair = table.pair;
        device.combine(w, outputs, esp::matrix_view<float>{y.data(), Rows, Width, Width});
    }

    [[gnu::noinline]] void hand() {
        int at[Experts] = {};
        std::int32_t const* const e = experts.data();
        for (int i = 0; i < 2 * Rows; ++i)
            ++at[e[i]];
        for (int i = 0, sum = 0; i < Experts; ++i) {
            int const n = at[i];
            count.data()[i] = n;
            first.data()[i] = at[i] = sum;
            sum += (n + granule - 1) / granule * granule;
        }
        float* const to = blocks.data();
        for (int r = 0; r < Rows; ++r)
            for (int s = 0; s < 2; ++s) {
                int const p = at[e[2 * r + s]]++;
                pair.data()[2 * r + s] = p;
                pair_row.data()[p] = r;
                pair_slot.data()[p] = s;
                origin.data()[p] = static_cast<std::uint32_t>(r);
                std::memcpy(to + index_t{p} * Width, x.data() + index_t{r} * Width, Width * sizeof(float));
            }
        for (int r = 0; r < Rows; ++r) {
            float const* __restrict__ const a = to + index_t{pair.data()[2 * r]} * Width;
            float const* __restrict__ const b = to + index_t{pair.data()[2 * r + 1]} * Width;
            float const v = weights.data()[2 * r], w = weights.data()[2 * r + 1];
            float* __restrict__ const sum = y.data() + index_t{r} * Width;
            for (int c = 0; c < Width; ++c)
                sum[c] = v * a[c] + w * b[c];
        }
    }

    /// The weights of a row add up to 1 and its pairs are copies of it: y = x. Pairs are sorted by row.
    void check(std::string const& what) {
        for (index_t i = 0; i < Rows * Width; ++i)
            bench::expect_close(what.c_str(), double(y.data()[i]), double(x.data()[i]), 1e-6);
        for (int e = 0; e < Experts; ++e)
            for (int i = 0; i < count.data()[e]; ++i) {
                index_t const r = pair_row.data()[first.data()[e] + i];
                bool const wanted = experts.data()[2 * r] == e || experts.data()[2 * r + 1] == e;
                bool const sorted = i == 0 || pair_row.data()[first.data()[e] + i - 1] < r;
                bench::expect_close((what + ": pairs").c_str(), wanted && sorted, 1.0, 0.0);
            }
        std::fill_n(y.data(), Rows * Width, 0.0f);
        std::fill_n(blocks.data(), index_t{pairs} * Width, 0.0f);
    }
};

template <int Rows, int Width, int Experts> void add_moved() {
    auto const d = std::make_shared<moved<Rows, Width, Experts>>();
    std::string const name =
        "dispatch/top2_" + std::to_string(Experts) + "_" + std::to_string(Rows) + "x" + std::to_string(Width);
    d->ours();
    d->check(name);
    d->hand();
    d->check(name + " by hand");
    double const bytes = 6.0 * Rows * Width * sizeof(float), memory = 4.0 * Rows * Width * sizeof(float);
    double const floor = bench::roof().copy_ns(bytes, memory < 700e3);
    bench::counters const about{{"rows", Rows}, {"experts", Experts}, {"k", 2}, {"density", 2.0 / Experts}};
    bench::add(
        name + "/ours", floor, [d] { d->ours(); }, about);
    bench::add(
        name + "/hand", floor, [d] { d->hand(); }, about);
}

enum class kind { forward, input_gradient, weight_gradient };

struct grouped {
    index_t experts, rows, width;
    array<float> x, w, bias, z, dw;
    espalier::cpu::buffer<std::byte> memory;
    esp::device::cpu device;

    grouped(index_t number, index_t each, index_t wide)
        : experts(number), rows(each), width(wide), x(number * each * wide, 0), w(number * wide * wide, 3),
          bias(number * wide, 5), z(number * each * wide, 7), dw(number * wide * wide, 11),
          memory(static_cast<index_t>(esp::device::cpu::product_scratch<float, void>(number * each, wide, wide)) + 64) {
        bench::fill_normal(x.data(), experts * rows * width, 1);
        bench::fill_normal(w.data(), experts * width * width, 2);
        bench::fill_normal(bias.data(), experts * width, 3);
        device.scratch = {memory.data(), static_cast<std::size_t>(memory.size())};
    }
    void product(kind which, index_t first, index_t count, index_t expert) {
        using in = esp::matrix_view<float const>;
        using out = esp::matrix_view<float>;
        in const from{x.data() + first * width, count, width, width};
        in const weight{w.data() + expert * width * width, width, width, width};
        out const to{z.data() + first * width, count, width, width};
        if (which == kind::forward)
            device.product_forward<void>(from, weight, bias.data() + expert * width, to);
        else if (which == kind::input_gradient)
            device.product_input_gradient<void>(from, weight, to);
        else
            device.product_weight_gradient<void>(from, in(to),
                                                 out{dw.data() + expert * width * width, width, width, width});
    }
    void ours(kind which) {
        for (index_t e = 0; e < experts; ++e)
            product(which, e * rows, rows, e);
    }
    void dense(kind which) { product(which, 0, experts * rows, 0); }

    void check(std::string const& what) {
        ours(kind::forward);
        for (index_t e = 0; e < experts; ++e)
            for (index_t c = 0; c < width; c += 7) {
                index_t const r = e * rows + (e * 5 + c) % rows;
                double sum = double(bias.data()[e * width + c]);
                for (index_t i = 0; i < width; ++i)
                    sum += double(x.data()[r * width + i]) * double(w.data()[(e * width + i) * width + c]);
                bench::expect_close(what.c_str(), double(z.data()[r * width + c]), sum, 1e-4);
            }
        ours(kind::weight_gradient);
        for (index_t e = 0; e < experts; ++e)
            for (index_t c = 0; c < width; c += 7) {
                index_t const i = (e * 3 + c) % width;
                double sum = 0.0;
                for (index_t r = e * rows; r < (e + 1) * rows; ++r)
                    sum += double(x.data()[r * width + i]) * double(z.data()[r * width + c]);
                bench::expect_close(what.c_str(), double(dw.data()[(e * width + i) * width + c]), sum, 1e-4);
            }
    }
};

void add_grouped(index_t experts, index_t rows, index_t width) {
    auto const d = std::make_shared<grouped>(experts, rows, width);
    std::string const name = "dispatch/grouped_" + std::to_string(experts) + "x" + std::to_string(rows) + "_" +
                             std::to_string(width) + "-" + std::to_string(width);
    d->check(name);
    double const n = static_cast<double>(experts * rows);
    double const floor = bench::roof().flop_ns(2.0 * n * static_cast<double>(width * width));
    bench::counters const about{
        {"rows", n}, {"experts", double(experts)}, {"k", 1}, {"density", 1.0 / static_cast<double>(experts)}};
    for (kind const which : {kind::forward, kind::input_gradient, kind::weight_gradient}) {
        std::string const full = name + (which == kind::forward          ? ""
                                         : which == kind::input_gradient ? "_input_gradient"
                                                                         : "_weight_gradient");
        bench::add(
            full + "/ours", floor, [d, which] { d->ours(which); }, about);
        bench::add(
            full + "/hand", floor, [d, which] { d->dense(which); }, about);
    }
}

} // namespace

int main(int argc, char** argv) {
    add_moved<512, 64, 16>();
    add_moved<512, 256, 16>();
    add_moved<4096, 256, 64>();
    for (index_t const width : {64, 256})
        for (index_t const rows : {64, 128, 256})
            add_grouped(16, rows, width);
    return bench::run(argc, argv);
}
