// SPDX-License-Identifier: Apache-2.0
// Optimizers against ten steps written out in double, packs against plain numbers, and numbers that make no sense.
#include <espalier/core/pack.hpp>
#include <espalier/device/cpu/flush_denormals.hpp>
#include <espalier/optimizer/adam.hpp>
#include <espalier/optimizer/adamw.hpp>
#include <espalier/optimizer/concept.hpp>
#include <espalier/optimizer/sgd.hpp>
#include <espalier/schedule/cosine.hpp>
#include <espalier/schedule/linear.hpp>
#include <espalier/schedule/runtime.hpp>

#include <support/catch.hpp>

#include <array>
#include <cmath>
#include <cstdint>
#include <limits>
#include <string>
#include <type_traits>

namespace opt = espalier::optimizer;
using espalier::data_error;
using espalier::schedule::cosine;
using espalier::schedule::linear;
using namespace espalier::literals;

namespace {

using weights = std::array<double, 4>;
constexpr weights start{0.5, -1.25, 2.0, 0.0};

double gradient(int step, int i) {
    return ((7 * step + 3 * i) % 11 - 5) / 4.0;
}

/// Ten steps; `factor` and `decay` are what a tensor may multiply the learning rate and the decay by.
template <class T, class Optimizer> weights ten_steps(Optimizer const& optimizer, T factor = 1, T decay = 1) {
    weights result{};
    for (int i = 0; i < 4; ++i) {
        T w = static_cast<T>(start[static_cast<std::size_t>(i)]);
        T moments[3] = {};
        for (int t = 0; t < 10; ++t) {
            auto const now = static_cast<std::uint64_t>(t);
            auto const op = optimizer.at(espalier::clock{.step = now}, now + 1);
            w = op.step(w, static_cast<T>(gradient(t, i)), moments, static_cast<T>(op.rate()) * factor, decay);
        }
        result[static_cast<std::size_t>(i)] = w;
    }
    return result;
}

template <class Optimizer> void check_ten_steps(Optimizer const& optimizer, weights const& expected) {
    weights const in_double = ten_steps<double>(optimizer), in_float = ten_steps<float>(optimizer);
    for (std::size_t i = 0; i < 4; ++i) {
        INFO("weight " << i);
        CHECK(std::fabs(in_double[i] - expected[i]) <= 1e-14 * std::fabs(expected[i]) + 1e-15);
        CHECK(std::fabs(in_float[i] - expected[i]) <= 4e-6 * std::fabs(expected[i]) + 4e-7);
    }
}

template <class Op, class T> void compare_packs(Op const& op) {
    using P = espalier::native_pack<T>;
    constexpr int n = espalier::pack_width<P>;
    T w[n], g[n], m[2][n];
    for (int i = 0; i < n; ++i) {
        w[i] = static_cast<T>(0.3 * i - 1.7);
        g[i] = static_cast<T>(i == 3 ? 0.0 : 0.21 * i - 0.9);
        m[0][i] = static_cast<T>(0.05 * i - 0.2);
        m[1][i] = static_cast<T>(0.01 * i);
    }
    P pm[3] = {P::load(m[0]), P::load(m[1]), P(T(0))};
    T const rate = static_cast<T>(op.rate()), decay(T(0.5));
    P const pw = op.step(P::load(w), P::load(g), pm, P(rate), P(decay));
    for (int i = 0; i < n; ++i) {
        T sm[3] = {m[0][i], m[1][i], T(0)};
        T const sw = op.step(w[i], g[i], sm, rate, decay);
        // compilers may fuse different products of one expression in the two forms
        T const slack = 4 * std::numeric_limits<T>::epsilon();
        CHECK(std::fabs(pw[i] - sw) <= slack * (std::fabs(w[i]) + 1));
        for (int k = 0; k < Op::moments; ++k)
            CHECK(std::fabs(pm[k][i] - sm[k]) <= slack);
    }
}

} // namespace

static_assert(opt::optimizer<opt::sgd<>> && opt::optimizer<opt::adam<cosine>> && opt::optimizer<opt::adamw<>>);

TEST_CASE("optimizers are written with designated initialisers", "[optimizer]") {
    auto const a = opt::adamw{.learning_rate = 1e-3};
    auto const b = opt::adamw{.learning_rate = cosine{.from = 1e-3, .to = 0.0, .steps = 100}};
    auto const c = opt::adam{.beta1 = 0.8};
    auto const d = opt::sgd{.learning_rate = 1e-2};
    auto const e = opt::sgd{.learning_rate = 1e-2, .momentum = 0.9};
    auto const f = opt::sgd{.momentum = opt::nesterov{0.9}, .weight_decay = 1e-4};
    auto const g = opt::sgd{.momentum = linear{.from = 0.5, .to = 0.9, .steps = 4}};
    STATIC_REQUIRE(std::is_same_v<decltype(a), opt::adamw<double> const>);
    STATIC_REQUIRE(std::is_same_v<decltype(b), opt::adamw<cosine> const>);
    STATIC_REQUIRE(std::is_same_v<decltype(c), opt::adam<double> const>);
    STATIC_REQUIRE(decltype(d.at({}, 1))::moments == 0);
    STATIC_REQUIRE(decltype(e.at({}, 1))::moments == 1);
    STATIC_REQUIRE(std::is_same_v<decltype(f.at({}, 1)), opt::sgd_op<opt::momentum_kind::nesterov>>);
    STATIC_REQUIRE(decltype(a.at({}, 1))::moments == 2);
    CHECK(a.at({}, 1).rate() == 1e-3);
    CHECK(b.at(espalier::clock{.step = 50}, 51).rate() == Approx(5e-4));
    CHECK(c.at({}, 1).beta1 == 0.8);
    CHECK(c.at({}, 1).correction1 == Approx(5.0));
    CHECK(c.at({}, 2).correction2 == Approx(1.0 / std::sqrt(1.0 - 0.999 * 0.999)));
    CHECK(f.at({}, 1).momentum == 0.9);
    CHECK(g.at(espalier::clock{.step = 2}, 3).momentum == Approx(0.7));
    CHECK(opt::adamw{}.weight_decay == 1e-2);
    CHECK(opt::adam{}.weight_decay == 0.0);
}

// The expected numbers are the loops of PyTorch's documentation (torch.optim.SGD, Adam, AdamW), written out in double.
TEST_CASE("ten steps of sgd", "[optimizer]") {
    check_ten_steps(opt::sgd{.learning_rate = 0.05}, {0.48750000000000004, -1.225, 2.0625, -0.037500000000000006});
    check_ten_steps(opt::sgd{.learning_rate = 0.05, .weight_decay = 0.1},
                    {0.462331825235732, -1.1624109092370927, 1.9643434278158354, -0.037021209350177796});
    check_ten_steps(opt::sgd{.learning_rate = 0.05, .momentum = 0.9, .weight_decay = 0.1},
                    {0.434654857909694, -1.1620952158124516, 1.7390632890458564, -0.05778765295407992});
    check_ten_steps(opt::sgd{.learning_rate = 0.05, .momentum = opt::nesterov{0.9}, .weight_decay = 0.1},
                    {0.40058619664588013, -1.0820954660649735, 1.7391511257743797, -0.08497716300919922});
    // momentum 0 is plain descent
    weights const plain = ten_steps<double>(opt::sgd{.learning_rate = 0.05});
    CHECK(ten_steps<double>(opt::sgd{.learning_rate = 0.05, .momentum = 0.0}) == plain);
    // a tensor's factors
    CHECK(ten_steps<double>(opt::sgd{.learning_rate = 0.1}, 0.5)[1] == Approx(plain[1]).epsilon(1e-14));
    CHECK(ten_steps<double>(opt::sgd{.learning_rate = 0.05, .weight_decay = 0.1}, 1.0, 0.0) == plain);
}

TEST_CASE("ten steps of adam and adamw", "[optimizer]") {
    check_ten_steps(opt::adam{.learning_rate = 0.05, .beta1 = 0.8, .beta2 = 0.95, .epsilon = 1e-6, .weight_decay = 0.1},
                    {0.5210576257981095, -1.2023320741718841, 1.8853863626952934, -0.06133570696926396});
    check_ten_steps(
        opt::adamw{.learning_rate = 0.05, .beta1 = 0.8, .beta2 = 0.95, .epsilon = 1e-6, .weight_decay = 0.1},
        {0.5214082824877019, -1.2066687779856593, 1.9055048565074286, -0.06158361058143166});
    // without decay they are the same
    CHECK(ten_steps<double>(opt::adamw{.learning_rate = 0.05, .weight_decay = 0.0}) ==
          ten_steps<double>(opt::adam{.learning_rate = 0.05}));
    CHECK(ten_steps<double>(opt::adamw{.learning_rate = 0.05, .weight_decay = 0.5}, 1.0, 0.0) ==
          ten_steps<double>(opt::adam{.learning_rate = 0.05}));
    // the first step has the length of the learning rate, whatever the gradient's size
    for (double g : {1e-3, 1.0, 1e6}) {
        double m[2] = {};
        auto const op = opt::adam{.learning_rate = 0.25}.at({}, 1);
        CHECK(op.step(1.0, g, m, op.rate(), 1.0) == Approx(0.75).epsilon(1e-4));
    }
}

TEST_CASE("optimizer steps of packs are those of plain numbers", "[optimizer]") {
    auto const both = [](auto const& op) {
        compare_packs<std::remove_cvref_t<decltype(op)>, float>(op);
        compare_packs<std::remove_cvref_t<decltype(op)>, double>(op);
    };
    both(opt::sgd{.learning_rate = 0.05, .weight_decay = 0.1}.at({}, 1));
    both(opt::sgd{.learning_rate = 0.05, .momentum = 0.9, .weight_decay = 0.1}.at({}, 1));
    both(opt::sgd{.learning_rate = 0.05, .momentum = opt::nesterov{0.9}}.at({}, 1));
    both(opt::adam{.learning_rate = 0.05, .weight_decay = 0.1}.at({}, 3));
    both(opt::adamw{.learning_rate = 0.05, .weight_decay = 0.1}.at({}, 3));
}

TEST_CASE("numbers that make no sense are refused", "[optimizer]") {
    double const nan = std::nan(""), infinity = std::numeric_limits<double>::infinity();
    CHECK_NOTHROW(opt::sgd{.learning_rate = 0.0}.validate());
    CHECK_NOTHROW(opt::adamw{}.validate());
    CHECK_NOTHROW((opt::sgd{.momentum = opt::nesterov{0.9}, .weight_decay = 0.1}.validate()));
    // 1e39 is infinite in single precision
    for (double bad : {-1e-3, nan, infinity, 1e39}) {
        CHECK_THROWS_AS(opt::sgd{.learning_rate = bad}.validate(), data_error);
        CHECK_THROWS_AS(opt::adam{.learning_rate = bad}.validate(), data_error);
        CHECK_THROWS_AS(opt::adamw{.learning_rate = bad}.validate(), data_error);
        CHECK_THROWS_AS(opt::sgd{.weight_decay = bad}.validate(), data_error);
        CHECK_THROWS_AS(opt::adam{.epsilon = bad}.validate(), data_error);
        CHECK_THROWS_AS(opt::adamw{.weight_decay = bad}.validate(), data_error);
    }
    for (double bad : {-0.1, 1.0, 1.5, nan}) {
        CHECK_THROWS_AS(opt::sgd{.momentum = bad}.validate(), data_error);
        CHECK_THROWS_AS(opt::sgd{.momentum = opt::nesterov{bad}}.validate(), data_error);
        CHECK_THROWS_AS(opt::adam{.beta1 = bad}.validate(), data_error);
        CHECK_THROWS_AS(opt::adamw{.beta2 = bad}.validate(), data_error);
    }
    // 1e-50 is 0 in single precision, 1e-40 where denormal numbers are
    for (double bad : {0.0, 1e-50, 1e-40}) {
        CHECK_THROWS_AS(opt::adam{.epsilon = bad}.validate(), data_error);
        CHECK_THROWS_AS(opt::adamw{.epsilon = bad}.validate(), data_error);
    }
    CHECK_NOTHROW(opt::adam{.epsilon = 1.2e-38}.validate());
    CHECK_THROWS_WITH(opt::adam{.beta1 = 1.0 + 1e-15}.validate(),
                      "adam: `beta1` is 1.000000000000001, needed is a finite number of at least 0 and below 1");
    auto const falling = opt::adam{.learning_rate = linear{.from = 1e-3, .to = -1e-3, .steps = 10}};
    CHECK_THROWS_AS(falling.validate(), data_error);
    CHECK_THROWS_WITH(falling.validate(), contains_text("learning_rate"));
    // unknown before it is asked
    auto const swept = opt::adamw{.learning_rate = espalier::schedule::runtime{.name = "rate"_name, .initial = 1e-3}};
    CHECK_NOTHROW(swept.validate());
    espalier::named_value const bad[] = {{"rate"_name, -1.0}};
    CHECK_THROWS_AS(swept.at(espalier::clock{.values = {bad, 1}}, 1), data_error);
}

TEMPLATE_TEST_CASE("adam: gradients that always were 0, and squares that are too large", "[optimizer]", float, double) {
    espalier::cpu::flush_denormals const as_in_a_step;
    auto const check = [](auto const& optimizer) {
        for (TestType const size :
             {TestType(0), std::numeric_limits<TestType>::denorm_min(), std::numeric_limits<TestType>::max()}) {
            INFO("a gradient of " << size);
            TestType w(1), moments[2] = {};
            for (std::uint64_t t = 1; t <= 50; ++t) {
                auto const op = optimizer.at(espalier::clock{.step = t - 1}, t);
                TestType const g = t % 2 == 0 ? -size : size;
                w = op.step(w, t <= 25 ? size : g, moments, static_cast<TestType>(op.rate()), TestType(1));
                for (TestType const x : {w, moments[0], moments[1]})
                    REQUIRE(std::isfinite(x));
            }
            // A step of Adam is about its rate, whatever the size of the gradient is.
            if (size > TestType(1)) CHECK(std::fabs(w - TestType(1)) < TestType(0.1));
            if (size > TestType(1)) CHECK(w != TestType(1));
        }
    };
    for (double const epsilon : {1e-8, 1.2e-38}) {
        check(opt::adam{.learning_rate = 1e-3, .epsilon = epsilon});
        check(opt::adamw{.learning_rate = 1e-3, .epsilon = epsilon, .weight_decay = 0.0});
        check(opt::adam{.learning_rate = 1e-3, .beta1 = 0.0, .beta2 = 0.0, .epsilon = epsilon});
    }
}
