// SPDX-License-Identifier: Apache-2.0
// Scores that mask a frozen kernel: golden numbers of a step with two streams of gradients, what moves and what stays,
// bases, files, and the mask for a network without scores.
#include "../io/temporary_folder.hpp"

#include <espalier/activation/tanh.hpp>
#include <espalier/core/pack.hpp>
#include <espalier/device/cpu/cpu.hpp>
#include <espalier/initial/uniform.hpp>
#include <espalier/io/checkpoint.hpp>
#include <espalier/layer/batch_norm.hpp>
#include <espalier/layer/dense.hpp>
#include <espalier/layer/input.hpp>
#include <espalier/layer/sequence.hpp>
#include <espalier/loss/cross_entropy.hpp>
#include <espalier/loss/distillation.hpp>
#include <espalier/network/base.hpp>
#include <espalier/network/network.hpp>
#include <espalier/network/remember.hpp>
#include <espalier/network/set_mask.hpp>
#include <espalier/optimizer/sgd.hpp>
#include <espalier/penalty/group_lasso.hpp>
#include <espalier/schedule/runtime.hpp>
#include <espalier/train/training.hpp>
#include <espalier/transform/agreement.hpp>
#include <espalier/weight/bake.hpp>
#include <espalier/weight/fixed_mask.hpp>
#include <espalier/weight/mask_of_scores.hpp>
#include <espalier/weight/score_mask.hpp>

#include <support/catch.hpp>
#include <support/message_of.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

using namespace espalier;
using namespace espalier::literals;

namespace {

static_assert(weight::weight_operator<weight::score_mask<>>);
static_assert(weight::element_map<weight::score_mask_op>);

// The published example, kernels in x out.
constexpr double rate = 0.125, c = 1e-4;
std::vector<double> const x_of{1.0, 2.0, -1.0, 0.5, -0.5, 2.0}, theta{0.5, 1.5, -1.0, 0.75, 0.25, -0.5},
    scores{0.010, 0.005, 0.004, 0.012, 0.0051, -0.001}, masked{0.5, 0.0, 0.0, 0.75, 0.25, 0.0};
std::vector<std::uint8_t> const mask{1, 0, 0, 1, 1, 0};
std::vector<double> const a_of{-0.099903979, 0.299910082, 0.966051253, 0.724589391, 0.285920102, 0.571776797},
    b_of{0.040354907, -0.12106472, -0.245510206, -0.184132655, -0.055215195, -0.11043039},
    p_of{0.712282694, 0.712418127, 0.797360499, 0.79737186, 0.838142817, 0.838127778};

constexpr schedule::runtime strength{.name = "strength"_name, .initial = 0.3};
using published_stack =
    sequence<input<3>, dense<2, weight::score_mask<>, on<role::score, penalty::group_lasso<c, penalty::over::tensor>>,
                             on<role::score, transform::agreement<strength>>>>;
using published = network<published_stack, device::cpu, double>;
static_assert(published::size.fixed > 0 && has(published::layer::facts.needs, need::reference));
using plain = network<sequence<input<3>, dense<2>>, device::cpu, double>;

template <class Network> void set(Network& net, char const* name, std::vector<double> const& values) {
    std::copy(values.begin(), values.end(), net.tensor(name).data);
    net.refresh();
}
template <class Network> std::vector<double> values_of(Network& net, char const* name) {
    auto const t = net.tensor(name);
    return {t.data, t.data + t.rows * t.columns};
}
double length(std::vector<double> const& values) {
    double square = 0.0;
    for (double const v : values)
        square += v * v;
    return std::sqrt(square);
}
void check_close(std::vector<double> const& got, std::vector<double> const& wanted, double margin = 1e-9) {
    REQUIRE(got.size() == wanted.size());
    for (std::size_t i = 0; i < wanted.size(); ++i) {
        INFO("element " << i);
        CHECK(got[i] == Approx(wanted[i]).epsilon(0).margin(margin));
    }
}

/// The network of the example, and its batch with the unmasked network's outputs.
struct example {
    plain base{seed{1}, 2};
    published net{seed{1}, 2};
    std::vector<std::int32_t> labels{0, 1};
    std::vector<double> outputs = std::vector<double>(4);
    training<published, loss::cross_entropy, optimizer::sgd<>> run;

    example()
        : run((set(base, "1.kernel", theta), load_base(net, base), set(net, "1.score", scores), net),
              loss::cross_entropy{}, optimizer::sgd<>{.learning_rate = rate}, 0,
              {{.tensor_role = role::bias, .frozen = true}}) {
        base.predict(contiguous_view(x_of.data(), 2, 3), contiguous_view(outputs.data(), 2, 2));
    }
    batch_view<double> task() const {
        batch_view<double> b;
        b.inputs = contiguous_view(x_of.data(), 2, 3);
        b.tags.count = 2;
        b.tags.label = labels.data();
        return b;
    }
    batch_view<double> reference() const {
        batch_view<double> b = task();
        b.tags.label = nullptr;
        b.targets = contiguous_view(outputs.data(), 2, 2);
        return b;
    }
    step_result step() { return run.step(task(), reference(), loss::distillation{}); }
};

template <class Weight, class... Ps>
using deep =
    network<sequence<input<9>, dense<12, activation::tanh, Weight, Ps...>, batch_norm<>, dense<4, Weight, Ps...>>,
            device::cpu, double>;
using scored = deep<weight::score_mask<>, initial::uniform<0.0, 0.01>>;

template <class Network> std::vector<double> outputs_of(Network& net) {
    std::vector<double> x(16 * 9), y(16 * 4);
    fill_normal(make_site(5, 1), 0.0, 1.0, array_view<double>{x.data(), 16 * 9});
    net.predict(contiguous_view(x.data(), 16, 9), contiguous_view(y.data(), 16, 4));
    return y;
}

} // namespace

TEST_CASE("score_mask: the published mask, scores at the threshold, weights of 0", "[weight][score_mask]") {
    auto const op = op_at<weight::detail::score_map<5e-3>>({});
    for (std::size_t i = 0; i < theta.size(); ++i) {
        element_about<double> const about{.weight = scores[i], .companion = {theta[i]}};
        CHECK(op.effective(scores[i], about) == masked[i]);
        CHECK(op.pull(-3.0, about) == -3.0 * theta[i]); // straight through, masked or not
    }
    element_about<double> const none{.companion = {0.0}}, there{.companion = {2.0}};
    CHECK(op.pull(1e300, none) == 0.0);
    CHECK(op.effective(5e-3, there) == 0.0);
    CHECK(op.effective(std::nextafter(5e-3, 1.0), there) == 2.0);
    CHECK(op.effective(std::numeric_limits<double>::quiet_NaN(), there) == 0.0);
    element_about<float> const of_float{.companion = {2.0f}};
    CHECK(op.effective(5e-3f, of_float) == 0.0f);
    using set_at_run_time = weight::score_mask<schedule::runtime{.name = "tau"_name, .initial = 0.25}>;
    CHECK(set_at_run_time::threshold({}) == 0.25);
    named_value const missing[] = {{"tau"_name, std::numeric_limits<double>::quiet_NaN()}};
    CHECK_THROWS_AS(set_at_run_time::threshold({.values = {missing, 1}}), data_error);
    using P = pack<float, 8>;
    P const s = P::iota(0.0f) * P(1e-3f);
    P const got = op.effective(s, element_about<P>{.companion = {P::iota(1.0f)}});
    for (int i = 0; i < 8; ++i)
        CHECK(got[i] == (s[i] > 5e-3f ? float(i + 1) : 0.0f));
}

TEST_CASE("score_mask: a step with both streams gives the published numbers", "[weight][score_mask]") {
    example e;
    CHECK(weight::mask_of_scores(e.net, "1") == mask);
    std::vector<double> z(4), kernel(6);
    e.net.predict(contiguous_view(x_of.data(), 2, 3), contiguous_view(z.data(), 2, 2));
    check_close(z, {0.25, 1.5, 0.75, -0.375}, 1e-15);
    weight::bake(e.net, "1", contiguous_view(kernel.data(), 3, 2));
    CHECK(kernel == masked);

    double const norm = length(scores);
    e.run.set_value("strength"_name, 0.0); // every gradient of the task
    step_result const result = e.step();
    CHECK(result.loss == Approx(1.454039609).epsilon(0).margin(1e-9));
    CHECK(result.reference == Approx(0.344594572).epsilon(0).margin(1e-9));
    CHECK(e.run.terms()[1] == Approx(c * norm).epsilon(1e-12));
    std::vector<double> a, b;
    for (std::size_t i = 0; i < theta.size(); ++i) {
        a.push_back((scores[i] - values_of(e.net, "1.score")[i]) / rate);
        b.push_back(e.run.reference_gradients()[static_cast<index_t>(i)] * theta[i]);
    }
    check_close(a, a_of, 2e-9);
    check_close(b, b_of, 2e-9);

    for (double const outside : {-0.1, 1.5, std::numeric_limits<double>::quiet_NaN()})
        CHECK_THROWS_AS(e.run.set_value("strength"_name, outside), data_error);

    // From the same scores with gates, by the bits that this layer draws at this step.
    auto const op = op_at<transform::agreement<0.3>>({});
    int damped = 0;
    for (std::uint64_t step = 1; step < 9; ++step) {
        set(e.net, "1.score", scores);
        e.run.set_value("strength"_name, 0.3);
        e.step();
        random_site const site = make_site(1, static_cast<std::uint32_t>(purpose::gradient), step);
        auto const moved = values_of(e.net, "1.score");
        for (std::size_t i = 0; i < theta.size(); ++i) {
            double const u = (draw(site, 0, 0)[static_cast<int>(i)] + 0.5) / 65536.0;
            CHECK(op.probability(a[i], b[i]) == Approx(p_of[i]).epsilon(0).margin(1e-8));
            double const g = p_of[i] > u ? a_of[i] : 0.7 * a_of[i];
            damped += p_of[i] <= u;
            INFO("step " << step << " element " << i);
            CHECK((scores[i] - moved[i]) / rate == Approx(g).epsilon(0).margin(3e-9));
        }
    }
    CHECK(damped > 4);
    CHECK(values_of(e.net, "1.kernel") == theta);
    CHECK(values_of(e.net, "1.bias") == std::vector<double>(2)); // frozen by the rule
}

TEST_CASE("score_mask: inputs feel the masked kernel, and the penalty is the norm of the scores",
          "[weight][score_mask]") {
    example e;
    std::vector<double> z(4), dx(6), wanted(6);
    e.net.predict(contiguous_view(x_of.data(), 2, 3), contiguous_view(z.data(), 2, 2));
    e.run.input_gradients_of(e.task(), contiguous_view(dx.data(), 2, 3));
    for (std::size_t r = 0; r < 2; ++r) {
        double const p0 = 1.0 / (1.0 + std::exp(z[2 * r + 1] - z[2 * r]));
        double const dz0 = (p0 - (e.labels[r] == 0)) / 2.0;
        for (std::size_t i = 0; i < 3; ++i)
            wanted[3 * r + i] = dz0 * masked[2 * i] - dz0 * masked[2 * i + 1];
    }
    check_close(dx, wanted, 1e-15);

    // Where no score crosses the threshold only the penalty sees them: and its gradient is the slope of its term.
    double const norm = length(scores);
    for (std::size_t i = 0; i < scores.size(); ++i) {
        if (scores[i] == 0.005) continue; // at it: above, the weight appears
        auto const at = [&](double h) {
            auto moved = scores;
            moved[i] += h;
            set(e.net, "1.score", moved);
            e.step();
            return e.run.terms()[1]; // of the scores before the step
        };
        double const h = 2e-5, slope = (8.0 * (at(h) - at(-h)) - (at(2 * h) - at(-2 * h))) / (12.0 * h);
        INFO("element " << i);
        CHECK(slope == Approx(c * scores[i] / norm).epsilon(1e-7));
    }

    // Nowhere a norm, nowhere a gradient of it: what is left is the loss', through weights that are all masked.
    set(e.net, "1.score", std::vector<double>(6));
    e.run.set_value("strength"_name, 0.0);
    e.run.step(e.task(), e.reference(), loss::distillation{});
    std::vector<double> gradient(6);
    for (std::size_t r = 0; r < 2; ++r)
        for (std::size_t i = 0; i < 3; ++i)
            for (std::size_t o = 0; o < 2; ++o) // outputs are 0
                gradient[2 * i + o] += x_of[3 * r + i] * (0.5 - (static_cast<std::size_t>(e.labels[r]) == o)) / 2.0;
    for (std::size_t i = 0; i < 6; ++i)
        gradient[i] *= -rate * theta[i];
    check_close(values_of(e.net, "1.score"), gradient, 1e-15);
}

TEST_CASE("score_mask: weights of 0 keep their scores, the step writes what products read", "[weight][score_mask]") {
    example e;
    std::vector<double> with_zero = theta;
    with_zero[3] = 0.0;
    set_companion(e.net, "1.kernel", contiguous_view<double const>(with_zero.data(), 3, 2));
    CHECK(e.net.values().operands()[3] == 0.0); // at once, where a weight of 0.75 was
    e.net.values().weights()[0] = 0.005 + 1e-9; // about to go
    set(e.net, "1.score", scores);
    e.run.set_value("strength"_name, 0.0);
    for (int step = 0; step < 3; ++step) {
        e.step();
        std::vector<double> kernel(6);
        weight::bake(e.net, "1", contiguous_view(kernel.data(), 3, 2));
        auto const s = values_of(e.net, "1.score");
        for (std::size_t i = 0; i < 6; ++i) {
            CHECK(kernel[i] == (s[i] > 0.005 ? with_zero[i] : 0.0));
            CHECK(e.net.values().operands()[static_cast<index_t>(i)] == kernel[i]);
        }
    }
    // the penalty alone moves it, by less than its coefficient
    CHECK(std::fabs(values_of(e.net, "1.score")[3] - scores[3]) < 3 * rate * c);
    CHECK(e.run.gradient("1.score").data[3] != 0.0); // of the weight that products read
}

TEST_CASE("score_mask: first scores, names, bases and files", "[weight][score_mask]") {
    espalier_test::temporary_folder const folder;
    deep<weight::score_mask<>> fresh{seed{2}, 16};
    for (double const s : values_of(fresh, "3.score"))
        CHECK(s == 0.01);
    std::string names;
    for (tensor_info const& t : scored::tensors())
        names += t.name + (t.trained ? " " : "* ");
    CHECK(names == "1.score 1.kernel* 1.bias 2.running_mean* 2.running_variance* 2.largest_batch* 2.scale 2.shift "
                   "3.score 3.kernel* 3.bias ");
    CHECK(scored::layers()[1].text().find("weight score_mask(threshold 0.005)") != std::string::npos);
    CHECK(scored::tensors()[0].tensor_role == role::score);

    scored net{seed{3}, 16}, from_file{seed{3}, 16}, copy{seed{4}, 16};
    CHECK_THAT(message_of<data_error>([&] { outputs_of(net); }),
               contains_text("the frozen tensor 1.kernel was never set; load_base(network, base)"));
    deep<weight::identity> base{seed{5}, 16};
    save(base, folder / "base.safetensors");
    load_base(net, base);
    load_base(from_file, folder / "base.safetensors");
    load_base(fresh, base);
    CHECK(outputs_of(fresh) == outputs_of(base)); // nothing is masked
    CHECK(outputs_of(net) != outputs_of(base));
    CHECK(outputs_of(net) == outputs_of(from_file));
    save(net, folder / "net.safetensors");
    load(copy, folder / "net.safetensors");
    CHECK(outputs_of(copy) == outputs_of(net));
    CHECK(values_of(copy, "1.score") == values_of(net, "1.score"));

    network<sequence<input<9>, dense<11>, batch_norm<>, dense<4>>, device::cpu, double> narrow{seed{4}, 16};
    CHECK_THAT(message_of<shape_error>([&] { load_base(net, narrow); }),
               contains_text("load_base: tensor 1.kernel is 9 x 12, that of the other network 9 x 11"));
    CHECK(outputs_of(copy) == outputs_of(net));
}

TEST_CASE("score_mask: the mask and the kernel give a network without scores the same outputs",
          "[weight][score_mask]") {
    espalier_test::temporary_folder const folder;
    deep<weight::identity> base{seed{5}, 16}, merged{seed{6}, 16};
    scored net{seed{3}, 16};
    load_base(net, base);
    using bits = deep<weight::fixed_mask>;
    bits plain_bits{seed{7}, 16}, again{seed{8}, 16};
    load_base(plain_bits, base);
    for (std::string const layer : {"1", "3"}) {
        auto const keep = weight::mask_of_scores(net, layer);
        auto const kept = std::count(keep.begin(), keep.end(), std::uint8_t{1});
        CHECK(kept > 10);
        CHECK(kept < static_cast<std::ptrdiff_t>(keep.size()) - 10);
        set_mask(plain_bits, layer + ".kernel", keep);
    }
    CHECK(outputs_of(plain_bits) == outputs_of(net));
    save(plain_bits, folder / "bits.safetensors");
    load(again, folder / "bits.safetensors");
    CHECK(outputs_of(again) == outputs_of(net));
    merge_adapters(net, merged);
    CHECK(outputs_of(merged) == outputs_of(net));
    CHECK_THAT(message_of<data_error>([&] { weight::mask_of_scores(net, "2"); }),
               contains_text("mask_of_scores: layer \"2\" has no scores; layers with some: 1, 3"));
    CHECK_THAT(message_of<data_error>([&] { weight::mask_of_scores(base, "1"); }), contains_text("with some: none"));
    CHECK_THAT(message_of<data_error>([&] {
                   std::vector<double> kernel(4);
                   weight::bake(net, "2", contiguous_view(kernel.data(), 2, 2));
               }),
               contains_text("layers with one: 1, 3"));
}
