// SPDX-License-Identifier: Apache-2.0
// Gradient transforms: published numbers, expectations over all draws, packs against plain numbers.
#include <espalier/core/policy.hpp>
#include <espalier/core/update.hpp>
#include <espalier/schedule/linear.hpp>
#include <espalier/schedule/runtime.hpp>
#include <espalier/transform/agreement.hpp>
#include <espalier/transform/clip_global_norm.hpp>
#include <espalier/transform/clip_value.hpp>
#include <espalier/transform/concept.hpp>
#include <espalier/transform/gradient_dropout.hpp>

#include <support/catch.hpp>

#include <cmath>
#include <cstdint>
#include <limits>
#include <type_traits>

namespace tf = espalier::transform;
using espalier::element_about;
using espalier::op_at;
using espalier::transform_stage;
using namespace espalier::literals;

namespace {

element_about<double> about(double reference, std::uint32_t bits, double norm = 0.0) {
    return {.reference = reference, .bits = bits, .global_norm = norm};
}

/// The draw whose middle is nearest to u.
std::uint32_t bits_near(double u) {
    return static_cast<std::uint32_t>(u * 65536.0);
}

template <class Op, class T> void compare_packs(Op const& op) {
    using P = espalier::native_pack<T>;
    constexpr int n = espalier::pack_width<P>;
    using U = std::conditional_t<sizeof(T) == 4, std::uint32_t, std::uint64_t>;
    using B = espalier::pack<U, n>;
    T g[n], b[n];
    U bits[n];
    for (int i = 0; i < n; ++i) {
        g[i] = static_cast<T>(0.3 * i - 1.1);
        b[i] = static_cast<T>(i % 3 ? 0.2 * i - 0.7 : -0.4 * i);
        bits[i] = static_cast<U>((i * 9973 + 4000) % 65536);
    }
    g[2] = T(0);
    element_about<P> const all{.reference = P::load(b), .bits = B::load(bits), .global_norm = P(T(2.5))};
    P const wide = tf::detail::apply(op, all, P::load(g));
    for (int i = 0; i < n; ++i) {
        element_about<T> const one{
            .reference = b[i], .bits = static_cast<std::uint32_t>(bits[i]), .global_norm = T(2.5)};
        T const x = tf::detail::apply(op, one, g[i]);
        CHECK(std::fabs(wide[i] - x) <= std::numeric_limits<T>::epsilon() * std::fabs(x));
    }
}

} // namespace

static_assert(tf::gradient_transform<tf::agreement<0.3>> && tf::gradient_transform<tf::clip_value<1>>);
static_assert(tf::gradient_transform<tf::clip_global_norm<1.0>> && tf::gradient_transform<tf::gradient_dropout<0.1>>);
static_assert(tf::agreement<1.0>::stage == int(transform_stage::gate));
static_assert(tf::gradient_dropout<0.5>::stage == int(transform_stage::gate));
static_assert(tf::clip_value<1.0>::stage == int(transform_stage::clip));
static_assert(tf::clip_global_norm<1.0>::stage == int(transform_stage::clip));
static_assert(espalier::op_of<tf::clip_global_norm<1.0>>::needs_global_norm);
static_assert(espalier::op_of<tf::agreement<1.0>>::needs_reference && espalier::op_of<tf::agreement<1.0>>::draws);

TEST_CASE("agreement: the published probabilities and gates", "[transform]") {
    double const a[] = {0.2, -0.2, 0.1, 0.0, -0.3}, b[] = {0.1, 0.1, -0.4, 0.5, 0.0};
    double const u[] = {0.99, 0.7, 0.1, 0.4, 0.9};
    double const p[] = {0.999999983, 0.666666661, 0.200000006, 0.5, 0.999999983};
    double const full[] = {0.2, 0.0, 0.1, 0.0, -0.3}, part[] = {0.2, -0.14, 0.1, 0.0, -0.3};
    auto const one = op_at<tf::agreement<1.0>>({});
    auto const third = op_at<tf::agreement<0.3>>({});
    for (int i = 0; i < 5; ++i) {
        INFO("element " << i);
        CHECK(std::fabs(one.probability(a[i], b[i]) - p[i]) < 1e-9);
        CHECK(one.gated(a[i], b[i], u[i]) == Approx(full[i]).margin(1e-15));
        CHECK(third.gated(a[i], b[i], u[i]) == Approx(part[i]).margin(1e-15));
        // through the 16-bit draw: U within 2^-17 of the published one
        CHECK(one.apply(a[i], about(b[i], bits_near(u[i]))) == Approx(full[i]).margin(1e-15));
        CHECK(third.apply(a[i], about(b[i], bits_near(u[i]))) == Approx(part[i]).margin(1e-15));
    }
    double const a2[] = {-0.099903979, 0.966051253, 0.285920102, 0.299910082, 0.724589391, 0.571776797};
    double const b2[] = {0.040354907, -0.245510206, -0.055215195, -0.12106472, -0.184132655, -0.11043039};
    double const p2[] = {0.712282694, 0.797360499, 0.838142817, 0.712418127, 0.79737186, 0.838127778};
    double const u2[] = {0.3, 0.6, 0.9, 0.1, 0.5, 0.7};
    double const g2[] = {-0.099903979, 0.966051253, 0.200144071, 0.299910082, 0.724589391, 0.571776797};
    for (int i = 0; i < 6; ++i) {
        CHECK(std::fabs(third.probability(a2[i], b2[i]) - p2[i]) < 3e-9);
        CHECK(std::fabs(third.gated(a2[i], b2[i], u2[i]) - g2[i]) < 1e-9);
        CHECK(std::fabs(third.apply(a2[i], about(b2[i], bits_near(u2[i]))) - g2[i]) < 1e-9);
    }
}

TEST_CASE("agreement: limits", "[transform]") {
    auto const op = op_at<tf::agreement<1.0>>({});
    auto const share_kept = [&](double a, double b) {
        int kept = 0;
        for (std::uint32_t bits = 0; bits < 65536; ++bits)
            kept += op.apply(a, about(b, bits)) != 0.0;
        return kept / 65536.0;
    };
    CHECK(share_kept(0.5, 2.0) == 1.0);  // same sign: always
    CHECK(share_kept(-0.5, 0.0) == 1.0); // no reference: always
    CHECK(share_kept(0.3, -0.9) == Approx(0.25).margin(1e-4));
    CHECK(share_kept(-0.9, 0.3) == Approx(0.75).margin(1e-4));
    CHECK(share_kept(1.0, std::nan("")) == 1.0); // a NaN of the reference counts as 0
    CHECK(std::isnan(op.apply(std::nan(""), about(1.0, 3))));
    // strength 0 leaves every gradient alone
    CHECK(op_at<tf::agreement<0.0>>({}).apply(0.1, about(-5.0, 65535)) == 0.1);
}

TEST_CASE("clipping by the global norm", "[transform]") {
    auto const op = op_at<tf::clip_global_norm<2.0>>({});
    CHECK(op.apply(3.0, about(0, 0, 1.0)) == 3.0);
    CHECK(op.apply(3.0, about(0, 0, 5.0)) == Approx(3.0 * 2.0 / 5.000001).epsilon(1e-15));
    CHECK(op.apply(3.0, about(0, 0, 0.0)) == 3.0);
    CHECK(op.apply(3.0, about(0, 0, std::numeric_limits<double>::infinity())) == 0.0);
    CHECK(std::isnan(op.apply(3.0, about(0, 0, std::nan("")))));
}

TEST_CASE("clipping by value", "[transform]") {
    auto const op = op_at<tf::clip_value<0.5>>({});
    CHECK(op.apply(3.0) == 0.5);
    CHECK(op.apply(-3.0) == -0.5);
    CHECK(op.apply(0.25) == 0.25);
    CHECK(std::isnan(op.apply(std::nan(""))));
}

TEST_CASE("gradient dropout keeps the expectation", "[transform]") {
    auto const op = op_at<tf::gradient_dropout<0.3>>({});
    double sum = 0.0;
    int kept = 0;
    for (std::uint32_t bits = 0; bits < 65536; ++bits) {
        double const g = op.apply(-2.0, about(0, bits));
        sum += g;
        kept += g != 0.0;
    }
    CHECK(sum / 65536.0 == Approx(-2.0).epsilon(1e-12));
    CHECK(kept == 65536 - 19661); // 65536 * 0.3 rounded
    CHECK(op_at<tf::gradient_dropout<1>>({}).apply(-2.0, about(0, 65535)) == 0.0);
    CHECK(op_at<tf::gradient_dropout<0>>({}).apply(-2.0, about(0, 0)) == -2.0);
}

TEMPLATE_TEST_CASE("transforms of packs are those of plain numbers", "[transform]", float, double) {
    compare_packs<tf::agreement_op, TestType>(op_at<tf::agreement<0.7>>({}));
    compare_packs<tf::clip_global_norm_op, TestType>(op_at<tf::clip_global_norm<1.0>>({}));
    compare_packs<tf::clip_value_op, TestType>(op_at<tf::clip_value<0.5>>({}));
    compare_packs<tf::gradient_dropout_op, TestType>(op_at<tf::gradient_dropout<0.5>>({}));
}

TEST_CASE("transforms stand in the order of their stages and check their numbers", "[transform]") {
    using ordered = espalier::all_on<espalier::axis::transform, tf::clip_value<1.0>, tf::gradient_dropout<0.1>,
                                     tf::clip_global_norm<1.0>, tf::agreement<0.5>>;
    STATIC_REQUIRE(std::is_same_v<ordered, espalier::type_list<tf::agreement<0.5>, tf::gradient_dropout<0.1>,
                                                               tf::clip_global_norm<1.0>, tf::clip_value<1.0>>>);
    using espalier::schedule::runtime;
    espalier::named_value const bad[] = {{"x"_name, -0.5}};
    espalier::clock const now{.values = {bad, 1}};
    CHECK_THROWS_AS(op_at<tf::agreement<runtime{.name = "x"_name}>>(now), espalier::data_error);
    CHECK_THROWS_AS(op_at<tf::clip_value<runtime{.name = "x"_name}>>(now), espalier::data_error);
    CHECK_THROWS_AS(op_at<tf::clip_global_norm<runtime{.name = "x"_name}>>(now), espalier::data_error);
    CHECK_THROWS_AS(op_at<tf::gradient_dropout<runtime{.name = "x"_name}>>(now), espalier::data_error);
}
