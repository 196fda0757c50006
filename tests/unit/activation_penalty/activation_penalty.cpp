// SPDX-License-Identifier: Apache-2.0
// Penalties on activations: published numbers, gradients of the whole term against differences, packs against numbers.
#include <espalier/activation_penalty/concept.hpp>
#include <espalier/activation_penalty/flops.hpp>
#include <espalier/activation_penalty/l1.hpp>
#include <espalier/core/policy.hpp>
#include <espalier/schedule/linear.hpp>
#include <espalier/schedule/product.hpp>
#include <espalier/schedule/runtime.hpp>

#include <support/catch.hpp>

#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

namespace ap = espalier::activation_penalty;
using espalier::op_at;
using espalier::penalty_scope;
using namespace espalier::literals;

namespace {

/// Rows of outputs.
using matrix = std::vector<std::vector<double>>;

template <class Op> double column_sum(Op const& op, matrix const& y, std::size_t c) {
    double sum = 0.0;
    for (auto const& row : y)
        sum += op.contribution(row[c]);
    return sum;
}

template <class Op> double term(Op const& op, matrix const& y) {
    auto const n = static_cast<double>(y.size());
    double total = 0.0;
    for (std::size_t c = 0; c < y[0].size(); ++c) {
        if constexpr (Op::scope == penalty_scope::column)
            total += op.finish(column_sum(op, y, c), n);
        else
            total += column_sum(op, y, c);
    }
    if constexpr (Op::scope == penalty_scope::element) total = op.finish(total, n);
    return total;
}

template <class Op> double gradient(Op const& op, matrix const& y, std::size_t r, std::size_t c) {
    auto const n = static_cast<double>(y.size());
    espalier::epilogue_about<double, std::uint32_t> about;
    about.row_count = n;
    about.column_sum = column_sum(op, y, c);
    return espalier::detail::gradient_of(op, y[r][c], about);
}

} // namespace

static_assert(ap::output_penalty<ap::l1<1e-3>> && ap::output_penalty<ap::flops<1e-3>>);
static_assert(espalier::op_of<ap::l1<1.0>>::scope == penalty_scope::element);
static_assert(espalier::op_of<ap::flops<1.0>>::scope == penalty_scope::column);

TEMPLATE_TEST_CASE("gradients of activation penalties", "[activation_penalty]", ap::l1<0.7>, ap::flops<0.7>) {
    using P = TestType;
    auto const op = op_at<P>({});
    matrix y{{0.5, -1.25, 2.0}, {0.125, 0.75, -0.5}, {-0.875, 0.25, 1.5}, {3.0, -2.0, 0.5}};
    for (std::size_t r = 0; r < y.size(); ++r)
        for (std::size_t c = 0; c < y[r].size(); ++c) {
            double const kept = y[r][c], h = 1e-4, analytic = gradient(op, y, r, c);
            y[r][c] = kept + h;
            double const above = term(op, y);
            y[r][c] = kept - h;
            double const below = term(op, y);
            y[r][c] = kept;
            CHECK(analytic == Approx((above - below) / (2 * h)).epsilon(1e-8));
        }
    y[1][1] = 0.0;
    CHECK(gradient(op, y, 1, 1) == 0.0);
}

TEST_CASE("l1 is the mean over rows of the sum over columns", "[activation_penalty]") {
    CHECK(term(op_at<ap::l1<0.5>>({}), {{1.0, -2.0}, {0.0, 3.0}}) == 1.5);
}

TEST_CASE("flops: the published numbers", "[activation_penalty]") {
    matrix const w{{0.916290732, 0.78845736, 0.336472237, 0.0, 1.09861229},
                   {0.336472237, 1.16315081, 0.641853886, 0.530628251, 0.0953101798}};
    double const per_column[] = {0.626381484, 0.975804085, 0.489163061, 0.265314126, 0.596961234};
    auto const op = op_at<ap::flops<1.0>>({});
    CHECK(term(op, w) == Approx(2.01058218).epsilon(1e-8));
    for (std::size_t c = 0; c < 5; ++c)
        for (std::size_t r = 0; r < 2; ++r)
            // outputs of 0 receive nothing here; the published row passes them through a rectifier that stops it
            CHECK(gradient(op, w, r, c) == Approx(w[r][c] > 0.0 ? per_column[c] : 0.0).epsilon(1e-8));
    // the square of a scale, the coefficient itself
    matrix scaled = w;
    for (auto& row : scaled)
        for (auto& x : row)
            x *= 3.0;
    CHECK(term(op, scaled) == Approx(9.0 * term(op, w)).epsilon(1e-14));
    CHECK(term(op_at<ap::flops<0.25>>({}), w) == Approx(0.25 * term(op, w)).epsilon(1e-14));
}

TEST_CASE("the published warm-up of the coefficient", "[activation_penalty]") {
    using espalier::schedule::linear;
    static constexpr espalier::schedule::product ramp{.a = linear{.from = 0.002 / 200, .to = 0.002, .steps = 199},
                                                      .b = linear{.from = 1.0 / 200, .to = 1.0, .steps = 199}};
    auto const at = [](std::uint64_t step) {
        return op_at<ap::flops<ramp>>(espalier::clock{.step = step}).coefficient;
    };
    CHECK(at(0) == Approx(5e-8).epsilon(1e-12));
    CHECK(at(99) == Approx(0.0005).epsilon(1e-12));
    CHECK(at(199) == Approx(0.002).epsilon(1e-12));
    CHECK(at(200) == Approx(0.002).epsilon(1e-12));
}

TEMPLATE_TEST_CASE("activation penalties of packs are those of plain numbers", "[activation_penalty]", float, double) {
    using T = TestType;
    using P = espalier::native_pack<T>;
    constexpr int n = espalier::pack_width<P>;
    auto const l1 = op_at<ap::l1<0.7>>({});
    auto const flops = op_at<ap::flops<0.7>>({});
    P const y = P::iota(T(-3)) * P(T(0.5)), sum = P::iota(T(1)), row_count(T(12));
    espalier::epilogue_about<P, espalier::drawn_bits<P>> about;
    about.row_count = row_count;
    about.column_sum = sum;
    P const share = l1.contribution(y), gradient_l1 = l1.gradient(y, row_count),
            gradient_flops = flops.gradient(y, about);
    for (int i = 0; i < n; ++i) {
        CHECK(share[i] == l1.contribution(y[i]));
        CHECK(flops.contribution(y)[i] == flops.contribution(y[i]));
        CHECK(gradient_l1[i] == l1.gradient(y[i], T(12)));
        espalier::epilogue_about<T, std::uint32_t> one;
        one.row_count = T(12);
        one.column_sum = sum[i];
        CHECK(gradient_flops[i] == flops.gradient(y[i], one));
    }
}

TEST_CASE("coefficients of activation penalties are checked", "[activation_penalty]") {
    using espalier::schedule::runtime;
    espalier::named_value const bad[] = {{"c"_name, std::numeric_limits<double>::infinity()}};
    espalier::clock const now{.values = {bad, 1}};
    CHECK_THROWS_AS(op_at<ap::l1<runtime{.name = "c"_name}>>(now), espalier::data_error);
    CHECK_THROWS_AS(op_at<ap::flops<runtime{.name = "c"_name}>>(now), espalier::data_error);
    CHECK(op_at<ap::l1<runtime{.name = "c"_name, .initial = 0.5}>>({}).coefficient == 0.5);
}
