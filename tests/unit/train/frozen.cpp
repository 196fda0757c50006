// SPDX-License-Identifier: Apache-2.0
// A frozen part leaves no trace in what the others learn or in itself, and wakes up as if no time had passed.
#include "../io/temporary_folder.hpp"
#include "../layer/naive.hpp"

#include <espalier/activation/relu.hpp>
#include <espalier/activation/tanh.hpp>
#include <espalier/device/cpu/cpu.hpp>
#include <espalier/gate/local_search.hpp>
#include <espalier/gate/softmax.hpp>
#include <espalier/layer/batch_norm.hpp>
#include <espalier/layer/dense.hpp>
#include <espalier/layer/everywhere.hpp>
#include <espalier/layer/input.hpp>
#include <espalier/layer/moe.hpp>
#include <espalier/layer/sequence.hpp>
#include <espalier/loss/cross_entropy.hpp>
#include <espalier/optimizer/adam.hpp>
#include <espalier/optimizer/adamw.hpp>
#include <espalier/optimizer/sgd.hpp>
#include <espalier/prune/by_magnitude.hpp>
#include <espalier/prune/constant.hpp>
#include <espalier/prune/global.hpp>
#include <espalier/prune/gradual.hpp>
#include <espalier/prune/hard.hpp>
#include <espalier/prune/n_m_magnitude.hpp>
#include <espalier/prune/n_m_stages.hpp>
#include <espalier/prune/per_layer.hpp>
#include <espalier/prune/policy.hpp>
#include <espalier/prune/straight_through.hpp>
#include <espalier/schedule/linear.hpp>
#include <espalier/schedule/runtime.hpp>
#include <espalier/train/check_gradients.hpp>
#include <espalier/train/fit.hpp>
#include <espalier/transform/clip_global_norm.hpp>
#include <espalier/weight/fixed_mask.hpp>

#include <support/catch.hpp>

#include <cmath>
#include <cstring>
#include <string>
#include <vector>

using namespace espalier;
using namespace espalier::literals;

namespace {

constexpr index_t count = 24, width = 6, classes = 3;

struct labelled {
    naive::matrix x;
    std::vector<std::int32_t> labels;
    explicit labelled(std::uint64_t seed_value, double scale = 1.0, double shift = 0.0)
        : x(naive::random(count, width, seed_value, scale)) {
        for (double& value : x.values)
            value += shift;
        for (index_t i = 0; i < count; ++i)
            labels.push_back(static_cast<std::int32_t>(i % classes));
    }
    batch_view<double> view() const {
        batch_view<double> b;
        b.inputs = x.view();
        b.tags.count = count;
        b.tags.label = labels.data();
        return b;
    }
};

template <class Net> std::vector<double> numbers(Net& net, std::string const& name) {
    auto const t = net.tensor(name);
    return {t.data, t.data + t.rows * t.columns};
}
template <class Net> index_t zeros(Net& net, std::string const& name) {
    index_t n = 0;
    for (double const w : numbers(net, name))
        n += w == 0.0;
    return n;
}
template <class Net> double moved(Net& net, std::vector<double> const& before) {
    double sum = 0.0;
    auto const& w = net.values().weights();
    for (index_t i = 0; i < w.size(); ++i)
        sum += (w[i] - before[static_cast<std::size_t>(i)]) * (w[i] - before[static_cast<std::size_t>(i)]);
    return std::sqrt(sum);
}
template <class Net> std::vector<double> weights(Net& net) {
    auto const& w = net.values().weights();
    return {w.data(), w.data() + w.size()};
}

template <auto Schedule, class Selection, class Rule>
using pruned = prune::policy<prune::by_magnitude, Selection, Schedule, Rule>;

} // namespace

TEST_CASE("frozen: a batch_norm keeps its statistics and uses them", "[train][frozen]") {
    using stack = sequence<input<width>, dense<8, activation::tanh>, batch_norm<>, dense<classes>>;
    using front_stack = sequence<input<width>, dense<8, activation::tanh>, batch_norm<>>;
    naive::network<stack> net({1}, count);
    training run{net, loss::cross_entropy{}, optimizer::adam{.learning_rate = 1e-2}};
    labelled const first(1), other(2, 3.0, 2.0);
    for (int i = 0; i < 20; ++i)
        run.step(first.view());
    naive::network<front_stack> front({1}, count);
    auto const copy_front = [&] {
        for (tensor_info const& t : front.tensors()) {
            auto const from = net.tensor(t.name);
            std::copy_n(from.data, t.size(), front.tensor(t.name).data);
        }
    };
    copy_front();
    auto const wanted = naive::forward<mode::evaluate>(front, other.x);
    auto const mean = numbers(net, "2.running_mean"), variance = numbers(net, "2.running_variance");
    run.set_rates({{.path = "1.", .frozen = true}, {.path = "2.", .frozen = true}});
    for (int i = 0; i < 10; ++i) {
        // What the head sees is what it will see in evaluation.
        double const as_used = run.evaluate(other.view());
        CHECK(run.step(other.view()).loss == Approx(as_used).epsilon(1e-14));
    }
    CHECK(numbers(net, "2.running_mean") == mean);
    CHECK(numbers(net, "2.running_variance") == variance);
    copy_front();
    CHECK(naive::forward<mode::evaluate>(front, other.x).values == wanted.values);
    // Gradients through a frozen layer are those of what it computes.
    network<stack, device::cpu, double> checked = net;
    training looked{checked, loss::cross_entropy{}, optimizer::sgd{}, 0,
                    std::vector<rate_rule>{{.path = "2.", .frozen = true}}};
    auto x = other.x;
    auto const report = check_gradients(looked, x.view(), other.view().tags);
    INFO(report.text());
    CHECK(report.ok());
    // Thawed, it goes on gathering; with one of its tensors frozen too.
    run.set_rates({{.path = "2.scale", .frozen = true}});
    run.step(other.view());
    CHECK(numbers(net, "2.running_mean") != mean);
}

TEST_CASE("frozen: the norm that clips is that of what is updated", "[train][frozen]") {
    using clip = transform::clip_global_norm<0.1>;
    labelled const data(3, 30.0);
    {
        using stack = everywhere<sequence<input<width>, dense<12, activation::tanh>, dense<classes>>, clip>;
        for (auto const* path : {"1.", "2.", "2.bias"}) {
            naive::network<stack> net({4}, count);
            training run{net, loss::cross_entropy{}, optimizer::sgd{.learning_rate = 1.0}, 0,
                         std::vector<rate_rule>{{.path = path, .frozen = true}}};
            auto const before = weights(net);
            run.step(data.view());
            INFO(path);
            CHECK(moved(net, before) == Approx(0.1).epsilon(1e-4));
        }
    }
    auto const length_with = [&]<class Layer>(std::type_identity<Layer>, bool masked) {
        using stack = everywhere<sequence<input<width>, Layer, dense<classes>>, clip>;
        naive::network<stack> net({4}, count);
        if (masked) {
            for (index_t w = 0; w < 3; ++w)
                net.values().masks().data()[w] &= 0x0f0f00ffu;
            net.refresh();
        }
        training run{net, loss::cross_entropy{}, optimizer::sgd{.learning_rate = 1.0}};
        run.step(data.view()); // selects
        auto const before = weights(net);
        run.step(data.view());
        return moved(net, before);
    };
    using hard = dense<12, activation::tanh, pruned<0.5, prune::per_layer, prune::hard>>;
    using through = dense<12, activation::tanh, pruned<0.5, prune::per_layer, prune::straight_through>>;
    CHECK(length_with(std::type_identity<hard>{}, false) == Approx(0.1).epsilon(1e-4));
    CHECK(length_with(std::type_identity<through>{}, false) == Approx(0.1).epsilon(1e-4));
    CHECK(length_with(std::type_identity<dense<12, activation::tanh, weight::fixed_mask>>{}, true) ==
          Approx(0.1).epsilon(1e-4));
}

TEST_CASE("frozen: tensors are neither pruned nor counted, and what was missed is made up for", "[train][frozen]") {
    labelled const data(5);
    {
        using together = pruned<0.8, prune::global, prune::hard>;
        using stack = sequence<input<width>, dense<20, activation::tanh, together>,
                               dense<10, activation::tanh, together>, dense<classes>>;
        naive::network<stack> net({6}, count);
        training run{net, loss::cross_entropy{}, optimizer::sgd{.learning_rate = 0.1}, 0,
                     std::vector<rate_rule>{{.path = "1.", .frozen = true}}};
        run.step(data.view());
        CHECK(zeros(net, "1.kernel") == 0);
        CHECK(zeros(net, "2.kernel") == 160); // of its own 200
        run.set_rates({});
        run.step(data.view());
        CHECK(zeros(net, "1.kernel") + zeros(net, "2.kernel") == 256); // of 320
        run.step(data.view());
        CHECK(zeros(net, "1.kernel") + zeros(net, "2.kernel") == 256);
    }
    using gradual = pruned<prune::gradual{.from = 0.0, .to = 0.5, .start = 2, .steps = 10, .every = 2},
                           prune::per_layer, prune::hard>;
    // Never frozen: a pattern goes on from the middle of a stage.
    using stages = prune::stages<prune::stage{3, 9, 10}, prune::stage{8, 2, 20}, prune::stage{11, 1, 4}>;
    using in_stages = pruned<1.0, prune::n_m_stages<stages{}>, prune::straight_through>;
    using stack = sequence<input<width>, dense<20, activation::tanh, gradual>, dense<classes, in_stages>>;
    for (std::uint64_t const thaw : {1, 5, 11, 12, 30}) {
        espalier_test::temporary_folder folder;
        naive::network<stack> net({6}, count);
        training run{net, loss::cross_entropy{}, optimizer::sgd{.learning_rate = 0.1}, 0,
                     std::vector<rate_rule>{{.path = "1.", .frozen = true}}};
        for (std::uint64_t i = 0; i < thaw; ++i)
            run.step(data.view());
        INFO("thawed at step " << thaw);
        CHECK(zeros(net, "1.kernel") == 0);
        save_training(run, folder / "last.safetensors");
        naive::network<stack> loaded({6}, count);
        training resumed{loaded, loss::cross_entropy{}, optimizer::sgd{.learning_rate = 0.1}};
        load_training(resumed, folder / "last.safetensors");
        run.set_rates({});
        for (std::uint64_t i = thaw; i < 40; ++i) {
            run.step(data.view());
            resumed.step(data.view());
            if (i == 30 || thaw == 30) CHECK(zeros(net, "1.kernel") == 60);
        }
        CHECK(zeros(net, "1.kernel") == 60);
        CHECK(weights(loaded) == weights(net));
        auto const& a = loaded.values().masks();
        auto const& b = net.values().masks();
        CHECK(std::equal(a.data(), a.data() + a.size(), b.data()));
        tensor_info const& second = net.values().find("2.kernel");
        CHECK(prune::count_kept(b.data() + second.mask_offset, second.size()) == second.size() / 4);
    }
}

TEST_CASE("frozen: a schedule revives nothing that a checkpoint pruned, unless it falls", "[train][frozen]") {
    labelled const data(5);
    using kept_stack =
        sequence<input<width>, dense<50, activation::tanh, pruned<0.8, prune::per_layer, prune::hard>>, dense<classes>>;
    espalier_test::temporary_folder folder;
    naive::network<kept_stack> first({6}, count);
    training once{first, loss::cross_entropy{}, optimizer::sgd{.learning_rate = 0.1}};
    once.step(data.view());
    REQUIRE(zeros(first, "1.kernel") == 240);
    save(first, folder / "pruned.safetensors");

    auto const zeros_after = [&]<class Policy>(std::type_identity<Policy>, int steps,
                                               std::vector<named_value> const& values = {}) {
        using stack = sequence<input<width>, dense<50, activation::tanh, Policy>, dense<classes>>;
        naive::network<stack> net({6}, count);
        load(net, folder / "pruned.safetensors");
        net.set_time({}); // begins anew
        for (named_value const& v : values)
            net.set_value(v.name, v.value);
        training run{net, loss::cross_entropy{}, optimizer::sgd{.learning_rate = 0.1}};
        std::vector<index_t> seen;
        for (int i = 0; i < steps; ++i) {
            run.step(data.view());
            seen.push_back(300 - prune::count_kept(net.values().masks().data(), 300));
        }
        return seen;
    };
    using std::type_identity;
    constexpr prune::gradual rising{.from = 0.0, .to = 0.9, .start = 10, .steps = 20};
    for (index_t const n : zeros_after(type_identity<pruned<rising, prune::per_layer, prune::hard>>{}, 12))
        CHECK(n == 240);
    CHECK(zeros_after(type_identity<pruned<rising, prune::per_layer, prune::hard>>{}, 40).back() == 270);
    CHECK(zeros_after(type_identity<pruned<rising, prune::global, prune::hard>>{}, 12).back() == 240);
    CHECK(zeros_after(type_identity<pruned<rising, prune::per_layer, prune::straight_through>>{}, 12).back() == 240);
    CHECK(
        zeros_after(type_identity<
                        pruned<schedule::linear{.from = 0.0, .to = 0.5, .steps = 10}, prune::per_layer, prune::hard>>{},
                    20)
            .back() == 240);
    CHECK(zeros_after(
              type_identity<pruned<prune::constant{.sparsity = 0.3, .every = 2}, prune::per_layer, prune::hard>>{}, 5)
              .back() == 240);
    CHECK(zeros_after(type_identity<prune::n_m_magnitude<2, 4, prune::hard>>{}, 2).back() == 240);
    {
        // A pattern of one in three goes on choosing: a third has no exact double.
        using stack = sequence<
            input<width>,
            dense<50, activation::tanh,
                  prune::n_m_magnitude<1, 3, prune::straight_through, prune::constant{.sparsity = 1.0, .every = 1}>>,
            dense<classes>>;
        naive::network<stack> net({6}, count);
        training run{net, loss::cross_entropy{}, optimizer::sgd{.learning_rate = 3.0}};
        for (int i = 0; i < 6; ++i) {
            auto const w = numbers(net, "1.kernel");
            run.step(data.view());
            index_t wrong = 0;
            for (index_t r = 0; r < width; ++r)
                for (index_t c = 0; c < 50; ++c) {
                    index_t const group = r / 3 * 3, at = r * 50 + c;
                    double most = 0.0;
                    for (index_t k = group; k < group + 3; ++k)
                        most = std::max(most, std::fabs(w[static_cast<std::size_t>(k * 50 + c)]));
                    bool const kept = (net.values().masks()[at / 32] >> at % 32 & 1u) != 0;
                    wrong += kept != (std::fabs(w[static_cast<std::size_t>(at)]) == most);
                }
            CHECK(wrong == 0);
        }
    }
    // One that falls does revive: it is what it says.
    auto const falling = zeros_after(
        type_identity<pruned<schedule::linear{.from = 0.9, .to = 0.5, .steps = 8}, prune::per_layer, prune::hard>>{},
        12);
    CHECK(falling.front() == 270);
    CHECK(falling.back() == 150);
    CHECK(zeros_after(type_identity<pruned<schedule::linear{.from = 0.9, .to = 0.5, .steps = 8}, prune::global,
                                           prune::straight_through>>{},
                      12)
              .back() == 150);

    // A step that fails selects nothing, and is made up for.
    using stack = sequence<
        input<width>,
        dense<50, activation::tanh, pruned<schedule::runtime{"share"_name, 0.5}, prune::per_layer, prune::hard>>,
        dense<classes>>;
    naive::network<stack> net({6}, count);
    training run{net, loss::cross_entropy{}, optimizer::sgd{.learning_rate = 0.1}};
    run.step(data.view());
    REQUIRE(zeros(net, "1.kernel") == 150);
    run.set_value("share"_name, 0.2);
    auto bad = data;
    bad.labels[3] = 77;
    CHECK_THROWS_AS(run.step(bad.view()), data_error);
    CHECK(prune::count_kept(net.values().masks().data(), 300) == 150);
    run.step(data.view());
    CHECK(prune::count_kept(net.values().masks().data(), 300) == 240);
}

TEST_CASE("frozen: a thawed tensor's first updates are first updates", "[train][frozen]") {
    using stack = sequence<input<width>, dense<8, activation::tanh>, dense<classes>>;
    labelled const data(7);
    auto const check = [&](auto const& optimizer) {
        for (int const frozen_steps : {1, 3, 50}) {
            espalier_test::temporary_folder folder;
            naive::network<stack> net({8}, count);
            training run{net, loss::cross_entropy{}, optimizer, 0,
                         std::vector<rate_rule>{{.path = "1.", .frozen = true}}};
            for (int i = 0; i < frozen_steps; ++i)
                run.step(data.view());
            save_training(run, folder / "last.safetensors");
            // By hand: the same weights, and an optimizer that begins there.
            naive::network<stack> other = net;
            training fresh{other, loss::cross_entropy{}, optimizer};
            naive::network<stack> loaded({8}, count);
            training resumed{loaded, loss::cross_entropy{}, optimizer};
            load_training(resumed, folder / "last.safetensors");
            run.set_rates({});
            run.step(data.view());
            fresh.step(data.view());
            resumed.step(data.view());
            INFO(frozen_steps << " steps frozen");
            CHECK(numbers(net, "1.kernel") == numbers(other, "1.kernel"));
            CHECK(numbers(net, "1.bias") == numbers(other, "1.bias"));
            CHECK(numbers(net, "2.kernel") != numbers(other, "2.kernel")); // its moments are older
            CHECK(weights(loaded) == weights(net));
        }
    };
    check(optimizer::adam{.learning_rate = 1e-2});
    check(optimizer::adamw{.learning_rate = 1e-2});
    check(optimizer::sgd{.learning_rate = 1e-2, .momentum = 0.9});
}

TEST_CASE("frozen: experts that differ in what they missed", "[train][frozen]") {
    // Each expert is its own tensors: thawing one leaves the others as they are.
    using stack = sequence<input<width>, moe<gate::softmax<3>, dense<classes, activation::tanh>, dispatch::dense>>;
    labelled const data(9);
    naive::network<stack> net({8}, count), plain({8}, count);
    training run{net, loss::cross_entropy{}, optimizer::adam{.learning_rate = 1e-2}, 0,
                 std::vector<rate_rule>{{.path = "1.expert.1.", .frozen = true}}};
    auto const still = numbers(net, "1.expert.1.kernel");
    for (int i = 0; i < 5; ++i)
        run.step(data.view());
    CHECK(numbers(net, "1.expert.1.kernel") == still);
    run.set_rates({});
    run.step(data.view());
    double most = 0.0;
    auto const now = numbers(net, "1.expert.1.kernel");
    for (std::size_t i = 0; i < now.size(); ++i)
        most = std::max(most, std::fabs(now[i] - still[i]));
    CHECK(most == Approx(1e-2).epsilon(1e-3)); // adam's first step has the length of its rate
}

TEST_CASE("frozen: scores that are not learned search nothing", "[train][frozen]") {
    using stack = sequence<input<width>, moe<gate::local_search<gate::softmax<4>, gate::search{.steps = 100}>,
                                             dense<classes, activation::tanh>>>;
    labelled const data(9);
    naive::network<stack> net({8}, count);
    training run{net, loss::cross_entropy{}, optimizer::adam{.learning_rate = 0.3}};
    for (int i = 0; i < 3; ++i)
        run.step(data.view());
    auto const permutation = numbers(net, "1.gate.permutation");
    run.set_rates({{.path = "1.gate.scores", .frozen = true}});
    for (int i = 0; i < 40; ++i) {
        double const as_used = run.evaluate(data.view());
        CHECK(run.step(data.view()).loss == Approx(as_used).epsilon(1e-13));
    }
    CHECK(numbers(net, "1.gate.permutation") == permutation);
}
