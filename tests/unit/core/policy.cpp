// SPDX-License-Identifier: Apache-2.0
// Lists of policies in any order: what a layer finds in them, and the flat storage they are kept in.
#include <espalier/activation/relu.hpp>
#include <espalier/activation/tanh.hpp>
#include <espalier/core/flat_tuple.hpp>
#include <espalier/core/layout.hpp>
#include <espalier/core/policy.hpp>
#include <espalier/core/short_name.hpp>
#include <espalier/dropout/bernoulli.hpp>
#include <espalier/penalty/l1.hpp>
#include <espalier/penalty/l2.hpp>
#include <espalier/schedule/linear.hpp>
#include <espalier/transform/clip_global_norm.hpp>
#include <espalier/transform/gradient_dropout.hpp>

#include <support/catch.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <type_traits>

using namespace espalier;
using namespace espalier::literals;

namespace {

using l1 = penalty::l1<0.5>;
using l2 = penalty::l2<0.25>;
using clip = transform::clip_global_norm<1.0>;
using noise = transform::gradient_dropout<0.5>;

struct unnamed_a {
    using axis = espalier::axis::penalty;
};
struct unnamed_b {
    using axis = espalier::axis::penalty;
};

template <class A, class B> constexpr bool same = std::is_same_v<A, B>;

// One on an axis, or a default.
static_assert(same<pick<axis::activation, void, l2, activation::tanh, l1>, activation::tanh>);
static_assert(same<pick<axis::activation, activation::relu, l2, l1>, activation::relu>);
static_assert(same<pick<axis::activation, void>, void>);
// With several the first wins: a layer's own come before the inherited ones.
static_assert(same<pick<axis::activation, void, activation::relu, activation::tanh>, activation::relu>);

// All on an axis, in an order that does not depend on the list's: by name, transforms by stage before that.
static_assert(same<all_on<axis::penalty, l2, activation::tanh, l1>, type_list<l1, l2>>);
static_assert(same<all_on<axis::penalty, l1, l2, activation::tanh>, type_list<l1, l2>>);
static_assert(same<all_on<axis::transform, clip, noise>, type_list<noise, clip>>);
static_assert(same<all_on<axis::transform, noise, clip>, type_list<noise, clip>>);
static_assert(same<all_on<axis::dropout, noise, clip>, type_list<>>);
// Unnamed ones keep the order of the list.
static_assert(same<all_on<axis::penalty, unnamed_b, unnamed_a>, type_list<unnamed_b, unnamed_a>>);

// By the role of a tensor: bound ones act there only, the others where the axis acts by default.
using for_bias = on<role::bias, l1>;
static_assert(same<all_for<axis::penalty, role::kernel, l2, for_bias>, type_list<l2>>);
static_assert(same<all_for<axis::penalty, role::bias, l2, for_bias>, type_list<for_bias>>);
static_assert(same<all_for<axis::penalty, role::scale, l2, for_bias>, type_list<>>);
static_assert(count_on<axis::penalty, l2, for_bias, activation::relu>() == 2);

// Structure is the type, numbers are members: one op type for any coefficient, schedules included.
static_assert(same<op_of<penalty::l2<1e-4>>, op_of<penalty::l2<1e-3>>>);
static_assert(same<op_of<penalty::l2<1e-4>>, op_of<penalty::l2<schedule::linear{.from = 0.0, .to = 1.0, .steps = 9}>>>);
static_assert(!same<op_of<penalty::l2<1e-4>>, op_of<penalty::l1<1e-4>>>);
static_assert(same<op_of<activation::relu>, activation::relu>);

static_assert(name_of<l1>() == "l1");
static_assert(name_of<unnamed_a>() == "penalty");
static_assert(name_of<for_bias>() == "l1");
static_assert(policy<l1> && !policy<int>);
static_assert(policy_on<l1, axis::penalty> && !policy_on<l1, axis::dropout>);

// Flat storage: by index at constant depth, empty elements without room, trivially copyable.
struct empty_a {};
struct empty_b {};
using storage = flat_tuple<int, empty_a, double, empty_b>;
static_assert(std::is_trivially_copyable_v<storage> && std::is_aggregate_v<storage>);
static_assert(sizeof(storage) == 16);
static_assert(sizeof(flat_tuple<empty_a, empty_b>) == 1);
static_assert(same<type_at<2, int, char, double>, double>);

template <class Indices> struct many;
template <std::size_t... I> struct many<std::index_sequence<I...>> {
    template <std::size_t> struct numbered { using axis = espalier::axis::penalty; };
    static_assert(same<type_at<900, numbered<I>...>, numbered<900>>);
    static_assert(count_on<axis::penalty, numbered<I>...>() == sizeof...(I));
    static_assert(all_on<axis::penalty, numbered<I>...>::size == sizeof...(I));
};
template struct many<std::make_index_sequence<1000>>;

} // namespace

TEST_CASE("policy: ops carry the numbers of a time", "[core]") {
    using growing = penalty::l2<schedule::linear{.from = 0.0, .to = 1.0, .steps = 10}>;
    espalier::clock now;
    now.step = 4;
    CHECK(op_at<growing>(now).coefficient == Approx(0.4));
    CHECK(op_at<l2>(now).coefficient == 0.25);
    auto const both = ops_at<type_list<l1, growing>>(now);
    CHECK(get<0>(both).coefficient == 0.5);
    CHECK(get<1>(both).coefficient == Approx(0.4));
}

TEST_CASE("flat_tuple: elements in order", "[core]") {
    flat_tuple<int, double, char> const t{{{1}, {2.5}, {'x'}}};
    CHECK(get<0>(t) == 1);
    CHECK(get<1>(t) == 2.5);
    CHECK(get<2>(t) == 'x');
    std::string seen;
    for_each(t, [&](auto const& element) { seen += std::to_string(static_cast<int>(element)) + " "; });
    CHECK(seen == "1 2 120 ");
}

TEST_CASE("layout: blocks begin on cache lines for every capacity", "[core]") {
    CHECK(round_up(0, 32) == 0);
    CHECK(round_up(1, 32) == 32);
    CHECK(round_up(32, 32) == 32);
    CHECK(padded(33) == 64);
    extent const a{12, 64}, b{4, 0};
    CHECK((a + b) == extent{16, 64});
    CHECK(3 * a == extent{36, 192});
    CHECK(a.bytes(32) == 448);
    for (index_t width : {1, 3, 10, 33})
        for (index_t capacity = row_granule; capacity <= 4 * row_granule; capacity += row_granule) {
            CHECK(block_size<float>(width).bytes(capacity) % 64 == 0);
            CHECK(block_size<double>(width).bytes(capacity) >= width * capacity * 8);
            CHECK(block_size<std::int32_t>(width, single_row).bytes(capacity) % 64 == 0);
        }
    // the larger of two holds both at every capacity
    extent const wide{100, 0}, tall{1, 5000};
    extent const both = larger(wide, tall);
    for (index_t capacity : {32, 64, 320})
        CHECK(both.bytes(capacity) >= std::max(wide.bytes(capacity), tall.bytes(capacity)));
}

namespace {
template <class T> struct some_blocks : block_list {
    constexpr some_blocks() {}
    memory_block<T> rows{*this, 3};
    memory_block<std::int32_t> absent{*this, 0};
    memory_block<double> sums{*this, 5, single_row};
    memory_block<std::byte> child{*this, extent{10, 128}};
    memory_block<T> groups{*this, 2, extent{4, 32}};
};
} // namespace

TEST_CASE("layout: a list of blocks gives their places, their size and typed pointers", "[core]") {
    constexpr some_blocks<float> at;
    STATIC_REQUIRE(at.rows.at == extent{0, 0});
    STATIC_REQUIRE(at.absent.at == extent{12, 0});
    STATIC_REQUIRE(at.sums.at == extent{12, 0});
    STATIC_REQUIRE(at.child.at == extent{12, 64});
    STATIC_REQUIRE(at.groups.at == extent{22, 192});
    STATIC_REQUIRE(at.end == extent{22 + 4 * 8, 192 + 32 * 8});
    STATIC_REQUIRE(block_size<char>(3) == extent{4, 0}); // rows of an odd number of bytes would end off a cache line

    alignas(64) std::byte arena[4096];
    layer_memory<float> m;
    m.tape = m.work = arena;
    m.capacity = 32;
    double* const sums = m.tape_block(at.sums);
    CHECK(reinterpret_cast<std::byte*>(sums) == arena + 12 * 32);
    float* const groups = m.work_block(at.groups);
    CHECK(reinterpret_cast<std::byte*>(groups) == arena + 22 * 32 + 192);
}

TEST_CASE("short_name: sixteen characters in two integers", "[core]") {
    CHECK("rate"_name.str() == "rate");
    CHECK("sixteen letters!"_name.str() == "sixteen letters!");
    CHECK(short_name{}.empty());
    CHECK(short_name{}.str().empty());
    static_assert("a"_name != "b"_name && "12345678a"_name != "12345678b"_name);
}
