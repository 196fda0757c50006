// SPDX-License-Identifier: Apache-2.0
// The serial group is every kind of group with one lane, at compile time too, and the functions of the reductions are
// commutative to the bit.
#include <support/catch.hpp>

#include <espalier/core/group.hpp>

#include <cmath>
#include <cstdint>
#include <limits>

namespace {

using espalier::serial_group;

static_assert(espalier::cooperative_group<serial_group>);
static_assert(espalier::cooperative_tile<serial_group>);
static_assert(espalier::cooperative_block<serial_group>);
static_assert(!espalier::cooperative_group<int>);

// Stands for a pack: the serial group must not look inside, and a pack's mask is not a bool.
struct pair_of_rows {
    float first, second;
    friend constexpr bool operator==(pair_of_rows, pair_of_rows) = default;
};
struct pair_mask {
    bool first, second;
    friend constexpr bool operator==(pair_mask, pair_mask) = default;
};

struct first_of_two {
    template <class T> constexpr T operator()(T a, T) const { return a; }
};

constexpr serial_group one{.rank = 3, .count = 7};
constexpr pair_of_rows rows{1.5f, -2.0f};

static_assert(serial_group::lanes == 1 && one.size() == 1 && one.thread_rank() == 0);
static_assert(one.block_rank() == 3 && one.block_count() == 7 && one.group_rank() == 3 && one.group_count() == 7);
static_assert(one.reduce_add(rows) == rows && one.reduce_max(rows) == rows && one.reduce_min(rows) == rows);
static_assert(one.reduce(rows, first_of_two{}) == rows);
static_assert(one.shuffle(rows, 0) == rows && one.shuffle_xor(rows, 0) == rows);
static_assert(one.shuffle_down(rows, 4) == rows && one.shuffle_up(rows, 4) == rows);
static_assert(one.any(pair_mask{true, false}) == pair_mask{true, false});
static_assert(one.all(pair_mask{true, false}) == pair_mask{true, false});
static_assert(one.any(true) && !one.all(false) && one.ballot(true) == 1 && one.ballot(false) == 0);
static_assert(one.inclusive_scan_add(5) == 5 && one.exclusive_scan_add(5) == 0);
static_assert(one.tile<32>().group_rank() == 3 && one.tile<1>().size() == 1);

template <class T> void check_extremes() {
    espalier::detail::group_max const larger;
    espalier::detail::group_min const smaller;
    T const nan = std::numeric_limits<T>::quiet_NaN();
    T const infinity = std::numeric_limits<T>::infinity();
    T const values[] = {T(0), -T(0), T(1), T(-1), infinity, -infinity, std::numeric_limits<T>::denorm_min()};
    for (T const a : values) {
        for (T const b : values) {
            INFO("a = " << a << ", b = " << b);
            CHECK(larger(a, b) == (a > b ? a : b));
            CHECK(smaller(a, b) == (a < b ? a : b));
            CHECK(std::signbit(larger(a, b)) == std::signbit(larger(b, a)));
            CHECK(std::signbit(smaller(a, b)) == std::signbit(smaller(b, a)));
        }
        CHECK(larger(a, nan) == a);
        CHECK(larger(nan, a) == a);
        CHECK(smaller(a, nan) == a);
        CHECK(smaller(nan, a) == a);
    }
    CHECK_FALSE(std::signbit(larger(-T(0), T(0))));
    CHECK(std::signbit(smaller(T(0), -T(0))));
    CHECK(std::isnan(larger(nan, nan)));
    CHECK(std::isnan(smaller(nan, nan)));
}

} // namespace

TEST_CASE("serial group hands out the storage it was given", "[group]") {
    struct storage {
        float sum[4];
    };
    storage mine{{1, 2, 3, 4}};
    serial_group const group{.shared_memory = &mine};
    group.shared<storage>().sum[2] = 9;
    CHECK(mine.sum[2] == 9);
    CHECK(&group.tile<8>().shared<storage>() == &mine);
}

TEST_CASE("reduce_max and reduce_min ignore NaN and order the zeros", "[group]") {
    check_extremes<float>();
    check_extremes<double>();
    CHECK(espalier::detail::group_max{}(std::int64_t{-5}, std::int64_t{3}) == 3);
    CHECK(espalier::detail::group_min{}(std::uint32_t{5}, std::uint32_t{3}) == 3);
}
