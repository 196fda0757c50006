// SPDX-License-Identifier: Apache-2.0
// Policies as function objects against layers, updates and clocks of the library, bit for bit; gradients; the emulated
// block.
#include "../kernels/launches.hpp"

#include <espalier/activation/all.hpp>
#include <espalier/core/context.hpp>
#include <espalier/device/cpu/cpu.hpp>
#include <espalier/dropout/bernoulli.hpp>
#include <espalier/dropout/drop_path.hpp>
#include <espalier/dropout/drop_segment.hpp>
#include <espalier/dropout/drop_step.hpp>
#include <espalier/dropout/filled.hpp>
#include <espalier/dropout/rate_of_row.hpp>
#include <espalier/dropout/shared_by.hpp>
#include <espalier/functor/backward.hpp>
#include <espalier/functor/dropout_at.hpp>
#include <espalier/functor/forward.hpp>
#include <espalier/functor/penalty_gradient.hpp>
#include <espalier/functor/penalty_value.hpp>
#include <espalier/functor/prox.hpp>
#include <espalier/functor/schedule_at.hpp>
#include <espalier/kernels/access.hpp>
#include <espalier/layer/dense.hpp>
#include <espalier/layer/elementwise.hpp>
#include <espalier/layer/input.hpp>
#include <espalier/layer/sequence.hpp>
#include <espalier/layer/tap.hpp>
#include <espalier/loss/mean_squared_error.hpp>
#include <espalier/network/network.hpp>
#include <espalier/optimizer/sgd.hpp>
#include <espalier/penalty/elastic_net.hpp>
#include <espalier/penalty/l1.hpp>
#include <espalier/penalty/l2.hpp>
#include <espalier/penalty/proximal.hpp>
#include <espalier/schedule/all.hpp>
#include <espalier/train/training.hpp>

#include <support/catch.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string>
#include <tuple>
#include <type_traits>
#include <vector>

using namespace espalier;
using namespace espalier::literals;
using kernel_tests::same_bits;

namespace {

// A policy of somebody's own, with a number.
struct leak_op {
    double slope;
    template <class T> ESPALIER_FN T forward(T x) const {
        using espalier::select;
        return select(x > T(scalar_of<T>(0)), x, T(static_cast<scalar_of<T>>(slope)) * x);
    }
    template <class T> ESPALIER_FN T backward(T x, T, T dy) const {
        using espalier::select;
        return select(x > T(scalar_of<T>(0)), dy, T(static_cast<scalar_of<T>>(slope)) * dy);
    }
};
struct leak {
    using axis = espalier::axis::activation;
    using op = leak_op;
    static op at(espalier::clock const& now) { return {now.step == 0 ? 0.25 : 0.5}; }
};

// One that looks at all that a dropout can see of an element.
struct curious {
    using axis = espalier::axis::dropout;
    static constexpr random_scope scope = random_scope::element;
    static constexpr bool needs_row_bits = true, needs_tags = true;
    template <class T, class Bits> ESPALIER_FN static T factor(epilogue_about<T, Bits> const& about) {
        using espalier::select;
        using S = scalar_of<T>;
        T const by_column = select(about.column >= Bits(10), T(S(2)), T(S(3)));
        T const by_row = select(about.row_bits >= Bits(32768), by_column, T(S(about.origin)));
        T const of_all = T(S(about.batch->group[about.row] + about.width + about.row + about.step)) * about.row_count;
        return select(about.bits >= Bits(32768), by_row, of_all);
    }
};

using activations = std::tuple<activation::gelu, activation::gelu_tanh, activation::identity, activation::power<2>,
                               activation::relu, activation::sigmoid, activation::silu, activation::tanh, leak>;

constexpr index_t count = 13, width = 24;
using grouped = dropout::shared_by<&rows::group, dropout::bernoulli<0.5>>;
using segments = dropout::drop_segment<4, 0.5>;
using null_value = dropout::filled<-0.25, dropout::bernoulli<schedule::linear{.from = 0.0, .to = 0.6, .steps = 10}>>;
using stack =
    sequence<input<width>, elementwise<curious>, tap<"own"_name>, elementwise<dropout::bernoulli<0.2>>,
             tap<"element"_name>, elementwise<dropout::drop_path<0.3>>, tap<"row"_name>, elementwise<grouped>,
             tap<"group"_name>, elementwise<segments>, tap<"segment"_name>, elementwise<null_value>, tap<"null"_name>,
             elementwise<dropout::rate_of_row<>>, tap<"rate"_name>, elementwise<dropout::drop_step<0.4>>,
             tap<"step"_name>, dense<width, activation::silu, dropout::bernoulli<0.25>>>;

struct trial {
    network<stack, device::cpu, float> net{seed{42}, count};
    std::vector<float> x = kernel_tests::numbers<float>(count * width, 1), y = x;
    std::vector<std::int32_t> group;
    std::vector<float> rate;
    rows batch{.count = count, .first = 100};
    espalier::clock now{.step = 7};

    trial() {
        for (index_t r = 0; r < count; ++r) {
            group.push_back(static_cast<std::int32_t>(r / 3));
            rate.push_back(static_cast<float>(r % 3) * 0.5f);
        }
        batch.group = group.data();
        batch.rate = rate.data();
        for (auto& element : x)
            element += 3.0f; // of nothing that was kept is 0
        auto const kernel = net.tensor("17.kernel");
        for (index_t r = 0; r < width; ++r)
            for (index_t c = 0; c < width; ++c)
                kernel(r, c) = r == c ? 1.0f : 0.0f;
        net.refresh();
        net.forward<mode::train>(decltype(net)::layer::at(now), batch,
                                 contiguous_view<float const>(x.data(), count, width),
                                 contiguous_view(y.data(), count, width), now.step, 3);
    }
    std::vector<float> at(char const* tap) {
        auto const seen = net.tap(tap);
        std::vector<float> values;
        for (index_t r = 0; r < count; ++r)
            values.insert(values.end(), seen.row(r), seen.row(r) + width);
        return values;
    }
    std::uint32_t stream(std::string const& path) const {
        for (auto const& layer : net.layers())
            if (layer.path == path) return layer.stream;
        FAIL("no layer " << path);
        return 0;
    }
    template <class P> random_site site(std::string const& path, std::uint32_t tensors = 0) const {
        return dropout_site<P>(42, stream(path) + tensors, now.step, 3);
    }
};

template <class F> std::vector<float> at_places(F const& f, std::vector<float> values) {
    for (std::size_t i = 0; i < values.size(); ++i)
        values[i] = f(static_cast<index_t>(i), values[i]);
    return values;
}

} // namespace

static_assert(std::is_trivially_copyable_v<decltype(forward<activation::silu>())> &&
              std::is_trivially_copyable_v<decltype(schedule_at(schedule::cosine{}))> &&
              std::is_trivially_copyable_v<dropout_functor<dropout::bernoulli_op>>);
// Numbers are not in the type.
static_assert(
    std::is_same_v<decltype(penalty_value<penalty::l1<0.1>>()), decltype(penalty_value<penalty::l1<0.2>>())> &&
    std::is_same_v<decltype(dropout_at<dropout::bernoulli<0.1>>({}, {}, 1)),
                   decltype(dropout_at<dropout::bernoulli<0.2>>({}, {}, 1))>);

TEMPLATE_LIST_TEST_CASE("functors: an activation and its derivative", "[functor]", activations) {
    auto const f = forward<TestType>();
    auto const slope = backward<TestType>();
    auto const op = op_at<TestType>({});
    for (double const x : {-3.7, -1.2, -0.3, 0.4, 1.1, 2.9}) {
        CHECK(f(x) == op.forward(x));
        CHECK(f(static_cast<float>(x)) == op.forward(static_cast<float>(x)));
        CHECK(slope(x, 0.75) == op.backward(x, op.forward(x), 0.75));
        CHECK(slope(x, f(x), 0.75) == slope(x, 0.75));
        double const h = 1e-5;
        CHECK(slope(x, 0.75) == Approx(0.75 * (f(x + h) - f(x - h)) / (2.0 * h)).epsilon(1e-8).margin(1e-10));
    }
    native_pack<float> const pack(0.375f);
    CHECK(f(pack)[5] == op.forward(pack)[5]);
}

TEST_CASE("functors: the numbers of a policy are those of the moment", "[functor]") {
    CHECK(forward<leak>()(-4.0) == -1.0);
    CHECK(forward<leak>(espalier::clock{.step = 1})(-4.0) == -2.0);
    CHECK(penalty_value<penalty::l1<schedule::linear{.from = 0.0, .to = 1.0, .steps = 4}>>(espalier::clock{.step = 1})(
              -8.0) == 2.0);
}

TEST_CASE("functors: a dropout at a place is that of a layer", "[functor]") {
    trial t;
    auto const same = [&]<class P>(std::type_identity<P>, char const* layer, std::vector<float> const& before,
                                   std::vector<float> const& after) {
        INFO(layer);
        auto const f = dropout_at<P>(t.site<P>(layer), t.batch, width, t.now);
        CHECK(same_bits(at_places(f, before), after));
        auto const g = dropout_gradient_at<P>(t.site<P>(layer), t.batch, width, t.now);
        for (index_t i = 0; i < count * width; ++i)
            CHECK(g(static_cast<int>(i), 1.5f) == 1.5f * f.template factor<float>(i));
        return std::count_if(before.begin(), before.end(),
                             [&, i = index_t{0}](float) mutable { return f.template factor<float>(i++) == 0.0f; });
    };
    std::ptrdiff_t const all = count * width;
    auto const part = [&](std::ptrdiff_t dropped) { return dropped > 0 && dropped < all; };
    CHECK(same(std::type_identity<curious>{}, "1", t.x, t.at("own")) == 0);
    CHECK(part(same(std::type_identity<dropout::bernoulli<0.2>>{}, "3", t.at("own"), t.at("element"))));
    CHECK(part(same(std::type_identity<dropout::drop_path<0.3>>{}, "5", t.at("element"), t.at("row"))));
    CHECK(part(same(std::type_identity<grouped>{}, "7", t.at("row"), t.at("group"))));
    CHECK(part(same(std::type_identity<segments>{}, "9", t.at("group"), t.at("segment"))));
    CHECK(part(same(std::type_identity<null_value>{}, "11", t.at("segment"), t.at("null"))));
    CHECK(part(same(std::type_identity<dropout::rate_of_row<>>{}, "13", t.at("null"), t.at("rate"))));
    same(std::type_identity<dropout::drop_step<0.4>>{}, "17", t.at("rate"), t.at("step"));

    // Behind the activation of a dense layer, whose kernel and bias have a stream each.
    using drop = dropout::bernoulli<0.25>;
    auto z = t.at("step");
    if (std::all_of(z.begin(), z.end(), [](float v) { return v == 0.0f; })) FAIL("everything was dropped");
    for (float& v : z)
        v += 0.0f; // a product begins with +0, which -0 becomes
    std::transform(z.begin(), z.end(), z.begin(), forward<activation::silu>());
    CHECK(same_bits(at_places(dropout_at<drop>(t.site<drop>("17", 2), t.batch, width, t.now), z), t.y));
}

TEST_CASE("functors: what a dropout at a place refuses", "[functor]") {
    using drop = dropout::bernoulli<0.5>;
    CHECK_THROWS_AS(dropout_at<drop>({}, {.count = 4}, 0), shape_error);
    CHECK_THROWS_AS(dropout_at<drop>({}, {.count = -1}, 4), shape_error);
    CHECK_THROWS_WITH(dropout_at<segments>({}, {.count = 4}, 6), contains_text("4 columns"));
}

TEST_CASE("functors: penalties are those of an update", "[functor]") {
    using lasso = penalty::l1<0.125>;
    using net_of_penalties =
        sequence<input<5>, dense<9, penalty::elastic_net<0.25, 0.5>>, dense<7, penalty::proximal<lasso>>>;
    network<net_of_penalties, device::cpu, float> net(seed{3}, 4);
    double const learning_rate = 0.375;
    optimizer::sgd const steps{.learning_rate = learning_rate};
    training run(net, loss::mean_squared_error{}, steps);
    // Inputs of 0 leave all gradients at 0, so that the penalties alone move the kernels.
    std::vector<float> const x(4 * 5, 0.0f), y(4 * 7, 0.0f);
    auto const kernel = [&](char const* name) {
        auto const w = net.tensor(name);
        return std::vector<float>(w.data, w.data + w.rows * w.columns);
    };
    auto first = kernel("1.kernel"), second = kernel("2.kernel");
    auto const result = run.step({contiguous_view(x.data(), 4, 5), rows{.count = 4}, contiguous_view(y.data(), 4, 7)});

    double term = 0.0;
    for (float const w : first)
        term += static_cast<double>(penalty_value<penalty::elastic_net<0.25, 0.5>>()(w));
    for (float const w : second)
        term += static_cast<double>(penalty_value<lasso>()(w));
    CHECK(result.loss == 0.0);
    CHECK(result.total == Approx(term).epsilon(1e-6));

    auto const gradient = penalty_gradient<penalty::elastic_net<0.25, 0.5>>();
    auto const op = steps.at({}, 0);
    std::transform(first.begin(), first.end(), first.begin(), [&](float w) {
        return op.step(w, gradient(w), static_cast<float*>(nullptr), static_cast<float>(learning_rate), 0.0f);
    });
    CHECK(same_bits(first, kernel("1.kernel")));
    std::transform(second.begin(), second.end(), second.begin(), prox<lasso>(learning_rate));
    CHECK(same_bits(second, kernel("2.kernel")));
    CHECK(std::count(second.begin(), second.end(), 0.0f) > 0);
}

TEMPLATE_TEST_CASE("functors: a prox minimises what it says", "[functor]", penalty::l1<0.3>, penalty::l2<0.7>,
                   (penalty::elastic_net<0.3, 0.7>)) {
    auto const value = penalty_value<TestType>();
    for (double const rate : {0.1, 1.0, 4.0})
        for (double const w : {-2.5, -0.2, 0.0, 0.05, 1.7}) {
            double const u = prox<TestType>(rate)(w);
            auto const cost = [&](double v) { return value(v) + (v - w) * (v - w) / (2.0 * rate); };
            for (double const other : {u - 1e-3, u + 1e-3, u - 0.2, u + 0.2, w, 0.0})
                CHECK(cost(u) <= cost(other) + 1e-12);
        }
}

TEST_CASE("functors: a schedule at a step", "[functor]") {
    schedule::linear const line{.from = 1.0, .to = 0.0, .steps = 10};
    CHECK(schedule_at(line)(5) == 0.5);
    CHECK(schedule_at(0.25)(3) == 0.25);
    schedule::linear const by_epoch{.from = 1.0, .to = 0.0, .steps = 4, .unit = schedule::time_unit::epoch};
    CHECK(schedule_at(by_epoch, {.steps_per_epoch = 50})(149) == 0.5);
    schedule::linear const by_update{.from = 1.0, .to = 0.0, .steps = 4, .unit = schedule::time_unit::update};
    CHECK(schedule_at(by_update)(1) == 0.75);
    named_value const values[] = {{"rate"_name, 0.125}};
    schedule::runtime const set{.name = "rate"_name, .initial = 1.0};
    CHECK(schedule_at(set)(0) == 1.0);
    CHECK(schedule_at(set, {.values = {values, 1}})(0) == 0.125);
    schedule::warm_up const warm{.steps = 5, .inner = schedule::cosine{.from = 1.0, .to = 0.25, .steps = 20}};
    for (std::uint64_t step = 0; step < 30; ++step) {
        espalier::clock const now{.step = step, .updates = step};
        CHECK(schedule_at(warm)(step) == warm.at(now));
    }
}

TEST_CASE("functors: lanes of a kernel body compute what the host does", "[functor]") {
    trial t;
    using drop = dropout::bernoulli<0.2>;
    auto const drops = dropout_at<drop>(t.site<drop>("3"), t.batch, width, t.now);
    auto const f = forward<activation::gelu>();
    auto const shrink = prox<penalty::l1<0.5>>(0.25);
    std::vector<float> expected = t.at("element");
    for (float& v : expected)
        v = shrink(f(v));
    kernel_tests::for_launches([&](auto const& launch) {
        std::vector<float> y = t.at("own");
        launch([&](auto const& block) {
            for (index_t i = kernels::grid_lane(block); i < count * width; i += kernels::grid_lanes(block))
                y[static_cast<std::size_t>(i)] = shrink(f(drops(i, y[static_cast<std::size_t>(i)])));
        });
        CHECK(same_bits(y, expected));
    });
}
