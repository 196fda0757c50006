// SPDX-License-Identifier: Apache-2.0
// Schedules: values at the ends, in the middle and beyond, composition, run-time values, template arguments.
#include <espalier/schedule/all.hpp>

#include <support/catch.hpp>

#include <cmath>
#include <limits>

using namespace espalier;
using namespace espalier::literals;

namespace {

constexpr espalier::clock at_step(std::uint64_t step) {
    espalier::clock now;
    now.step = step;
    return now;
}

constexpr espalier::clock at_epoch(std::uint64_t epoch, std::uint64_t steps_per_epoch) {
    espalier::clock now;
    now.epoch = epoch;
    now.steps_per_epoch = steps_per_epoch;
    now.step = epoch * steps_per_epoch;
    return now;
}

template <auto Rate> struct policy {
    static double rate(espalier::clock const& now) { return schedule::value_at(Rate, now); }
};

// Equal numbers are the same type, others are another one.
static_assert(std::is_same_v<policy<schedule::linear{.from = 0.0, .to = 0.5, .steps = 10}>,
                             policy<schedule::linear{.from = 0.0, .to = 0.5, .steps = 10}>>);
static_assert(!std::is_same_v<policy<schedule::linear{.from = 0.0, .to = 0.5, .steps = 10}>,
                              policy<schedule::linear{.from = 0.0, .to = 0.25, .steps = 10}>>);

static_assert(schedule::schedule<schedule::linear>);
static_assert(schedule::schedule<schedule::warm_up<schedule::cosine>>);
static_assert(schedule::schedule<schedule::product<double, schedule::runtime>>);
static_assert(!schedule::schedule<double>);
static_assert(schedule::number_or_schedule<int>);
static_assert(!schedule::number_or_schedule<char const*>);

constexpr double not_a_number = std::numeric_limits<double>::quiet_NaN();

} // namespace

TEST_CASE("schedule: a number and a constant stay as they are", "[schedule]") {
    CHECK(schedule::value_at(0.25, at_step(7)) == 0.25);
    CHECK(schedule::value_at(3, at_step(7)) == 3.0);
    CHECK(schedule::constant{.value = 0.125}.at(at_step(1000)) == 0.125);
    CHECK(schedule::constant{}.at(at_step(0)) == 0.0);
}

TEST_CASE("schedule: linear is clamped at both ends", "[schedule]") {
    constexpr schedule::linear s{.from = 0.1, .to = 0.5, .steps = 8, .start = 4};
    static_assert(s.at(at_step(0)) == 0.1);
    static_assert(s.at(at_step(4)) == 0.1);
    static_assert(s.at(at_step(12)) == 0.5);
    static_assert(s.at(at_step(1'000'000'000'000)) == 0.5);
    CHECK(s.at(at_step(8)) == Approx(0.3).epsilon(1e-15));
    CHECK(s.at(at_step(5)) == Approx(0.15).epsilon(1e-15));
    // No steps: the final value, whatever the time.
    CHECK(schedule::linear{.from = 1.0, .to = 2.0}.at(at_step(0)) == 2.0);
    // A start near the largest integer does not wrap.
    constexpr std::uint64_t far = ~std::uint64_t{0};
    CHECK(schedule::linear{.from = 1.0, .to = 2.0, .steps = 10, .start = far - 2}.at(at_step(far)) ==
          Approx(1.2).epsilon(1e-15));
}

TEST_CASE("schedule: cosine", "[schedule]") {
    constexpr schedule::cosine s{.from = 1.0, .to = 0.2, .steps = 100};
    CHECK(s.at(at_step(0)) == 1.0);
    CHECK(s.at(at_step(25)) == Approx(0.2 + 0.8 * 0.5 * (1.0 + std::sqrt(0.5))).epsilon(1e-14));
    CHECK(s.at(at_step(50)) == Approx(0.6).epsilon(1e-14));
    CHECK(s.at(at_step(100)) == 0.2);
    CHECK(s.at(at_step(101)) == 0.2);
    CHECK(schedule::cosine{.from = 1.0, .to = 0.2}.at(at_step(0)) == 0.2);
    CHECK(schedule::cosine{.from = 1.0, .to = 0.2, .steps = 100, .start = 10}.at(at_step(60)) ==
          Approx(0.6).epsilon(1e-14));
}

TEST_CASE("schedule: exponential and step", "[schedule]") {
    constexpr schedule::exponential e{.from = 2.0, .rate = 0.25, .every = 10};
    CHECK(e.at(at_step(0)) == 2.0);
    CHECK(e.at(at_step(5)) == Approx(1.0).epsilon(1e-14));
    CHECK(e.at(at_step(10)) == Approx(0.5).epsilon(1e-14));
    CHECK(e.at(at_step(20)) == Approx(0.125).epsilon(1e-14));

    constexpr schedule::step s{.from = 8.0, .factor = 0.5, .every = 3};
    static_assert(s.at(at_step(0)) == 8.0);
    static_assert(s.at(at_step(2)) == 8.0);
    static_assert(s.at(at_step(3)) == 4.0);
    static_assert(s.at(at_step(5)) == 4.0);
    static_assert(s.at(at_step(9)) == 1.0);
    CHECK(s.at(at_step(3 * 5000)) == 0.0); // underflows, stays finite
    CHECK(s.at(at_step(15)) == 0.25);
    // A period of 0 is read as 1.
    CHECK(schedule::step{.from = 8.0, .factor = 0.5, .every = 0}.at(at_step(2)) == 2.0);
    CHECK(schedule::exponential{.from = 8.0, .rate = 0.5, .every = 0}.at(at_step(2)) == 2.0);
}

TEST_CASE("schedule: polynomial is the cubic pruning schedule", "[schedule]") {
    constexpr schedule::polynomial s{.from = 0.0, .to = 0.8, .steps = 10, .power = 3.0};
    CHECK(s.at(at_step(0)) == 0.0);
    CHECK(s.at(at_step(5)) == Approx(0.8 * (1.0 - 0.125)).epsilon(1e-14));
    CHECK(s.at(at_step(8)) == Approx(0.8 * (1.0 - 0.008)).epsilon(1e-14));
    CHECK(s.at(at_step(10)) == 0.8);
    CHECK(s.at(at_step(11)) == 0.8);
    CHECK(schedule::polynomial{.from = 0.0, .to = 0.8, .power = 3.0}.at(at_step(0)) == 0.8);
}

TEST_CASE("schedule: drop_path gives the published rates", "[schedule]") {
    struct published {
        double keep;
        std::uint64_t cell, cells, step, steps;
        double by_time, by_depth, by_both; // what is kept
    };
    published const rows[] = {{0.6, 0, 20, 0, 937500, 1.0, 0.98, 1.0},
                              {0.6, 9, 20, 468750, 937500, 0.8, 0.8, 0.9},
                              {0.6, 19, 20, 937500, 937500, 0.6, 0.6, 0.6},
                              {0.6, 19, 20, 2000000, 937500, 0.6, 0.6, 0.6},
                              {0.7, 5, 22, 100000, 250000, 0.88, 0.918181818, 0.967272727}};
    for (published const& r : rows) {
        INFO("cell " << r.cell << " of " << r.cells << " at step " << r.step);
        auto const kept = [&](schedule::drop_path const& s) { return 1.0 - s.at(at_step(r.step)); };
        CHECK(kept({.keep = r.keep, .steps = r.steps}) == Approx(r.by_time).margin(5e-10));
        CHECK(kept({.keep = r.keep, .cell = r.cell, .cells = r.cells}) == Approx(r.by_depth).margin(5e-10));
        CHECK(kept({.keep = r.keep, .cell = r.cell, .cells = r.cells, .steps = r.steps}) ==
              Approx(r.by_both).margin(5e-10));
    }
    static_assert(schedule::drop_path{}.at(at_step(7)) == 0.0);
    static_assert(
        schedule::drop_path{.keep = 0.5, .steps = 4, .unit = schedule::time_unit::epoch}.at(at_epoch(2, 10)) == 0.25);
}

TEST_CASE("schedule: piecewise starts its second part at time 0", "[schedule]") {
    using schedule::linear;
    constexpr schedule::piecewise s{
        .steps = 10,
        .first = linear{.from = 0.0, .to = 1.0, .steps = 10},
        .second = schedule::piecewise{.steps = 5, .first = 3.0, .second = linear{.from = 4.0, .to = 6.0, .steps = 2}}};
    static_assert(s.at(at_step(5)) == 0.5);
    static_assert(s.at(at_step(9)) < 1.0);
    static_assert(s.at(at_step(10)) == 3.0);
    static_assert(s.at(at_step(14)) == 3.0);
    static_assert(s.at(at_step(15)) == 4.0);
    static_assert(s.at(at_step(16)) == 5.0);
    static_assert(s.at(at_step(99)) == 6.0);
    CHECK(schedule::piecewise{.steps = 0, .first = 1.0, .second = 2.0}.at(at_step(0)) == 2.0);
}

TEST_CASE("schedule: warm-up ends where the inner schedule begins", "[schedule]") {
    constexpr schedule::warm_up s{.steps = 4, .inner = schedule::linear{.from = 0.8, .to = 0.0, .steps = 8}};
    CHECK(s.at(at_step(0)) == 0.0);
    CHECK(s.at(at_step(1)) == Approx(0.2).epsilon(1e-15));
    CHECK(s.at(at_step(4)) == 0.8);
    CHECK(s.at(at_step(8)) == Approx(0.4).epsilon(1e-15));
    CHECK(s.at(at_step(12)) == 0.0);
    CHECK(s.at(at_step(100)) == 0.0);
    constexpr schedule::warm_up number{.steps = 4, .inner = 2.0, .from = 0.5};
    CHECK(number.at(at_step(0)) == 1.0);
    CHECK(number.at(at_step(2)) == 1.5);
    CHECK(number.at(at_step(9)) == 2.0);
    CHECK(schedule::warm_up{.steps = 0, .inner = 2.0}.at(at_step(0)) == 2.0);
}

TEST_CASE("schedule: product multiplies values of the same time", "[schedule]") {
    constexpr schedule::product s{.a = schedule::linear{.from = 0.0, .to = 1.0, .steps = 10},
                                  .b = schedule::step{.from = 4.0, .factor = 0.5, .every = 5}};
    CHECK(s.at(at_step(0)) == 0.0);
    CHECK(s.at(at_step(4)) == Approx(1.6).epsilon(1e-15));
    CHECK(s.at(at_step(5)) == Approx(1.0).epsilon(1e-15));
    CHECK(s.at(at_step(10)) == Approx(1.0).epsilon(1e-15));
    CHECK(schedule::product{.a = 3.0, .b = 0.5}.at(at_step(1)) == 1.5);
}

TEST_CASE("schedule: time in epochs and in updates", "[schedule]") {
    using schedule::time_unit;
    constexpr schedule::linear s{.from = 0.0, .to = 1.0, .steps = 4, .unit = time_unit::epoch};
    CHECK(s.at(at_epoch(0, 100)) == 0.0);
    CHECK(s.at(at_epoch(1, 100)) == 0.25);
    CHECK(s.at(at_epoch(4, 100)) == 1.0);
    espalier::clock now;
    now.updates = 3;
    CHECK(schedule::linear{.from = 0.0, .to = 1.0, .steps = 4, .unit = time_unit::update}.at(now) == 0.75);
    // The inner schedule counts steps, the warm-up epochs: two epochs of 100 steps are taken off.
    constexpr schedule::warm_up mixed{
        .steps = 2, .inner = schedule::linear{.from = 1.0, .to = 0.0, .steps = 200}, .unit = time_unit::epoch};
    CHECK(mixed.at(at_epoch(1, 100)) == 0.5);
    CHECK(mixed.at(at_epoch(2, 100)) == 1.0);
    CHECK(mixed.at(at_epoch(3, 100)) == 0.5);
    // And the other way round.
    constexpr schedule::warm_up other{
        .steps = 200,
        .inner = schedule::linear{.from = 1.0, .to = 0.0, .steps = 2, .unit = time_unit::epoch},
    };
    CHECK(other.at(at_epoch(3, 100)) == 0.5);
}

TEST_CASE("schedule: runtime looks its name up", "[schedule]") {
    constexpr schedule::runtime s{.name = "rate"_name, .initial = 0.5};
    CHECK(s.at(at_step(0)) == 0.5);
    named_value values[] = {{"other"_name, 7.0}, {"rate"_name, 0.25}, {"rate"_name, 9.0}};
    espalier::clock now = at_step(3);
    now.values = {values, 1};
    CHECK(s.at(now) == 0.5);
    now.values = {values, 3};
    CHECK(s.at(now) == 0.25);
    values[1].value = 0.75;
    CHECK(s.at(now) == 0.75);
    CHECK(schedule::product{.a = 2.0, .b = s}.at(now) == 1.5);
    CHECK(schedule::warm_up{.steps = 6, .inner = s}.at(now) == Approx(0.375).epsilon(1e-15));
}

TEST_CASE("schedule: any of them may be a template argument", "[schedule]") {
    CHECK(policy<0.5>::rate(at_step(1)) == 0.5);
    CHECK(policy<schedule::linear{.from = 0.0, .to = 1.0, .steps = 4}>::rate(at_step(1)) == 0.25);
    CHECK(policy<schedule::cosine{.from = 1.0, .to = 0.0, .steps = 4}>::rate(at_step(2)) == Approx(0.5));
    CHECK(policy<schedule::runtime{.name = "rate"_name, .initial = 0.5}>::rate(at_step(1)) == 0.5);
    CHECK(policy<schedule::warm_up{.steps = 2, .inner = schedule::constant{.value = 1.0}}>::rate(at_step(1)) == 0.5);
    CHECK(policy<schedule::product{.a = schedule::step{.from = 1.0, .factor = 0.5, .every = 1}, .b = 3.0}>::rate(
              at_step(1)) == 1.5);
    CHECK(policy<schedule::piecewise{.steps = 1, .first = 1.0, .second = 2.0}>::rate(at_step(1)) == 2.0);
}

TEST_CASE("schedule: ranges hold every value", "[schedule]") {
    using schedule::bounds;
    using schedule::range_of;
    static_assert(range_of(0.5) == bounds{0.5, 0.5});
    static_assert(range_of(schedule::linear{.from = 0.5, .to = 0.1, .steps = 5}) == bounds{0.1, 0.5});
    static_assert(range_of(schedule::exponential{.from = 0.5, .rate = 0.9}) == bounds{0.0, 0.5});
    static_assert(range_of(schedule::drop_path{.keep = 0.5, .cell = 1, .cells = 4, .steps = 9}) == bounds{0.0, 0.25});
    static_assert(range_of(schedule::runtime{.name = "rate"_name}) == bounds{});
    static_assert(range_of(schedule::piecewise{.steps = 3, .first = -1.0, .second = 2.0}) == bounds{-1.0, 2.0});
    static_assert(range_of(schedule::product{.a = -2.0, .b = schedule::linear{.from = -1.0, .to = 3.0, .steps = 5}}) ==
                  bounds{-6.0, 2.0});
    static_assert(range_of(schedule::warm_up{.steps = 3, .inner = 0.5}) == bounds{0.0, 0.5});
    static_assert(range_of(schedule::warm_up{.steps = 3, .inner = -0.5}) == bounds{-0.5, 0.0});
    static_assert(!range_of(schedule::step{.from = 0.5, .factor = 2.0}).within({0.0, 1.0}));
    constexpr schedule::warm_up s{
        .steps = 5, .inner = schedule::cosine{.from = 0.5, .to = -0.25, .steps = 20}, .from = 1.5};
    bounds const range = range_of(s);
    for (std::uint64_t t = 0; t < 40; ++t) {
        double const v = s.at(at_step(t));
        CHECK(v >= range.low);
        CHECK(v <= range.high);
    }
}

TEST_CASE("schedule: numbers that make no sense are named", "[schedule]") {
    CHECK(schedule::problem(0.5) == nullptr);
    CHECK(schedule::problem(not_a_number) != nullptr);
    CHECK(schedule::problem(schedule::linear{.from = 0.0, .to = not_a_number}) != nullptr);
    CHECK(schedule::problem(schedule::polynomial{.power = 0.0}) != nullptr);
    CHECK(schedule::problem(schedule::polynomial{.power = 3.0}) == nullptr);
    CHECK(schedule::problem(schedule::step{.factor = -1.0}) != nullptr);
    CHECK(schedule::problem(schedule::step{.every = 0}) != nullptr);
    CHECK(schedule::problem(schedule::exponential{.rate = 0.0}) != nullptr);
    CHECK(schedule::problem(schedule::drop_path{.keep = 0.0}) != nullptr);
    CHECK(schedule::problem(schedule::drop_path{.keep = 1.5}) != nullptr);
    CHECK(schedule::problem(schedule::drop_path{.keep = not_a_number}) != nullptr);
    CHECK(schedule::problem(schedule::drop_path{.keep = 0.5, .cell = 3, .cells = 3}) != nullptr);
    CHECK(schedule::problem(schedule::drop_path{.keep = 0.5, .cell = 2, .cells = 3}) == nullptr);
    CHECK(schedule::problem(schedule::runtime{}) != nullptr);
    CHECK(schedule::problem(schedule::product{.a = 1.0, .b = schedule::constant{.value = not_a_number}}) != nullptr);
    CHECK(schedule::problem(schedule::warm_up{.steps = 1, .inner = 1.0, .from = -1.0}) != nullptr);
    CHECK(schedule::problem(schedule::piecewise{.steps = 1, .first = 1.0, .second = not_a_number}) != nullptr);

    CHECK_NOTHROW(schedule::validate(schedule::linear{.from = 0.0, .to = 0.5}, "rate", {0.0, 1.0}));
    CHECK_NOTHROW(schedule::validate(schedule::runtime{.name = "rate"_name}, "rate", {0.0, 1.0}));
    CHECK_THROWS_AS(schedule::validate(schedule::linear{.from = 0.0, .to = 1.5}, "rate", {0.0, 1.0}), data_error);
    CHECK_THROWS_AS(schedule::validate(schedule::step{.every = 0}, "rate"), data_error);
    CHECK_THROWS_WITH(schedule::validate(1.5, "dropout rate", {0.0, 1.0}),
                      "dropout rate: takes values from 1.5 to 1.5, needed are values from 0 to 1");
    CHECK_THROWS_WITH(schedule::validate(2e-9, "rate", {0.0, 1e-9}),
                      "rate: takes values from 2e-09 to 2e-09, needed are values from 0 to 1e-09");
    // What lies beside a bound is not printed like it.
    CHECK_THROWS_WITH(
        schedule::value_within(1.0 + 1e-15, espalier::clock{.step = 7}, {0.0, 1.0}, "dropout", "mine", "rate"),
        "dropout mine: its rate is 1.000000000000001 at step 7, needed is a number of at least 0 and at "
        "most 1");
    CHECK_THROWS_WITH(
        schedule::value_within(1.0, espalier::clock{}, schedule::from_0_to_below_1, "dropout", "mine", "rate"),
        "dropout mine: its rate is 1 at step 0, needed is a number of at least 0 and below 1");
    CHECK_THROWS_WITH(schedule::value_within(5e-8, espalier::clock{}, {1e-7, 2.5e-7}, "gate", "mine", "width"),
                      "gate mine: its width is 5e-08 at step 0, needed is a number of at least 1e-07 and at most "
                      "2.5e-07");
    CHECK_THROWS_WITH(
        schedule::value_within(-1e-9, espalier::clock{}, schedule::not_negative, "penalty", "l2", "coefficient"),
        "penalty l2: its coefficient is -1e-09 at step 0, needed is a number of at least 0");
    CHECK_THROWS_WITH(schedule::validate(0.1f, "rate", {0.2, 1.0}),
                      "rate: takes values from 0.10000000149011612 to 0.10000000149011612, needed are values from 0.2 "
                      "to 1");
}
