// SPDX-License-Identifier: Apache-2.0
// Linear assignment against all permutations, against ties, and with numbers a caller should have refused.
#include <espalier/core/group.hpp>
#include <espalier/core/random.hpp>
#include <espalier/gate/linear_assignment.hpp>

#include <support/catch.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <numeric>
#include <vector>

using namespace espalier;

namespace {

using numbers = std::vector<double>;
using choices = std::vector<std::int32_t>;

std::size_t at(int n, int row, int column) {
    return static_cast<std::size_t>(n) * static_cast<std::size_t>(row) + static_cast<std::size_t>(column);
}

choices identity(int n) {
    choices c(static_cast<std::size_t>(n));
    std::iota(c.begin(), c.end(), 0);
    return c;
}

choices assign(int n, numbers const& gain) {
    // a number past the end of each array shows a write that should not be
    choices c(static_cast<std::size_t>(n) + 1, -7);
    numbers scratch(static_cast<std::size_t>(gate::linear_assignment_scratch(n)) + 1, -7.0);
    gate::linear_assignment(espalier::serial_group{}, n, gain.data(), c.data(), scratch.data());
    REQUIRE(c.back() == -7);
    REQUIRE(scratch.back() == -7.0);
    c.pop_back();
    choices sorted = c;
    std::ranges::sort(sorted);
    REQUIRE(sorted == identity(n));
    return c;
}

double total(int n, numbers const& gain, choices const& c) {
    double sum = 0;
    for (int u = 0; u < n; ++u)
        sum += gain[at(n, u, c[static_cast<std::size_t>(u)])];
    return sum;
}

double best_of_all(int n, numbers const& gain) {
    choices c = identity(n);
    double best = -std::numeric_limits<double>::infinity();
    do
        best = std::max(best, total(n, gain, c));
    while (std::next_permutation(c.begin(), c.end()));
    return best;
}

numbers random_matrix(int n, double low, double high, std::uint64_t stream) {
    numbers m(static_cast<std::size_t>(n) * static_cast<std::size_t>(n));
    fill_uniform(make_site(5, stream), low, high, array_view<double>{m.data(), static_cast<index_t>(m.size())});
    return m;
}

} // namespace

TEST_CASE("a linear assignment is the best of all permutations", "[gate][assignment]") {
    for (int n = 1; n <= 6; ++n)
        for (std::uint64_t trial = 0; trial < 60; ++trial) {
            INFO(n << " rows, trial " << trial);
            numbers const gain = random_matrix(n, -1.0, 1.0, 100 * static_cast<std::uint64_t>(n) + trial);
            REQUIRE(total(n, gain, assign(n, gain)) == Approx(best_of_all(n, gain)).epsilon(1e-13));
        }
}

TEST_CASE("a linear assignment is best among ties", "[gate][assignment]") {
    // small whole numbers: many permutations have the same sum, and sums are exact
    for (int n = 1; n <= 6; ++n)
        for (std::uint64_t trial = 0; trial < 60; ++trial)
            for (double const values : {2.0, 3.0, 5.0}) {
                INFO(n << " rows, trial " << trial << ", " << values << " values");
                numbers gain = random_matrix(n, 0.0, values, 1000 * static_cast<std::uint64_t>(n) + trial);
                for (double& x : gain)
                    x = std::floor(x);
                REQUIRE(total(n, gain, assign(n, gain)) == best_of_all(n, gain));
            }
}

TEST_CASE("a linear assignment finds a hidden permutation", "[gate][assignment]") {
    for (int const n : {1, 2, 17, 64, 200}) {
        choices hidden(static_cast<std::size_t>(n));
        random_permutation(make_site(6, static_cast<std::uint64_t>(n)), array_view<std::int32_t>{hidden.data(), n});
        numbers gain = random_matrix(n, 0.0, 1.0, static_cast<std::uint64_t>(n));
        // prices move every row and column, and leave the best permutation where it is
        for (int u = 0; u < n; ++u) {
            gain[at(n, u, hidden[static_cast<std::size_t>(u)])] += 1.0;
            for (int v = 0; v < n; ++v)
                gain[at(n, u, v)] += 7.0 * std::sin(u) + 9.0 * std::cos(3.0 * v);
        }
        CHECK(assign(n, gain) == hidden);
    }
}

TEST_CASE("a linear assignment of equal entries is the identity", "[gate][assignment]") {
    for (int const n : {1, 2, 5, 16, 40})
        for (double const value : {0.0, 1.0 / 3.0, -2.5, 1e300, 5e-324}) {
            INFO(n << " rows of " << value);
            CHECK(assign(n, numbers(static_cast<std::size_t>(n) * static_cast<std::size_t>(n), value)) == identity(n));
        }
    CHECK(assign(0, {}).empty());
}

TEST_CASE("a linear assignment of numbers that are not finite is some permutation", "[gate][assignment]") {
    double const bad[] = {std::nan(""), std::numeric_limits<double>::infinity(),
                          -std::numeric_limits<double>::infinity()};
    for (int const n : {1, 4, 9})
        for (double const value : bad)
            for (std::uint64_t trial = 0; trial < 20; ++trial) {
                numbers gain = random_matrix(n, -1.0, 1.0, 2000 + trial);
                for (std::size_t i = trial % 3; i < gain.size(); i += 1 + trial % 4)
                    gain[i] = value;
                assign(n, gain); // requires a permutation
            }
}
