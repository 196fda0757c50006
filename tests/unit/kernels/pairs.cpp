// SPDX-License-Identifier: Apache-2.0
// The kernel bodies that build the table of pairs and move rows along it, on the emulated block, against the CPU.
#include <support/catch.hpp>

#include "launches.hpp"

#include <espalier/core/group.hpp>
#include <espalier/core/pairs.hpp>
#include <espalier/core/rows.hpp>
#include <espalier/device/cpu/dispatch.hpp>
#include <espalier/kernels/dispatch.hpp>
#include <espalier/kernels/pairs.hpp>

#include <cstdint>
#include <vector>

namespace {

using namespace kernel_tests;
namespace k = espalier::kernels;
using espalier::matrix_view;
using espalier::pair_plan;
using espalier::pair_table;

constexpr std::int32_t untouched = -99;

/// Memory of a table.
struct table_memory {
    std::vector<std::int32_t> row, slot, pair, first, count;
    std::vector<std::uint32_t> origin;

    table_memory(index_t pairs, index_t slots, int experts)
        : row(static_cast<std::size_t>(pairs), untouched), slot(row), pair(static_cast<std::size_t>(slots), untouched),
          first(static_cast<std::size_t>(experts), untouched), count(first),
          origin(static_cast<std::size_t>(pairs), 4000000000u) {}
    pair_table view() { return {row.data(), origin.data(), slot.data(), pair.data(), first.data(), count.data()}; }
    friend bool operator==(table_memory const&, table_memory const&) = default;
};

/// A batch's slots: some empty, experts unevenly wanted.
struct batch_slots {
    index_t rows, slots;
    int experts;
    bool by_column; ///< slot s is expert s
    std::vector<float> weight;
    std::vector<std::int32_t> expert;
    std::vector<std::uint32_t> origin;

    /// `tasks` gates side by side: within one, a row's experts are distinct.
    batch_slots(index_t n, index_t slots_, int experts_, int tasks, bool by_column_)
        : rows(n), slots(slots_), experts(experts_), by_column(by_column_), weight(numbers<float>(n * slots_, 41)) {
        auto const draws = numbers<float>(n * slots, 42);
        index_t const of_task = slots / tasks;
        for (index_t r = 0; r < n; ++r) {
            origin.push_back(static_cast<std::uint32_t>(7 * r + 3));
            for (index_t s = 0; s < slots; ++s) {
                auto const at = static_cast<std::size_t>(r * slots + s);
                float const u = (draws[at] + 2.0f) / 4.0f;
                auto e = static_cast<std::int32_t>(u * u * static_cast<float>(experts));
                // the next one that no slot of the same gate has
                for (index_t other = s / of_task * of_task; other < s;)
                    if (expert[static_cast<std::size_t>(r * slots + other)] == e) {
                        e = (e + 1) % experts;
                        other = s / of_task * of_task;
                    } else
                        ++other;
                expert.push_back(e);
                if ((r * 5 + 3 * s) % 7 == 2) weight[at] = 0.0f;
            }
        }
    }
    matrix_view<float const> weights() const { return {weight.data(), rows, slots, slots}; }
    matrix_view<std::int32_t const> chosen() const { return {by_column ? nullptr : expert.data(), rows, slots, slots}; }
    espalier::rows batch() const {
        espalier::rows b;
        b.count = rows;
        b.origin = origin.data();
        return b;
    }
};

template <class Launch>
void build(Launch const& launch, batch_slots const& b, pair_plan const& plan, pair_table table) {
    std::vector<std::int32_t> counters(static_cast<std::size_t>(k::counters_of(b.rows * b.slots, plan.experts)),
                                       untouched);
    k::pair_work<float> const work{b.weights(), b.chosen(), plan, table, counters.data()};
    auto const one_block = [](auto const& body) {
        espalier::emulated_launch<64>(1, [&](auto& block) { body(block); }, {.order_seed = 3});
    };
    if (k::marks_first(plan, b.slots)) {
        launch([&](auto const& block) { k::count_pairs<k::slot_order::by_choice, false>(block, work); });
        one_block([&](auto const& block) { k::scan_pairs<false>(block, work); });
        launch([&](auto const& block) { k::mark_pairs(block, work); });
        launch([&](auto const& block) { k::count_pairs<k::slot_order::by_row, true>(block, work); });
        one_block([&](auto const& block) { k::scan_pairs<true>(block, work); });
        launch([&](auto const& block) { k::fill_pairs<true>(block, work, b.batch()); });
    } else {
        launch([&](auto const& block) { k::count_pairs<k::slot_order::by_row, false>(block, work); });
        one_block([&](auto const& block) { k::scan_pairs<true>(block, work); });
        launch([&](auto const& block) { k::fill_pairs<false>(block, work, b.batch()); });
    }
    if (plan.shared) launch([&](auto const& block) { k::share_pairs(block, work); });
}

void check(index_t n, index_t slots, int experts, int tasks, bool by_column, index_t capacity) {
    CAPTURE(n, slots, experts, tasks, by_column, capacity);
    batch_slots const b(n, slots, experts, tasks, by_column);
    pair_plan plan;
    plan.experts = experts;
    plan.granule = 32;
    plan.shared = tasks > 1;
    plan.capacity = capacity;
    index_t const room = n * slots + 33 * experts;
    table_memory expected(room, n * slots, experts);
    espalier::cpu::build_pairs(b.weights(), b.chosen(), b.batch(), plan, expected.view());
    // Where every expert has a block of its own: the same pairs elsewhere.
    pair_plan fixed = plan;
    index_t const most = capacity > 0 && capacity < n ? capacity : n;
    fixed.block = (most + 31) / 32 * 32 + 32;
    table_memory spread(experts * fixed.block, n * slots, experts);
    spread.row.assign(spread.row.size(), -1);
    spread.slot.assign(spread.slot.size(), -1);
    spread.origin.assign(spread.origin.size(), 0);
    spread.count = expected.count;
    auto const moved = [&](std::int32_t pair, int e) {
        return static_cast<std::int32_t>(pair - expected.first[static_cast<std::size_t>(e)] + e * fixed.block);
    };
    for (int e = 0; e < experts; ++e) {
        auto const at = static_cast<std::size_t>(e);
        spread.first[at] = static_cast<std::int32_t>(e * fixed.block);
        for (std::int32_t p = expected.first[at]; p < expected.first[at] + expected.count[at]; ++p) {
            auto const from = static_cast<std::size_t>(p), to = static_cast<std::size_t>(moved(p, e));
            spread.row[to] = expected.row[from];
            spread.slot[to] = expected.slot[from];
            spread.origin[to] = expected.origin[from];
        }
    }
    for (std::size_t i = 0; i < spread.pair.size(); ++i)
        spread.pair[i] =
            expected.pair[i] < 0
                ? -1
                : moved(expected.pair[i], by_column ? static_cast<int>(i) % static_cast<int>(slots) : b.expert[i]);

    std::vector<double> measured(static_cast<std::size_t>(espalier::mixture_measures + experts), -7.0);
    espalier::cpu::measure_mixture(b.weights(), b.chosen(), expected.pair.data(), plan, measured.data());
    for_launches([&](auto const& launch) {
        table_memory got(room, n * slots, experts);
        build(launch, b, plan, got.view());
        REQUIRE(got == expected);
        table_memory blocks(experts * fixed.block, n * slots, experts);
        build(launch, b, fixed, blocks.view());
        REQUIRE(blocks == spread);

        std::vector<std::int32_t> counters(static_cast<std::size_t>(k::counters_of(n * slots, experts)), untouched);
        k::pair_work<float> const work{b.weights(), b.chosen(), plan, {}, counters.data()};
        std::vector<double> found(measured.size(), -7.0);
        launch([&](auto const& block) {
            k::count_pairs<k::slot_order::by_row, false>(block, work,
                                                         static_cast<std::int32_t const*>(got.pair.data()));
        });
        espalier::emulated_launch<64>(1, [&](auto& block) { k::finish_measures(block, work, false, found.data()); });
        for (std::size_t i = 0; i < found.size(); ++i)
            REQUIRE(near(found[i], measured[i], 1e-13));
        espalier::emulated_launch<32>(1, [&](auto& block) { k::finish_measures(block, work, true, found.data()); });
        REQUIRE(found[1] == 0.0);
    });
    // one lane
    table_memory alone(room, n * slots, experts);
    build([](auto const& body) { body(espalier::serial_group{}); }, b, plan, alone.view());
    REQUIRE(alone == expected);
}

} // namespace

TEST_CASE("pair bodies: the CPU's table for every launch") {
    for (index_t n : {0, 1, 2, 33, 300}) {
        check(n, 1, 4, 1, false, 0);
        check(n, 2, 8, 1, false, 0);
        check(n, 3, 70, 1, false, 0);
        check(n, 5, 5, 1, true, 0);
    }
}

TEST_CASE("pair bodies: first choices come first until an expert is full") {
    for (index_t capacity : {1, 5, 40, 1000}) {
        check(33, 1, 4, 1, false, capacity);
        check(300, 2, 8, 1, false, capacity);
        check(130, 5, 5, 1, true, capacity);
        check(130, 1, 1, 1, false, capacity);
    }
}

TEST_CASE("pair bodies: slots of several gates share pairs") {
    check(33, 4, 5, 2, false, 0);
    check(300, 6, 4, 3, false, 0);
    check(300, 4, 5, 2, false, 20);
    check(70, 6, 4, 3, false, 3);
}

namespace {

template <class T> void check_rows(index_t columns) {
    CAPTURE(columns, sizeof(T));
    using W = espalier::master_of<T>;
    index_t const n = 9, count = 8;
    std::vector<std::int32_t> const row{4, 0, 7, 8, 2, -1, -1, -1}, slot{1, 0, 1, 1, 0, -1, -1, -1};
    padded_matrix<T> const from(n, columns, 1, 51), gradient(count, columns, 2, 52), start(n, columns, 3, 53);
    padded_matrix<T> const dy(n, columns, 4, 54), to_before(count, columns, 1, 55);
    std::vector<W> const weight = numbers<W>(2 * n, 56);
    matrix_view<W const> const weights{weight.data(), n, 2, 2};
    espalier::mixture_tasks tasks;
    tasks.first_slot[1] = 2;
    espalier::expert_pairs block_pairs;
    block_pairs.row = row.data();
    block_pairs.slot = slot.data();
    std::vector<std::int32_t> pair(static_cast<std::size_t>(2 * n), 3);
    pair[3] = pair[8] = pair[9] = -1; // slot 1 of row 1, both of row 4
    auto const wide = [](T x) { return static_cast<double>(static_cast<W>(x)); };
    double const tolerance = sizeof(T) == 2 ? 2e-2 : 1e-6;
    for_launches([&](auto const& launch) {
        padded_matrix<T> to = to_before, sum = start, d = to_before, passed = start;
        launch([&](auto const& block) { k::gather_rows(block, from.view(), row.data(), to.view()); });
        launch([&](auto const& block) { k::scatter_add_rows(block, gradient.view(), row.data(), sum.view()); });
        launch([&](auto const& block) {
            k::expert_gradient(block, weights, matrix_view<std::int32_t const>{}, tasks, block_pairs, dy.view(),
                               d.view());
        });
        launch([&](auto const& block) {
            k::pass_back(block, weights, tasks, static_cast<std::int32_t const*>(pair.data()), dy.view(),
                         passed.view());
        });
        bool right = to.same_padding(to_before) && sum.same_padding(start) && d.same_padding(to_before) &&
                     passed.same_padding(start);
        for (index_t c = 0; c < columns; ++c) {
            for (index_t i = 0; i < count; ++i) {
                std::int32_t const r = row[static_cast<std::size_t>(i)];
                right &= wide(to(i, c)) == (r < 0 ? 0.0 : wide(from(r, c)));
                double const factor = r < 0 ? 0.0 : static_cast<double>(weights(r, slot[static_cast<std::size_t>(i)]));
                right &= near(wide(d(i, c)), r < 0 ? 0.0 : factor * wide(dy(r, c)), tolerance);
            }
            for (index_t r = 0; r < n; ++r) {
                double added = 0.0;
                for (index_t i = 0; i < count; ++i)
                    if (row[static_cast<std::size_t>(i)] == r) added += wide(gradient(i, c));
                right &= near(wide(sum(r, c)), wide(start(r, c)) + added, tolerance);
                double factor = 0.0;
                for (index_t s = 0; s < 2; ++s)
                    if (pair[static_cast<std::size_t>(2 * r + s)] < 0) factor += static_cast<double>(weights(r, s));
                right &= near(wide(passed(r, c)), wide(start(r, c)) + factor * wide(dy(r, c)), tolerance);
            }
        }
        REQUIRE(right);
    });
}

} // namespace

TEST_CASE("pair bodies: rows to their pairs and back, none where a block has no row") {
    for (index_t columns : {1, 7, 8, 20, 64}) {
        check_rows<float>(columns);
        check_rows<double>(columns);
        check_rows<narrow>(columns);
    }
}

TEST_CASE("pair bodies: rows that pass are those of the CPU, task by task") {
    index_t const n = 21, columns = 10;
    int const tasks_count = 3;
    espalier::mixture_tasks tasks;
    tasks.count = tasks_count;
    for (int t = 0; t < tasks_count; ++t)
        tasks.first_slot[t + 1] = 2 * (t + 1);
    auto weight = numbers<float>(6 * n, 61);
    std::vector<std::int32_t> pair;
    for (index_t i = 0; i < 6 * n; ++i) {
        if (i % 5 == 3) weight[static_cast<std::size_t>(i)] = 0.0f;
        pair.push_back(i % 3 == 0 || i % 5 == 3 ? -1 : static_cast<std::int32_t>(i));
    }
    matrix_view<float const> const weights{weight.data(), n, 6, 6};
    auto const dy = numbers<float>(n * columns * tasks_count, 62), start = numbers<float>(n * columns, 63);
    matrix_view<float const> const upstream{dy.data(), n, columns * tasks_count, columns * tasks_count};
    std::vector<float> expected = start;
    espalier::cpu::pass_back(weights, tasks, static_cast<std::int32_t const*>(pair.data()), upstream,
                             matrix_view<float>{expected.data(), n, columns, columns});
    for_launches([&](auto const& launch) {
        std::vector<float> dx = start;
        launch([&](auto const& block) {
            k::pass_back(block, weights, tasks, static_cast<std::int32_t const*>(pair.data()), upstream,
                         matrix_view<float>{dx.data(), n, columns, columns});
        });
        for (std::size_t i = 0; i < dx.size(); ++i)
            REQUIRE(near(static_cast<double>(dx[i]), static_cast<double>(expected[i]), 2e-6));
    });
}
