// SPDX-License-Identifier: Apache-2.0
// Random search: the candidates, which one wins, where a search goes on, and what masks of units come of it.
#include <espalier/activation/relu.hpp>
#include <espalier/core/exact_count.hpp>
#include <espalier/core/random.hpp>
#include <espalier/device/cpu/cpu.hpp>
#include <espalier/dropout/bernoulli.hpp>
#include <espalier/layer/batch_norm.hpp>
#include <espalier/layer/dense.hpp>
#include <espalier/layer/input.hpp>
#include <espalier/layer/sequence.hpp>
#include <espalier/loss/cross_entropy.hpp>
#include <espalier/network/network.hpp>
#include <espalier/network/set_units.hpp>
#include <espalier/optimizer/sgd.hpp>
#include <espalier/search/random.hpp>
#include <espalier/search/units.hpp>
#include <espalier/train/training.hpp>
#include <espalier/units/fixed_mask.hpp>

#include <support/allocations.hpp>
#include <support/catch.hpp>
#include <support/message_of.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <map>
#include <stdexcept>
#include <string>
#include <vector>

using namespace espalier;

namespace {

double const not_a_number = std::numeric_limits<double>::quiet_NaN();

/// A search over the scores of a list.
search::found among(std::vector<double> const& scores, search::options given) {
    std::size_t next = static_cast<std::size_t>(given.before.tried);
    return search::random(
        given, [](random_site const&) {}, [&] { return scores.at(next++); });
}

using small = sequence<input<2>, dense<4, activation::relu, units::fixed_mask>, dense<2>>;
using small_net = network<small, device::cpu, double>;

/// The network and the data of the published scores.
struct published {
    small_net net{seed{1}, 3};
    std::vector<double> x = {1.0, 0.5, -0.5, 1.0, 0.3, -0.8};
    std::vector<std::int32_t> y = {0, 1, 0};
    batch_view<double> batch;
    training<small_net, loss::cross_entropy, optimizer::sgd<>> run{net, loss::cross_entropy{},
                                                                   optimizer::sgd<>{.learning_rate = 0.1}};
    published() {
        double const w1[4][2] = {{.5, -.2}, {.1, .4}, {-.3, .6}, {.7, .2}};
        double const w2[2][4] = {{.2, -.5, .3, .1}, {-.4, .6, .2, -.1}};
        for (index_t i = 0; i < 4; ++i)
            for (index_t k = 0; k < 2; ++k) {
                net.tensor("1.kernel")(k, i) = w1[i][k];
                net.tensor("2.kernel")(i, k) = w2[k][i];
            }
        batch.inputs = {x.data(), 3, 2, 2};
        batch.tags.count = 3;
        batch.tags.label = y.data();
    }
    published(published const&) = delete;
};

std::vector<bool> bits(std::string const& text) {
    std::vector<bool> kept;
    for (char const c : text)
        kept.push_back(c == '1');
    return kept;
}

} // namespace

TEST_CASE("search: the published scores of six masks, and the best of them", "[search]") {
    published p;
    CHECK(p.run.judge(p.batch) == Approx(0.602937652).margin(1e-9));
    std::vector<std::string> const masks = {"1100", "1010", "1001", "0110", "0101", "0011"};
    std::vector<double> const score = {0.620895598, 0.63871519, 0.602034649, 0.704985809, 0.662992338, 0.678617865};
    std::size_t candidate = 0;
    std::vector<double> scores;
    search::found const f = search::random(
        {.budget = 6, .scores = &scores},
        [&](random_site const&) { set_units(p.net, "1", bits(masks[candidate++ % 6])); },
        [&] { return p.run.judge(p.batch); });
    CHECK(masks[f.best] == "1001");
    REQUIRE(scores.size() == 6);
    for (std::size_t i = 0; i < 6; ++i)
        CHECK(scores[i] == Approx(score[i]).margin(1e-9));
    CHECK(f.score == scores[2]);
    // Among random ones it is found too.
    search::units(p.net, search::each_layer<small_net>(0.5), {.budget = 64, .seed = 1},
                  [&] { return p.run.judge(p.batch); });
    CHECK(units_of(p.net, "1") == bits("1001"));
}

TEST_CASE("search: counts of units and weights of the published network", "[search]") {
    using parent = sequence<input<64>, dense<128, activation::relu>, dense<128, activation::relu>, dense<10>>;
    using child = sequence<input<64>, dense<13, activation::relu>, dense<13, activation::relu>, dense<10>>;
    CHECK(detail::count_trained(report_of<parent>().tensors) == 26122);
    CHECK(detail::count_trained(report_of<child>().tensors) == 1167);
    CHECK(1.0 - 1167.0 / 26122.0 == Approx(0.9553250133986678).epsilon(1e-15));
    CHECK(search::kept_units(0.9, 128) == 13);
    CHECK(search::kept_units(0.75, 128) == 32);
    CHECK(search::kept_units(0.95, 128) == 6);
    CHECK(search::kept_units(0.0, 128) == 128);
    CHECK(search::kept_units(0.5, 5) == 3);
    CHECK(search::kept_units(0.9, 5) == 1); // 0.5, as it is written
    std::uint64_t sets = 1;                 // of 13 of 128
    for (std::uint64_t i = 1; i <= 13; ++i)
        sets = static_cast<std::uint64_t>(static_cast<detail::wide_natural>(sets) * (128 - 13 + i) / i);
    CHECK(sets == 211709328983644800u);
    for (double const s : {1.0, -0.1, not_a_number, 2.0})
        CHECK_THROWS_AS(search::kept_units(s, 128), data_error);
    CHECK(message_of<data_error>([] { search::kept_units(0.95, 4); }) ==
          "search: a sparsity of 0.95 leaves none of 4 units; what follows would be constant");
}

TEST_CASE("search: the first of the least score wins, and NaN never does", "[search]") {
    double const infinite = std::numeric_limits<double>::infinity();
    CHECK(among({3, 1, 2, 1, 1}, {.budget = 5}) == search::found{5, 1, 1.0});
    CHECK(among({not_a_number, 5, not_a_number, 4, not_a_number}, {.budget = 5}) == search::found{5, 3, 4.0});
    CHECK(among({not_a_number, infinite, infinite}, {.budget = 3}) == search::found{3, 1, infinite});
    CHECK(among({7}, {.budget = 1}) == search::found{1, 0, 7.0});
    CHECK(message_of<numerical_error>([] {
              among({not_a_number, not_a_number}, {.budget = 2});
          }) == "search::random: the scores of all 2 candidates are NaN");
    bool asked = false;
    auto const refused = [&](search::options const& given) {
        return message_of<data_error>([&] {
            search::random(
                given, [&](random_site const&) { asked = true; }, [] { return 0.0; });
        });
    };
    CHECK(refused({}) == "search::random: a budget of 0 candidates; a budget of 1 is one random candidate");
    CHECK(refused({.budget = 3, .before = {.tried = 4}}) ==
          "search::random: 4 candidates were tried before, and the budget is 3");
    CHECK(refused({.budget = (std::uint64_t{1} << 32) + 1}) ==
          "search::random: a budget of 4294967297 candidates; at most 4294967296");
    CHECK_FALSE(asked);
}

TEST_CASE("search: one that was broken off goes on as if it had not been", "[search]") {
    std::vector<double> const scores = {not_a_number, 5, 3, 3, not_a_number, 2, 4, 2};
    for (std::uint64_t at = 1; at <= scores.size(); ++at) {
        // What was before is unknown to a search that ended with NaN alone.
        if (at == 1) continue;
        auto const half = among(scores, {.budget = at});
        CHECK(among(scores, {.budget = 8, .before = half}) == search::found{8, 5, 2.0});
    }
    // The candidates are those of their numbers, whatever the budget.
    std::vector<random_site> a, b;
    auto const into = [](std::vector<random_site>& sites) {
        return [&sites](random_site const& site) { sites.push_back(site); };
    };
    search::random({.budget = 4, .seed = 9}, into(a), [] { return 0.0; });
    auto const two = search::random({.budget = 2, .seed = 9}, into(b), [] { return 0.0; });
    b.pop_back(); // the best one, once more
    search::random({.budget = 4, .seed = 9, .before = two}, into(b), [] { return 0.0; });
    CHECK(a == b);
    CHECK(a[0] == search::candidate_site(9, 0));
    CHECK(a[4] == a[0]);
    CHECK_FALSE(a[0] == search::candidate_site(8, 0));
    CHECK_FALSE(a[0] == layer_site(9, 0, purpose::initial, 0, 0));
}

TEST_CASE("search: the best of R normal scores lies where it is expected", "[search]") {
    // 4000 searches, as published; the deviation of the mean is below 0.01.
    for (auto const& [budget, expected] : std::map<std::uint64_t, double>{{10, -1.54}, {100, -2.50}, {1000, -3.24}}) {
        double sum = 0.0, z = 0.0;
        for (std::uint64_t s = 0; s < 4000; ++s)
            sum += search::random(
                       {.budget = budget, .seed = s},
                       [&](random_site const& site) { z = standard_normal(draw(site, 0, 0)).first; }, [&] { return z; })
                       .score;
        CAPTURE(budget);
        CHECK(sum / 4000.0 == Approx(expected).margin(0.03));
    }
}

TEST_CASE("search: every set of units is as likely as another, in every layer for itself", "[search]") {
    constexpr int trials = 12000;
    std::map<std::array<int, 5>, int> seen;
    std::map<std::array<int, 10>, int> together;
    for (int i = 0; i < trials; ++i) {
        std::array<int, 10> both{};
        random_site const site = search::candidate_site(3, static_cast<std::uint64_t>(i));
        random_mask(site, 0, 2, array_view<int>{both.data(), 5});
        random_mask(site, 1, 3, array_view<int>{both.data() + 5, 5});
        std::array<int, 5> first{};
        std::copy_n(both.begin(), 5, first.begin());
        ++seen[first];
        ++together[both];
    }
    auto const chi_square = [&](auto const& counts, double sets) {
        double sum = 0.0;
        for (auto const& [set, count] : counts)
            sum += (count - trials / sets) * (count - trials / sets) * sets / trials;
        return sum;
    };
    REQUIRE(seen.size() == 10);
    for (auto const& [set, count] : seen)
        REQUIRE(std::count(set.begin(), set.end(), 1) == 2);
    CHECK(chi_square(seen, 10) < 33.7); // 1 in 10000 with 9 degrees of freedom
    REQUIRE(together.size() == 100);
    CHECK(chi_square(together, 100) < 161.3); // with 99
    std::vector<double> all(7);
    random_mask(make_site(1, 2), 0, 7, array_view<double>{all.data(), 7});
    CHECK(all == std::vector<double>(7, 1.0));
    random_mask(make_site(1, 2), 0, 0, array_view<double>{all.data(), 7});
    CHECK(all == std::vector<double>(7, 0.0));
    CHECK_THROWS_AS(random_mask(make_site(1, 2), 0, 8, array_view<double>{all.data(), 7}), data_error);
}

TEST_CASE("search: masks of a network, exact, shared where asked for, and without needless work", "[search]") {
    using stack = sequence<input<2>, dense<10, activation::relu, units::fixed_mask>,
                           dense<10, activation::relu, units::fixed_mask>, dense<7, units::fixed_mask>, dense<2>>;
    using net_type = network<stack, device::cpu, float>;
    net_type net{seed{1}, 4};
    std::vector<float> const weights(net.values().weights().data(),
                                     net.values().weights().data() + net.values().weights().size());
    auto const kept = [&](char const* path) {
        auto const units = units_of(net, path);
        return std::count(units.begin(), units.end(), true);
    };
    int scored = 0;
    bool right = true;
    std::vector<search::masked_layers> const groups = {{{"1", "2"}, 4}, {{"3"}, 7}};
    search::options const given{.budget = 20, .seed = 5};
    auto const score = [&] {
        right = right && kept("1") == 4 && units_of(net, "1") == units_of(net, "2") && kept("3") == 7;
        ++scored;
        return std::abs(scored - 12.0);
    };
    search::found const f = search::units(net, groups, given, score);
    CHECK(right);
    CHECK(scored == 20);
    CHECK(f == search::found{20, 11, 0.0});
    auto const best = units_of(net, "1");
    std::vector<float> draws(10);
    random_mask(search::candidate_site(5, 11), 0, 4, array_view<float>{draws.data(), 10});
    CHECK(best == std::vector<bool>(draws.begin(), draws.end()));
    CHECK(std::equal(weights.begin(), weights.end(), net.values().weights().data()));
    CHECK(search::each_layer<net_type>(0.5).size() == 3);
    CHECK(search::each_layer<net_type>(0.5)[2].kept == 4);
#if defined(ESPALIER_TEST_COUNTS_MALLOC)
    auto const taken = [&](std::uint64_t budget) {
        std::size_t const before = counted_allocations;
        search::units(net, groups, {.budget = budget}, [] { return 1.0; });
        return counted_allocations - before;
    };
    CHECK(taken(1) == taken(100));
#endif

    auto const refused = [&](std::vector<search::masked_layers> const& of) {
        return message_of<espalier::error>([&] { search::units(net, of, given, [] { return 0.0; }); });
    };
    auto const before = units_of(net, "1");
    CHECK(refused({}) == "search::units: no layers were given");
    CHECK(refused({{{}, 3}}) == "search::units: a group has no layers");
    CHECK(refused({{{"4"}, 1}}) ==
          "search::units: layer \"4\" has no mask of its units; those that have one are 1, 2, 3");
    CHECK(refused({{{"1"}, 3}, {{"1"}, 3}}) == "search::units: layer 1 is named twice");
    CHECK(refused({{{"1", "3"}, 3}}) == "search::units: layers 1 and 3 of one group have 10 and 7 units");
    CHECK(refused({{{"1"}, 0}}) == "search::units: 0 units of layer 1 are to be kept; needed are 1 to 10");
    CHECK(refused({{{"1"}, 11}}) == "search::units: 11 units of layer 1 are to be kept; needed are 1 to 10");
    CHECK_THROWS_AS(search::units(net, groups, {}, [] { return 0.0; }), data_error);
    CHECK_THROWS_AS(search::units(net, groups, given, [] { return not_a_number; }), numerical_error);
    CHECK_THROWS_AS(search::units(net, groups, given, []() -> double { throw std::logic_error("mine"); }),
                    std::logic_error);
    CHECK(units_of(net, "1") == before);
    using plain = sequence<input<2>, dense<2>>;
    CHECK(message_of<data_error>([] { search::each_layer<network<plain, device::cpu, float>>(0.5); }) ==
          "search: no layer of this network has units::fixed_mask");
}

TEST_CASE("search: the judge of a network draws nothing and takes the statistics of the batch", "[search]") {
    using noisy = sequence<input<2>, dense<9, dropout::bernoulli<0.5>>, batch_norm<>, dense<2>>;
    using plain = sequence<input<2>, dense<9>, batch_norm<>, dense<2>>;
    published p; // for its data
    p.x[0] = 3.0;
    network<noisy, device::cpu, double> a{seed{2}, 3};
    network<plain, device::cpu, double> b{seed{2}, 3};
    training run{a, loss::cross_entropy{}, optimizer::sgd<>{.learning_rate = 0.1}};
    training of_plain{b, loss::cross_entropy{}, optimizer::sgd<>{.learning_rate = 0.1}};
    double const judged = run.judge(p.batch);
    CHECK(judged == of_plain.objective(p.batch));
    CHECK(judged != run.objective(p.batch));
    CHECK(judged != run.evaluate(p.batch)); // a mean of 0 and a variance of 1, which nobody has computed
    CHECK(run.judge(p.batch) == judged);
    CHECK(a.tensor("2.running_variance")(0, 0) == 1.0);
    // A row that does not count is not there.
    p.y[1] = -1;
    double const two = run.judge(p.batch);
    batch_view<double> others = p.batch;
    std::vector<double> const x = {3.0, 0.5, 0.3, -0.8};
    std::vector<std::int32_t> const y = {0, 0};
    others.inputs = {x.data(), 2, 2, 2};
    others.tags.count = 2;
    others.tags.label = y.data();
    CHECK(two == Approx(run.judge(others)).epsilon(1e-14));
}
