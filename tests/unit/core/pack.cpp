// SPDX-License-Identifier: Apache-2.0
// Every operation of a pack against the same operation on each lane.
#include <support/catch.hpp>

#include <bit>
#include <espalier/core/pack.hpp>

#include <cmath>
#include <cstdint>
#include <limits>

using namespace espalier;

namespace {

template <class P> P sample(int salt) {
    P p;
    for (int i = 0; i < P::width; ++i)
        p.set(i, static_cast<typename P::value_type>((i * 37 + salt * 11) % 23 + 1));
    return p;
}

} // namespace

TEMPLATE_TEST_CASE("packs compute lane by lane", "[core][pack]", (pack<float, 16>), (pack<float, 1>), (pack<float, 2>),
                   (pack<float, 4>), (pack<float, 32>), (pack<double, 8>), (pack<double, 2>), (pack<double, 16>),
                   (pack<std::int32_t, 16>), (pack<std::uint32_t, 16>), (pack<std::int64_t, 8>),
                   (pack<std::uint64_t, 8>)) {
    using P = TestType;
    using T = typename P::value_type;
    P const a = sample<P>(1), b = sample<P>(2);
    auto const sum = a + b, difference = a - b, product = a * b, quotient = a / b, scaled = T(3) * a + T(1);
    auto const less = a<b, less_equal = a <= b, greater = a> b, greater_equal = a >= b, equal = a == b;
    auto const either = less | equal, both = less_equal & greater_equal, one = less ^ less_equal, none = !less;
    auto const chosen = select(less, a, b), low = min(a, b), high = max(a, b), magnitude = espalier::abs(a - b);
    P compound = a;
    compound += b;
    compound *= T(2);
    bool some = false, every = true;
    for (int i = 0; i < P::width; ++i) {
        T const x = a[i], y = b[i];
        CHECK(sum[i] == T(x + y));
        CHECK(difference[i] == T(x - y));
        CHECK(product[i] == T(x * y));
        CHECK(quotient[i] == T(x / y));
        CHECK(scaled[i] == T(3 * x + 1));
        CHECK(compound[i] == T((x + y) * 2));
        CHECK(less[i] == (x < y));
        CHECK(less_equal[i] == (x <= y));
        CHECK(greater[i] == (x > y));
        CHECK(greater_equal[i] == (x >= y));
        CHECK(equal[i] == (x == y));
        CHECK((a != b)[i] == (x != y));
        CHECK(either[i] == (x <= y));
        CHECK(both[i] == (x == y));
        CHECK(one[i] == (x == y));
        CHECK(none[i] == !(x < y));
        CHECK(chosen[i] == (x < y ? x : y));
        CHECK(low[i] == (x < y ? x : y));
        CHECK(high[i] == (x < y ? y : x));
        if constexpr (!std::is_unsigned_v<T>) CHECK(magnitude[i] == T(x < y ? y - x : x - y));
        some = some || x < y;
        every = every && x < y;
    }
    CHECK(any(less) == some);
    CHECK(all(less) == every);
    CHECK(std::popcount(bits_of(less) ^ bits_of(!less)) == P::width);
    for (int i = 0; i < P::width; ++i)
        CHECK((bits_of(less) >> i & 1u) == std::uint32_t(less[i]));
    CHECK(any(P(T(1)) < P(T(2))));
    CHECK(all(P(T(1)) < P(T(2))));
    CHECK_FALSE(any(P(T(2)) < P(T(2))));
    if constexpr (P::width > 1) {
        P last(T(0));
        last.set(P::width - 1, T(1));
        CHECK(any(last == T(1)));
        CHECK_FALSE(all(last == T(1)));
        CHECK_FALSE(all(last == T(0)));
    }
    if constexpr (std::is_integral_v<T>) {
        auto const bits = (a & b) | (a ^ b), shifted = (a << 3) >> 1, complement = ~a;
        for (int i = 0; i < P::width; ++i) {
            CHECK(bits[i] == T(a[i] | b[i]));
            CHECK(shifted[i] == T((a[i] << 3) >> 1));
            CHECK(complement[i] == T(~a[i]));
        }
    }
}

TEMPLATE_TEST_CASE("packs read and write memory, whole and in part", "[core][pack]", (pack<float, 16>),
                   (pack<float, 4>), (pack<double, 8>), (pack<std::int32_t, 16>), (pack<std::uint64_t, 8>)) {
    using P = TestType;
    using T = typename P::value_type;
    constexpr int n = P::width;
    T memory[4 * n + 1];
    for (int i = 0; i < 4 * n + 1; ++i)
        memory[i] = static_cast<T>(i + 1);
    for (int i = 0; i < n; ++i)
        CHECK(P::load(memory + 1)[i] == T(i + 2));
    for (int count = 0; count <= n; ++count) {
        P const part = P::load(memory, count, T(99));
        T out[n + 1];
        for (T& x : out)
            x = T(55);
        P::load(memory).store(out, count);
        for (int i = 0; i < n; ++i) {
            CHECK(part[i] == (i < count ? T(i + 1) : T(99)));
            CHECK(out[i] == (i < count ? T(i + 1) : T(55)));
            CHECK(pack_mask<std::int32_t, n>::first(count)[i] == (i < count));
        }
        CHECK(out[n] == T(55));
    }
    P const strided = P::gather(memory, 3);
    pack<std::int32_t, n> index;
    for (int i = 0; i < n; ++i)
        index.set(i, (5 * i + 2) % (4 * n));
    P const indexed = P::gather(memory, index);
    T scattered[2 * n] = {};
    strided.scatter(scattered, 2);
    for (int i = 0; i < n; ++i) {
        CHECK(strided[i] == T(3 * i + 1));
        CHECK(indexed[i] == T((5 * i + 2) % (4 * n) + 1));
        CHECK(scattered[2 * i] == T(3 * i + 1));
        CHECK(P::iota(T(4))[i] == T(4 + i));
    }
}

TEST_CASE("packs convert as static_cast does", "[core][pack]") {
    float lane[16];
    for (int i = 0; i < 16; ++i)
        lane[i] = -7.75f + 1.25f * static_cast<float>(i);
    auto const f = pack<float, 16>::load(lane);
    pack<double, 16> const d(f);
    pack<float, 16> const back(d * (1.0 / 3.0));
    pack<std::int32_t, 16> const i32(f);
    pack<std::int64_t, 16> const i64(i32);
    pack<float, 16> const from_i(i32);
    pack<std::uint32_t, 16> const u32(i32);
    for (int i = 0; i < 16; ++i) {
        CHECK(d[i] == static_cast<double>(lane[i]));
        CHECK(back[i] == static_cast<float>(static_cast<double>(lane[i]) * (1.0 / 3.0)));
        CHECK(i32[i] == static_cast<std::int32_t>(lane[i]));
        CHECK(i64[i] == static_cast<std::int64_t>(static_cast<std::int32_t>(lane[i])));
        CHECK(from_i[i] == static_cast<float>(static_cast<std::int32_t>(lane[i])));
        CHECK(u32[i] == static_cast<std::uint32_t>(static_cast<std::int32_t>(lane[i])));
        CHECK(from_bits(to_bits(f))[i] == lane[i]);
    }
}

TEMPLATE_TEST_CASE("min, max and abs say what they do with NaN and zeros", "[core][pack]", float, double,
                   (pack<float, 16>), (pack<double, 8>)) {
    using S = scalar_of<TestType>;
    auto const lane = [](TestType const& x) {
        if constexpr (is_pack<TestType>)
            return x[TestType::width - 1];
        else
            return x;
    };
    TestType const nan(std::numeric_limits<S>::quiet_NaN()), one(S(1)), zero(S(0)), minus_zero(-S(0));
    CHECK(lane(max(nan, one)) == S(1));
    CHECK(std::isnan(lane(max(one, nan))));
    CHECK(lane(min(nan, one)) == S(1));
    CHECK(std::isnan(lane(min(one, nan))));
    CHECK(std::signbit(lane(max(zero, minus_zero))));
    CHECK_FALSE(std::signbit(lane(max(minus_zero, zero))));
    CHECK(std::signbit(lane(minus_zero)));
    CHECK_FALSE(std::signbit(lane(espalier::abs(minus_zero))));
    CHECK(std::isnan(lane(espalier::abs(nan))));
    CHECK(lane(copysign(one, minus_zero)) == S(-1));
    CHECK(lane(select(nan < one, one, zero)) == S(0));
    CHECK(lane(select(nan != nan, one, zero)) == S(1));
}

TEST_CASE("horizontal results come from one fixed tree", "[core][pack]") {
    // 2^24 + 1 is no float, so the order of additions shows
    float lane[16] = {0x1p24f, 1, 3, 1, 5, 1, 7, 1, 1, 1, 9, 1, 1, -11, 1, 13};
    float tree[16];
    for (int i = 0; i < 16; ++i)
        tree[i] = lane[i];
    for (int half = 8; half > 0; half /= 2)
        for (int i = 0; i < half; ++i)
            tree[i] = tree[i] + tree[i + half];
    auto const p = pack<float, 16>::load(lane);
    CHECK(horizontal_sum(p) == tree[0]);
    CHECK(horizontal_max(p) == 0x1p24f);
    CHECK(horizontal_min(p) == -11.0f);
    CHECK(horizontal_sum(2.5f) == 2.5f);
    CHECK(horizontal_sum(pack<std::int32_t, 16>::iota()) == 120);
}

TEST_CASE("pack traits", "[core][pack]") {
    STATIC_REQUIRE(pack_width<float> == 1);
    STATIC_REQUIRE(pack_width<pack<double, 8>> == 8);
    STATIC_REQUIRE(is_pack<pack<float, 16>>);
    STATIC_REQUIRE_FALSE(is_pack<double>);
    STATIC_REQUIRE(std::is_same_v<scalar_of<pack<float, 16>>, float>);
    STATIC_REQUIRE(std::is_same_v<mask_of<float>, bool>);
    STATIC_REQUIRE(std::is_same_v<mask_of<pack<float, 16>>, mask_of<pack<std::uint32_t, 16>>>);
    STATIC_REQUIRE(std::is_same_v<native_pack<float>, pack<float, 16>>);
    STATIC_REQUIRE(std::is_same_v<native_pack<double>, pack<double, 8>>);
    STATIC_REQUIRE(std::is_trivially_copyable_v<pack<float, 4>>); // one register on every machine
    STATIC_REQUIRE(std::is_trivially_destructible_v<pack<float, 16>>);
    STATIC_REQUIRE(sizeof(pack<float, 16>) == 64);
    float const x[3] = {1, 2, 3};
    CHECK(load<float>(x + 1) == 2.0f);
    CHECK(load<pack<float, 4>>(x, 3, 9.0f)[3] == 9.0f);
    CHECK(broadcast<pack<float, 4>>(2.0f)[3] == 2.0f);
    CHECK(fma(pack<float, 4>(2.0f), 3.0f, 4.0f)[2] == 10.0f);
}
