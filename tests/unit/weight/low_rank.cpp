// SPDX-License-Identifier: Apache-2.0
// Low rank kernels: gradients at several ranks, equality with the dense kernel U V, a rank that changes while training.
#include <espalier/activation/tanh.hpp>
#include <espalier/device/cpu/cpu.hpp>
#include <espalier/layer/dense.hpp>
#include <espalier/layer/everywhere.hpp>
#include <espalier/layer/input.hpp>
#include <espalier/layer/sequence.hpp>
#include <espalier/loss/cross_entropy.hpp>
#include <espalier/loss/mean_squared_error.hpp>
#include <espalier/network/network.hpp>
#include <espalier/optimizer/sgd.hpp>
#include <espalier/penalty/group_lasso.hpp>
#include <espalier/penalty/nested_group_lasso.hpp>
#include <espalier/schedule/linear.hpp>
#include <espalier/schedule/runtime.hpp>
#include <espalier/train/check_gradients.hpp>
#include <espalier/train/training.hpp>
#include <espalier/weight/bake.hpp>
#include <espalier/weight/low_rank.hpp>

#include <support/allocations.hpp>
#include <support/catch.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <vector>

using namespace espalier;
using namespace espalier::literals;

namespace {

static_assert(weight::weight_operator<weight::low_rank<3>>);
static_assert(!weight::weight_operator<weight::identity>);

template <class T> std::vector<T> numbers_like_normal(index_t n, std::uint32_t stream) {
    std::vector<T> v(static_cast<std::size_t>(n));
    fill_normal(make_site(5, stream), 0.0, 1.0, array_view<T>{v.data(), n});
    return v;
}

constexpr schedule::runtime chosen{.name = "rank"_name, .initial = 6.0};
using run_time_stack =
    sequence<input<9>, dense<12, weight::low_rank<6, chosen>, activation::tanh>, dense<4, weight::low_rank<2>>>;
using dense_stack = sequence<input<9>, dense<12, activation::tanh>, dense<4>>;

} // namespace

TEMPLATE_TEST_CASE(
    "low_rank: gradients at rank 1, in between and full", "[weight][low_rank]",
    (sequence<input<7>, dense<9, weight::low_rank<5, 1>, activation::tanh>, dense<4>>),
    (sequence<input<7>, dense<9, weight::low_rank<5, 3>, activation::tanh>, dense<4>>),
    (sequence<input<7>, dense<9, weight::low_rank<5>, activation::tanh>, dense<4, weight::low_rank<1>, no_bias>>)) {
    using Stack = TestType;
    auto const report = check_gradients_of<Stack, device::cpu>(loss::cross_entropy{}, seed{11}, 7);
    INFO(report.text());
    CHECK(report.ok(1e-6));
}

TEST_CASE("low_rank: at every rank it is the dense layer with W = U V", "[weight][low_rank]") {
    network<run_time_stack, device::cpu, double> thin{seed{3}, 16};
    network<dense_stack, device::cpu, double> wide{seed{4}, 16};
    auto const x = numbers_like_normal<double>(16 * 9, 1);
    std::vector<double> a(16 * 4), b(16 * 4);
    auto const inputs = contiguous_view(x.data(), 16, 9);
    for (double const rank : {1.0, 2.0, 4.0, 6.0}) {
        thin.set_value("rank"_name, rank);
        thin.predict(inputs, contiguous_view(a.data(), 16, 4));
        weight::bake(thin, "1", wide.tensor("1.kernel"));
        weight::bake(thin, "2", wide.tensor("2.kernel"));
        wide.refresh();
        wide.predict(inputs, contiguous_view(b.data(), 16, 4));
        double most = 0.0, size = 0.0;
        for (std::size_t i = 0; i < a.size(); ++i) {
            most = std::max(most, std::fabs(a[i] - b[i]));
            size = std::max(size, std::fabs(a[i]));
        }
        INFO("rank " << rank);
        CHECK(size > 0.1);
        CHECK(most < 1e-13);
    }
    CHECK_THROWS_AS(weight::bake(thin, "3", wide.tensor("1.kernel")), data_error);
    CHECK_THROWS_AS(weight::bake(thin, "2", wide.tensor("1.kernel")), shape_error);
}

TEST_CASE("low_rank: the published outputs and gradients at rank 1 of 2", "[weight][low_rank]") {
    // y = U_b V_b x + bias; a factor has a row for each input, or for each rank
    constexpr schedule::runtime of_two{.name = "rank"_name, .initial = 2.0};
    network<sequence<input<3>, dense<2, weight::low_rank<2, of_two>>>, device::cpu, double> net{seed{1}, 2};
    auto const set = [&](char const* name, std::vector<double> const& values) {
        std::copy(values.begin(), values.end(), net.tensor(name).data);
    };
    set("1.factor_in", {0.5, 0.3, -0.2, 0.8, 0.1, -0.4});
    set("1.factor_out", {0.9, 0.1, -0.3, 0.7});
    set("1.bias", {0.05, -0.1});
    std::vector<double> const x{1.0, 2.0, -1.0, 0.5, -0.5, 2.0}, target{0.3, -0.2, 1.0, 0.4};
    auto const check_close = [](double const* got, std::vector<double> const& wanted) {
        for (std::size_t i = 0; i < wanted.size(); ++i)
            CHECK(got[i] == Approx(wanted[i]).epsilon(0).margin(1e-14));
    };
    std::vector<double> y(4);
    auto const outputs = [&](double rank) {
        net.set_value("rank"_name, rank);
        net.predict(contiguous_view(x.data(), 2, 3), contiguous_view(y.data(), 2, 2));
        return y.data();
    };
    check_close(outputs(2.0), {-0.64, 1.51, 0.86, -0.78});
    check_close(outputs(1.0), {0.05, -0.1, 0.545, -0.045});

    training run{net, loss::mean_squared_error{}, optimizer::sgd{}};
    batch_view<double> batch;
    batch.inputs = contiguous_view(x.data(), 2, 3);
    batch.tags.count = 2;
    batch.targets = contiguous_view(target.data(), 2, 2);
    CHECK(run.gradients_of(batch) == Approx(0.1193875).epsilon(1e-14)); // of two columns: half the mean over the rows
    check_close(run.gradient("1.factor_in").data, {-0.221, 0, -0.1015, 0, -0.3465, 0});
    check_close(run.gradient("1.factor_out").data, {-0.125125, -0.122375, 0, 0});
    check_close(run.gradient("1.bias").data, {-0.3525, -0.1725});
}

namespace {

/// What a step with rate 1 takes from the factors of a layer without task: the gradient of its penalty. The term first.
template <class Penalty>
std::vector<double> step_of_penalty(std::vector<double> const& in, std::vector<double> const& out) {
    network<sequence<input<3>, dense<3, weight::low_rank<3>, on<role::factor, Penalty>>>, device::cpu, double> net{
        seed{1}, 1};
    auto const u = net.tensor("1.factor_in"), v = net.tensor("1.factor_out");
    std::copy(in.begin(), in.end(), u.data);
    std::copy(out.begin(), out.end(), v.data);
    net.refresh();
    training run{net, loss::mean_squared_error{}, optimizer::sgd{.learning_rate = 1.0}};
    std::vector<double> const zeros(3);
    batch_view<double> batch;
    batch.inputs = batch.targets = contiguous_view(zeros.data(), 1, 3);
    batch.tags.count = 1;
    run.step(batch);
    std::vector<double> result{run.terms().at(1) + run.terms().at(2)};
    for (std::size_t i = 0; i < 9; ++i)
        result.push_back(in[i] - u.data[i]);
    for (std::size_t i = 0; i < 9; ++i)
        result.push_back(out[i] - v.data[i]);
    return result;
}

// Row j of the published V is column j here.
std::vector<double> const published_in{0.5, 0.3, -0.6, -0.2, 0.8, 0.2, 0.1, -0.4, 0.7};
std::vector<double> const published_out{0.9, 0.1, 0.4, -0.3, 0.7, 0.2, 0.2, -0.5, 0.3};

} // namespace

TEST_CASE("low_rank: the published values and gradients of group lassos over ranks", "[weight][low_rank][penalty]") {
    auto const check_close = [](std::vector<double> const& got, std::vector<double> const& wanted) {
        REQUIRE(got.size() >= wanted.size());
        for (std::size_t i = 0; i < wanted.size(); ++i) {
            INFO("number " << i);
            CHECK(got[i] == Approx(wanted[i]).epsilon(0).margin(2e-9));
        }
    };
    using nested = penalty::nested_group_lasso<1.0, penalty::over::ranks>;
    check_close(step_of_penalty<nested>(published_in, published_out),
                {6.743351158, 0.346687623, 0.43287208, -1.501742889, -0.138675049, 1.154325547, 0.500580963,
                 0.069337525, -0.577162774, 1.75203337, 0.639602149, 0.071066905, 0.284267622, -0.513200716,
                 1.197468338, 0.342133811, 0.666576653, -1.666441633, 0.99986498});
    check_close(step_of_penalty<penalty::group_lasso<1.0, penalty::over::ranks>>(published_in, published_out),
                {4.828310465});

    // Ranks of norm 0 add nothing, stay where they are, and are in nobody's way.
    auto in = published_in, out = published_out;
    in[1] = in[2] = in[4] = in[5] = in[7] = in[8] = 0.0;
    out[6] = out[7] = out[8] = 0.0;
    auto const g = step_of_penalty<nested>(in, out);
    double const p0 = std::sqrt(0.3), q1 = std::sqrt(0.62), q0 = std::sqrt(0.98 + 0.62);
    check_close(g, {p0 + q0 + q1, 0.5 / p0, 0.0, 0.0, -0.2 / p0, 0.0, 0.0, 0.1 / p0, 0.0, 0.0, 0.9 / q0, 0.1 / q0,
                    0.4 / q0, -0.3 / q0 - 0.3 / q1, 0.7 / q0 + 0.7 / q1, 0.2 / q0 + 0.2 / q1, 0.0, 0.0, 0.0});

    // Both factors' rank as one group, once in the terms.
    double const one = step_of_penalty<penalty::nested_group_lasso<1.0, penalty::over::ranks, "rank"_name>>(
        published_in, published_out)[0];
    double wanted = 0.0, square = 0.0;
    for (std::size_t k = 3; k-- > 0;) {
        for (std::size_t i = 0; i < 3; ++i)
            square +=
                published_in[3 * i + k] * published_in[3 * i + k] + published_out[3 * k + i] * published_out[3 * k + i];
        wanted += std::sqrt(square);
    }
    CHECK(one == Approx(wanted).epsilon(1e-12));
}

TEST_CASE("low_rank: the gradient of a nested group lasso is the slope of its term", "[weight][low_rank][penalty]") {
    using nested = penalty::nested_group_lasso<0.7, penalty::over::ranks>;
    auto const analytic = step_of_penalty<nested>(published_in, published_out);
    double const h = 1e-5;
    for (std::size_t i = 0; i < 18; ++i) {
        auto const moved = [&](double by) {
            auto in = published_in, out = published_out;
            (i < 9 ? in[i] : out[i - 9]) += by;
            return step_of_penalty<nested>(in, out)[0];
        };
        INFO("element " << i);
        CHECK(analytic[i + 1] == Approx((moved(h) - moved(-h)) / (2.0 * h)).margin(1e-9));
    }
}

TEST_CASE("low_rank: the gradients of what does not take part are exactly zero", "[weight][low_rank]") {
    network<run_time_stack, device::cpu, float> net{seed{3}, 16};
    training run{net, loss::cross_entropy{}, optimizer::sgd{.learning_rate = 0.1}};
    auto const x = numbers_like_normal<float>(16 * 9, 1);
    std::vector<std::int32_t> labels(16);
    for (std::size_t i = 0; i < 16; ++i)
        labels[i] = static_cast<std::int32_t>(i % 4);
    batch_view<float> batch;
    batch.inputs = contiguous_view(x.data(), 16, 9);
    batch.tags.count = 16;
    batch.tags.label = labels.data();
    run.set_value("rank"_name, 6.0);
    auto const& in = net.values().find("1.factor_in");
    auto const& out = net.values().find("1.factor_out");
    REQUIRE(in.tensor_role == role::factor);
    REQUIRE(in.rows == 9);
    REQUIRE(out.columns == 12);
#if defined(ESPALIER_TEST_COUNTS_MALLOC)
    std::size_t const start = counted_allocations;
    std::free(std::malloc(100000)); // the counter counts
    REQUIRE(counted_allocations > start);
    std::size_t const taken = counted_allocations;
    for (double const rank : {6.0, 2.0, 1.0}) {
        run.set_value("rank"_name, rank);
        run.step(batch);
    }
    CHECK(counted_allocations == taken);
#endif
    for (double const rank : {6.0, 2.0, 5.0, 1.0}) {
        run.set_value("rank"_name, rank);
        auto const u = net.tensor("1.factor_in"), v = net.tensor("1.factor_out");
        std::vector<float> const before_u(u.data, u.data + 54), before_v(v.data, v.data + 72);
        run.step(batch);
        auto const r = static_cast<index_t>(rank);
        auto const* const du = run.gradients().data() + in.offset;
        auto const* const dv = run.gradients().data() + out.offset;
        for (index_t i = 0; i < 9; ++i)
            for (index_t c = 0; c < 6; ++c) {
                INFO("rank " << rank << " U(" << i << ", " << c << ")");
                CHECK((c < r) == (du[i * 6 + c] != 0.0f));
                CHECK((c < r) == (u(i, c) != before_u[static_cast<std::size_t>(i * 6 + c)]));
            }
        for (index_t c = 0; c < 6; ++c)
            for (index_t o = 0; o < 12; ++o) {
                INFO("rank " << rank << " V(" << c << ", " << o << ")");
                CHECK((c < r) == (dv[c * 12 + o] != 0.0f));
                CHECK((c < r) == (v(c, o) != before_v[static_cast<std::size_t>(c * 12 + o)]));
            }
    }
    double const loss = run.objective(batch);
    std::vector<float> const before(net.values().weights().data(),
                                    net.values().weights().data() + net.values().weights().size());
    for (double const wrong : {-1.0, 7.0, std::nan("")}) {
        CHECK_THROWS_AS(run.set_value("rank"_name, wrong), data_error);
        espalier::clock now = run.time();
        named_value const bad{"rank"_name, wrong};
        now.step = 77;
        now.values = {&bad, 1};
        CHECK_THROWS_AS(run.set_time(now), data_error);
        CHECK(run.time().step != 77);
        REQUIRE(run.time().values.size == 1);
        CHECK(run.time().values[0].value == 1.0);
    }
    CHECK(std::vector<float>(net.values().weights().data(),
                             net.values().weights().data() + net.values().weights().size()) == before);
    CHECK(run.objective(batch) == loss);
}

TEST_CASE("low_rank: of rank 0 there is the bias alone", "[weight][low_rank]") {
    network<run_time_stack, device::cpu, double> net{seed{3}, 4};
    network<sequence<input<9>, dense<12, weight::low_rank<6, chosen>, no_bias>>, device::cpu, double> bare{seed{3}, 4};
    net.set_value("rank"_name, 0.0);
    bare.set_value("rank"_name, 0.0);
    auto const bias = net.tensor("1.bias");
    for (index_t c = 0; c < 12; ++c)
        bias(0, c) = 0.1 * static_cast<double>(c) - 0.5;
    net.refresh();
    auto const x = numbers_like_normal<double>(3 * 9, 1);
    std::vector<double> kernel(9 * 12, 1.0), y(3 * 12, 1.0), dx(3 * 9, 1.0);
    weight::bake(net, "1", contiguous_view(kernel.data(), 9, 12));
    CHECK(kernel == std::vector<double>(9 * 12, 0.0));
    bare.predict(contiguous_view(x.data(), 3, 9), contiguous_view(y.data(), 3, 12));
    CHECK(y == std::vector<double>(3 * 12, 0.0));

    training run{net, loss::cross_entropy{}, optimizer::sgd{.learning_rate = 0.1}};
    std::vector<std::int32_t> const labels{0, 1, 2};
    batch_view<double> batch;
    batch.inputs = contiguous_view(x.data(), 3, 9);
    batch.tags.count = 3;
    batch.tags.label = labels.data();
    run.gradients_of(batch);
    for (char const* name : {"1.factor_in", "1.factor_out"}) {
        auto const g = run.gradient(name);
        CHECK(std::all_of(g.data, g.data + g.rows * g.columns, [](double d) { return d == 0.0; }));
    }
    CHECK(run.gradient("1.bias")(0, 3) != 0.0);
    run.input_gradients_of(batch, contiguous_view(dx.data(), 3, 9));
    CHECK(dx == std::vector<double>(3 * 9, 0.0));
    std::vector<double> logits(3 * 4);
    net.predict(contiguous_view(x.data(), 3, 9), contiguous_view(logits.data(), 3, 4));
    for (std::size_t i = 4; i < 12; ++i)
        CHECK(logits[i] == logits[i % 4]); // whatever the row
}

TEST_CASE("low_rank: first values keep the variance of he_normal at the full rank", "[weight][low_rank]") {
    network<sequence<input<200>, dense<150, weight::low_rank<40>>>, device::cpu, double> net{seed{8}, 16};
    std::vector<double> kernel(200 * 150);
    weight::bake(net, "1", contiguous_view(kernel.data(), 200, 150));
    double sum = 0.0;
    for (double const w : kernel)
        sum += w * w;
    CHECK(sum / (200.0 * 150.0) == Approx(2.0 / 200.0).epsilon(0.05));
}

TEST_CASE("low_rank: inherited, described, and a rank schedule rounded to the nearest", "[weight][low_rank]") {
    using stack = everywhere<sequence<input<9>, dense<12, activation::tanh>, dense<4>>,
                             weight::low_rank<3, schedule::linear{.from = 1.0, .to = 3.0, .steps = 4}>>;
    network<stack, device::cpu, float> net;
    CHECK(net.parameter_count() == (9 + 12) * 3 + 12 + (12 + 4) * 3 + 4);
    using growing = weight::low_rank<3, schedule::linear{.from = 1.0, .to = 3.0, .steps = 4}>;
    index_t const expected[] = {1, 2, 2, 3, 3, 3};
    for (std::uint64_t step = 0; step < 6; ++step) {
        espalier::clock now;
        now.step = step;
        CHECK(growing::rank(now) == expected[step]);
    }
    auto const& layers = report_of<stack>().layers;
    bool listed = false;
    for (auto const& line : layers)
        for (policy_info const& policy : line.policies)
            listed = listed || policy.text() == "weight low_rank(rank 1)";
    CHECK(listed);
}
