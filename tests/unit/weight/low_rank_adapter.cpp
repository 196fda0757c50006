// SPDX-License-Identifier: Apache-2.0
// Adapters on a frozen kernel: golden numbers, gradients, what a step leaves alone, bases and merging.
#include "../io/temporary_folder.hpp"

#include <espalier/activation/tanh.hpp>
#include <espalier/device/cpu/cpu.hpp>
#include <espalier/initial/uniform.hpp>
#include <espalier/io/checkpoint.hpp>
#include <espalier/layer/batch_norm.hpp>
#include <espalier/layer/dense.hpp>
#include <espalier/layer/input.hpp>
#include <espalier/layer/sequence.hpp>
#include <espalier/loss/cross_entropy.hpp>
#include <espalier/loss/mean_squared_error.hpp>
#include <espalier/network/base.hpp>
#include <espalier/network/describe.hpp>
#include <espalier/network/network.hpp>
#include <espalier/network/remember.hpp>
#include <espalier/optimizer/sgd.hpp>
#include <espalier/prune/magnitude.hpp>
#include <espalier/prune/per_layer.hpp>
#include <espalier/prune/straight_through.hpp>
#include <espalier/schedule/runtime.hpp>
#include <espalier/train/check_gradients.hpp>
#include <espalier/train/training.hpp>
#include <espalier/weight/adaptive_gain.hpp>
#include <espalier/weight/bake.hpp>
#include <espalier/weight/fixed_mask.hpp>
#include <espalier/weight/low_rank_adapter.hpp>

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

static_assert(weight::weight_operator<weight::low_rank_adapter<3>>);
static_assert(weight::adapter_gain<weight::adaptive_gain<2.0>> && !weight::adapter_gain<weight::no_gain>);

/// x, A, B, W and the gradient of the outputs that the published numbers are for, in x out.
std::vector<double> const x_of{1.0, 2.0, -1.0, 0.5, -0.5, 2.0}, w_of{0.5, 0.3, -0.2, 0.8, 0.1, -0.4},
    a_of{0.3, 0.1, -0.6, 0.4, 0.2, -0.5}, b_of{0.0, 0.6, 0.0, -0.8}, dy_of{0.2, -0.1, -0.3, 0.4};

void check_close(double const* got, std::vector<double> const& wanted, double margin = 1e-9) {
    for (std::size_t i = 0; i < wanted.size(); ++i) {
        INFO("element " << i);
        CHECK(got[i] == Approx(wanted[i]).epsilon(0).margin(margin));
    }
}

template <class Network> void set(Network& net, char const* name, std::vector<double> const& values) {
    std::copy(values.begin(), values.end(), net.tensor(name).data);
}

/// Behind a layer that hands its inputs on, and has gradients of its own.
template <class Weight> using published = sequence<input<3>, dense<3>, dense<2, Weight, no_bias>>;

constexpr schedule::runtime eta{.name = "eta"_name, .initial = 2.0};
using with_gain = weight::low_rank_adapter<2, weight::adaptive_gain<eta>>;

/// The gradients of B, A and x for the published gradient of the outputs: that of a squared error whose targets are
/// chosen so.
template <class Weight> struct published_gradients {
    std::vector<double> outputs = std::vector<double>(4), b, a, sums, dx = std::vector<double>(6);

    published_gradients() {
        network<published<Weight>, device::cpu, double> net{seed{1}, 2};
        set(net, "1.kernel", {1, 0, 0, 0, 1, 0, 0, 0, 1});
        set_companion(net, "2.kernel", contiguous_view(w_of.data(), 3, 2));
        set(net, "2.factor_in", a_of);
        set(net, "2.factor_out", b_of);
        net.refresh();
        net.predict(contiguous_view(x_of.data(), 2, 3), contiguous_view(outputs.data(), 2, 2));
        std::vector<double> target(4);
        for (std::size_t i = 0; i < 4; ++i)
            target[i] =
                outputs[i] - 2.0 * dy_of[i]; // two rows of two columns: the mean halves twice, the square doubles
        training run{net, loss::mean_squared_error{}, optimizer::sgd{}};
        batch_view<double> batch;
        batch.inputs = contiguous_view(x_of.data(), 2, 3);
        batch.tags.count = 2;
        batch.targets = contiguous_view<double const>(target.data(), 2, 2);
        run.input_gradients_of(batch, contiguous_view(dx.data(), 2, 3));
        run.gradients_of(batch);
        auto const take = [&](char const* name) {
            auto const g = run.gradient(name);
            return std::vector<double>(g.data, g.data + g.rows * g.columns);
        };
        a = take("2.factor_in");
        b = take("2.factor_out");
        sums = take("1.bias");
    }
};

using dense_stack = sequence<input<9>, dense<12, activation::tanh>, batch_norm<>, dense<4>>;
template <class... Gain>
using adapter_stack = sequence<input<9>, dense<12, activation::tanh, weight::low_rank_adapter<3, Gain...>>,
                               batch_norm<>, dense<4, weight::low_rank_adapter<2>>>;
using adapted_type = network<adapter_stack<>, device::cpu, double>;

struct drawn_batch {
    std::vector<double> x = std::vector<double>(16 * 9);
    std::vector<std::int32_t> labels = std::vector<std::int32_t>(16);
    batch_view<double> view;
    drawn_batch() {
        fill_normal(make_site(5, 1), 0.0, 1.0, array_view<double>{x.data(), 16 * 9});
        for (std::size_t i = 0; i < 16; ++i)
            labels[i] = static_cast<std::int32_t>(i % 4);
        view.inputs = contiguous_view(x.data(), 16, 9);
        view.tags.count = 16;
        view.tags.label = labels.data();
    }
};

template <class Network> std::vector<double> outputs_of(Network& net, drawn_batch const& batch) {
    std::vector<double> y(16 * 4);
    net.predict(batch.view.inputs, contiguous_view(y.data(), 16, 4));
    return y;
}

} // namespace

TEST_CASE("low_rank_adapter: the published outputs and gradients without a gain", "[weight][adapter]") {
    published_gradients<weight::low_rank_adapter<2>> const g;
    check_close(g.outputs.data(), {0.0, 0.52, 0.55, 0.38});
    check_close(g.dx.data(), {0.06, -0.052, 0.008, 0.01, 0.108, 0.018});
    check_close(g.sums.data(), {0.07, 0.056, 0.026});     // what the layer before it was given
    check_close(g.b.data(), {-0.475, 0.45, 0.625, -0.6}); // transposed, as A and B are
    check_close(g.a.data(), {0.06, -0.08, -0.24, 0.32, 0.54, -0.72});
}

TEST_CASE("adaptive_gain: the published gradients", "[weight][adapter]") {
    published_gradients<with_gain> const g;
    check_close(g.outputs.data(), {0.0, 0.52, 0.55, 0.38});
    check_close(g.dx.data(), {0.06, -0.052, 0.008, 0.01, 0.108, 0.018}); // without gains
    check_close(g.sums.data(), {0.07, 0.056, 0.026});
    check_close(g.b.data(), {-0.95, 0.426763985, 1.25, -0.569018647});
    check_close(g.a.data(), {0.056901865, -0.075869153, -0.227607459, 0.303476612, 0.512116782, -0.682822376});
}

TEST_CASE("adaptive_gain: the published gains of norms and of columns", "[weight][adapter]") {
    auto const op = weight::adaptive_gain<2.0>::at({});
    std::vector<double> const norms{0.0, 0.01, 0.0625, 0.25, 1.0, 4.0},
        gains{2.0, 1.96116135, 1.78885438, 1.41421356, 0.894427191, 0.48507125};
    for (std::size_t i = 0; i < norms.size(); ++i)
        CHECK(op.gain(norms[i]) == Approx(gains[i]).epsilon(0).margin(1e-8));
    CHECK(op.eta() == Approx(2.0).epsilon(1e-15));

    // G = A^T A, then G B; columns of ones become the gains
    std::vector<double> product(4), ones(4, 1.0);
    for (std::size_t k = 0; k < 2; ++k)
        for (std::size_t o = 0; o < 2; ++o)
            for (std::size_t l = 0; l < 2; ++l)
                for (std::size_t i = 0; i < 3; ++i)
                    product[k * 2 + o] += a_of[i * 2 + k] * a_of[i * 2 + l] * b_of[l * 2 + o];
    cpu::scale_columns(op, contiguous_view(b_of.data(), 2, 2), contiguous_view(product.data(), 2, 2),
                       contiguous_view(ones.data(), 2, 2));
    check_close(ones.data(), {2.0, 0.948364411, 2.0, 0.948364411});
    check_close(product.data(), {0.0, 0.6 * 0.948364411, 0.0, -0.8 * 0.948364411});
    CHECK(1.0 / (ones[1] * ones[1]) - 0.25 == Approx(0.861858457).epsilon(1e-9)); // the norm
}

TEST_CASE("low_rank_adapter: gradients", "[weight][adapter]") {
    using stack =
        sequence<input<7>, dense<9, weight::low_rank_adapter<4>, initial::uniform<-0.5, 0.5>, activation::tanh>,
                 dense<5, weight::low_rank_adapter<1>, activation::tanh>, dense<4>>;
    // As it begins, with B = 0, and away from there.
    auto const report = check_gradients_of<stack, device::cpu>(loss::cross_entropy{}, seed{11}, 7);
    INFO(report.text());
    CHECK(report.ok(1e-6));
    network<stack, device::cpu, double> net{seed{3}, 16};
    for (tensor_info const& t : net.tensors()) {
        fill_normal(make_site(8, static_cast<std::uint32_t>(t.offset)), 0.0, 0.5,
                    array_view<double>{net.values().view(t).data, t.size()});
        if (t.fixed) net.values().given()[static_cast<std::size_t>(&t - net.tensors().data())] = true;
    }
    training run{net, loss::cross_entropy{}, optimizer::sgd{}};
    drawn_batch batch;
    std::vector<double> x(batch.x.begin(), batch.x.begin() + 12 * 7);
    rows tags = batch.view.tags;
    tags.count = 12;
    auto const moved = check_gradients(run, contiguous_view(x.data(), 12, 7), tags);
    INFO(moved.text());
    CHECK(moved.ok(1e-6));
}

TEST_CASE("low_rank_adapter: the base comes from a network or its file, and a step leaves it alone",
          "[weight][adapter]") {
    espalier_test::temporary_folder const folder;
    drawn_batch const batch;
    network<dense_stack, device::cpu, double> base{seed{4}, 16};
    training pretraining{base, loss::cross_entropy{}, optimizer::sgd{.learning_rate = 0.1}};
    for (int step = 0; step < 3; ++step)
        pretraining.step(batch.view);
    save(base, folder / "base.safetensors");

    adapted_type net{seed{5}, 16}, from_file{seed{5}, 16}, untouched{seed{5}, 16};
    load_base(net, base);
    load_base(from_file, folder / "base.safetensors");
    CHECK(outputs_of(net, batch) == outputs_of(base, batch)); // B is zero
    CHECK(outputs_of(from_file, batch) == outputs_of(base, batch));
    CHECK(net.time().step == 0);
    for (char const* name : {"1.factor_in", "1.factor_out"}) // what the base lacks stays
        CHECK(std::equal(net.tensor(name).data, net.tensor(name).data + 27, untouched.tensor(name).data));

    training run{net,
                 loss::cross_entropy{},
                 optimizer::sgd{.learning_rate = 0.1},
                 0,
                 {{.tensor_role = role::bias, .frozen = true}}};
    CHECK(net.size.parameters < base.size.parameters + 4 * 32); // no lane of W among gradients and moments
    CHECK_THROWS_AS(run.gradient("1.kernel"), data_error);
    for (int step = 0; step < 3; ++step)
        run.step(batch.view);
    auto const same = [&](char const* name) {
        auto const a = net.tensor(name), b = base.tensor(name);
        return std::equal(a.data, a.data + a.rows * a.columns, b.data);
    };
    CHECK((same("1.kernel") && same("3.kernel") && same("1.bias") && same("3.bias")));
    CHECK_FALSE(same("2.scale"));
    CHECK_FALSE(same("2.running_mean"));
    CHECK(outputs_of(net, batch) != outputs_of(base, batch));

    // A file of the adapted network has the base too; a teacher and a copy have it without being told.
    save(net, folder / "adapted.safetensors");
    load(untouched, folder / "adapted.safetensors");
    CHECK(outputs_of(untouched, batch) == outputs_of(net, batch));
    adapted_type copy = net;
    CHECK(outputs_of(copy, batch) == outputs_of(net, batch));
}

TEST_CASE("low_rank_adapter: merged, the dense network gives the same outputs", "[weight][adapter]") {
    drawn_batch const batch;
    network<dense_stack, device::cpu, double> base{seed{4}, 16}, merged{seed{6}, 16};
    adapted_type net{seed{5}, 16};
    CHECK_THROWS_AS(merge_adapters(net, merged), data_error); // no base yet
    load_base(net, base);
    training run{net, loss::cross_entropy{}, optimizer::sgd{.learning_rate = 0.1}};
    for (int step = 0; step < 5; ++step)
        run.step(batch.view);
    merge_adapters(net, merged);
    auto const a = outputs_of(net, batch), b = outputs_of(merged, batch);
    double most = 0.0;
    for (std::size_t i = 0; i < a.size(); ++i)
        most = std::max(most, std::fabs(a[i] - b[i]));
    CHECK(most < 1e-13);
    CHECK(merged.time().step == 5);
    std::vector<double> kernel(9 * 12);
    weight::bake(net, "1", contiguous_view(kernel.data(), 9, 12));
    CHECK(std::equal(kernel.begin(), kernel.end(), merged.tensor("1.kernel").data));
    network<sequence<input<9>, dense<11>, batch_norm<>, dense<4>>, device::cpu, double> other{seed{4}, 16};
    auto const before = outputs_of(other, batch);
    CHECK_THAT(message_of<shape_error>([&] { merge_adapters(net, other); }),
               contains_text("merge_adapters: tensor 1.kernel is 9 x 11, that of the other network 9 x 12"));
    CHECK(outputs_of(other, batch) == before);
}

TEST_CASE("low_rank_adapter: a base that is missing or does not fit", "[weight][adapter]") {
    espalier_test::temporary_folder const folder;
    drawn_batch const batch;
    adapted_type net{seed{5}, 16};
    std::vector<double> const weights(net.values().weights().data(),
                                      net.values().weights().data() + net.values().weights().size());
    auto const unchanged = [&] {
        return std::equal(weights.begin(), weights.end(), net.values().weights().data()) && net.time().step == 0;
    };
    training run{net, loss::cross_entropy{}, optimizer::sgd{.learning_rate = 0.1}};
    auto const never = contains_text("the frozen tensor 1.kernel was never set; load_base(network, base)");
    CHECK_THAT(message_of<data_error>([&] { run.step(batch.view); }), never);
    CHECK_THAT(message_of<data_error>([&] { outputs_of(net, batch); }), never);
    CHECK_THAT(message_of<data_error>([&] { run.gradients_of(batch.view); }), never);
    save(net, folder / "new.safetensors");
    adapted_type second{seed{5}, 16};
    CHECK_THAT(message_of<file_error>([&] { load_base(second, folder / "new.safetensors"); }),
               contains_text("there is no tensor '1.kernel'"));
    CHECK_THAT(message_of<data_error>([&] { load_base(second, net); }),
               contains_text("load_base: the frozen tensor 1.kernel was never set in the base"));

    network<sequence<input<9>, dense<11>, batch_norm<>, dense<4>>, device::cpu, double> narrow{seed{4}, 16};
    CHECK_THAT(message_of<shape_error>([&] { load_base(net, narrow); }),
               contains_text("load_base: tensor 1.kernel is 9 x 12, that of the other network 9 x 11"));
    save(narrow, folder / "narrow.safetensors");
    CHECK_THROWS_AS(load_base(net, folder / "narrow.safetensors"), file_error);
    network<sequence<input<9>, dense<12>>, device::cpu, double> shallow{seed{4}, 16};
    CHECK_THAT(message_of<data_error>([&] { load_base(net, shallow); }),
               contains_text("load_base: the frozen tensor 3.kernel is not in the base"));
    network<sequence<input<9>, dense<12, weight::fixed_mask>, batch_norm<>, dense<4>>, device::cpu> masked{seed{4}, 16};
    using hiding = prune::magnitude<0.5, prune::per_layer, prune::straight_through>;
    network<sequence<input<9>, dense<12, hiding>, batch_norm<>, dense<4>>, device::cpu> hidden{seed{4}, 16};
    CHECK_THAT(
        message_of<data_error>([&] { load_base(net, hidden); }),
        contains_text("load_base: the mask of the base's tensor 1.kernel leaves out weights that it still holds"));
    CHECK(unchanged());
    CHECK_THROWS_AS(run.step(batch.view), data_error); // none of them was taken
    load_base(net, masked); // float, with a mask that keeps everything: what it leaves out would be zeros
    run.step(batch.view);
    CHECK_FALSE(unchanged());
}

TEST_CASE("low_rank_adapter: described in proportion", "[weight][adapter]") {
    auto const s = summarise<adapter_stack<>, double>();
    CHECK(s.parameters == (9 + 12) * 3 + 12 + 24 + (12 + 4) * 2 + 4);
    CHECK(s.fixed == 9 * 12 + 12 * 4);
    CHECK(s.gradient_bytes == adapted_type::size.parameters * 8);
    CHECK(s.parameter_bytes - s.gradient_bytes == (adapted_type::size.state + padded(9 * 12) + padded(12 * 4)) * 8);
    CHECK_THAT((describe<adapter_stack<weight::adaptive_gain<2.0>>>()),
               contains_text("weight low_rank_adapter(rank 3, adaptive_gain(eta 2))"));
    CHECK_THAT(describe<adapter_stack<>>(), contains_text(" fixed 156, "));
    CHECK(adapted_type::layers()[1].parameters == (9 + 12) * 3 + 12);
}

TEST_CASE("adaptive_gain: an eta of a schedule outside its range", "[weight][adapter]") {
    network<published<with_gain>, device::cpu, double> net;
    for (double const wrong : {0.0, -1.0, std::nan(""), std::numeric_limits<double>::infinity()}) {
        std::string const text = message_of<data_error>([&] { net.set_value("eta"_name, wrong); });
        CHECK_THAT(text, contains_text("weight adaptive_gain: its eta is "));
    }
}
