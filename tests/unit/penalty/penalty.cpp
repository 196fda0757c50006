// SPDX-License-Identifier: Apache-2.0
// Penalties on parameters: gradients against differences, proxes against their definition, packs against numbers.
#include <espalier/core/policy.hpp>
#include <espalier/core/update.hpp>
#include <espalier/optimizer/sgd.hpp>
#include <espalier/penalty/anchor.hpp>
#include <espalier/penalty/concept.hpp>
#include <espalier/penalty/elastic_net.hpp>
#include <espalier/penalty/group_lasso.hpp>
#include <espalier/penalty/l1.hpp>
#include <espalier/penalty/l2.hpp>
#include <espalier/penalty/proximal.hpp>
#include <espalier/penalty/smooth_l1.hpp>
#include <espalier/penalty/where_pruned.hpp>
#include <espalier/schedule/linear.hpp>
#include <espalier/schedule/runtime.hpp>
#include <espalier/weight/marked.hpp>

#include <support/catch.hpp>

#include <algorithm>
#include <cmath>
#include <limits>
#include <type_traits>
#include <vector>

namespace pen = espalier::penalty;
using espalier::op_at;
using espalier::pack;
using namespace espalier::literals;

namespace {

template <class P, class T> void check_packs() {
    using V = espalier::native_pack<T>;
    constexpr int n = espalier::pack_width<V>;
    auto const op = op_at<P>({});
    T w[n];
    for (int i = 0; i < n; ++i)
        w[i] = static_cast<T>(0.25 * (i - n / 2));
    V const pw = V::load(w), value = op.value(pw), gradient = op.gradient(pw), prox = op.prox(pw, {.rate = V(T(0.5))});
    T const slack = std::numeric_limits<T>::epsilon(); // one rounding more or less where products are fused
    for (int i = 0; i < n; ++i) {
        CHECK(std::fabs(value[i] - op.value(w[i])) <= slack * std::fabs(op.value(w[i])));
        CHECK(std::fabs(gradient[i] - op.gradient(w[i])) <= slack * std::fabs(op.gradient(w[i])));
        CHECK(std::fabs(prox[i] - op.prox(w[i], {.rate = T(0.5)})) <= slack * std::fabs(w[i]));
    }
}

} // namespace

static_assert(pen::element_penalty<pen::l1<1e-3>> && pen::element_penalty<pen::l2<1>>);
static_assert(pen::element_penalty<pen::proximal<pen::elastic_net<1e-3, 1e-2f>>>);
static_assert(pen::group_penalty<pen::group_lasso<1e-3, pen::over::rows>>);
static_assert(!pen::group_penalty<pen::l1<1e-3>> && !pen::element_penalty<pen::group_lasso<1e-3, pen::over::rows>>);
static_assert(std::is_same_v<espalier::op_of<pen::l2<1e-4>>, espalier::op_of<pen::l2<1e-3>>>);

TEMPLATE_TEST_CASE("element penalties: value, gradient, prox", "[penalty]", pen::l1<0.3>, pen::l2<0.3>,
                   (pen::elastic_net<0.2, 0.7>), (pen::elastic_net<0.2, 0.0>)) {
    using P = TestType;
    auto const op = op_at<P>({});
    for (double w : {-3.0, -0.7, -1e-2, 1e-2, 0.4, 5.0}) {
        double const h = 1e-4;
        double const slope = (op.value(w + h) - op.value(w - h)) / (2 * h);
        CHECK(op.gradient(w) == Approx(slope).epsilon(1e-8));
    }
    CHECK(op.value(0.0) == 0.0);
    CHECK(op.gradient(0.0) == 0.0);
    CHECK(std::isnan(op.value(std::nan(""))));

    // prox(w, rate) minimises value(u) + (u - w)^2 / (2 rate): no point of a fine grid does better
    for (double rate : {0.1, 1.0, 4.0})
        for (double w : {-2.0, -0.3, 0.0, 0.05, 0.2, 1.5}) {
            auto const cost = [&](double u) { return op.value(u) + (u - w) * (u - w) / (2 * rate); };
            double const best = op.prox(w, {.rate = rate});
            double lowest = cost(0.0);
            for (int k = -4000; k <= 4000; ++k)
                lowest = std::min(lowest, cost(k * 1e-3));
            INFO("rate " << rate << " w " << w << " prox " << best);
            CHECK(cost(best) <= lowest + 1e-15);
        }
    CHECK(std::isnan(op.prox(std::nan(""), {.rate = 0.5})));
}

TEST_CASE("element penalties: conventions", "[penalty]") {
    CHECK(op_at<pen::l1<0.5>>({}).value(-3.0) == 1.5);
    CHECK(op_at<pen::l1<0.5>>({}).gradient(-3.0) == -0.5);
    CHECK(op_at<pen::l1<0.5>>({}).prox(3.0, {.rate = 0.1}) == Approx(2.95));
    CHECK(op_at<pen::l1<0.5>>({}).prox(-0.04, {.rate = 0.1}) == 0.0);
    CHECK(op_at<pen::l2<0.5>>({}).value(-3.0) == 2.25); // with the half
    CHECK(op_at<pen::l2<0.5>>({}).gradient(-3.0) == -1.5);
    CHECK(op_at<pen::l2<0.5>>({}).prox(3.0, {.rate = 1.0}) == 2.0);
    CHECK(op_at<pen::elastic_net<0.5, 2.0>>({}).value(-3.0) == 10.5);
    CHECK(op_at<pen::elastic_net<0.5, 2.0>>({}).gradient(-3.0) == -6.5);
    CHECK(op_at<pen::elastic_net<0.5, 2.0>>({}).prox(3.0, {.rate = 0.5}) == Approx(1.375));
    STATIC_REQUIRE(pen::proximal<pen::l1<0.5>>::name == "proximal_l1");
    STATIC_REQUIRE(espalier::op_of<pen::proximal<pen::l1<0.5>>>::proximal);
    CHECK(op_at<pen::proximal<pen::l1<0.5>>>({}).prox(3.0, {.rate = 0.1}) == Approx(2.95));
}

TEMPLATE_TEST_CASE("element penalties of packs are those of plain numbers", "[penalty]", float, double) {
    check_packs<pen::l1<0.3>, TestType>();
    check_packs<pen::l2<0.3>, TestType>();
    check_packs<pen::elastic_net<0.2, 0.7>, TestType>();
}

TEST_CASE("where_pruned: the penalty where the mask drops, nothing where it keeps", "[penalty]") {
    using inner = pen::elastic_net<0.5, 2.0>;
    using P = pen::where_pruned<inner>;
    STATIC_REQUIRE(pen::element_penalty<P> && P::name == "where_pruned_elastic_net");
    STATIC_REQUIRE(pen::element_penalty<pen::where_pruned<pen::proximal<pen::l1<0.5>>>>);
    STATIC_REQUIRE(pen::where_pruned<pen::proximal<pen::l1<0.5>>>::name == "where_pruned_proximal_l1");
    STATIC_REQUIRE(pen::proximal<pen::where_pruned<pen::l1<0.5>>>::name == "proximal_where_pruned_l1");
    auto const op = op_at<P>({});
    auto const plain = op_at<inner>({});
    for (double const w : {-3.0, -0.1, 0.0, 0.7}) {
        CHECK(op.value(w, {.keep = true}) == 0.0);
        CHECK(op.gradient(w, {.keep = true}) == 0.0);
        CHECK(op.prox(w, {.rate = 0.5, .keep = true}) == w);
        CHECK(op.value(w, {.keep = false}) == plain.value(w));
        CHECK(op.gradient(w, {.keep = false}) == plain.gradient(w));
        CHECK(op.prox(w, {.rate = 0.5, .keep = false}) == plain.prox(w, {.rate = 0.5}));
    }
    // by its prox, in either order of the two, and with a companion
    auto const outside = op_at<pen::where_pruned<pen::proximal<pen::anchor<2.0>>>>({});
    auto const inside = op_at<pen::proximal<pen::where_pruned<pen::anchor<2.0>>>>({});
    STATIC_REQUIRE(decltype(outside)::proximal && decltype(inside)::proximal);
    STATIC_REQUIRE(decltype(outside)::companions == 1 && decltype(inside)::companion_names[0] == "anchor");
    espalier::element_about<double> const dropped{.rate = 0.5, .keep = false, .companion = {3.0}};
    for (double const given : {outside.prox(1.0, dropped), inside.prox(1.0, dropped)})
        CHECK(given == 2.0);
    CHECK(outside.prox(1.0, {.rate = 0.5, .keep = true, .companion = {3.0}}) == 1.0);
    using V = espalier::native_pack<float>;
    V const w = V::iota(-2.0f);
    auto const keep = w < V(0.0f);
    V const value = op.value(w, {.keep = keep}), gradient = op.gradient(w, {.keep = keep}),
            prox = op.prox(w, {.rate = V(0.5f), .keep = keep});
    for (int i = 0; i < espalier::pack_width<V>; ++i) {
        CHECK(value[i] == op.value(w[i], {.keep = w[i] < 0.0f}));
        CHECK(gradient[i] == op.gradient(w[i], {.keep = w[i] < 0.0f}));
        CHECK(prox[i] == op.prox(w[i], {.rate = 0.5f, .keep = w[i] < 0.0f}));
    }
}

TEST_CASE("where_pruned on marked scales gives the published gradients and steps of MaskSparsity", "[penalty]") {
    using espalier::flat_tuple, espalier::op_of, espalier::optimizer::sgd_op, espalier::optimizer::momentum_kind;
    double const scale[] = {.8, -.3, .009, .02, -.002, .5}, task[] = {.1, -.05, .01, 0, .02, -.03};
    bool const condemned[] = {false, false, true, false, true, false};
    auto const step = [&]<class P>(std::type_identity<P>, double const* gradient, double rate, int i) {
        using rule_type = espalier::tensor_rule<espalier::weight::marked, flat_tuple<op_of<P>>, flat_tuple<>>;
        rule_type const rule{{}, {{{op_at<P>({})}}}, {}};
        sgd_op<momentum_kind::none> const sgd{.learning_rate = rate, .momentum = 0.0, .weight_decay = 0.0};
        espalier::element_about<double> const about{.weight = scale[i], .rate = rate, .keep = !condemned[i]};
        return espalier::update_element(
            sgd, rule, gradient[i], static_cast<double*>(nullptr), 0.0, about, [](int) { return 0; },
            [](int) { return 0.0; }, [](int, double) {});
    };
    using l1 = pen::where_pruned<pen::l1<5e-4>>;
    using l2 = pen::where_pruned<pen::l2<5e-4>>;
    using prox = pen::where_pruned<pen::proximal<pen::l1<5e-4>>>;
    double const none[6] = {};
    double const grad_l1[] = {0.1, -0.05, 0.0105, 0.0, 0.0195, -0.03},
                 grad_l2[] = {0.1, -0.05, 0.0100045, 0.0, 0.019999, -0.03},
                 sgd_l1[] = {0.79, -0.295, 0.00795, 0.02, -0.00395, 0.503},
                 prox_only[] = {0.8, -0.3, 0.00895, 0.02, -0.00195, 0.5};
    for (int i = 0; i < 6; ++i) {
        INFO("channel " << i);
        CHECK(scale[i] - step(std::type_identity<l1>{}, task, 1.0, i) == Approx(grad_l1[i]).epsilon(0).margin(1e-15));
        CHECK(scale[i] - step(std::type_identity<l2>{}, task, 1.0, i) == Approx(grad_l2[i]).epsilon(0).margin(1e-15));
        CHECK(step(std::type_identity<l1>{}, task, 0.1, i) == Approx(sgd_l1[i]).epsilon(0).margin(1e-15));
        CHECK(step(std::type_identity<prox>{}, none, 0.1, i) == Approx(prox_only[i]).epsilon(0).margin(1e-15));
    }
}

TEST_CASE("smooth_l1: a line behind rate C, a parabola before it", "[penalty]") {
    auto const op = op_at<pen::smooth_l1<5e-4>>({});
    CHECK(op.gradient(-3e-5, {.rate = 0.1}) == Approx(-1.5e-8).epsilon(1e-12)); // published; l1 would give -5e-4
    CHECK(op.gradient(-6e-5, {.rate = 0.1}) == -5e-4);
    CHECK(op.gradient(0.0, {.rate = 0.1}) == 0.0);
    auto const wide = op_at<pen::smooth_l1<2.0>>({});
    for (double const w : {-3.0, -1.1, -0.9, -0.2, 0.0, 0.3, 0.95, 1.2}) { // the border is 1
        espalier::element_about<double> const about{.rate = 0.5};
        double const h = 1e-5, slope = (wide.value(w + h, about) - wide.value(w - h, about)) / (2 * h);
        CHECK(wide.gradient(w, about) == Approx(slope).margin(1e-9));
        CHECK(wide.gradient(w, {.rate = 0.0}) == op_at<pen::l1<2.0>>({}).gradient(w));
        CHECK(wide.value(w, {.rate = 0.0}) == op_at<pen::l1<2.0>>({}).value(w));
    }
    CHECK(wide.value(1.0, {.rate = 0.5}) == Approx(wide.value(std::nextafter(1.0, 0.0), {.rate = 0.5})));
    CHECK(std::isnan(wide.value(std::nan(""), {.rate = 0.5})));
}

TEST_CASE("group lasso: gradient of the norm, 0 where the norm is 0", "[penalty]") {
    using lasso = pen::group_lasso<0.3, pen::over::columns, "units"_name>;
    STATIC_REQUIRE(lasso::op::groups == espalier::group_scope::columns);
    STATIC_REQUIRE(pen::group_lasso<0.3, pen::over::rows>::op::groups == espalier::group_scope::rows);
    STATIC_REQUIRE(lasso::group_name == "units"_name);
    STATIC_REQUIRE(pen::group_lasso<0.3, pen::over::rows>::group_name.empty());
    auto const op = op_at<lasso>({});
    std::vector<double> w{0.5, -1.5, 0.0, 2.0};
    auto const squares = [&] {
        double s = 0.0;
        for (double x : w)
            s += x * x;
        return s;
    };
    for (auto& x : w) {
        double const kept = x, gradient = op.gradient(x, {.squared_norm = squares()}), h = 1e-5;
        x = kept + h;
        double const above = op.group_value(squares());
        x = kept - h;
        double const below = op.group_value(squares());
        x = kept;
        CHECK(gradient == Approx((above - below) / (2 * h)).margin(1e-10));
    }
    CHECK(op.gradient(0.0, {.squared_norm = 0.0}) == 0.0);
    CHECK(op.gradient(1.0, {.squared_norm = 0.0}) == 0.0);
    CHECK(op.group_value(0.0) == 0.0);
    CHECK(op.gradient(1e-150, {.squared_norm = 1e-300}) == Approx(0.3));
    for (double const step : {0.0, 0.1}) // a rate of 0 too: 0 / 0 is near
        CHECK(op.prox(0.0, {.rate = step, .squared_norm = 0.0}) == 0.0);
    CHECK(op.prox(2.0, {.rate = 0.0, .squared_norm = 4.0}) == 2.0);
    CHECK(op.prox(1e-150, {.rate = 0.1, .squared_norm = 1e-300}) == 0.0);
    using V = pack<float, 16>;
    V const x = V::iota(-7.0f), norm = V::iota(0.0f);
    V const g = op.gradient(x, {.squared_norm = norm}), value = op.group_value(norm);
    for (int i = 0; i < 16; ++i) {
        CHECK(g[i] == op.gradient(x[i], {.squared_norm = norm[i]}));
        CHECK(value[i] == op.group_value(norm[i]));
        CHECK(op.prox(V(0.0f), {.rate = V(0.1f), .squared_norm = V(0.0f)})[i] == 0.0f);
    }
}

TEST_CASE("coefficients follow their schedule and are checked", "[penalty]") {
    using growing = pen::l1<espalier::schedule::linear{.from = 0.0, .to = 1.0, .steps = 4}>;
    CHECK(op_at<growing>(espalier::clock{.step = 1}).coefficient == 0.25);
    using swept = espalier::schedule::runtime;
    espalier::named_value const bad[] = {{"c"_name, -1.0}};
    espalier::clock const now{.values = {bad, 1}};
    CHECK(op_at<pen::l2<swept{.name = "c"_name, .initial = 0.5}>>({}).coefficient == 0.5);
    CHECK_THROWS_AS((op_at<pen::l1<swept{.name = "c"_name}>>(now)), espalier::data_error);
    CHECK_THROWS_AS((op_at<pen::l2<swept{.name = "c"_name}>>(now)), espalier::data_error);
    CHECK_THROWS_AS((op_at<pen::elastic_net<1.0, swept{.name = "c"_name}>>(now)), espalier::data_error);
    CHECK_THROWS_AS((op_at<pen::group_lasso<swept{.name = "c"_name}, pen::over::rows>>(now)), espalier::data_error);
}
