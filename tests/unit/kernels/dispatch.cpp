// SPDX-License-Identifier: Apache-2.0
// The kernel bodies that move rows to experts and back, on the emulated block, against the loops of the CPU.
#include <support/catch.hpp>

#include "launches.hpp"

#include <espalier/core/pairs.hpp>
#include <espalier/device/cpu/cpu.hpp>
#include <espalier/kernels/dispatch.hpp>

#include <cstdint>
#include <limits>
#include <vector>

namespace {

using namespace kernel_tests;
namespace k = espalier::kernels;
using espalier::expert_outputs;
using espalier::master_of;
using espalier::matrix_view;

/// A mixture in memory: weights with empty slots, the slots' experts or none, and where the experts left their rows.
template <class T> struct mixture {
    using W = master_of<T>;
    index_t rows, columns, slots;
    int experts;
    bool slot_is_expert, gathered;
    std::vector<W> weight;
    std::vector<std::int32_t> expert, pair;
    std::vector<T> all;
    index_t block;

    mixture(index_t rows_, index_t columns_, index_t slots_, int experts_, bool slot_is_expert_, bool gathered_)
        : rows(rows_), columns(columns_), slots(slots_), experts(experts_), slot_is_expert(slot_is_expert_),
          gathered(gathered_), weight(numbers<W>(rows_ * slots_, 31)), block(rows_ + 3) {
        index_t next = rows * slots;
        for (index_t r = 0; r < rows; ++r)
            for (index_t s = 0; s < slots; ++s) {
                bool const empty = (r * 5 + s) % 3 == 1;
                if (empty) weight[static_cast<std::size_t>(r * slots + s)] = W(0);
                // Every row has different experts; those of empty slots are not looked at.
                expert.push_back(empty ? 1000000 : static_cast<std::int32_t>((r + 2 * s) % experts));
                pair.push_back(empty ? -1 : static_cast<std::int32_t>(--next));
            }
        all = numbers<T>((gathered ? rows * slots : block * experts) * columns, 32);
    }
    matrix_view<W const> weights() const { return {weight.data(), rows, slots, slots}; }
    matrix_view<std::int32_t const> chosen() const {
        return {slot_is_expert ? nullptr : expert.data(), rows, slots, slots};
    }
    expert_outputs<T> outputs() const {
        return {{all.data(), static_cast<index_t>(all.size()) / (columns > 0 ? columns : 1), columns, columns},
                slots,
                block,
                gathered ? pair.data() : nullptr,
                slot_is_expert ? nullptr : expert.data()};
    }
};

espalier::mixture_tasks one_task(index_t slots) {
    espalier::mixture_tasks t;
    t.first_slot[1] = static_cast<std::int32_t>(slots);
    return t;
}
espalier::expert_pairs block_of(int expert, std::int32_t const* row) {
    espalier::expert_pairs p;
    p.expert = expert;
    p.row = row;
    return p;
}

/// Row of the experts' rows that slot s of row r reads, written down once more.
template <class T> index_t place(mixture<T> const& m, index_t r, index_t s) {
    auto const at = static_cast<std::size_t>(r * m.slots + s);
    if (m.gathered) return m.pair[at];
    return (m.slot_is_expert ? s : m.expert[at]) * m.block + r;
}

template <class T>
void check(index_t rows, index_t columns, index_t slots, int experts, bool slot_is_expert, bool gathered,
           double tolerance) {
    using W = master_of<T>;
    CAPTURE(sizeof(T), rows, columns, slots, experts, slot_is_expert, gathered);
    mixture<T> const m(rows, columns, slots, experts, slot_is_expert, gathered);
    padded_matrix<T> const dy(rows, columns, 3, 33), y_before(rows, columns, 1, 34), d_before(rows, columns, 2, 35);
    auto const n = static_cast<std::size_t>(rows * slots);
    int const one = experts - 1;
    std::vector<padded_matrix<T>> y, d;
    std::vector<std::vector<W>> dweight;
    for_launches([&](auto const& launch) {
        y.push_back(y_before);
        d.push_back(d_before);
        dweight.emplace_back(n, W(-7));
        launch([&](auto const& block) { k::combine_experts(block, m.weights(), m.outputs(), y.back().view()); });
        launch([&](auto const& block) {
            k::weight_gradients(block, m.weights(), dy.view(), m.outputs(),
                                matrix_view<W>{dweight.back().data(), rows, slots, slots});
        });
        launch([&](auto const& block) {
            k::expert_gradient(block, m.weights(), m.chosen(), one_task(slots), block_of(one, nullptr), dy.view(),
                               d.back().view());
        });
    });
    for (std::size_t i = 0; i < y.size(); ++i) {
        REQUIRE(same_bits(y[i].data, y[0].data));
        REQUIRE(same_bits(d[i].data, d[0].data));
        REQUIRE(same_bits(dweight[i], dweight[0]));
    }
    bool right = y[0].same_padding(y_before) && d[0].same_padding(d_before);
    auto const wide = [](T x) { return static_cast<double>(static_cast<W>(x)); };
    for (index_t r = 0; r < rows; ++r) {
        double factor = 0;
        for (index_t s = 0; s < slots; ++s) {
            auto const at = static_cast<std::size_t>(r * slots + s);
            if ((slot_is_expert ? static_cast<int>(s) : m.expert[at]) == one)
                factor += static_cast<double>(m.weight[at]);
            double dot = 0;
            if (m.weight[at] != W(0))
                for (index_t c = 0; c < columns; ++c)
                    dot += wide(dy(r, c)) * wide(m.all[static_cast<std::size_t>(place(m, r, s) * columns + c)]);
            right &= near(static_cast<double>(dweight[0][at]), dot, 40 * tolerance);
            right &= m.weight[at] != W(0) || dweight[0][at] == W(0);
        }
        double const storage = sizeof(T) == 2 ? 5e-3 : tolerance;
        for (index_t c = 0; c < columns; ++c) {
            double sum = 0;
            for (index_t s = 0; s < slots; ++s) {
                auto const weight = static_cast<double>(m.weight[static_cast<std::size_t>(r * slots + s)]);
                if (weight != 0.0) sum += weight * wide(m.all[static_cast<std::size_t>(place(m, r, s) * columns + c)]);
            }
            right &= near(wide(y[0](r, c)), sum, 4 * storage);
            right &= near(wide(d[0](r, c)), factor * wide(dy(r, c)), storage);
        }
    }
    REQUIRE(right);
}

} // namespace

TEST_CASE("dispatch bodies: combination, gradients of weights and of experts' outputs") {
    for (index_t rows : all_rows)
        for (index_t columns : {0, 1, 7, 8, 33, 64, 100}) {
            check<float>(rows, columns, 1, 4, false, false, 1e-6);
            check<float>(rows, columns, 2, 8, false, false, 1e-6);
            check<float>(rows, columns, 3, 7, false, true, 1e-6);
            check<float>(rows, columns, 5, 5, true, false, 1e-6);
            check<double>(rows, columns, 5, 5, true, true, 1e-14);
            check<narrow>(rows, columns, 2, 3, false, false, 1e-6);
        }
}

TEST_CASE("dispatch bodies and the CPU device take the same views") {
    espalier::device::cpu device;
    index_t const rows = 33, columns = 20, slots = 3;
    mixture<float> const m(rows, columns, slots, 7, false, false);
    padded_matrix<float> const dy(rows, columns, 0, 33);
    padded_matrix<float> y(rows, columns, 0, 1), expected = y, d = y, expected_d = y;
    std::vector<float> dweight(99), expected_dweight(99);
    device.combine(m.weights(), m.outputs(), expected.view());
    device.weight_gradients(m.weights(), dy.view(), m.outputs(),
                            matrix_view<float>{expected_dweight.data(), rows, slots, slots});
    // The rows of one expert, gathered: every second one.
    std::vector<std::int32_t> row;
    for (std::int32_t r = 0; r < rows; r += 2)
        row.push_back(r);
    auto const count = static_cast<index_t>(row.size());
    device.expert_gradient(m.weights(), m.chosen(), one_task(slots), block_of(2, row.data()), dy.view(),
                           expected_d.view().middle_rows(0, count));
    for_blocks([&](auto const& launch) {
        launch([&](auto const& block) { k::combine_experts(block, m.weights(), m.outputs(), y.view()); });
        launch([&](auto const& block) {
            k::weight_gradients(block, m.weights(), dy.view(), m.outputs(),
                                matrix_view<float>{dweight.data(), rows, slots, slots});
        });
        launch([&](auto const& block) {
            k::expert_gradient(block, m.weights(), m.chosen(), one_task(slots), block_of(2, row.data()), dy.view(),
                               d.view().middle_rows(0, count));
        });
        for (std::size_t i = 0; i < y.data.size(); ++i) {
            REQUIRE(near(static_cast<double>(y.data[i]), static_cast<double>(expected.data[i]), 2e-6));
            REQUIRE(near(static_cast<double>(d.data[i]), static_cast<double>(expected_d.data[i]), 1e-7));
        }
        for (std::size_t i = 0; i < dweight.size(); ++i)
            REQUIRE(near(static_cast<double>(dweight[i]), static_cast<double>(expected_dweight[i]), 5e-6));
    });
}

TEST_CASE("dispatch bodies: what an empty slot points at is not read") {
    // The experts' rows are NaN where only empty slots point.
    mixture<float> m(9, 8, 2, 4, false, false);
    for (auto& e : m.expert)
        if (e >= m.experts) e = 3;
    float const nan_value = std::numeric_limits<float>::quiet_NaN();
    std::vector<bool> used(m.all.size() / 8, false);
    for (index_t r = 0; r < 9; ++r)
        for (index_t s = 0; s < 2; ++s)
            if (m.weight[static_cast<std::size_t>(r * 2 + s)] != 0.0f)
                used[static_cast<std::size_t>(place(m, r, s))] = true;
    for (std::size_t i = 0; i < m.all.size(); ++i)
        if (!used[i / 8]) m.all[i] = nan_value;
    padded_matrix<float> const dy(9, 8, 0, 33);
    padded_matrix<float> y(9, 8, 0, 1);
    std::vector<float> dweight(18);
    for_blocks([&](auto const& launch) {
        launch([&](auto const& block) { k::combine_experts(block, m.weights(), m.outputs(), y.view()); });
        launch([&](auto const& block) {
            k::weight_gradients(block, m.weights(), dy.view(), m.outputs(),
                                matrix_view<float>{dweight.data(), 9, 2, 2});
        });
        for (float v : y.data)
            REQUIRE(v == v);
        for (float v : dweight)
            REQUIRE(v == v);
    });
}
