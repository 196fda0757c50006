// SPDX-License-Identifier: Apache-2.0
// Random orders and subsets: the same on every system, permutations, and as even as chance is.
#include <espalier/core/random.hpp>
#include <espalier/thrust/random_order.hpp>

#include <support/catch.hpp>
#include <support/thrust_systems.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <map>
#include <numeric>
#include <vector>

using namespace espalier;

namespace {

template <class T = std::int32_t> array_view<T> view_of(std::vector<T>& v) {
    return {v.data(), static_cast<index_t>(v.size())};
}

std::vector<std::int32_t> order_of(random_site const& site, index_t n) {
    std::vector<std::int32_t> order(static_cast<std::size_t>(n), -1);
    random_order(site, view_of(order));
    return order;
}

} // namespace

TEST_CASE("a random order is the same on every system and holds every row once", "[thrust]") {
    for (index_t n : {0, 1, 2, 3, 31, 32, 33, 1000, 70001}) {
        auto const site = make_site(7, 3, static_cast<std::uint64_t>(n));
        auto const expected = order_of(site, n);
        std::vector<std::int32_t> sorted = expected, rows(expected.size());
        std::sort(sorted.begin(), sorted.end());
        std::iota(rows.begin(), rows.end(), 0);
        CHECK(sorted == rows);
        on_every_system([&](auto const& system) {
            std::vector<std::int32_t> order(expected.size(), -1);
            random_order(system, site, view_of(order));
            bool const same = order == expected;
            CHECK(same);
        });
    }
}

TEST_CASE("a random order is that of documented words of Philox", "[thrust]") {
    auto const site = make_site(1, 2, 3);
    auto const order = order_of(site, 100);
    auto const word = [&](std::int32_t row) {
        bits8 const bits = draw(site, static_cast<std::uint32_t>(row / 2), 0);
        return row % 2 == 0 ? std::uint64_t(bits.word[0]) << 32 | bits.word[1]
                            : std::uint64_t(bits.word[2]) << 32 | bits.word[3];
    };
    for (std::size_t i = 1; i < order.size(); ++i)
        CHECK(word(order[i - 1]) < word(order[i]));
    index_t const far = 3 * (index_t(1) << 33) + 1;
    bits8 const bits = draw(site, 0, 3); // the pair 3 * 2^32
    CHECK(order_word{site}(far) == (std::uint64_t(bits.word[2]) << 32 | bits.word[3]));
}

TEST_CASE("every random order is as likely as any other", "[thrust]") {
    std::map<std::vector<std::int32_t>, int> seen;
    for (std::uint64_t seed = 0; seed < 24000; ++seed)
        ++seen[order_of(make_site(seed, 0), 4)];
    CHECK(seen.size() == 24);
    double chi = 0.0;
    for (auto const& [order, count] : seen)
        chi += (count - 1000.0) * (count - 1000.0) / 1000.0;
    CHECK(chi < 49.7); // 23 degrees of freedom, one in a thousand
}

TEST_CASE("a random subset is the beginning of the random order, ascending, on every system", "[thrust]") {
    for (index_t n : {0, 1, 5, 33, 3000}) {
        auto const site = make_site(11, 3, static_cast<std::uint64_t>(n));
        auto const order = order_of(site, n);
        for (index_t k : {index_t(0), index_t(1), n / 10, n / 2, n - 1, n}) {
            if (k < 0 || k > n) continue;
            std::vector<std::int32_t> expected(order.begin(), order.begin() + k);
            std::sort(expected.begin(), expected.end());
            INFO(k << " of " << n);
            std::vector<std::int32_t> subset(expected.size(), -1), by_no_bound(expected.size(), -1);
            random_subset(site, n, view_of(subset));
            CHECK(subset == expected);
            detail::subset_of_words_up_to(0, site, n, view_of(by_no_bound)); // as if too few words were below the bound
            CHECK(by_no_bound == expected);
            on_every_system([&](auto const& system) {
                std::vector<std::int32_t> ours(expected.size(), -1), unbound(expected.size(), -1);
                random_subset(system, site, n, view_of(ours));
                bool const same = ours == expected;
                CHECK(same);
                detail::subset_of_words_up_to(0, system, site, n, view_of(unbound));
                bool const unbound_same = unbound == expected;
                CHECK(unbound_same);
            });
        }
    }
}

TEST_CASE("a random subset that there is not, and rows that do not fit, are refused", "[thrust]") {
    std::vector<std::int8_t> few(129, -1);
    std::vector<std::int32_t> subset(3, -1);
    on_every_system([&](auto const& system) {
        CHECK_THROWS_WITH(random_subset(system, make_site(1, 1), 2, view_of(subset)),
                          "random_subset: 3 of 2 rows were asked for");
        CHECK_THROWS_AS(random_order(system, make_site(1, 1), view_of(few)), data_error);
    });
    CHECK_THROWS_WITH(random_order(make_site(1, 1), view_of(few)),
                      "random_order: 129 rows do not fit numbers up to 127");
    CHECK_THROWS_AS(random_subset(make_site(1, 1), 129, array_view<std::int8_t>{few.data(), 3}), data_error);
    CHECK(few == std::vector<std::int8_t>(129, -1));
    CHECK(subset == std::vector<std::int32_t>(3, -1));
    few.pop_back();
    CHECK_NOTHROW(random_order(make_site(1, 1), view_of(few)));
}
