// SPDX-License-Identifier: Apache-2.0
// A number that is not finite never enters state: whatever a stack is made of, and wherever one is planted, the step is
// refused by name and nothing has changed. Many of these stacks hide such a number from the loss.
#include "../layer/naive.hpp"
#include "snapshot.hpp"

#include <espalier/espalier.hpp>

#include <support/catch.hpp>
#include <support/message_of.hpp>

#include <limits>
#include <string>
#include <vector>

using namespace espalier;
using namespace espalier::literals;
using espalier_test::snapshot;

namespace {

constexpr index_t capacity = 24, samples = 40;
constexpr double no_number = std::numeric_limits<double>::quiet_NaN(),
                 infinity = std::numeric_limits<double>::infinity();

/// A training after one step, and a batch to spoil.
template <class Stack, class Loss = loss::cross_entropy, class Optimizer = optimizer::adam<>> struct problem {
    using net_type = naive::network<Stack>;
    using run_type = training<net_type, Loss, Optimizer>;
    static constexpr index_t width = net_type::input_width, outputs = net_type::output_width;

    net_type net{seed{3}, capacity};
    run_type run;
    naive::matrix x = naive::random(capacity, width, 1);
    std::vector<std::int32_t> labels = naive::cyclic_labels(capacity, static_cast<int>(outputs));
    std::vector<double> targets = std::vector<double>(static_cast<std::size_t>(capacity * outputs), 0.25);
    std::vector<std::int64_t> ids;
    std::vector<std::uint64_t> keys;

    explicit problem(Loss loss = {}, Optimizer optimizer = {}) : run(net, loss, optimizer, samples) {
        for (index_t i = 0; i < capacity; ++i)
            ids.push_back(i), keys.push_back(static_cast<std::uint64_t>(i % 9));
    }
    batch_view<double> batch() {
        rows tags = naive::tags_of(capacity, &labels);
        tags.sample = ids.data();
        tags.key = keys.data();
        return {x.view(), tags, {targets.data(), capacity, outputs, outputs}};
    }
    auto step() {
        if constexpr (has(net_type::layer::facts.needs, need::reference))
            return run.step(batch(), batch(), Loss{});
        else
            return run.step(batch());
    }
    /// The step is refused, says why, and nothing has changed.
    template <class Step> void refuses(std::string const& part, Step const& take) {
        snapshot<run_type> const before(run);
        std::string const text = message_of<numerical_error>(take);
        CHECK_THAT(text, contains_text(part));
        CHECK_THAT(text, contains_text("at step " + std::to_string(before.step)));
        CHECK_THAT(text, contains_text("; the weights are those before this step"));
        CHECK((snapshot<run_type>(run) == before));
    }
    void refuses(std::string const& part) {
        refuses(part, [&] { step(); });
    }
    void goes_on() {
        std::uint64_t const before = run.time().step;
        CHECK(std::isfinite(step().total));
        CHECK(run.time().step == before + 1);
        CHECK_NOTHROW(run.require_finite_weights());
    }
};

enum plants { inputs = 1, weights = 2, overflows = 4, everything = 7 };

/// Plants each of the three in an input of each column, in a target and in a weight at both ends of each tensor, and
/// numbers that overflow on their way.
template <class Stack, class Loss = loss::cross_entropy> void check(std::string const& name, int what = everything) {
    INFO(name);
    using type = problem<Stack, Loss>;
    type p;
    p.goes_on();
    auto const spoil = [&](double& place, double number, std::string const& part) {
        double const good = place;
        place = number;
        p.refuses(part);
        place = good;
    };
    for (double const bad : {no_number, infinity, -infinity}) {
        INFO("planted: " << bad);
        for (index_t c = 0; (what & inputs) && c < type::width; ++c)
            spoil(p.x(5, c), bad, " (the inputs are not finite: row 5, column " + std::to_string(c) + ")");
        if constexpr (loss::needs_dense_target<Loss>)
            spoil(p.targets[5 * type::outputs + 2], bad, " (the targets are not finite: row 5, column 2)");
        for (tensor_info const& t : type::net_type::tensors()) {
            if (!t.trained || !(what & weights)) continue;
            INFO("tensor " << t.name);
            double* const w = p.net.values().view(t).data;
            for (index_t const i : {index_t{0}, t.size() - 1})
                spoil(w[i], bad, " (tensor " + t.name + " is not finite)");
        }
    }
    p.goes_on();
    if (what & overflows)
        for (tensor_info const& t : type::net_type::tensors()) {
            if (t.tensor_role != role::kernel) continue;
            INFO("tensor " << t.name);
            double* const w = p.net.values().view(t).data;
            std::vector<double> const good(w, w + t.size());
            for (index_t i = 0; i < t.size(); ++i)
                w[i] = i % 3 == 1 ? -1.5e308 : 1.5e308;
            auto const good_x = p.x;
            for (double& v : p.x.values)
                v *= 1e3;
            p.refuses(" (inputs and weights are finite: numbers grew too large");
            p.x = good_x;
            std::copy(good.begin(), good.end(), w);
        }
    p.goes_on();
}

template <class... Ps> using two = sequence<input<6>, dense<16, Ps...>, dense<4>>;
using expert = sequence<dense<8, activation::relu>, dense<6>>;
template <class... Ps> using mixed = sequence<input<6>, moe<Ps...>, dense<4>>;

} // namespace

TEST_CASE("finite: activations and dropout", "[train]") {
    check<two<>>("identity");
    check<two<activation::relu>>("relu");
    check<two<activation::tanh>>("tanh");
    check<two<activation::sigmoid>>("sigmoid");
    check<two<activation::gelu>>("gelu");
    check<two<activation::silu>>("silu");
    check<two<activation::softmax>>("softmax");
    check<two<activation::relu, dropout::bernoulli<0.9>>>("dropout");
    check<sequence<input<6>, dense<16, activation::softmax>, elementwise<dropout::bernoulli<0.9>>, dense<4>>>(
        "softmax and dropout");
    check<sequence<input<6>, dense<16>, elementwise<activation::relu, dropout::bernoulli<0.9>>, dense<4>>>(
        "elementwise");
}

TEST_CASE("finite: layers and combinators", "[train]") {
    check<sequence<input<6>, dense<16, activation::relu>, batch_norm<>, dense<4>>>("batch_norm");
    check<sequence<input<6>, dense<6>, batch_norm<>, residual<dense<6, activation::tanh>>, dense<4>>>("residual");
    check<sequence<input<6>, parallel<merge::concatenate, sequence<slice<0, 3>, dense<4, activation::relu>>, dense<3>>,
                   dense<4>>>("parallel", inputs | weights);
    check<sequence<input<6>, dense<8>, slice<2, 3>, dense<4>>>("slice");
    check<sequence<input<6>, slice<2, 3>, dense<4>>>("slice of the inputs");
    check<two<activation::relu, weight::low_rank<3>>>("low_rank", inputs | weights);
    check<sequence<input<6>, dense<16, activation::relu>,
                   multi_sample<3, elementwise<dropout::bernoulli<0.5>>, dense<4>>>>("multi_sample");
    check<sequence<input<6>, dense<8, activation::relu, activation_penalty::l1<0.1>>, tap<"here"_name>, dense<4>>>(
        "penalty and tap");
}

TEST_CASE("finite: mixtures", "[train]") {
    check<mixed<gate::top_k<4, 2>, expert>>("top_k", inputs | weights);
    check<mixed<gate::top_k<4, 2>, expert, dispatch::dense>>("top_k dense", inputs | weights);
    check<mixed<gate::top_k<4, 2, gate::learned_noise>, expert>>("learned noise", inputs | weights);
    check<mixed<gate::softmax<4>, expert, dispatch::dense>>("softmax", inputs | weights);
    check<mixed<gate::comet<4, 2>, expert>>("comet", inputs | weights);
    check<mixed<gate::dselect_k<4, 2>, expert>>("dselect_k", inputs | weights);
    check<mixed<gate::expert_choice<4>, expert>>("expert_choice", inputs | weights);
    check<mixed<gate::local_search<gate::softmax<4>>, expert, dispatch::dense>>("local_search", inputs | weights);
    check<mixed<gate::hash<4, 9>, expert>>("hash", inputs | weights);
}

TEST_CASE("finite: losses", "[train]") {
    check<two<activation::relu>, loss::mean_squared_error>("mean_squared_error");
    check<two<activation::relu>, loss::binary_cross_entropy>("binary_cross_entropy");
    check<two<activation::relu>, loss::soft_cross_entropy>("soft_cross_entropy");
    check<two<activation::relu>, loss::early_learning>("early_learning");

    problem<two<activation::relu>> p;
    std::vector<float> row_weights(capacity, 1.0f);
    row_weights[7] = std::numeric_limits<float>::infinity();
    p.refuses(" (the weights of the rows are not finite: row 7)", [&] {
        auto batch = p.batch();
        batch.tags.weight = row_weights.data();
        p.run.step(batch);
    });
}

TEST_CASE("finite: what a function at the taps leaves", "[train]") {
    using stack = sequence<input<6>, dense<8>, tap<"one"_name>, dense<8, activation::relu>, tap<"two"_name>, dense<4>>;
    problem<stack> p;
    p.goes_on();
    for (double const bad : {no_number, infinity, -infinity}) {
        auto const spoil = [&](auto& taps) { taps.gradient("two")(3, 1) = bad; };
        p.refuses("the gradient at tap two is not finite", [&] { p.run.step(p.batch(), spoil); });
        auto const term = [&](auto& taps) { *taps.term("one") = bad; };
        p.refuses("the term 2.one is ", [&] { p.run.step(p.batch(), term); });
        std::vector<double> targets(capacity * 8, 0.0);
        targets[9] = bad;
        auto const loss = [&](auto& taps) {
            taps.template loss<"one"_name>(loss::mean_squared_error{}, {targets.data(), capacity, 8, 8});
        };
        p.refuses("the term 2.one is ", [&] { p.run.step(p.batch(), loss); });
    }
    p.goes_on();
}

TEST_CASE("finite: a loss that hides a logit of minus infinity names what went into it", "[train]") {
    problem<sequence<input<6>, dense<4>>> p;
    p.goes_on();
    double& bias = p.net.tensor("1.bias")(0, 3);
    double const good = bias;
    bias = -infinity;
    for (std::int32_t& label : p.labels)
        label %= 3;
    p.refuses("what goes into a loss is not finite at step 1 (tensor 1.bias is not finite)");
    bias = good;
    p.goes_on();
}

TEST_CASE("finite: gradients that overflow behind a finite loss", "[train]") {
    // dz W^T overflows at units that relu has switched off: no gradient of a tensor shows it
    using stack = sequence<input<6>, dense<8, activation::relu>, dense<4>>;
    problem<stack> p;
    p.goes_on();
    auto const bias = p.net.tensor("1.bias");
    auto const kernel = p.net.tensor("2.kernel");
    for (index_t i = 0; i < 8; ++i)
        bias(0, i) = -100.0;
    for (index_t i = 0; i < 8; ++i)
        for (index_t c = 0; c < 4; ++c)
            kernel(i, c) = c % 2 == 0 ? 1.7e308 : -1.7e308;
    for (std::int32_t& label : p.labels)
        label = 0;
    p.run.net().tensor("2.bias")(0, 1) = 60.0; // a gradient of about 1 in a column of each sign
    p.x = naive::matrix(capacity, 6, 0.01);
    rows tags = naive::tags_of(capacity, &p.labels);
    std::vector<float> weight(capacity, 40.0f);
    tags.weight = weight.data();
    p.refuses("the gradient that comes back to an activation in layer 1 is not finite", [&] {
        p.run.step({p.x.view(), tags, {}});
    });
}

TEST_CASE("finite: the second stream", "[train]") {
    using stack = sequence<input<6>, dense<16, activation::relu, transform::agreement<0.5>>, dense<4>>;
    check<stack>("both streams");
    problem<stack> p;
    p.goes_on();
    for (double const bad : {no_number, infinity, -infinity}) {
        naive::matrix spoiled = p.x;
        spoiled(5, 2) = bad;
        auto second = p.batch();
        second.inputs = spoiled.view();
        p.refuses("(the inputs are not finite: row 5, column 2)",
                  [&] { p.run.step(p.batch(), second, loss::cross_entropy{}); });
    }
    p.goes_on();
}

TEST_CASE("finite: transforms do not hide a gradient, and the norm of finite floats is finite", "[train]") {
    check<two<activation::relu, transform::clip_value<0.1>>>("clip_value");
    check<two<activation::relu, transform::clip_global_norm<0.1>>>("clip_global_norm");
    check<two<activation::relu, transform::gradient_dropout<1.0>>>("gradient_dropout");

    network<sequence<input<2>, dense<2, transform::clip_global_norm<1.0>>>, device::cpu, float> net({1}, 2);
    training run(net, loss::mean_squared_error{}, optimizer::sgd{.learning_rate = 1.0});
    std::vector<float> const x{1.0f, 0.0f, 0.0f, 1.0f}, targets(4, 0.0f);
    auto const bias = net.tensor("1.bias");
    bias(0, 0) = 1e18f; // the loss is finite, and so is the gradient; its square is not
    rows tags;
    tags.count = 2;
    std::vector<float> weight(2, 1e4f);
    tags.weight = weight.data();
    batch_view<float> const batch{{x.data(), 2, 2, 2}, tags, {targets.data(), 2, 2, 2}};
    auto const loss = run.gradients_of(batch);
    float largest = 0.0f;
    for (index_t i = 0; i < run.gradients().size(); ++i)
        largest = std::max(largest, std::fabs(run.gradients()[i]));
    INFO("the loss is " << loss << ", the largest gradient " << largest);
    REQUIRE(std::isfinite(loss));
    REQUIRE(std::isfinite(largest));
    REQUIRE(largest > 2e19f);
    float const old = net.tensor("1.kernel")(0, 0);
    run.step(batch);
    float const moved = std::fabs(net.tensor("1.kernel")(0, 0) - old);
    CHECK(moved > 0.1f);
    CHECK(moved <= 1.0f);
}

TEST_CASE("finite: a norm that overflows is refused", "[train]") {
    problem<sequence<input<6>, dense<4, transform::clip_global_norm<1.0>>>, loss::mean_squared_error, optimizer::sgd<>>
        p;
    p.goes_on();
    p.net.tensor("1.bias")(0, 0) = 1e152;
    for (double& v : p.x.values)
        v = 1e3;
    p.refuses("the norm of the gradients overflows");
}

TEST_CASE("finite: a variance that overflows never becomes a running one", "[train]") {
    // Rows divided by an infinite deviation are 0: the loss is finite.
    network<sequence<input<2>, batch_norm<>, dense<2>>, device::cpu, float> net({1}, 4);
    training run(net, loss::cross_entropy{}, optimizer::adam{});
    std::vector<float> const x{3e19f, 1.0f, -3e19f, 2.0f, 3e19f, 1.0f, -3e19f, 2.0f};
    std::vector<std::int32_t> const labels{0, 1, 0, 1};
    rows tags;
    tags.count = 4;
    tags.label = labels.data();
    std::string const text = message_of<numerical_error>([&] { run.step({{x.data(), 4, 2, 2}, tags, {}}); });
    CHECK_THAT(text, contains_text("the mean or the variance of a batch in layer 1 is not finite at step 0"));
    CHECK(net.tensor("1.running_variance")(0, 0) == 1.0f);
}

TEST_CASE("finite: an update that overflows says which tensor it spoiled", "[train]") {
    problem<sequence<input<6>, dense<8>, dense<4, penalty::l2<1e3>>>, loss::cross_entropy, optimizer::sgd<>> p(
        {}, {.learning_rate = 1.0});
    p.goes_on();
    auto const kernel = p.net.tensor("2.kernel");
    for (index_t i = 0; i < 8; ++i)
        kernel(i, 0) = 1e306;
    p.x = naive::matrix(capacity, 6, 0.0);
    std::string const text = message_of<numerical_error>([&] { p.step(); });
    CHECK_THAT(text,
               contains_text(
                   "tensor 2.kernel is not finite after step 2: the update overflowed, and the weights are not those "
                   "before this step"));
    // and the next step is refused
    p.refuses("(tensor 2.kernel is not finite)");
}

namespace {

/// An optimizer whose moment overflows while its weights stand still.
struct careless {
    struct op {
        static constexpr int moments = 1;
        double rate() const { return 0.0; }
        template <class T> T step(T w, T, T* m, T, T) const {
            m[0] = m[0] * T(scalar_of<T>(1e200)) + T(scalar_of<T>(1e200));
            return w;
        }
    };
    void validate() const {}
    op at(espalier::clock const&, std::uint64_t) const { return {}; }
};

} // namespace

TEST_CASE("finite: a moment that overflows is named", "[train]") {
    problem<sequence<input<6>, dense<4>>, loss::cross_entropy, careless> p;
    p.goes_on();
    std::string const text = message_of<numerical_error>([&] { p.step(); });
    CHECK_THAT(text, contains_text("a moment of tensor 1.kernel is not finite after step 2"));
}

TEST_CASE("finite: a gradient that overflows while everything else is finite", "[train]") {
    // A small and a large one: the product looks at large ones itself.
    auto const refused = [](auto& p, std::string const& name) {
        p.goes_on();
        auto const kernel = p.net.tensor("1.kernel");
        for (index_t i = 0; i < kernel.rows; ++i)
            for (index_t c = 0; c < kernel.columns; ++c)
                kernel(i, c) = i == kernel.rows - 1 && c == kernel.columns - 1 ? 1e-306 : 0.0;
        p.x = naive::matrix(capacity, kernel.rows, 0.0);
        for (index_t r = 0; r < capacity; ++r)
            p.x(r, kernel.rows - 1) = 1e306;
        std::vector<float> const weight(capacity, 1e6f);
        auto batch = p.batch();
        batch.tags.weight = weight.data();
        p.refuses("the gradient of tensor " + name + " is not finite", [&] { p.run.step(batch); });
    };
    problem<sequence<input<6>, dense<5>>, loss::mean_squared_error> small;
    refused(small, "1.kernel");
    problem<sequence<input<150>, dense<130>>, loss::mean_squared_error> large;
    refused(large, "1.kernel");
}
