// SPDX-License-Identifier: Apache-2.0
// Gates that look rows up, experts that choose rows, searches, several tasks, capacities: values against arithmetic in
// double, errors.
#include "routed.hpp"

#include <espalier/activation/tanh.hpp>
#include <espalier/gate/balance.hpp>
#include <espalier/gate/by_range.hpp>
#include <espalier/gate/comet.hpp>
#include <espalier/gate/dselect_k.hpp>
#include <espalier/gate/enforced.hpp>
#include <espalier/gate/expert_choice.hpp>
#include <espalier/gate/hash.hpp>
#include <espalier/gate/local_search.hpp>
#include <espalier/gate/same_for_all_rows.hpp>
#include <espalier/gate/softmax.hpp>
#include <espalier/gate/tables.hpp>
#include <espalier/gate/top_k.hpp>
#include <espalier/layer/dense.hpp>
#include <espalier/layer/input.hpp>
#include <espalier/layer/moe.hpp>
#include <espalier/layer/multi_gate.hpp>
#include <espalier/layer/residual.hpp>
#include <espalier/layer/sequence.hpp>
#include <espalier/loss/cross_entropy.hpp>
#include <espalier/network/set_table.hpp>
#include <espalier/optimizer/adam.hpp>
#include <espalier/optimizer/sgd.hpp>
#include <espalier/train/training.hpp>

#include <support/catch.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <numeric>
#include <string>
#include <vector>

using namespace espalier;
using namespace routed;

namespace {

/// What expert `e` of the mixture at `path` gives for every row.
template <class Net> naive::matrix expert_output(Net& net, naive::matrix const& x, std::string const& path, int e) {
    std::string const at = path + ".expert." + std::to_string(e);
    auto const hidden =
        naive::map(naive::affine(x, naive::tensor(net, at + ".0.kernel"), naive::tensor(net, at + ".0.bias")),
                   [](double v) { return std::tanh(v); });
    return naive::affine(hidden, naive::tensor(net, at + ".1.kernel"), naive::tensor(net, at + ".1.bias"));
}

/// sum_e g(r, e) expert_e(x_r)
template <class Net> naive::matrix mixed(Net& net, naive::matrix const& x, naive::matrix const& g) {
    naive::matrix y(x.rows, 3);
    for (int e = 0; e < static_cast<int>(g.columns); ++e) {
        auto const out = expert_output(net, x, "1", e);
        for (index_t r = 0; r < y.rows; ++r)
            for (index_t c = 0; c < 3; ++c)
                y(r, c) += g(r, e) * out(r, c);
    }
    return y;
}

naive::matrix one_hot(std::vector<int> const& chosen, int experts) {
    naive::matrix g(static_cast<index_t>(chosen.size()), experts);
    for (std::size_t r = 0; r < chosen.size(); ++r)
        g(static_cast<index_t>(r), chosen[r]) = 1.0;
    return g;
}

} // namespace

TEST_CASE("keyed gates: rows go where their tags and the table say", "[layer][gate]") {
    tagged_batch const batch(40, 5, 4, 9);
    SECTION("a hash of the key") {
        naive::network<sequence<input<5>, moe<gate::hash<4, 9>, expert>>> net({6}, 33);
        std::vector<int> expected;
        auto const drawn = naive::tensor(net, "1.gate.table");
        for (std::uint64_t k : batch.keys)
            expected.push_back(static_cast<int>(drawn(0, static_cast<index_t>(k))));
        CHECK(naive::distance(predicted(net, batch.x, batch.tags()), mixed(net, batch.x, one_hot(expected, 4))) <
              1e-14);
        std::vector<std::uint64_t> const counts{9, 1, 4, 4, 7, 2, 2, 3, 5};
        auto const table = gate::balanced_table(counts, 4);
        set_table(net, "1.gate.table", table, 4);
        for (std::size_t r = 0; r < expected.size(); ++r)
            expected[r] = table[static_cast<std::size_t>(batch.keys[r])];
        CHECK(naive::distance(predicted(net, batch.x, batch.tags()), mixed(net, batch.x, one_hot(expected, 4))) <
              1e-14);
    }
    SECTION("two gates draw two tables") {
        naive::network<sequence<input<5>, multi_gate<gates<gate::hash<4, 9>, gate::hash<4, 9>>, expert>>> net({6}, 33);
        CHECK(naive::tensor(net, "1.gate.0.table").values != naive::tensor(net, "1.gate.1.table").values);
    }
    SECTION("the group itself") {
        naive::network<sequence<input<5>, moe<gate::enforced<4>, expert>>> net({6}, 64);
        CHECK(naive::distance(predicted(net, batch.x, batch.tags()), mixed(net, batch.x, one_hot(batch.groups, 4))) <
              1e-14);
        CHECK(net.parameter_count() == 4 * (5 * 8 + 8 + 8 * 3 + 3)); // nothing of the gate is trained
    }
    SECTION("the range of a number") {
        naive::network<
            sequence<input<5>, moe<gate::by_range<gate::equal_ranges<3, -2.0, 2.0>, gate::from_column<1>>, expert>>>
            net({6}, 64);
        std::vector<int> expected;
        for (index_t r = 0; r < 40; ++r)
            expected.push_back(std::min(2, static_cast<int>(3.0 * (batch.x(r, 1) + 2.0) / 4.0)));
        CHECK(naive::distance(predicted(net, batch.x, batch.tags()), mixed(net, batch.x, one_hot(expected, 3))) <
              1e-14);
    }
}

TEST_CASE("keyed gates: dense and compacted dispatch give the same bits", "[layer][gate]") {
    tagged_batch const batch(40, 5, 4, 9);
    naive::network<sequence<input<5>, moe<gate::hash<4, 9>, expert>>> compacted({6}, 64);
    naive::network<sequence<input<5>, moe<gate::hash<4, 9>, expert, dispatch::dense>>> dense_one({6}, 64);
    CHECK(predicted(compacted, batch.x, batch.tags()).values == predicted(dense_one, batch.x, batch.tags()).values);
}

TEST_CASE("keyed gates inside experts see the tags of the rows that were gathered", "[layer][gate]") {
    using inner = moe<gate::hash<3, 9>, sequence<dense<8, activation::tanh>, dense<3>>>;
    using nested = residual<moe<gate::enforced<4>, sequence<residual<moe<gate::top_k<3, 2>, inner>>>>>;
    using everywhere_dense = residual<
        moe<gate::enforced<4>,
            sequence<residual<moe<gate::top_k<3, 2>, moe<gate::hash<3, 9>, expert, dispatch::dense>, dispatch::dense>>>,
            dispatch::dense>>;
    tagged_batch const batch(40, 3, 4, 9);
    naive::network<sequence<input<3>, nested>> gathered({6}, 64);
    naive::network<sequence<input<3>, everywhere_dense>> whole({6}, 64);
    CHECK(naive::distance(predicted(gathered, batch.x, batch.tags()), predicted(whole, batch.x, batch.tags())) < 1e-14);
}

TEST_CASE("ranges: ends, bounds and what lies outside", "[gate]") {
    constexpr auto three = gate::equal_ranges<3, 0.0, 3.0>::at(espalier::clock{});
    CHECK(three.range_of(0.0) == 0);
    CHECK(three.range_of(1.0) == 1);
    CHECK(three.range_of(2.999) == 2);
    CHECK(three.range_of(3.0) == 2);
    CHECK(three.range_of(3.1) == -1);
    CHECK(three.range_of(-0.1) == -1);
    CHECK(three.range_of(std::nan("")) == -1);
    // Five experts for a thousand steps of a diffusion, as published.
    constexpr auto five = gate::equal_ranges<5, 0.0, 1000.0>::at(espalier::clock{});
    int const step[] = {0, 199, 200, 399, 400, 999}, expert_of_step[] = {0, 0, 1, 1, 2, 4};
    for (int i = 0; i < 6; ++i)
        CHECK(five.range_of(static_cast<double>(step[i])) == expert_of_step[i]);
    using ranges = gate::ranges_between<0.0, 0.1, 10.0>;
    constexpr auto uneven = ranges::at(espalier::clock{});
    CHECK(ranges::count == 2);
    CHECK(uneven.range_of(0.0999) == 0);
    CHECK(uneven.range_of(0.1) == 1);
    CHECK(uneven.range_of(10.0) == 1);
    CHECK(uneven.range_of(10.1) == -1);
}

TEST_CASE("keyed gates: a row without an expert is an error before anything changes", "[layer][gate]") {
    tagged_batch batch(12, 5, 4, 9);
    naive::network<sequence<input<5>, moe<gate::hash<3, 9>, expert>>> net({6}, 12);
    training run(net, loss::cross_entropy{}, optimizer::sgd{.learning_rate = 0.5});
    auto const before =
        naive::copy(contiguous_view<double const>(net.values().weights().data(), 1, net.values().weights().size()));
    batch.keys[5] = 9;
    CHECK_THROWS_AS(run.step({batch.x.view(), batch.tags(), {}}), data_error);
    CHECK_THROWS_WITH(run.step({batch.x.view(), batch.tags(), {}}), contains_text("row 5 has the key 9"));
    rows without = batch.tags();
    without.key = nullptr;
    CHECK_THROWS_WITH(run.step({batch.x.view(), without, {}}), contains_text("has no key"));
    CHECK(naive::copy(contiguous_view<double const>(net.values().weights().data(), 1, net.values().weights().size()))
              .values == before.values);
    CHECK(run.time().step == 0);

    std::vector<std::int32_t> const short_table(8, 0), wrong_expert{0, 1, 2, 3, 0, 0, 0, 0, 0};
    CHECK_THROWS_WITH(set_table(net, "1.gate.table", short_table, 3), contains_text("9 keys, and 8"));
    CHECK_THROWS_WITH(set_table(net, "1.gate.table", wrong_expert, 3), contains_text("gets expert 3"));

    naive::network<sequence<input<5>, moe<gate::by_range<gate::equal_ranges<3, 0.0, 1.0>>, expert>>> by_range({6}, 12);
    batch.x(4, 0) = std::nan("");
    naive::matrix y(12, 3);
    CHECK_THROWS_AS(by_range.predict(batch.x.view(), batch.tags(), y.view()), data_error);
}

TEST_CASE("expert choice: every expert keeps the largest of its column", "[layer][gate]") {
    using gate_type = gate::expert_choice<3, 1.5>;
    CHECK(gate_type::rows_of_expert(20) == 10);
    CHECK(gate_type::rows_of_expert(1) == 1);
    CHECK(gate::expert_choice<8, 2.0>::rows_of_expert(3) == 1);
    // The card's example: logits [[1,0],[.2,.4],[-.5,.5],[2,1.9]], two rows an expert.
    naive::matrix p(4, 2);
    double const logits[] = {1, 0, .2, .4, -.5, .5, 2, 1.9};
    std::copy(std::begin(logits), std::end(logits), p.values.begin());
    p = naive::softmax(p);
    std::vector<double> order(4);
    cpu::choose_rows(index_t{2}, order.data(), p.view());
    double const kept[] = {.731058579, 0, 0, .549833997, 0, .731058579, .524979187, 0};
    for (std::size_t i = 0; i < 8; ++i)
        CHECK(p.values[i] == Approx(kept[i]).margin(1e-9));
    // Equal weights: the lower rows; a NaN stays.
    naive::matrix q(4, 1, 0.25);
    cpu::choose_rows(index_t{2}, order.data(), q.view());
    CHECK(q.values == std::vector<double>{0.25, 0.25, 0.0, 0.0});
    q.values = {0.5, std::nan(""), 0.7, 0.1};
    cpu::choose_rows(index_t{2}, order.data(), q.view());
    CHECK((q.values[0] == 0.0 && std::isnan(q.values[1]) && q.values[2] == 0.7 && q.values[3] == 0.0));

    naive::network<sequence<input<5>, moe<gate_type, expert>>> net({6}, 20);
    auto const x = naive::random(20, 5, 3, 2.0);
    auto g = naive::softmax(naive::affine(x, naive::tensor(net, "1.gate.kernel"), naive::tensor(net, "1.gate.bias")));
    for (index_t e = 0; e < 3; ++e) {
        std::vector<double> column;
        for (index_t r = 0; r < 20; ++r)
            column.push_back(g(r, e));
        std::sort(column.rbegin(), column.rend());
        for (index_t r = 0; r < 20; ++r)
            if (g(r, e) < column[9]) g(r, e) = 0.0;
    }
    CHECK(naive::distance(naive::forward<mode::evaluate>(net, x), mixed(net, x, g)) < 1e-14);
}

TEST_CASE("gates that do not read the row have a bias only", "[layer][gate]") {
    using stack = sequence<input<5>, moe<gate::same_for_all_rows<gate::dselect_k<4, 2>>, expert>>;
    naive::network<stack> net({6}, 20);
    for (tensor_info const& t : net.tensors())
        CHECK(t.name != "1.gate.kernel");
    auto const bias = naive::tensor(net, "1.gate.bias");
    CHECK(*std::max_element(bias.values.begin(), bias.values.end()) != 0.0); // the gate's own first values
    auto const x = naive::random(20, 5, 3);
    naive::matrix same(20, 5);
    for (index_t r = 0; r < 20; ++r)
        for (index_t c = 0; c < 5; ++c)
            same(r, c) = x(0, c);
    auto const y = naive::forward<mode::evaluate>(net, same);
    for (index_t r = 1; r < 20; ++r)
        for (index_t c = 0; c < 3; ++c)
            CHECK(y(r, c) == y(0, c));
}

TEST_CASE("several gates: an expert runs once on a row that two gates send to it", "[layer][gate]") {
    using stack = sequence<input<5>, multi_gate<gates<gate::top_k<4, 2>, gate::top_k<4, 2>>, expert>>;
    naive::network<stack> net({6}, 20);
    naive::set_tensor(net, "1.gate.1.kernel", naive::tensor(net, "1.gate.0.kernel"));
    auto const labels = naive::cyclic_labels(20, 3);
    auto const x = naive::random(20, 5, 3);
    training run(net, loss::cross_entropy{}, optimizer::sgd{.learning_rate = 0.0});
    run.step({x.view(), naive::tags_of(20, &labels), {}});
    CHECK(run.measures()[0] == 2.0); // experts that ran for a row, not four
    auto const y = naive::forward<mode::evaluate>(net, x);
    for (index_t r = 0; r < 20; ++r)
        for (index_t c = 0; c < 3; ++c)
            CHECK(y(r, c) == y(r, c + 3));
}

namespace {
template <class Dispatch, class Gate> void check_blocks() {
    using mixture = typename moe<Gate, dense<3>, Dispatch>::template bind<shape{5}, type_list<>>;
    // Whatever lies behind the mixture begins on a cache line, for every capacity.
    extent const tape = mixture::template size<float>().tape, work = mixture::template work<float>();
    for (index_t capacity : {32, 64, 96, 4128}) {
        CHECK(tape.bytes(capacity) % 64 == 0);
        CHECK(work.bytes(capacity) % 64 == 0);
    }
    constexpr auto p = mixture::memory::template tape<float>;
    for (extent at : {p.weights.at, p.chosen.at, p.pair.at, p.first.at, p.count.at, p.pair_row.at, p.pair_origin.at,
                      p.pair_slot.at, p.expert_inputs.at, p.expert_outputs.at, p.expert_tape.at})
        for (index_t capacity : {32, 96})
            CHECK(at.bytes(capacity) % 64 == 0);
}
} // namespace

TEST_CASE("a mixture's blocks begin on cache lines", "[layer][gate]") {
    check_blocks<dispatch::compacted, gate::top_k<5, 2>>();
    check_blocks<dispatch::dense, gate::top_k<5, 2>>();
    check_blocks<dispatch::chunked<2>, gate::comet<7, 2>>();
    check_blocks<dispatch::automatic<>, gate::comet<7, 2>>();
    check_blocks<dispatch::capacity<0.7>, gate::top_k<3, 1>>();
    check_blocks<dispatch::capacity<1.25>, gate::softmax<9>>();
    check_blocks<dispatch::compacted, gate::local_search<gate::hash<3, 7>>>();
}

TEST_CASE("capacity: first choices in row order, then second ones; the rest is dropped or passes", "[layer][gate]") {
    // Every row: expert 0 first, expert 1 second.
    naive::matrix weights(6, 2, 0.5);
    std::vector<std::int32_t> chosen;
    for (int r = 0; r < 6; ++r) {
        chosen.push_back(r == 5 ? 1 : 0);
        chosen.push_back(r == 5 ? 0 : 1);
    }
    pair_plan plan;
    plan.experts = 3;
    plan.granule = 4;
    plan.capacity = 3;
    std::vector<std::int32_t> row(32, -9), slot(32, -9), pair(12), first(3), count(3);
    std::vector<std::uint32_t> origin(32);
    pair_table const table{row.data(), origin.data(), slot.data(), pair.data(), first.data(), count.data()};
    rows batch;
    batch.count = 6;
    batch.first = 100;
    cpu::build_pairs(matrix_view<double const>(weights.view()), matrix_view<std::int32_t const>{chosen.data(), 6, 2, 2},
                     batch, plan, table);
    CHECK(count == std::vector<std::int32_t>{3, 3, 0});
    CHECK(first == std::vector<std::int32_t>{0, 4, 8});
    // Expert 0: rows 0, 1, 2. Expert 1: row 5's first choice, then the second ones of rows 0 and 1, kept in row order.
    CHECK(std::vector<std::int32_t>(row.begin(), row.begin() + 3) == std::vector<std::int32_t>{0, 1, 2});
    CHECK(std::vector<std::int32_t>(row.begin() + 4, row.begin() + 7) == std::vector<std::int32_t>{0, 1, 5});
    CHECK(std::vector<std::int32_t>(slot.begin() + 4, slot.begin() + 7) == std::vector<std::int32_t>{1, 1, 0});
    CHECK(origin[6] == 105);
    CHECK(pair == std::vector<std::int32_t>{0, 4, 1, 5, 2, -1, -1, -1, -1, -1, 6, -1});

    CHECK(dispatch::capacity<1.25>::capacity_of(2, 10, 4) == 7);
    CHECK(dispatch::capacity<1.0>::capacity_of(1, 2, 8) == 1);

    // A network: all rows want expert 2, half of them find room.
    constexpr auto always = dispatch::bounds_rows::always;
    using dropping_rows =
        sequence<input<3>, moe<gate::top_k<4, 1>, dense<3>, dispatch::capacity<2.0, dispatch::overflow::drop, always>>>;
    using passing_rows =
        sequence<input<3>, moe<gate::top_k<4, 1>, dense<3>, dispatch::capacity<2.0, dispatch::overflow::pass, always>>>;
    naive::matrix offset(1, 4);
    offset(0, 2) = 50.0;
    auto const x = naive::random(20, 3, 3);
    naive::network<dropping_rows> drops({6}, 20);
    naive::network<passing_rows> passes({6}, 20);
    naive::set_tensor(drops, "1.gate.bias", offset);
    naive::set_tensor(passes, "1.gate.bias", offset);
    auto const full =
        naive::affine(x, naive::tensor(drops, "1.expert.2.kernel"), naive::tensor(drops, "1.expert.2.bias"));
    auto const dropped = naive::forward<mode::evaluate>(drops, x), passed = naive::forward<mode::evaluate>(passes, x);
    for (index_t r = 0; r < 20; ++r)
        for (index_t c = 0; c < 3; ++c) {
            CHECK(dropped(r, c) == Approx(r < 10 ? full(r, c) : 0.0).margin(1e-13));
            CHECK(passed(r, c) == Approx(r < 10 ? full(r, c) : x(r, c)).margin(1e-13));
        }
    auto const labels = naive::cyclic_labels(20, 3);
    training run(drops, loss::cross_entropy{}, optimizer::sgd{.learning_rate = 0.1});
    run.step({x.view(), naive::tags_of(20, &labels), {}});
    auto const names = decltype(run)::measure_names();
    REQUIRE(names.size() == 7);
    CHECK(names[0] == "1.experts_per_row");
    CHECK(names[5] == "1.load.2");
    CHECK(run.measures() == std::vector<double>{0.5, 0.5, 0.0, 0.0, 0.0, 1.0, 0.0});
    // The same of an evaluation: five rows, of which an expert takes three.
    run.evaluate({x.view().middle_rows(0, 5), naive::tags_of(5, &labels), {}});
    CHECK(run.measures() == std::vector<double>{0.6, 0.4, 0.0, 0.0, 0.0, 1.0, 0.0});
}

TEST_CASE("a winner whose weight is rounded to 0 does not run, and counts as neither filled nor dropped",
          "[layer][gate]") {
    // In float, odd rows choose experts 0 and 1, even ones 1 and 0, the second of them 100 below the first.
    using limited = dispatch::capacity<1.0>;
    using stack = sequence<input<1>, moe<gate::top_k<4, 2, gate::balance<1.0>>, dense<3>, limited>>;
    network<stack, device::cpu, float> net{seed{6}, 8};
    float const kernel[] = {50, -50, 0, 0}, bias[] = {0, 0, -300, -400};
    std::copy(std::begin(kernel), std::end(kernel), net.values().tensor("1.gate.kernel").data);
    std::copy(std::begin(bias), std::end(bias), net.values().tensor("1.gate.bias").data);
    net.refresh();
    std::vector<float> x;
    for (int r = 0; r < 8; ++r)
        x.push_back(r % 2 == 1 ? 1.0f : -1.0f);
    auto const labels = naive::cyclic_labels(8, 3);
    training run(net, loss::cross_entropy{}, optimizer::sgd{.learning_rate = 0.0});
    run.step({matrix_view<float const>{x.data(), 8, 1, 1}, naive::tags_of(8, &labels), {}});
    // rows, dropped, entropy of the loads, loads: both experts have room for four rows, and get four each
    auto const measures = run.measures();
    CHECK(measures[0] == 1.0);
    CHECK(measures[1] == 0.0);
    CHECK(measures[2] == Approx(std::log(2.0)));
    CHECK(measures[3] == 0.5);
    CHECK(measures[4] == 0.5);
    // balance: f = (1, 1, 0, 0) / 2 and Pbar the same, four times their product
    auto const names = run.term_names();
    auto const at = std::find(names.begin(), names.end(), "1.gate.top_k");
    REQUIRE(at != names.end());
    CHECK(run.terms()[static_cast<std::size_t>(at - names.begin())] == Approx(2.0));
}

TEST_CASE("local search: a wrong assignment is found, then kept", "[layer][gate]") {
    // Experts are good at one class each; keys name the wrong ones. Only the search is trained.
    constexpr int n = 5;
    using stack = sequence<input<n>, moe<gate::local_search<gate::hash<n, n>, gate::search{.steps = 200}>, dense<n>>>;
    constexpr int wrong[n] = {3, 0, 4, 1, 2}; // key k goes to expert wrong[k]; right is expert k
    int found = 0;
    for (std::uint64_t s = 0; s < 6; ++s) {
        naive::network<stack> net({s}, 64);
        set_table(net, "1.gate.table", std::vector<std::int32_t>(wrong, wrong + n), n);
        for (int e = 0; e < n; ++e) {
            naive::matrix bias(1, n, -1.0);
            bias(0, e) = 3.0; // expert e answers class e
            naive::set_tensor(net, "1.expert." + std::to_string(e) + ".kernel", naive::matrix(n, n));
            naive::set_tensor(net, "1.expert." + std::to_string(e) + ".bias", bias);
        }
        std::vector<std::int32_t> labels;
        std::vector<std::uint64_t> keys;
        for (int r = 0; r < 50; ++r) {
            labels.push_back(r * 3 % n);
            keys.push_back(static_cast<std::uint64_t>(labels.back()));
        }
        rows tags = naive::tags_of(50, &labels);
        tags.key = keys.data();
        auto const x = naive::random(50, n, 3);
        training run(net, loss::cross_entropy{}, optimizer::adam{.learning_rate = 0.01}, 0,
                     {{.path = "1.expert", .frozen = true}});
        for (int i = 0; i < 200; ++i)
            run.step({x.view(), tags, {}});
        auto const p = naive::tensor(net, "1.gate.permutation");
        bool right = true;
        for (int k = 0; k < n; ++k)
            for (int e = 0; e < n; ++e)
                right &= p(wrong[k], e) == (e == k ? 1.0 : 0.0);
        found += right;
        auto const scores = naive::tensor(net, "1.gate.scores");
        // Afterwards P stays, whatever the optimizer's momentum does to the scores.
        for (int i = 0; i < 10; ++i)
            run.step({x.view(), tags, {}});
        CHECK(naive::tensor(net, "1.gate.permutation").values == p.values);
        // The evaluation is a gather with the permutation, bit for bit.
        auto const y = predicted(net, x, tags);
        for (index_t r = 0; r < 50; ++r) {
            int const key = static_cast<int>(keys[static_cast<std::size_t>(r)]);
            for (int e = 0; e < n; ++e)
                if (p(wrong[key], e) == 1.0)
                    for (int c = 0; c < n; ++c)
                        CHECK(y(r, c) == (c == e ? 3.0 : -1.0));
        }
    }
    CHECK(found >= 5);
}

TEST_CASE("local search: before the first step evaluation is the gate inside", "[layer][gate]") {
    using plain = sequence<input<5>, moe<gate::top_k<4, 2>, expert>>;
    using searching = sequence<input<5>, moe<gate::local_search<gate::top_k<4, 2>>, expert>>;
    naive::network<plain> a({6}, 33);
    naive::network<searching> b({6}, 33);
    for (tensor_info const& t : a.tensors())
        naive::set_tensor(b, t.name, naive::tensor(a, t.name));
    auto const x = naive::random(33, 5, 3);
    CHECK(naive::distance(naive::forward<mode::evaluate>(a, x), naive::forward<mode::evaluate>(b, x)) < 1e-15);
    using of_trees = sequence<input<5>, moe<gate::comet<4, 2>, expert>>;
    using of_searched_trees =
        sequence<input<5>, moe<gate::local_search<gate::comet<4, 2>, gate::search{.apart = true}>, expert>>;
    naive::network<of_trees> trees({6}, 33);
    naive::network<of_searched_trees> apart({6}, 33);
    for (tensor_info const& t : trees.tensors())
        naive::set_tensor(apart, t.name, naive::tensor(trees, t.name));
    CHECK(naive::distance(naive::forward<mode::evaluate>(trees, x), naive::forward<mode::evaluate>(apart, x)) < 1e-15);
    // Each tree has a permutation of its own: exchanging two experts in both is exchanging the experts.
    naive::matrix exchanged = naive::tensor(apart, "1.gate.permutation");
    REQUIRE(exchanged.rows == 8);
    for (index_t tree = 0; tree < 2; ++tree)
        for (index_t e = 0; e < 2; ++e)
            std::swap(exchanged(4 * tree + e, 0), exchanged(4 * tree + e, 1));
    naive::set_tensor(apart, "1.gate.permutation", exchanged);
    for (std::string const tensor : {"0.kernel", "0.bias", "1.kernel", "1.bias"}) {
        naive::set_tensor(trees, "1.expert.0." + tensor, naive::tensor(apart, "1.expert.1." + tensor));
        naive::set_tensor(trees, "1.expert.1." + tensor, naive::tensor(apart, "1.expert.0." + tensor));
    }
    CHECK(naive::distance(naive::forward<mode::evaluate>(trees, x), naive::forward<mode::evaluate>(apart, x)) < 1e-15);
    // Its schedule: temperature on a logarithmic scale, iterations whole, the step counted before it is used.
    constexpr gate::search published = gate::published_search(100);
    using gate_type = gate::local_search<gate::top_k<4, 2>, published>;
    espalier::clock now;
    now.step = 49;
    auto const op = gate_type::at(now);
    CHECK(op.temperature == Approx(1e-5).epsilon(1e-12));
    CHECK(op.iterations == 85);
    CHECK(op.learns);
    now.step = 99;
    CHECK(!gate_type::at(now).learns);
    // In epochs: of as many steps as the clock says, or counted whole where it says nothing.
    constexpr gate::search passes{.epochs = 2.5, .first_temperature = 1e-3, .last_temperature = 1e-7};
    using by_epochs = gate::local_search<gate::top_k<4, 2>, passes>;
    now.steps_per_epoch = 40;
    CHECK(!by_epochs::at(now).learns);
    now.step = 98;
    CHECK(by_epochs::at(now).learns);
    now.step = 49;
    CHECK(by_epochs::at(now).temperature == op.temperature);
    CHECK(by_epochs::at(now).iterations == op.iterations);
    now.steps_per_epoch = 0;
    now.epoch = 2;
    CHECK(by_epochs::at(now).learns);
    now.epoch = 3;
    CHECK(!by_epochs::at(now).learns);
}
