// SPDX-License-Identifier: Apache-2.0
// Activations: values, derivatives against differences in double, packs against plain numbers, softmax rows.
#include <espalier/activation/all.hpp>
#include <espalier/activation/concept.hpp>
#include <espalier/core/group.hpp>

#include <support/catch.hpp>

#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <type_traits>
#include <vector>

namespace act = espalier::activation;

namespace {

using espalier::pack;

#define ESPALIER_ELEMENT_ACTIVATIONS                                                                                   \
    act::identity, act::relu, act::gelu, act::gelu_tanh, act::silu, act::tanh, act::sigmoid
// Those that grow faster than a line: their values overflow, and errors are in proportion to them.
#define ESPALIER_POWERS act::power<2>, act::power<3>, act::power<7>

static_assert(act::element_activation<act::gelu> && !act::row_activation<act::gelu>);
static_assert(act::row_activation<act::softmax> && !act::element_activation<act::softmax>);
static_assert(!act::reads_input<act::relu> && act::reads_output<act::relu>);
static_assert(act::reads_input<act::silu> && !act::reads_output<act::silu>);
static_assert(act::reads_input<act::power<2>> && !act::reads_output<act::power<2>>);
static_assert(std::is_empty_v<act::gelu> && std::is_trivially_copyable_v<act::gelu>);

template <class A> double slope(double x) {
    double const h = 1e-3; // five points: error of order h^4
    auto const f = [](double t) { return A::forward(t); };
    return (8.0 * (f(x + h) - f(x - h)) - (f(x + 2 * h) - f(x - 2 * h))) / (12.0 * h);
}

template <class T> std::int64_t ulps_between(T a, T b) {
    using I = std::conditional_t<sizeof(T) == 4, std::int32_t, std::int64_t>;
    auto const ordered = [](T x) {
        I i;
        std::memcpy(&i, &x, sizeof i);
        return i < 0 ? std::numeric_limits<I>::min() - i : i;
    };
    return std::abs(static_cast<std::int64_t>(ordered(a)) - static_cast<std::int64_t>(ordered(b)));
}

template <class A, class T, int N> void compare_packs() {
    std::int64_t worst = 0;
    for (int start = -400; start < 400; start += N) {
        T x[N], dy[N], y[N], dx[N];
        for (int i = 0; i < N; ++i) {
            x[i] = static_cast<T>((start + i) * 0.03125 + 0.001);
            dy[i] = static_cast<T>(1.0 + 0.01 * i);
        }
        using P = pack<T, N>;
        P const px = P::load(x), py = A::forward(px), pdx = A::backward(px, py, P::load(dy));
        py.store(y);
        pdx.store(dx);
        for (int i = 0; i < N; ++i) {
            T const sy = A::forward(x[i]);
            worst = std::max(worst, ulps_between(y[i], sy));
            worst = std::max(worst, ulps_between(dx[i], A::backward(x[i], sy, dy[i])));
        }
    }
    CHECK(worst <= 2);
}

} // namespace

TEMPLATE_TEST_CASE("activation: backward is the derivative of forward", "[activation]", ESPALIER_ELEMENT_ACTIVATIONS,
                   ESPALIER_POWERS) {
    for (int i = -240; i <= 240; ++i) {
        double const x = i * 0.05 + 0.0125; // never within a step of the kink of relu at 0
        double const y = TestType::forward(x);
        double const expected = slope<TestType>(x);
        INFO("x = " << x);
        CHECK(TestType::backward(x, y, 1.0) == Approx(expected).margin(1e-10).epsilon(1e-10));
        CHECK(TestType::backward(x, y, -2.5) == Approx(-2.5 * expected).margin(3e-10).epsilon(1e-10));
    }
}

TEMPLATE_TEST_CASE("activation: a pack computes what plain numbers do", "[activation]", ESPALIER_ELEMENT_ACTIVATIONS,
                   ESPALIER_POWERS) {
    compare_packs<TestType, float, 16>();
    compare_packs<TestType, double, 8>();
}

TEMPLATE_TEST_CASE("activation: float is close to double", "[activation]", ESPALIER_ELEMENT_ACTIVATIONS) {
    for (int i = -200; i <= 200; ++i) {
        float const x = static_cast<float>(i) * 0.05f;
        float const y = TestType::forward(x);
        double const exact = TestType::forward(static_cast<double>(x));
        INFO("x = " << x);
        // Cancellation in 1 + erf and 1 + tanh leaves an absolute error of a few ulp of x.
        CHECK(std::abs(y - exact) <= 4e-7 * std::max(1.0, std::abs(static_cast<double>(x))));
        double const slope_exact = TestType::backward(static_cast<double>(x), exact, 1.0);
        CHECK(std::abs(TestType::backward(x, y, 1.0f) - slope_exact) <= 2e-6);
    }
}

TEMPLATE_TEST_CASE("activation: large inputs stay finite in both directions", "[activation]",
                   ESPALIER_ELEMENT_ACTIVATIONS) {
    for (float const x : {-1e30f, -1e20f, -1e4f, 1e4f, 1e20f, 1e30f}) {
        float const y = TestType::forward(x);
        INFO("x = " << x);
        CHECK(std::isfinite(y));
        CHECK(std::isfinite(TestType::backward(x, y, 1.0f)));
    }
}

TEMPLATE_TEST_CASE("activation: a NaN does not disappear", "[activation]", ESPALIER_ELEMENT_ACTIVATIONS,
                   ESPALIER_POWERS) {
    float const x = std::numeric_limits<float>::quiet_NaN();
    CHECK(std::isnan(TestType::forward(x)));
    CHECK(std::isnan(TestType::forward(pack<float, 16>(x))[3]));
}

TEST_CASE("activation: golden values", "[activation]") {
    // Computed with 30 digits.
    auto const near = [](double v) { return Approx(v).epsilon(1e-14); };
    CHECK(act::identity::forward(-2.5) == -2.5);
    CHECK(act::relu::forward(-2.5) == 0.0);
    CHECK(act::relu::forward(2.5) == 2.5);
    CHECK(act::relu::backward(0.0, 0.0, 1.0) == 0.0);
    CHECK(act::gelu::forward(1.0) == near(0.84134474606854294859));
    CHECK(act::gelu::forward(-1.0) == near(-0.15865525393145705141));
    CHECK(act::gelu::backward(1.0, 0.0, 1.0) == near(1.0833154705876862984));
    CHECK(act::gelu_tanh::forward(1.0) == near(0.84119199060827670));
    CHECK(act::silu::forward(1.0) == near(0.73105857863000487926));
    CHECK(act::silu::backward(0.0, 0.0, 1.0) == 0.5);
    CHECK(act::tanh::forward(0.5) == near(0.46211715726000975850));
    CHECK(act::sigmoid::forward(2.0) == near(0.88079707797788244406));
    CHECK(act::sigmoid::forward(-700.0) > 0.0);
    CHECK(act::power<2>::forward(-1.5) == 2.25);
    CHECK(act::power<2>::backward(-1.5, 0.0, 2.0) == -6.0);
    CHECK(act::power<7>::forward(-2.0) == -128.0);
    CHECK(act::power<7>::backward(-2.0, 0.0, 0.5) == 224.0);
    CHECK(act::power<2>::forward(1e30f) == std::numeric_limits<float>::infinity());
}

TEST_CASE("activation: softmax of a row", "[activation]") {
    espalier::serial_group const group;
    espalier::row<espalier::serial_group, double, 3> x{{2.0, 0.5, -1.0}};
    act::softmax::forward(group, x);
    CHECK(x.v[0] == Approx(0.78559703458927586).epsilon(1e-14));
    CHECK(x.v[1] == Approx(0.17529039214003669).epsilon(1e-14));
    CHECK(x.v[2] == Approx(0.039112573270687452).epsilon(1e-14));

    espalier::row<espalier::serial_group, float, 3> far{{1e4f, -1e4f, 1e4f}};
    act::softmax::forward(group, far);
    CHECK(far.v[0] == 0.5f);
    CHECK(far.v[1] == 0.0f);
    CHECK(far.v[2] == 0.5f);
    espalier::row<espalier::serial_group, float, 1> one{{-7.0f}};
    act::softmax::forward(group, one);
    CHECK(one.v[0] == 1.0f);
}

TEST_CASE("activation: backward of softmax is its derivative", "[activation]") {
    using row = espalier::row<espalier::serial_group, double, 5>;
    espalier::serial_group const group;
    row const x{{0.3, -1.2, 2.0, 0.7, -0.1}}, dy{{1.0, -0.5, 0.25, 2.0, -3.0}};
    auto const value = [&](row in) { // <dy, softmax(in)>
        act::softmax::forward(group, in);
        return espalier::row_dot(group, in, dy);
    };
    row y = x, dx = dy;
    act::softmax::forward(group, y);
    act::softmax::backward(group, y, dx);
    for (int c = 0; c < 5; ++c) {
        double const h = 1e-3;
        auto const at = [&](double shift) {
            row in = x;
            in.v[c] += shift;
            return value(in);
        };
        double const slope = (8.0 * (at(h) - at(-h)) - (at(2 * h) - at(-2 * h))) / (12.0 * h);
        CHECK(dx.v[c] == Approx(slope).margin(1e-11));
    }
}

TEST_CASE("row: sum, maximum and argmax", "[activation][row]") {
    using espalier::row;
    using espalier::serial_group;
    serial_group const group;
    row<serial_group, float, 5> const x{{1.0f, 7.0f, -2.0f, 7.0f, 3.0f}};
    CHECK(espalier::row_sum(group, x) == 16.0f);
    CHECK(espalier::row_max(group, x) == 7.0f);
    CHECK(espalier::row_argmax(group, x).value == 7.0f);
    CHECK(espalier::row_argmax(group, x).column == 1.0f); // the lower index of the two
    CHECK(espalier::row_log_sum_exp(group, x) ==
          Approx(std::log(2 * std::exp(7.0) + std::exp(1.0) + std::exp(-2.0) + std::exp(3.0))));
    float const minus_infinity = -std::numeric_limits<float>::infinity();
    row<serial_group, float, 3> const nothing{{minus_infinity, minus_infinity, minus_infinity}};
    CHECK(espalier::row_argmax(group, nothing).column == 0.0f);
    row<serial_group, float, 3> const hole{{std::numeric_limits<float>::quiet_NaN(), 1.0f, 2.0f}};
    CHECK(espalier::row_argmax(group, hole).column == 2.0f);

    // Sixteen rows at once.
    using P = pack<float, 16>;
    row<serial_group, P, 3> const many{{P::iota(), P(4.0f), P(4.0f)}};
    auto const best = espalier::row_argmax(group, many);
    for (int l = 0; l < 16; ++l) {
        CHECK(best.column[l] == (l >= 4 ? 0.0f : 1.0f));
        CHECK(best.value[l] == (l >= 4 ? static_cast<float>(l) : 4.0f));
    }
}
