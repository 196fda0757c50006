// SPDX-License-Identifier: Apache-2.0
// Dropout: which draws drop, what the rest is multiplied by, packs against numbers, rates that make no sense.
#include <espalier/activation/tanh.hpp>
#include <espalier/core/epilogue.hpp>
#include <espalier/core/pack.hpp>
#include <espalier/core/policy.hpp>
#include <espalier/core/random.hpp>
#include <espalier/dropout/bernoulli.hpp>
#include <espalier/dropout/concept.hpp>
#include <espalier/dropout/drop_path.hpp>
#include <espalier/dropout/drop_segment.hpp>
#include <espalier/dropout/drop_step.hpp>
#include <espalier/dropout/filled.hpp>
#include <espalier/dropout/none.hpp>
#include <espalier/dropout/rate_of_row.hpp>
#include <espalier/dropout/shared_by.hpp>
#include <espalier/dropout/unscaled.hpp>
#include <espalier/schedule/drop_path.hpp>
#include <espalier/schedule/linear.hpp>
#include <espalier/schedule/runtime.hpp>

#include <support/catch.hpp>

#include <cmath>
#include <cstdint>
#include <string>
#include <type_traits>

namespace drop = espalier::dropout;
using espalier::op_at;
using espalier::random_scope;
using espalier::schedule::linear;
using espalier::schedule::runtime;
using namespace espalier::literals;

static_assert(drop::random_field<drop::none> && drop::random_field<drop::bernoulli<0.5>>);
static_assert(drop::random_field<drop::drop_path<linear{.from = 0.0, .to = 0.3, .steps = 10}>>);
static_assert(drop::random_field<drop::drop_segment<4, 0.5>> && drop::random_field<drop::drop_step<0.5>> &&
              drop::random_field<drop::filled<-1.0, drop::bernoulli<0.5>>> &&
              drop::random_field<drop::unscaled<drop::drop_path<0.5>>> &&
              drop::random_field<drop::shared_by<&espalier::rows::group, drop::bernoulli<0.5>>> &&
              drop::random_field<drop::rate_of_row<>>);
// Rates, numbers of columns and values make no further kernels.
static_assert(std::is_same_v<espalier::op_of<drop::unscaled<drop::bernoulli<0.1>>>, drop::bernoulli_op>);
static_assert(
    std::is_same_v<espalier::op_of<drop::drop_segment<4, 0.5>>, espalier::op_of<drop::drop_segment<8, 0.25>>>);
static_assert(std::is_same_v<espalier::op_of<drop::filled<1.0, drop::bernoulli<0.1>>>,
                             espalier::op_of<drop::filled<-1.0, drop::unscaled<drop::bernoulli<0.2>>>>>);
// Draws that follow a tag need the tags, whatever the op inside says of its factor.
struct without_tags : drop::bernoulli_op {
    static constexpr bool needs_tags = false;
};
static_assert(!espalier::detail::reads_tags<without_tags>() &&
              espalier::detail::reads_tags<drop::shared_op<without_tags, espalier::row_tag<&espalier::rows::group>>>());
static_assert(std::is_empty_v<drop::none> && drop::none::scope == random_scope::none);
static_assert(std::is_same_v<espalier::op_of<drop::bernoulli<0.1>>, espalier::op_of<drop::bernoulli<0.2>>>);

TEMPLATE_TEST_CASE("the expected factor is exactly 1", "[dropout]", drop::bernoulli<0.3>, drop::bernoulli<0.5>,
                   drop::bernoulli<0>, drop::drop_path<0.123f>, drop::bernoulli<0.99>, drop::drop_step<0.25>) {
    auto const op = op_at<TestType>({});
    double sum = 0.0;
    int kept = 0;
    for (std::uint32_t bits = 0; bits < 65536; ++bits) {
        double const factor = op.template factor<double>(bits);
        kept += factor != 0.0;
        sum += factor;
        if (factor != 0.0) REQUIRE(factor == op.scale);
        if (bits < op.threshold) REQUIRE(factor == 0.0);
    }
    CHECK(kept == 65536 - static_cast<int>(op.threshold));
    CHECK(sum / 65536.0 == Approx(1.0).epsilon(1e-12));
}

TEST_CASE("the threshold is the rounded rate", "[dropout]") {
    CHECK(op_at<drop::bernoulli<0.5>>({}).threshold == 32768);
    CHECK(op_at<drop::bernoulli<0.5>>({}).scale == 2.0);
    CHECK(op_at<drop::bernoulli<0.0>>({}).threshold == 0);
    CHECK(op_at<drop::bernoulli<0.0>>({}).scale == 1.0);
    CHECK(op_at<drop::drop_path<0.25>>({}).threshold == 16384);
    CHECK(op_at<drop::bernoulli<1.0 / 65536>>({}).threshold == 1);
    CHECK(op_at<drop::bernoulli<1.0 / 262144>>({}).threshold == 0);
    STATIC_REQUIRE(espalier::op_of<drop::bernoulli<0.5>>::scope == random_scope::element);
    STATIC_REQUIRE(espalier::op_of<drop::drop_path<0.5>>::scope == random_scope::row);
    using growing = drop::bernoulli<linear{.from = 0.0, .to = 0.5, .steps = 4}>;
    CHECK(op_at<growing>({}).threshold == 0);
    CHECK(op_at<growing>(espalier::clock{.step = 2}).threshold == 16384);
    CHECK(op_at<growing>(espalier::clock{.step = 9}).threshold == 32768);
    CHECK(drop::none::factor<float>(17u) == 1.0f);
}

TEST_CASE("factors of packs are those of plain numbers", "[dropout]") {
    auto const op = op_at<drop::bernoulli<0.5>>({});
    auto const row = op_at<drop::drop_path<0.5>>({});
    using wide = espalier::pack<std::uint32_t, 16>;
    using long_wide = espalier::pack<std::uint64_t, 8>;
    std::uint32_t bits[16] = {0, 1, 32767, 32768, 32769, 65535, 5, 40000, 32767, 32768, 2, 3, 4, 60000, 31000, 33000};
    std::uint64_t long_bits[8];
    for (int i = 0; i < 8; ++i)
        long_bits[i] = bits[i];
    auto const f = op.factor<espalier::pack<float, 16>>(wide::load(bits));
    auto const g = row.factor<espalier::pack<float, 16>>(wide::load(bits));
    auto const d = op.factor<espalier::pack<double, 8>>(long_wide::load(long_bits));
    for (int i = 0; i < 16; ++i) {
        CHECK(f[i] == op.factor<float>(bits[i]));
        CHECK(g[i] == row.factor<float>(bits[i]));
        if (i < 8) CHECK(d[i] == op.factor<double>(bits[i]));
    }
}

TEST_CASE("drop_path: published decisions and values", "[dropout]") {
    // Kept with probability 0.9: the sum of it and u, rounded down. A decision has 16 bits, so u is one of 65536
    // numbers and the factor is off by as much as a rate that is.
    struct published {
        double u, x[2], y[2];
        bool kept;
    };
    published const rows[] = {{0.05, {1, -2}, {0, 0}, false},
                              {0.09, {3, 0.5}, {0, 0}, false},
                              {0.8, {-1, 4}, {-1.111111111, 4.444444444}, true},
                              {0.1, {1, 0}, {1.111111111, 0}, true},
                              {0.35, {1, 0}, {1.111111111, 0}, true}};
    auto const op = op_at<drop::drop_path<0.1>>({});
    for (published const& r : rows) {
        INFO("u = " << r.u);
        double const factor = op.factor<double>(static_cast<std::uint32_t>(std::lround(r.u * 65536)));
        CHECK((factor != 0.0) == r.kept);
        for (int i = 0; i < 2; ++i)
            CHECK(factor * r.x[i] == Approx(r.y[i]).epsilon(0).margin(std::abs(r.x[i]) * 1e-5));
    }
}

TEST_CASE("drop_path: its scheduled rate is met by what is drawn", "[dropout]") {
    // Cell 2 of 3 at the end of training, where 0.55 are kept in the last one.
    using scheduled = drop::drop_path<espalier::schedule::drop_path{.keep = 0.55, .cell = 1, .cells = 3, .steps = 100}>;
    auto const op = op_at<scheduled>(espalier::clock{.step = 100});
    double sum = 0.0;
    int kept = 0;
    constexpr std::uint32_t blocks = 12500;
    for (std::uint32_t b = 0; b < blocks; ++b) {
        auto const drawn = espalier::draw(espalier::make_site(3, 5), b, 0);
        for (int i = 0; i < 8; ++i) {
            double const factor = op.factor<double>(drawn[i]);
            kept += factor != 0.0;
            sum += factor;
        }
    }
    CHECK(std::abs(sum / (8 * blocks) - 1.0) < 0.01);
    CHECK(std::abs(static_cast<double>(kept) / (8 * blocks) - 0.7) < 0.005);
    CHECK(op_at<scheduled>({}).threshold == 0);
}

TEST_CASE("a rate that leaves [0, 1) while running is refused", "[dropout]") {
    using swept = drop::bernoulli<runtime{.name = "rate"_name, .initial = 0.25}>;
    using swept_path = drop::drop_path<runtime{.name = "rate"_name, .initial = 0.25}>;
    CHECK(op_at<swept>({}).threshold == 16384);
    for (double bad : {-0.1, 1.0, 2.0, std::nan("")}) {
        espalier::named_value const values[] = {{"rate"_name, bad}};
        espalier::clock const now{.values = {values, 1}};
        CHECK_THROWS_AS(op_at<swept>(now), espalier::data_error);
        CHECK_THROWS_AS(op_at<swept_path>(now), espalier::data_error);
    }
}

namespace {

struct moved {
    static constexpr random_scope scope = random_scope::element;
    template <class T, class Bits> ESPALIER_FN T factor(Bits bits) const {
        return bits < Bits(32768) ? T(0.5) : T(1.5);
    }
    template <class T, class Bits> ESPALIER_FN T shift(Bits bits) const {
        return bits < Bits(16384) ? T(-0.75) : T(0.25);
    }
};
struct moved_or_dropped : moved {
    template <class T, class Bits> ESPALIER_FN T factor(Bits bits) const {
        return bits < Bits(32768) ? T(0.0) : T(2.0);
    }
};
struct energy {
    static constexpr espalier::penalty_scope scope = espalier::penalty_scope::element;
    template <class T> ESPALIER_FN T contribution(T y) const { return y * y; }
    template <class T> ESPALIER_FN T gradient(T y, T row_count) const { return (y + y) / row_count; }
};

} // namespace

TEST_CASE("what is shifted is what penalties see", "[dropout]") {
    espalier::epilogue_op<espalier::activation::tanh, moved, energy> const op{};
    for (std::uint32_t bits : {0u, 20000u, 50000u})
        for (double z : {-1.5, 0.25, 0.75}) {
            espalier::epilogue_about<double, std::uint32_t> const about{.bits = bits, .row_count = 4.0};
            double const factor = bits < 32768 ? 0.5 : 1.5, shift = bits < 16384 ? -0.75 : 0.25;
            CHECK(op.forward(z, about) == Approx(factor * std::tanh(z) + shift).epsilon(1e-13));
            auto const objective = [&](double at) {
                double const y = op.forward(at, about);
                return 0.7 * y + y * y / 4.0;
            };
            double const h = 1e-5, numeric = (objective(z + h) - objective(z - h)) / (2.0 * h);
            CHECK(op.backward(z, 0.7, about, [](int) { return 0.0; }) == Approx(numeric).epsilon(1e-8));
        }
}

TEST_CASE("what is kept stays as it is without the scale", "[dropout]") {
    auto const op = op_at<drop::unscaled<drop::drop_path<0.25>>>({});
    CHECK(op.threshold == 16384);
    CHECK(op.factor<double>(16383u) == 0.0);
    CHECK(op.factor<double>(16384u) == 1.0);
    CHECK(espalier::name_of<drop::unscaled<drop::drop_path<0.25>>>() == "unscaled_drop_path");
}

TEST_CASE("what is dropped becomes the value", "[dropout]") {
    using policy = drop::filled<linear{.from = -1.0, .to = 3.0, .steps = 4}, drop::bernoulli<0.5>>;
    auto const op = op_at<policy>(espalier::clock{.step = 1});
    auto const shift = [&](std::uint32_t bits) {
        return op.shift(espalier::epilogue_about<double, std::uint32_t>{.bits = bits});
    };
    CHECK(shift(32767) == 0.0); // the value at this step
    CHECK(op_at<policy>({}).value == -1.0);
    CHECK(op_at<policy>(espalier::clock{.step = 4}).shift(espalier::epilogue_about<float, std::uint32_t>{}) == 3.0f);
    CHECK(op_at<policy>(espalier::clock{.step = 4})
              .shift(espalier::epilogue_about<double, std::uint32_t>{.bits = 32768}) == 0.0);
    // what is kept has the shift that it had
    drop::filled_op<moved_or_dropped> const around{{}, -7.0};
    espalier::epilogue_about<double, std::uint32_t> const kept{.bits = 40000}, dropped{.bits = 100};
    CHECK(espalier::detail::shifted(around, 2.0, kept) == 2.25);
    CHECK(espalier::detail::shifted(around, 0.0, dropped) == -7.0);
    CHECK(espalier::name_of<policy>() == "filled_bernoulli");
    using swept = drop::filled<runtime{.name = "null"_name}, drop::bernoulli<0.5>>;
    espalier::named_value const bad[] = {{"null"_name, std::nan("")}};
    CHECK_THROWS_AS(op_at<swept>(espalier::clock{.values = {bad, 1}}), espalier::data_error);
}

TEST_CASE("the columns of a segment are a whole number", "[dropout]") {
    using swept = drop::drop_segment<runtime{.name = "columns"_name, .initial = 4.0}, 0.5>;
    CHECK(op_at<swept>({}).segment == 4);
    CHECK(op_at<swept>({}).threshold == 32768);
    CHECK(op_at<drop::drop_segment<7, 0.25>>({}).segment == 7);
    for (double bad : {0.0, -3.0, 2.5, 1e12, std::nan("")}) {
        espalier::named_value const values[] = {{"columns"_name, bad}};
        CHECK_THROWS_AS(op_at<swept>(espalier::clock{.values = {values, 1}}), espalier::data_error);
    }
    CHECK_NOTHROW(drop::check_segment("drop_segment", 4, 12, 0));
    CHECK_THROWS_AS(drop::check_segment("drop_segment", 5, 12, 0), espalier::data_error);
    CHECK_THROWS_AS(drop::check_segment("drop_segment", 0, 12, 0), espalier::data_error);
}

TEST_CASE("a rate of a row is quantised as that of a policy", "[dropout]") {
    using policy = drop::rate_of_row<>;
    double const rates[] = {0.0, 0.25, 0.5, 1.0, -0.1, 1.5, std::nan("")};
    espalier::rows batch{.count = 7, .rate = rates};
    auto const factor = [&](espalier::index_t row, std::uint32_t bits) {
        return policy::factor(
            espalier::epilogue_about<double, std::uint32_t>{.bits = bits, .row = row, .batch = &batch});
    };
    for (espalier::index_t row = 0; row < 4; ++row)
        for (std::uint32_t bits : {0u, 16383u, 16384u, 32767u, 32768u, 65535u})
            CHECK(factor(row, bits) == espalier::quantise(rates[row]).factor<double>(bits));
    for (espalier::index_t row = 4; row < 7; ++row)
        CHECK(std::isnan(factor(row, 40000)));
    batch.rate = nullptr;
    CHECK(factor(3, 0) == 1.0);
}

TEST_CASE("where the draws of a row come from", "[dropout]") {
    using espalier::detail::draw_place;
    using of_group = espalier::op_of<drop::shared_by<&espalier::rows::group, drop::bernoulli<0.5>>>;
    using of_key = espalier::op_of<drop::shared_by<&espalier::rows::key, drop::bernoulli<0.5>>>;
    std::int32_t const group[] = {4, -1, 4};
    std::uint64_t const key[] = {7, 7 + (std::uint64_t{1} << 32), 7 + (std::uint64_t{1} << 40)};
    espalier::rows const tagged{.count = 3, .first = 50, .group = group, .key = key}, plain{.count = 3, .first = 50};
    CHECK(draw_place<drop::bernoulli_op>(tagged, 2) == 52);
    CHECK(draw_place<of_group>(tagged, 0) == 4);
    CHECK(draw_place<of_group>(tagged, 2) == 4);
    CHECK(draw_place<of_group>(plain, 2) == 52);
    CHECK(draw_place<of_key>(tagged, 0) == 7);
    CHECK(draw_place<of_key>(tagged, 1) != draw_place<of_key>(tagged, 0));
    CHECK(draw_place<of_key>(tagged, 2) != draw_place<of_key>(tagged, 0));
    STATIC_REQUIRE(espalier::detail::reads_tags<of_group>());
    STATIC_REQUIRE_FALSE(espalier::detail::reads_tags<drop::bernoulli_op>());
}
