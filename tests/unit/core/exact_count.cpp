// SPDX-License-Identifier: Apache-2.0
// Counts and places made of decimal numbers, against arithmetic with whole numbers.
#include <espalier/batch/cutmix.hpp>
#include <espalier/core/exact_count.hpp>
#include <espalier/core/random.hpp>
#include <espalier/gate/by_range.hpp>
#include <espalier/gate/dispatch.hpp>
#include <espalier/gate/expert_choice.hpp>
#include <espalier/gate/local_search.hpp>
#include <espalier/gate/top_k.hpp>
#include <espalier/prune/select.hpp>
#include <espalier/schedule/linear.hpp>
#include <espalier/weight/low_rank.hpp>

#include <support/catch.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <utility>

using namespace espalier;

namespace {

/// The double that a compiler makes of the text of n / 10^places.
double written(index_t n, int places) {
    std::string text = std::to_string(n);
    text.insert(0,
                text.size() <= static_cast<std::size_t>(places) ? static_cast<std::size_t>(places) + 1 - text.size()
                                                                : std::size_t(0),
                '0');
    text.insert(text.size() - static_cast<std::size_t>(places), ".");
    return std::strtod(text.c_str(), nullptr);
}

/// Whether all three functions give for the factor `digits` / `scale`, as the double `factor`, what whole numbers give.
bool all_exact(double factor, index_t digits, index_t scale, index_t count, index_t parts) {
    index_t const dividend = digits * count, divisor = scale * parts;
    return floor_of_product(factor, count, parts) == dividend / divisor &&
           ceil_of_product(factor, count, parts) == (dividend + divisor - 1) / divisor &&
           round_of_product(factor, count, parts) == (2 * dividend + divisor) / (2 * divisor);
}

template <index_t... Hundredths> int wrong_capacities(std::integer_sequence<index_t, Hundredths...>) {
    int wrong = 0;
    auto const check = [&]<index_t N>(std::integral_constant<index_t, N>) {
        // The quotient of two whole numbers below 2^53 is the double nearest to it: what the literal gives.
        constexpr double factor = static_cast<double>(N + 50) / 100.0;
        auto const up = [](index_t rows, index_t experts) {
            return ((N + 50) * rows + 100 * experts - 1) / (100 * experts);
        };
        for (index_t rows = 1; rows <= 400; rows += rows < 130 ? 1 : 27) {
            for (index_t experts : {1, 2, 3, 5, 8, 60, 64})
                for (index_t slots : {1, 2})
                    wrong += dispatch::capacity<factor>::capacity_of(slots, rows, experts) != up(slots * rows, experts);
            wrong += gate::expert_choice<2, factor>::rows_of_expert(rows) != std::min(rows, up(rows, 2));
            wrong += gate::expert_choice<7, factor>::rows_of_expert(rows) != std::min(rows, up(rows, 7));
        }
        for (index_t slots = 1; slots <= 10; ++slots)
            wrong += dispatch::capacity_per_row<dispatch::capacity<factor>>(slots) != up(slots, 1);
    };
    (check(std::integral_constant<index_t, Hundredths>{}), ...);
    return wrong;
}

} // namespace

TEST_CASE("products of decimal numbers are counted exactly", "[core]") {
    CHECK(ceil_of_product(1.1, 100, 2) == 55);
    CHECK(floor_of_product(0.29, 100) == 29);
    CHECK(round_of_product(0.45, 10) == 5);
    CHECK(round_of_product(0.145, 1000, 2) == 73); // 72.5 goes up
    CHECK(floor_of_product(0.0, 1000) == 0);
    CHECK(ceil_of_product(0.0, 1000) == 0);
    CHECK(ceil_of_product(1e-300, 1000) == 1);
    CHECK(ceil_of_product(0.000001, 1000000) == 1);
    CHECK(floor_of_product(999999.5, 2) == 1999999);
    CHECK(floor_of_product(0.5, index_t(1) << 52) == index_t(1) << 51);
    STATIC_REQUIRE(ceil_of_product(1.1, 100, 2) == 55);
    int wrong = 0;
    for (index_t digits = 0; digits <= 1000; ++digits)
        for (index_t count = 0; count <= 300; ++count)
            for (index_t parts : {1, 2, 7, 64}) {
                wrong += !all_exact(written(digits, 2), digits, 100, count, parts);
                wrong += !all_exact(written(digits, 3), digits, 1000, count, parts);
            }
    CHECK(wrong == 0);
    // Many digits, at the count where the next one would change the result.
    for (int places = 4; places <= 15; ++places) {
        index_t scale = 1;
        for (int i = 0; i < places; ++i)
            scale *= 10;
        for (index_t digits : {index_t(1), scale / 3, scale / 7, scale / 2 + 1, scale - 1}) {
            INFO(digits << " / " << scale);
            CHECK(all_exact(written(digits, places), digits, scale, 1000, 1));
            if (scale < 1000000000) CHECK(all_exact(written(digits, places), digits, scale, scale, 1));
        }
    }
}

TEST_CASE("floats stand for their decimal numbers too", "[core]") {
    CHECK(ceil_of_product(static_cast<double>(1.1f), 100, 2) == 55);
    CHECK(round_of_product(static_cast<double>(0.45f), 10) == 5);
    CHECK(floor_of_product(static_cast<double>(0.7f), 10) == 7);
}

TEST_CASE("thirds and what a schedule computed are whole where they should be", "[core]") {
    int wrong = 0;
    for (index_t divisor : {3, 6, 7, 9, 11, 13, 49, 97, 1000003})
        for (index_t dividend = 1; dividend < 3 * divisor && dividend < 400; ++dividend) {
            double const share = static_cast<double>(dividend) / static_cast<double>(divisor);
            for (double const factor : {std::nextafter(share, 0.0), share, std::nextafter(share, 10.0)})
                for (index_t count = 0; count <= 300; count += 3)
                    for (index_t parts : {1, 2, 5})
                        wrong += !all_exact(factor, dividend, divisor, count, parts);
        }
    CHECK(wrong == 0);
    CHECK(ceil_of_product(1.0 / 3, 300) == 100);
    CHECK(floor_of_product(1.0 / 3, 300) == 100);
    CHECK(ceil_of_product(1.0 / 3, 301) == 101);
    CHECK(floor_of_product(1.0 / 3, 299) == 99);
}

TEST_CASE("capacities and chosen rows are the exact ones", "[core][gate]") {
    CHECK(dispatch::capacity<1.1>::capacity_of(1, 100, 2) == 55);
    CHECK(dispatch::capacity<1.1>::capacity_of(2, 50, 2) == 55);
    CHECK(dispatch::capacity<1.1>::capacity_of(1, 101, 2) == 56);
    CHECK(dispatch::capacity<1.0 / 3>::capacity_of(1, 300, 1) == 100);
    CHECK(dispatch::capacity<1.1>::capacity_of(1, 1, 64) == 1);
    CHECK(dispatch::capacity_per_row<dispatch::capacity<1.1>>(10) == 11);
    CHECK(gate::expert_choice<2, 1.1>::rows_of_expert(100) == 55);
    CHECK(gate::expert_choice<2, 1.1>::rows_of_expert(101) == 56);
    CHECK(wrong_capacities(std::make_integer_sequence<index_t, 160>{}) == 0);
}

TEST_CASE("as many weights stay as the decimal sparsity says", "[core][prune]") {
    int wrong = 0;
    for (index_t thousandths = 0; thousandths <= 1000; ++thousandths)
        for (index_t n = 0; n <= 1000; ++n) {
            index_t const expected = n - (2 * thousandths * n + 1000) / 2000;
            wrong += prune::kept_count(n, written(thousandths, 3)) != expected;
        }
    CHECK(wrong == 0);
    // A schedule's number: every share of the way in floating point, against the quotient.
    for (index_t steps : {7, 30, 100, 120})
        for (index_t t = 0; t <= steps; ++t)
            for (index_t n : {50, 300, 500, 1024}) {
                double const share = 0.9 * (static_cast<double>(t) / static_cast<double>(steps));
                wrong += prune::kept_count(n, share) != n - (2 * 9 * t * n + 10 * steps) / (20 * steps);
            }
    CHECK(wrong == 0);
}

TEST_CASE("ranges begin where their decimal bounds do", "[core][gate]") {
    using tenths_ranges = gate::equal_ranges<10, 0.0, 1.0>;
    constexpr auto tenths = tenths_ranges::at(espalier::clock{});
    using cents_ranges = gate::equal_ranges<100, -0.3, 0.7>;
    constexpr auto cents = cents_ranges::at(espalier::clock{});
    using wide_ranges = gate::equal_ranges<7, 0.1, 1000000.1>;
    constexpr auto wide = wide_ranges::at(espalier::clock{});
    using thirds_ranges = gate::equal_ranges<3, 0.0, 1.0>;
    constexpr auto thirds = thirds_ranges::at(espalier::clock{});
    int wrong = 0;
    for (index_t n = 0; n <= 1000; ++n) {
        int const tenth = n == 1000 ? 9 : static_cast<int>(n / 100);
        double const v = written(n, 3);
        wrong += tenths.range_of(v) != tenth;
        wrong += tenths.range_of<float>(static_cast<double>(static_cast<float>(v))) != tenth;
        double const w = n < 300 ? -written(300 - n, 3) : written(n - 300, 3);
        int const cent = n == 1000 ? 99 : static_cast<int>(n / 10);
        wrong += cents.range_of(w) != cent;
        wrong += cents.range_of<float>(static_cast<double>(static_cast<float>(w))) != cent;
    }
    CHECK(wrong == 0);
    CHECK(tenths.range_of(std::nextafter(0.3, 0.0)) == 2);
    CHECK(tenths.range_of(std::nextafter(0.0, -1.0)) == -1);
    CHECK(tenths.range_of(std::nextafter(1.0, 2.0)) == -1);
    CHECK(thirds.range_of(1.0 / 3) == 1);
    CHECK(thirds.range_of(2.0 / 3) == 2);
    CHECK(thirds.range_of(std::nextafter(1.0 / 3, 0.0)) == 0);
    CHECK(wide.range_of(0.1) == 0);
    CHECK(wide.range_of(1000000.1) == 6);
    using given_ranges = gate::ranges_between<0.1, 0.7, 1.3>;
    constexpr auto given = given_ranges::at(espalier::clock{});
    // As doubles, the floats 0.1 and 1.3 are above what is written there and 0.7 is below.
    CHECK(given.range_of<float>(static_cast<double>(0.1f)) == 0);
    CHECK(given.range_of<float>(static_cast<double>(0.7f)) == 1);
    CHECK(given.range_of<float>(static_cast<double>(1.3f)) == 1);
    CHECK(given.range_of<float>(static_cast<double>(std::nextafter(1.3f, 2.0f))) == -1);
    rows batch;
    batch.count = 1;
    float const seven = 0.7f;
    double const wide_seven = 0.7;
    CHECK(gate::by_range<tenths_ranges>::at({}).expert(batch, 0, &seven, static_cast<float const*>(nullptr)) == 7);
    CHECK(gate::by_range<tenths_ranges>::at({}).expert(batch, 0, &wide_seven, static_cast<double const*>(nullptr)) ==
          7);
}

TEST_CASE("points between two decimal numbers are the nearest doubles", "[core]") {
    int wrong = 0;
    for (index_t part = 0; part <= 1000; ++part) {
        wrong += point_between(0.0, 1.0, part, 1000) != written(part, 3);
        wrong +=
            point_between(-0.7, 0.3, part, 1000) != (part < 700 ? -written(700 - part, 3) : written(part - 700, 3));
        wrong += point_between(0.0, 10.0, part, 10000) != written(part, 3);
    }
    CHECK(wrong == 0);
    CHECK(point_between(0.0, 1.0, 1, 3) == 1.0 / 3);
    CHECK(point_between(0.0, 1.0, 2, 3) == 2.0 / 3);
    CHECK(point_between(0.5, 12345678901234.5, 1, 2) == 6172839450617.5);
    CHECK(point_between(0.0, 12345678901234.0, 1, 4) == 3086419725308.5);
    CHECK(point_between(1e-300, 1e300, 0, 2) == 1e-300);
    CHECK(point_between(1e-300, 1e300, 2, 2) == 1e300);
}

TEST_CASE("ranks, iterations, boxes and drop thresholds are whole where they should be", "[core]") {
    using falling = weight::low_rank<64, schedule::linear{.from = 64.0, .to = 1.0, .steps = 126}>;
    for (std::uint64_t t = 0; t <= 126; ++t) // 64 - t / 2, halves up
        CHECK(falling::rank(espalier::clock{.step = t}) == static_cast<index_t>((129 - t) / 2));

    using searched =
        gate::local_search<gate::top_k<4, 2>, gate::search{.steps = 49, .first_iterations = 1, .last_iterations = 50}>;
    for (int t = 0; t < 49; ++t) // one more at every step
        CHECK(searched::at(espalier::clock{.step = static_cast<std::uint64_t>(t)}).iterations == t + 2);

    int wrong = 0;
    for (index_t hundredths = 0; hundredths <= 100; ++hundredths)
        for (index_t size = 1; size <= 256; ++size) {
            auto const box = batch::make_cutmix_box(2 * size, 2, written(hundredths, 2), size, 1);
            index_t side = 0; // floor(2 size sqrt(1 - share))
            while (100 * (side + 1) * (side + 1) <= (100 - hundredths) * 4 * size * size)
                ++side;
            wrong += box.y2 - box.y1 != 2 * (side / 2);
        }
    CHECK(wrong == 0);
    for (index_t n = 0; n <= 100000; ++n)
        wrong += quantise(written(n, 5)).threshold != static_cast<std::uint32_t>((2 * 65536 * n + 100000) / 200000);
    CHECK(wrong == 0);
}
