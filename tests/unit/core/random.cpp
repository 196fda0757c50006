// SPDX-License-Identifier: Apache-2.0
// The random layout is a promise: these tests hold it fixed, compare the fast path with the definition bit by bit, and
// look at the statistics along every direction of the counter.
#include <support/catch.hpp>

#include <espalier/core/random.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <set>
#include <vector>

using namespace espalier;

namespace {

/// Chi-square of 16-bit decisions in 256 cells by their upper or lower byte: 255 degrees of freedom, deviation 22.6.
template <class Next> double chi_square(long count, Next next, int shift) {
    std::vector<double> cells(256, 0.0);
    for (long i = 0; i < count; ++i)
        cells[(next(i) >> shift) & 0xff] += 1;
    double const expected = static_cast<double>(count) / 256;
    double sum = 0;
    for (double c : cells)
        sum += (c - expected) * (c - expected) / expected;
    return sum;
}

/// Correlation of neighbours, in standard deviations of that of independent numbers.
template <class Next> double correlation(long count, Next next) {
    double sum = 0;
    double last = (next(0) - 32767.5) / 18918.6;
    for (long i = 1; i < count; ++i) {
        double const x = (next(i) - 32767.5) / 18918.6;
        sum += x * last;
        last = x;
    }
    return sum / std::sqrt(static_cast<double>(count - 1));
}

/// Set bits of neighbours' exclusive or, in standard deviations.
template <class Next> double bit_flips(long count, Next next) {
    long flips = 0;
    for (long i = 1; i < count; ++i)
        flips += __builtin_popcount(next(i) ^ next(i - 1));
    double const n = 16.0 * static_cast<double>(count - 1);
    return (static_cast<double>(flips) - n / 2) / std::sqrt(n / 4);
}

template <class Next> void check_statistics(char const* direction, Next next) {
    INFO(direction);
    constexpr long count = 1 << 16;
    CHECK(std::fabs(chi_square(count, next, 8) - 255) < 5 * 22.6);
    CHECK(std::fabs(chi_square(count, next, 0) - 255) < 5 * 22.6);
    CHECK(std::fabs(correlation(count, next)) < 5);
    CHECK(std::fabs(bit_flips(count, next)) < 5);
}

} // namespace

TEST_CASE("Philox gives the published words at run time too", "[core][random]") {
    volatile std::uint32_t key = 0xa4093822; // keeps the compiler from computing the answer
    philox_words const counter{{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}};
    CHECK(philox4x32<10>(counter, key, 0x299f31d0) == philox_words{{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}});
    CHECK(philox4x32<7>(counter, key, 0x299f31d0) == philox_words{{0x4dfccaba, 0x190a87f0, 0xc47362ba, 0xb6b5242a}});
}

TEST_CASE("the layout of draws does not change", "[core][random]") {
    random_site const site{0xa4093822, 0x299f31d0, 0x13198a2e, 0x03700000};
    bits8 const bits = draw(site, 0x243f6a88, 0x85a308d3, 0x7344);
    CHECK(bits == bits8{{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}});
    std::uint32_t const expected[8] = {0xfe09, 0xd16c, 0xcceb, 0x94fd, 0xe420, 0x5001, 0x6ea1, 0x2412};
    for (int j = 0; j < 8; ++j)
        CHECK(bits[j] == expected[j]);

    random_site const made = make_site(42, 7, 5, 3);
    CHECK(made.step == 5);
    CHECK(made.pass == 3u << 16);
    // splitmix64 of seed 0 starts with e220a8397b1dcdaf: the inner finaliser of seed 0
    CHECK(detail::mix64(0x9e3779b97f4a7c15u) == 0xe220a8397b1dcdafu);
    for (std::uint64_t z : {std::uint64_t{0}, std::uint64_t{1}, ~std::uint64_t{0}, std::uint64_t{0x0123456789abcdef}})
        CHECK(detail::unmix64(detail::mix64(z)) == z);
    for (std::uint64_t later : {0, 1, 4, 511 * 12})
        CHECK(later_stream(make_site(77, 9, 5, 3), later) == make_site(77, 9 + later, 5, 3));
    CHECK(make_site(0, 0).key0 == 0x4d197e6fu);
    CHECK(make_site(0, 0).key1 == 0xa706dd2fu);
    CHECK(made.key0 == 0xcc48678eu);
    CHECK(made.key1 == 0xbc16a3d4u);
}

TEST_CASE("seeds and streams have keys of their own", "[core][random]") {
    std::set<std::uint64_t> keys;
    for (std::uint64_t seed = 0; seed < 64; ++seed)
        for (std::uint64_t stream = 0; stream < 256; ++stream) {
            random_site const s = make_site(seed, stream);
            keys.insert((std::uint64_t(s.key1) << 32) | s.key0);
        }
    CHECK(keys.size() == 64 * 256);
}

TEST_CASE("fill_bits equals draw bit by bit", "[core][random]") {
    std::vector<std::uint32_t> origin(40);
    for (std::size_t i = 0; i < origin.size(); ++i)
        origin[i] = static_cast<std::uint32_t>((i * 2654435761u) >> (i % 3));
    constexpr std::uint16_t guard = 0xabcd;
    long wrong = 0, spilled = 0;
    for (index_t blocks : {0, 1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33, 64, 67})
        for (index_t count : {0, 1, 2, 3, 5, 8, 13, 33}) {
            random_site const site =
                make_site(9, static_cast<std::uint64_t>(blocks), static_cast<std::uint64_t>(count), 2);
            std::uint32_t const first_row = 0xfffffff0u, first_block = 11; // rows wrap
            auto const size = static_cast<std::size_t>(blocks * count * 8);
            std::vector<std::uint16_t> consecutive(size + 1, guard), anywhere(size + 1, guard), seven(size + 1, guard),
                batch(size + 1, guard);
            fill_bits(site, first_row, count, first_block, blocks, consecutive.data());
            fill_bits(site, origin.data(), count, first_block, blocks, anywhere.data());
            fill_bits<7>(site, first_row, count, first_block, blocks, seven.data());
            rows r;
            r.count = count;
            r.origin = origin.data();
            fill_bits(site, r, first_block, blocks, batch.data());
            for (index_t i = 0; i < count; ++i)
                for (index_t b = 0; b < blocks; ++b) {
                    auto const column = first_block + static_cast<std::uint32_t>(b);
                    std::uint32_t const row = first_row + static_cast<std::uint32_t>(i);
                    bits8 const a = draw(site, row, column), c = draw<7>(site, row, column),
                                o = draw(site, origin[static_cast<std::size_t>(i)], column);
                    for (int j = 0; j < 8; ++j) {
                        auto const at = static_cast<std::size_t>((i * blocks + b) * 8 + j);
                        wrong += consecutive[at] != a[j];
                        wrong += anywhere[at] != o[j];
                        wrong += batch[at] != o[j];
                        wrong += seven[at] != c[j];
                    }
                }
            spilled += consecutive[size] != guard || anywhere[size] != guard || seven[size] != guard;
        }
    CHECK(wrong == 0);
    CHECK(spilled == 0);

    std::uint16_t bits[16];
    fill_bits(make_site(1, 2), 0u, 1, 0, 2, bits);
    auto const loaded = load_bits<16>(bits);
    for (int j = 0; j < 16; ++j)
        CHECK(loaded[j] == bits[j]);
}

TEST_CASE("decisions are uniform and independent in every direction", "[core][random]") {
    random_site const site = make_site(123, 4, 17, 1);
    check_statistics("along a row",
                     [&](long i) { return draw(site, 3, static_cast<std::uint32_t>(i / 8))[static_cast<int>(i % 8)]; });
    check_statistics("down a column", [&](long i) { return draw(site, static_cast<std::uint32_t>(i), 2)[5]; });
    check_statistics("over steps",
                     [&](long i) { return draw(make_site(123, 4, static_cast<std::uint64_t>(i), 1), 3, 2)[5]; });
    check_statistics("over passes",
                     [&](long i) { return draw(make_site(123, 4, 17, static_cast<std::uint32_t>(i)), 3, 2)[5]; });
    check_statistics("over draw numbers", [&](long i) { return draw(site, 3, 2, static_cast<std::uint32_t>(i))[5]; });
    check_statistics("over streams",
                     [&](long i) { return draw(make_site(123, static_cast<std::uint64_t>(i), 17, 1), 3, 2)[5]; });
    check_statistics("over seeds",
                     [&](long i) { return draw(make_site(static_cast<std::uint64_t>(i), 4, 17, 1), 3, 2)[5]; });
}

TEST_CASE("drop probabilities are quantised", "[core][random]") {
    STATIC_REQUIRE(quantise(0.5) == keep_threshold{32768, 2.0});
    STATIC_REQUIRE(quantise(0.0) == keep_threshold{0, 1.0});
    STATIC_REQUIRE(quantise(1.0) == keep_threshold{65536, 0.0});
    STATIC_REQUIRE(quantise(0.25).scale == 65536.0 / 49152.0);
    CHECK(quantise(0.1).threshold == 6554);
    CHECK(quantise(0.1).scale == 65536.0 / (65536.0 - 6554.0));
    CHECK(quantise(0x1p-18).threshold == 0);
    CHECK(quantise(1.0 - 0x1p-18).threshold == 65536);
    CHECK(quantise(1.0 - 0x1p-18).scale == 0.0);
    CHECK_FALSE(quantise(1.0).keeps(65535));
    CHECK(quantise(0.0).keeps(0));
    CHECK(quantise(0.5).keeps(32768));
    CHECK_FALSE(quantise(0.5).keeps(32767));
    CHECK_THROWS_AS(quantise(-0.001), data_error);
    CHECK_THROWS_AS(quantise(1.001), data_error);
    CHECK_THROWS_AS(quantise(std::nan("")), data_error);

    // the expectation of keep * scale is 1
    keep_threshold const t = quantise(0.3);
    std::vector<std::uint16_t> bits(1 << 20);
    fill_bits(make_site(5, 6), 0u, 128, 0, 1024, bits.data());
    double kept = 0;
    for (auto b : bits)
        kept += t.keeps(b) ? t.scale : 0.0;
    double const n = static_cast<double>(bits.size());
    CHECK(std::fabs(kept / n - 1.0) < 5 * std::sqrt(0.3 / 0.7 / n));
}

TEST_CASE("numbers from bits stay in their ranges", "[core][random]") {
    CHECK(uniform01(0u) == 0.0f);
    CHECK(uniform01(0xffffffffu) == 1.0f - 0x1p-24f);
    CHECK(uniform01(std::uint16_t(0xffff)) == 1.0f - 0x1p-16f);
    CHECK(uniform01(0xffffffffu, 0xffffffffu) == 1.0 - 0x1p-53);
    CHECK(below(10, 0u) == 0);
    CHECK(below(10, 0xffffffffu) == 9);
    CHECK(below(1, 0xffffffffu) == 0);
    CHECK(below(0xffffffffu, 0xffffffffu, 0xffffffffu) == 0xfffffffeu);
    std::vector<long> hits(6, 0);
    for (std::uint32_t i = 0; i < 60000; ++i)
        ++hits[below(6, draw(make_site(1, 1), i, 0).word[0])];
    for (long h : hits)
        CHECK(std::fabs(static_cast<double>(h) - 10000) < 5 * 91.3);
}

TEST_CASE("permutations are permutations, repeatable and unbiased", "[core][random]") {
    for (index_t n : {0, 1, 2, 3, 10, 1001}) {
        std::vector<std::int64_t> order(static_cast<std::size_t>(n)), again(order);
        random_permutation(make_site(3, 1), array_view<std::int64_t>{order.data(), n});
        random_permutation(make_site(3, 1), array_view<std::int64_t>{again.data(), n});
        CHECK(order == again);
        std::sort(again.begin(), again.end());
        for (index_t i = 0; i < n; ++i)
            CHECK(again[static_cast<std::size_t>(i)] == i);
    }
    // all 24 orders of four, 24,000 permutations: chi-square with 23 degrees of freedom (deviation 6.8)
    std::vector<double> seen(256, 0.0);
    for (std::uint64_t epoch = 0; epoch < 24000; ++epoch) {
        int p[4];
        random_permutation(make_site(3, 1, epoch), array_view<int>{p, 4});
        seen[static_cast<std::size_t>(p[0] * 64 + p[1] * 16 + p[2] * 4 + p[3])] += 1;
    }
    double sum = 0;
    int orders = 0;
    for (double s : seen)
        if (s > 0) {
            ++orders;
            sum += (s - 1000) * (s - 1000) / 1000;
        }
    CHECK(orders == 24);
    CHECK(sum < 23 + 5 * 6.8);
    // the documented rule, spelled out
    bits8 const b1 = draw(make_site(8, 8), 0, 0);
    int two[2];
    random_permutation(make_site(8, 8), array_view<int>{two, 2});
    CHECK(two[0] == (below(2, b1.word[2], b1.word[3]) == 1 ? 0 : 1));
}

TEST_CASE("normal and uniform values have the right moments and the same bits everywhere", "[core][random]") {
    constexpr index_t n = 200001;
    std::vector<double> z(n), u(n);
    fill_normal(make_site(11, 2), 0.0, 1.0, array_view<double>{z.data(), n});
    fill_uniform(make_site(11, 3), -2.0, 4.0, array_view<double>{u.data(), n});
    double mean = 0, square = 0, fourth = 0, mean_u = 0, below_one = 0, pairs = 0;
    for (index_t i = 0; i < n; ++i) {
        double const x = z[static_cast<std::size_t>(i)];
        mean += x / n;
        square += x * x / n;
        fourth += x * x * x * x / n;
        below_one += (std::fabs(x) < 1) / double(n);
        if (i % 2 == 1) pairs += x * z[static_cast<std::size_t>(i - 1)];
        double const v = u[static_cast<std::size_t>(i)];
        CHECK_FALSE((v < -2.0 || v >= 4.0));
        mean_u += v / n;
    }
    double const deviation = 1 / std::sqrt(double(n));
    CHECK(std::fabs(mean) < 5 * deviation);
    CHECK(std::fabs(square - 1) < 5 * std::sqrt(2.0) * deviation);
    CHECK(std::fabs(fourth - 3) < 5 * std::sqrt(96.0) * deviation);
    CHECK(std::fabs(below_one - 0.682689492137) < 5 * 0.4654 * deviation);
    CHECK(std::fabs(pairs / std::sqrt(n / 2.0)) < 5);
    CHECK(std::fabs(mean_u - 1) < 5 * std::sqrt(3.0) * deviation);

    // Against the C library's functions, a little loosely: its own last digits vary.
    for (std::uint32_t i = 0; i < 5000; ++i) {
        bits8 const b = draw(make_site(11, 4), i, 0);
        normal_pair const p = standard_normal(b);
        double const k = std::floor(uniform01(b.word[0], b.word[1]) * 0x1p53);
        double const radius = std::sqrt(-2 * std::log((k + 0.5) * 0x1p-53));
        double const angle = 2 * 3.14159265358979323846 * uniform01(b.word[2], b.word[3]);
        CHECK(std::fabs(p.first - radius * std::cos(angle)) < 1e-14);
        CHECK(std::fabs(p.second - radius * std::sin(angle)) < 1e-14);
    }
    // the ends of the range: finite, and the largest number possible
    CHECK(standard_normal({{0, 0, 0, 0}}).first == Approx(8.6).epsilon(0.01));
    CHECK(std::isfinite(standard_normal({{~0u, ~0u, ~0u, ~0u}}).first));

    normal_pair const fixed = standard_normal({{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}});
    CHECK(fixed.first == -0x1.f0e5557976908p-3);
    CHECK(fixed.second == 0x1.2bbfdb2a023dap-1);
}

TEST_CASE("uniform numbers between bounds as far apart as doubles are", "[core]") {
    constexpr double most = std::numeric_limits<double>::max();
    std::vector<double> wide(1000);
    fill_uniform(make_site(4, 2), -most, most, array_view<double>{wide.data(), 1000});
    int wrong = 0, below = 0;
    for (double const x : wide) {
        wrong += !std::isfinite(x);
        below += x < 0.0;
    }
    CHECK(wrong == 0);
    CHECK(std::abs(below - 500) < 80);
    CHECK(uniform_between(-most, most, 0.0) == -most);
    CHECK(uniform_between(-most, most, 0.5) == 0.0);
    CHECK(uniform_between(-1.0, 3.0, 0.25) == 0.0);
}
