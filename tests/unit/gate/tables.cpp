// SPDX-License-Identifier: Apache-2.0
// Tables of hash routing: published numbers, the promises of each table, and bad input.
#include <espalier/core/error.hpp>
#include <espalier/core/random.hpp>
#include <espalier/gate/tables.hpp>

#include <support/catch.hpp>
#include <support/message_of.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <set>
#include <string>
#include <vector>

using namespace espalier;

namespace {

using table = std::vector<std::int32_t>;
using counts = std::vector<std::uint64_t>;

std::vector<index_t> loads_of(table const& t, int experts) {
    std::vector<index_t> loads(static_cast<std::size_t>(experts));
    for (std::int32_t const e : t) {
        REQUIRE(e >= 0);
        REQUIRE(e < experts);
        ++loads[static_cast<std::size_t>(e)];
    }
    return loads;
}

matrix_view<float const> view(std::vector<float> const& values, index_t columns) {
    return contiguous_view(values.data(), static_cast<index_t>(values.size()) / columns, columns);
}

/// The squared distance of point i to the mean of the keys of expert e, and the sum over all keys to their own means.
struct clustering {
    matrix_view<float const> points;
    table const& experts_of;
    int experts;

    double distance(index_t i, int e) const {
        double sum = 0;
        for (index_t j = 0; j < points.columns; ++j) {
            double mean = 0, members = 0;
            for (index_t k = 0; k < points.rows; ++k)
                if (experts_of[static_cast<std::size_t>(k)] == e) {
                    mean += static_cast<double>(points(k, j));
                    ++members;
                }
            double const d = static_cast<double>(points(i, j)) - mean / members;
            sum += d * d;
        }
        return sum;
    }
    double spread() const {
        double sum = 0;
        for (index_t i = 0; i < points.rows; ++i)
            sum += distance(i, experts_of[static_cast<std::size_t>(i)]);
        return sum;
    }
};

} // namespace

TEST_CASE("a random table is uniform and depends on key and seed alone", "[gate][tables]") {
    int const experts = 7;
    table const t = gate::random_table(70000, experts, 3);
    REQUIRE(t.size() == 70000);
    double chi_squared = 0;
    for (index_t const load : loads_of(t, experts))
        chi_squared += std::pow(static_cast<double>(load) - 10000.0, 2) / 10000.0;
    CHECK(chi_squared < 22.5); // 6 degrees of freedom: 1 in 1000
    CHECK(chi_squared > 0.0);
    CHECK(gate::random_table(70000, experts, 3) == t);
    CHECK(gate::random_table(70000, experts, 4) != t);
    table const shorter = gate::random_table(100, experts, 3);
    CHECK(std::ranges::equal(shorter, table(t.begin(), t.begin() + 100)));
    CHECK(gate::random_table(5, 1, 9) == table(5, 0));
    // neighbours are independent: all pairs occur about equally often
    double pairs = 0;
    std::vector<double> seen(49);
    for (std::size_t i = 0; i + 1 < t.size(); i += 2)
        ++seen[static_cast<std::size_t>(t[i] * 7 + t[i + 1])];
    for (double const n : seen)
        pairs += std::pow(n - 35000.0 / 49.0, 2) / (35000.0 / 49.0);
    CHECK(pairs < 84.0); // 48 degrees of freedom: 1 in 1000
}

TEST_CASE("numbers below a bound draw again where the product would be uneven", "[gate][tables]") {
    // 2^32 is no multiple of 3 * 2^30: one word in four has to be refused
    random_site const site = make_site(1, 2);
    std::uint32_t const bound = 3u << 30;
    int thirds[3] = {}, redrawn = 0;
    for (std::uint64_t place = 0; place < 3000; ++place) {
        std::uint32_t const x = gate::detail::exactly_below(bound, site, place);
        REQUIRE(x < bound);
        ++thirds[x >> 30];
        bits8 const bits = draw(site, static_cast<std::uint32_t>(place), 0);
        redrawn += x != below(bound, bits.word[0]) ? 1 : 0;
    }
    for (int const n : thirds)
        CHECK(std::abs(n - 1000) < 100);
    CHECK(std::abs(redrawn - 750) < 100);
}

TEST_CASE("a balanced table gives the published one", "[gate][tables]") {
    CHECK(gate::balanced_table(counts{50, 30, 20, 15, 10, 5}, 3) == table{0, 1, 2, 2, 1, 2});
    // the same counts in another order, and ties: the lower key first, the lowest expert first
    CHECK(gate::balanced_table(counts{5, 20, 50, 10, 30, 15}, 3) == table{2, 2, 0, 1, 1, 2});
    CHECK(gate::balanced_table(counts{4, 4, 4, 4, 4}, 2) == table{0, 1, 0, 1, 0});
    table const in_turn = gate::balanced_table(counts(200, 6), 7);
    for (std::size_t key = 0; key < in_turn.size(); ++key)
        REQUIRE(in_turn[key] == static_cast<std::int32_t>(key % 7));
    CHECK(gate::balanced_table(counts{9, 2}, 5) == table{0, 1});
    CHECK(gate::balanced_table(counts{9, 2, 4}, 1) == table{0, 0, 0});
    CHECK(gate::balanced_table(counts{0, 3, 0}, 2) == table{1, 0, 1});
}

TEST_CASE("a balanced table keeps the loads close", "[gate][tables]") {
    counts zipf;
    for (std::uint64_t key = 0; key < 5000; ++key)
        zipf.push_back(100000 / (key + 20) + 1);
    table const t = gate::balanced_table(zipf, 16);
    counts loads(16);
    for (std::size_t key = 0; key < t.size(); ++key)
        loads[static_cast<std::size_t>(t[key])] += zipf[key];
    // the last keys fill the gaps: what is left is their size
    CHECK(std::ranges::max(loads) - std::ranges::min(loads) <= zipf.back());
}

TEST_CASE("a clustered table finds clusters", "[gate][tables]") {
    int const experts = 5, size = 40;
    index_t const columns = 11;
    std::vector<double> noise(static_cast<std::size_t>(experts * size * columns));
    fill_normal(make_site(2, 1), 0.0, 0.1, array_view<double>{noise.data(), static_cast<index_t>(noise.size())});
    std::vector<float> points;
    for (index_t i = 0; i < experts * size; ++i)
        for (index_t j = 0; j < columns; ++j) // cluster i % 5 lies at 3 in column i % 5
            points.push_back(
                static_cast<float>(noise[static_cast<std::size_t>(i * columns + j)] + (i % experts == j ? 3.0 : 0.0)));
    for (std::uint64_t seed = 0; seed < 4; ++seed) {
        table const t = gate::clustered_table(view(points, columns), experts, seed);
        REQUIRE(t.size() == static_cast<std::size_t>(experts * size));
        CHECK(std::set<std::int32_t>(t.begin(), t.begin() + experts).size() == experts);
        for (std::size_t i = experts; i < t.size(); ++i)
            REQUIRE(t[i] == t[i - experts]);
        CHECK(gate::clustered_table(view(points, columns), experts, seed) == t);
    }
}

TEST_CASE("a clustered table is a fixed point of k-means", "[gate][tables]") {
    index_t const rows = 300, columns = 3;
    std::vector<float> points(static_cast<std::size_t>(rows * columns));
    fill_uniform(make_site(8, 1), 0.0, 1.0, array_view<float>{points.data(), rows * columns});
    int const experts = 12;
    table const t = gate::clustered_table(view(points, columns), experts, 1, 1000);
    clustering const c{view(points, columns), t, experts};
    for (index_t i = 0; i < rows; i += 3)
        for (int e = 0; e < experts; ++e)
            REQUIRE(c.distance(i, t[static_cast<std::size_t>(i)]) <= c.distance(i, e) + 1e-9);
    CHECK(std::ranges::min(loads_of(t, experts)) > 0);

    // rounds lower the spread; a stride that is larger than the width is respected
    table const none = gate::clustered_table(view(points, columns), experts, 1, 0);
    table const one = gate::clustered_table(view(points, columns), experts, 1, 1);
    clustering const c0{view(points, columns), none, experts}, c1{view(points, columns), one, experts};
    CHECK(c1.spread() < c0.spread());
    CHECK(c.spread() < c1.spread());
    std::vector<float> wide(static_cast<std::size_t>(rows * 5), -77.0f);
    for (index_t i = 0; i < rows; ++i)
        std::copy_n(points.begin() + i * columns, columns, wide.begin() + i * 5);
    CHECK(gate::clustered_table(matrix_view<float const>{wide.data(), rows, columns, 5}, experts, 1, 1000) == t);
}

TEST_CASE("a clustered table leaves no expert empty while points differ", "[gate][tables]") {
    SECTION("as many experts as different points, each point many times") {
        std::vector<float> points;
        for (int i = 0; i < 60; ++i)
            points.push_back(static_cast<float>(i % 6 * (i % 6)));
        for (std::uint64_t seed = 0; seed < 20; ++seed) {
            table const t = gate::clustered_table(view(points, 1), 6, seed);
            CHECK(std::ranges::equal(loads_of(t, 6), std::vector<index_t>(6, 10)));
        }
    }
    SECTION("a centre that loses its points takes the farthest one") {
        // the middle centre of three is left behind
        std::vector<float> const points{0, 1, 2, 10, 50};
        gate::detail::k_means means(view(points, 1));
        means.add_centre(0);
        means.add_centre(4);
        means.add_centre(1);
        means.centre(2)[0] = 1000.0;
        means.assign();
        CHECK(means.table == table{0, 0, 0, 0, 1});
        means.fill_empty();
        CHECK(means.table == table{0, 0, 0, 2, 1});
        CHECK(means.members == std::vector<index_t>{3, 1, 1});
    }
    SECTION("a point that stands alone keeps its cluster, however far it is from the centre") {
        std::vector<float> const points{0, 1, 50};
        gate::detail::k_means means(view(points, 1));
        means.add_centre(0);
        means.add_centre(2);
        means.add_centre(1);
        means.centre(1)[0] = 45.0;
        means.centre(2)[0] = 1000.0;
        means.assign();
        CHECK(means.table == table{0, 0, 1});
        means.fill_empty();
        CHECK(means.table == table{0, 2, 1});
    }
    SECTION("fewer different points than experts: the rest stays empty") {
        std::vector<float> const points{1, 1, 2, 2, 2, 1};
        table const t = gate::clustered_table(view(points, 1), 4, 5);
        auto loads = loads_of(t, 4);
        CHECK(t[0] != t[2]);
        CHECK(t == table{t[0], t[0], t[2], t[2], t[2], t[0]});
        CHECK(std::ranges::count(loads, 0) == 2);
        CHECK(gate::clustered_table(view({3.5f}, 1), 4, 5) == table{0});
    }
    SECTION("one expert") {
        std::vector<float> const points{1, 5, 9};
        CHECK(gate::clustered_table(view(points, 1), 1, 5) == table{0, 0, 0});
    }
}

TEST_CASE("a dispersed table spreads every cluster and balances the experts", "[gate][tables]") {
    CHECK(gate::dispersed_table(table{0, 0, 0, 1, 1, 1}, 3) == table{0, 1, 2, 0, 1, 2});
    CHECK(gate::dispersed_table(table{5, 0, 5, 0, 5}, 2) == table{0, 0, 1, 1, 0}); // keys 1 3 | 0 2 4
    table const in_turn = gate::dispersed_table(table(200, 3), 7); // one cluster: the keys in their order
    for (std::size_t key = 0; key < in_turn.size(); ++key)
        REQUIRE(in_turn[key] == static_cast<std::int32_t>(key % 7));
    table clusters;
    for (std::uint32_t key = 0; key < 1000; ++key)
        clusters.push_back(static_cast<std::int32_t>(draw(make_site(4, 4), key, 0).word[0] % 37 * 1000));
    int const experts = 8;
    table const t = gate::dispersed_table(clusters, experts);
    auto const loads = loads_of(t, experts);
    CHECK(std::ranges::max(loads) - std::ranges::min(loads) <= 1);
    for (std::int32_t const cluster : std::set<std::int32_t>(clusters.begin(), clusters.end())) {
        std::vector<index_t> shares(experts);
        for (std::size_t key = 0; key < t.size(); ++key)
            if (clusters[key] == cluster) ++shares[static_cast<std::size_t>(t[key])];
        CHECK(std::ranges::max(shares) - std::ranges::min(shares) <= 1);
    }
}

TEST_CASE("tables refuse bad input with a sentence", "[gate][tables]") {
    std::vector<float> points{1, 2, 3, 4, 5, 6};
    table const clusters{0, 1, 2};
    for (int const experts : {0, -3}) {
        std::string const wanted = "was given " + std::to_string(experts) + " experts; at least one is needed";
        CHECK(message_of<data_error>([&] { gate::random_table(4, experts, 1); }) == "gate::random_table " + wanted);
        CHECK(message_of<data_error>([&] {
                  gate::balanced_table(counts{1, 2}, experts);
              }) == "gate::balanced_table " + wanted);
        CHECK(message_of<data_error>([&] { gate::clustered_table(view(points, 2), experts, 1); }) ==
              "gate::clustered_table " + wanted);
        CHECK(message_of<data_error>([&] { gate::dispersed_table(clusters, experts); }) ==
              "gate::dispersed_table " + wanted);
    }
    CHECK(message_of<data_error>([] { gate::random_table(0, 2, 1); }) ==
          "gate::random_table was given no keys; at least one is needed");
    CHECK_THROWS_AS(gate::random_table(-5, 2, 1), data_error);
    CHECK(message_of<data_error>([] { gate::balanced_table({}, 2); }) ==
          "gate::balanced_table was given no counts; at least one is needed");
    CHECK(message_of<data_error>([] { gate::clustered_table({}, 2, 1); }) ==
          "gate::clustered_table was given no points; at least one is needed");
    CHECK_THROWS_AS(gate::clustered_table(matrix_view<float const>{points.data(), 6, 0, 1}, 2, 1), data_error);
    CHECK(message_of<data_error>([] { gate::dispersed_table({}, 2); }) ==
          "gate::dispersed_table was given no clusters; at least one is needed");

    std::uint64_t const most = std::numeric_limits<std::uint64_t>::max();
    CHECK_THROWS_AS(gate::balanced_table(counts{most, 1}, 2), data_error);
    CHECK(gate::balanced_table(counts{most, 0}, 2) == table{0, 1});
    CHECK_THROWS_AS(gate::clustered_table(view(points, 2), 2, 1, -1), data_error);
    for (float const bad : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
        points[3] = bad;
        CHECK_THAT(message_of<data_error>([&] { gate::clustered_table(view(points, 2), 2, 1); }),
                   contains_text("in row 1, column 1"));
    }
    CHECK(message_of<data_error>([] {
              gate::dispersed_table(table{3, -2}, 2);
          }) == "gate::dispersed_table was given cluster -2 for key 1; clusters are 0 or more");
}
