// SPDX-License-Identifier: Apache-2.0
// Training of the smallest weights alone: what is frozen stays as it is, the masks become smaller, and the trained part
// is kept of low rank.
#include "../layer/naive.hpp"

#include <espalier/activation/tanh.hpp>
#include <espalier/layer/dense.hpp>
#include <espalier/layer/input.hpp>
#include <espalier/layer/sequence.hpp>
#include <espalier/loss/cross_entropy.hpp>
#include <espalier/network/set_mask.hpp>
#include <espalier/optimizer/adamw.hpp>
#include <espalier/optimizer/sgd.hpp>
#include <espalier/penalty/l1.hpp>
#include <espalier/penalty/l2.hpp>
#include <espalier/penalty/proximal.hpp>
#include <espalier/prune/below.hpp>
#include <espalier/prune/by_magnitude.hpp>
#include <espalier/prune/constant.hpp>
#include <espalier/prune/frozen.hpp>
#include <espalier/prune/policy.hpp>
#include <espalier/train/nuclear_norm.hpp>
#include <espalier/train/training.hpp>
#include <espalier/transform/clip_global_norm.hpp>
#include <espalier/weight/trained_where.hpp>

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

constexpr index_t row_count = 16;
std::vector<std::int32_t> const labels = naive::cyclic_labels(row_count, 3);

batch_view<double> batch_of(naive::matrix const& x) {
    return {x.view(), naive::tags_of(row_count, &labels), {}};
}

template <class Net> void put(Net& net, std::string const& name, std::vector<double> const& values) {
    std::copy(values.begin(), values.end(), net.values().view(net.values().find(name)).data);
    net.refresh();
}
template <class Training> double moment(Training& run, std::string const& name, int which, index_t i) {
    auto& net = run.net();
    return run.moment_values().data()[which * Training::size.parameters + net.values().find(name).offset + i];
}

template <double Threshold, auto When>
using small_ones = prune::policy<prune::by_magnitude, prune::below<Threshold>, When, prune::frozen>;
/// 0.5 at step 1, 0.1 at 5, and not positive at 9. It does not say so beforehand.
struct narrowing {
    constexpr double at(espalier::clock const& now) const { return 0.6 - 0.1 * static_cast<double>(now.step); }
};
constexpr prune::constant every_step{.sparsity = 1.0, .every = 1};

/// The layer by which most is tested: masks by the program on the first kernel.
using by_program =
    sequence<input<6>,
             dense<5, activation::tanh, weight::trained_where, penalty::l1<0.02>, penalty::proximal<penalty::l2<0.1>>>,
             dense<3, transform::clip_global_norm<0.05>>>;
std::vector<std::uint8_t> thirds() {
    std::vector<std::uint8_t> keep(30);
    for (std::size_t i = 0; i < 30; ++i)
        keep[i] = i % 3 == 0;
    return keep;
}

} // namespace

TEST_CASE("trained part: the published masks, gradients of the nuclear norm and step", "[train][prune]") {
    std::vector<double> const w0 = {0.5, 0.001, -0.0015, 0.0005, -0.3, 0.002, -0.0019, 0.0012, 0.7};
    std::vector<double> const task = {0.1, 0.2, -0.1, 0.3, 0.1, 0.4, -0.2, 0.05, 0.3};
    std::vector<std::uint8_t> const published = {0, 1, 1, 1, 0, 0, 1, 1, 0};
    naive::network<sequence<input<3>, dense<3, small_ones<2e-3, every_step>>>> net({4}, 16);
    put(net, "1.kernel", w0);
    training run(net, loss::cross_entropy{},
                 optimizer::adamw{.learning_rate = prune::rate_for_threshold(2e-3), .weight_decay = 1e-2});
    nuclear_norm rank(net, {.coefficient = 5e-4, .larger_than = 2, .least_kept = 1});
    auto const step = [&] {
        run.step(batch_of(naive::random(row_count, 3, 1)), before_update{[&](auto& gradients) {
                     CHECK(naive::flags_in(net, "1.kernel") == published); // those of this step
                     auto const g = gradients.tensor("1.kernel");
                     std::copy(task.begin(), task.end(), g.data);
                     rank.add_to(gradients);
                 }});
    };
    CHECK(rank.value() > 5e-4 * 1.4); // nothing is selected before the first step
    step();
    double const w1[] = {0.5, 0.00050341, -0.001003407, 0.000003412, -0.3, 0.002, -0.001403405, 0.000703409, 0.7};
    auto const after = naive::tensor(net, "1.kernel").values;
    for (std::size_t i = 0; i < 9; ++i) {
        CHECK(std::fabs(after[i] - w1[i]) < 1e-9);
        if (!published[i]) CHECK(after[i] == w0[i]);
        for (int k = 0; k < 2; ++k)
            CHECK((moment(run, "1.kernel", k, static_cast<index_t>(i)) != 0.0) == bool(published[i]));
    }
    put(net, "1.kernel", w0);
    CHECK(rank.value() == Approx(5e-4 * 0.004279839779166075).epsilon(1e-12));
    put(net, "1.kernel", std::vector<double>(after));
    step(); // which selects anew
    CHECK(prune::rate_for_threshold(2e-3) == Approx(4.965853e-4).epsilon(1e-7));
    CHECK(prune::rate_for_threshold(8e-4) == Approx(7.558e-4).epsilon(1e-4));
    CHECK(prune::rate_for_threshold(2e-4) == Approx(9.324e-4).epsilon(1e-4));
    CHECK_THROWS_AS(prune::rate_for_threshold(0.0), data_error);
}

TEST_CASE("trained part: what is frozen keeps its bits and has no moments, penalty, decay or share of a norm",
          "[train][prune]") {
    auto const check = [](auto const& optimizer, int moments) {
        INFO(optimizer.name);
        naive::network<by_program> net({4}, 16);
        training run(net, loss::cross_entropy{}, optimizer);
        CHECK(net.values().find("1.kernel").held);
        set_mask(net, "1.kernel", thirds());
        auto const before = naive::tensor(net, "1.kernel").values;
        for (std::uint64_t s = 0; s < 5; ++s)
            run.step(batch_of(naive::random(row_count, 6, s)));
        auto const after = naive::tensor(net, "1.kernel").values;
        for (std::size_t i = 0; i < 30; ++i) {
            CHECK((after[i] == before[i]) == (i % 3 != 0));
            for (int k = 0; k < moments; ++k)
                CHECK((moment(run, "1.kernel", k, static_cast<index_t>(i)) == 0.0) == (i % 3 != 0));
        }
    };
    check(optimizer::adamw{.learning_rate = 0.05, .weight_decay = 0.1}, 2);
    check(optimizer::sgd{.learning_rate = 0.1, .momentum = 0.9, .weight_decay = 0.1}, 1); // a decay in the gradient

    // Products read what is there, penalties and the norm count what is trained, and that is stepped as usual.
    naive::network<by_program> net({4}, 16);
    set_mask(net, "1.kernel", thirds());
    training run(net, loss::cross_entropy{}, optimizer::sgd{.learning_rate = 0.5});
    auto const x = naive::random(row_count, 6, 7);
    auto const w = naive::tensor(net, "1.kernel");
    auto const h = naive::map(naive::affine(x, w, naive::tensor(net, "1.bias")), [](double z) { return std::tanh(z); });
    auto const v = naive::tensor(net, "2.kernel");
    auto const l = naive::cross_entropy(naive::affine(h, v, naive::tensor(net, "2.bias")), labels);
    auto const dh = naive::product(l.gradient, naive::transposed(v));
    auto const dz = naive::zip(dh, h, [](double g, double y) { return g * (1.0 - y * y); });
    auto const g = naive::product(naive::transposed(x), dz);
    double norm = 0.0, penalty = 0.0, square = 0.0;
    auto const add = [&](naive::matrix const& m) {
        for (double const value : m.values)
            norm += value * value;
    };
    add(naive::column_sums(dz));
    add(naive::product(naive::transposed(h), l.gradient));
    add(naive::column_sums(l.gradient));
    for (std::size_t i = 0; i < 30; i += 3) {
        norm += g.values[i] * g.values[i];
        penalty += 0.02 * std::fabs(w.values[i]);
        square += 0.05 * w.values[i] * w.values[i];
    }
    double const clip = std::min(1.0, 0.05 / (std::sqrt(norm) + 1e-6));
    CHECK(clip < 1.0); // else nothing is seen of the norm
    CHECK(run.step(batch_of(x)).loss == Approx(l.loss).epsilon(1e-13));
    CHECK(run.terms()[1] == Approx(penalty).epsilon(1e-13));
    CHECK(run.terms()[2] == Approx(square).epsilon(1e-13));
    auto const gv = naive::product(naive::transposed(h), l.gradient);
    CHECK(naive::distance(naive::tensor(net, "2.kernel"),
                          naive::zip(v, gv, [=](double a, double b) { return a - 0.5 * clip * b; })) < 1e-12);
    auto const stepped = naive::tensor(net, "1.kernel");
    for (std::size_t i = 0; i < 30; i += 3) {
        double const free = w.values[i] - 0.5 * (g.values[i] + 0.02 * (w.values[i] > 0.0 ? 1.0 : -1.0));
        CHECK(stepped.values[i] == Approx(free / (1.0 + 0.5 * 0.1)).epsilon(1e-12));
    }
}

TEST_CASE("trained part: below keeps what is smaller and was kept before", "[prune]") {
    auto const check = [&]<class T>(T threshold) {
        for (index_t const n : {1, 31, 32, 33, 511, 512, 1100}) {
            std::vector<T> w;
            for (index_t i = 0; i < n; ++i)
                w.push_back(static_cast<T>(static_cast<int>(i * 7919 % 41) - 20) * T(0.125) * threshold);
            if (n > 40) {
                w[33] = std::numeric_limits<T>::quiet_NaN();
                w[34] = std::numeric_limits<T>::infinity();
                w[35] = T(-0.0);
                w[36] = std::nextafter(threshold, T(0));
                w[37] = -threshold;
            }
            std::vector<std::uint32_t> mask(static_cast<std::size_t>((n + 31) / 32), 0xdeadbeefu);
            if (n % 32 != 0) mask.back() &= (1u << n % 32) - 1;
            auto const before = mask;
            prune::select_below<prune::by_magnitude>(contiguous_view<T const>(w.data(), 1, n), threshold, mask.data());
            for (std::size_t i = 0; i < static_cast<std::size_t>(n); ++i) {
                bool const small = !(std::fabs(w[i]) >= threshold); // a NaN is worth less than everything
                CHECK((mask[i / 32] >> i % 32 & 1u) == (before[i / 32] >> i % 32 & 1u & unsigned{small}));
            }
            CHECK((n % 32 == 0 || mask.back() >> n % 32 == 0));
        }
    };
    check(2e-3f);
    check(2e-3);
}

TEST_CASE("trained part: masks shrink when they are selected again, with a threshold that may move", "[train][prune]") {
    constexpr prune::constant twice{.sparsity = 1.0, .start = 1, .every = 4};
    using policy = prune::policy<prune::by_magnitude, prune::below<narrowing{}>, twice, prune::frozen>;
    naive::network<sequence<input<6>, dense<3, policy>>> net({4}, 16);
    training run(net, loss::cross_entropy{}, optimizer::sgd{.learning_rate = 0.3});
    std::vector<std::uint8_t> mask(18, 1);
    auto w = naive::tensor(net, "1.kernel").values;
    for (std::uint64_t s = 0; s < 9; ++s) {
        INFO("step " << s);
        double const threshold = s == 1 ? 0.5 : s == 5 ? 0.1 : 10.0;
        for (std::size_t i = 0; i < 18; ++i)
            mask[i] = mask[i] && std::fabs(w[i]) < threshold;
        run.step(batch_of(naive::random(row_count, 6, s)));
        CHECK(naive::flags_in(net, "1.kernel") == mask);
        auto const next = naive::tensor(net, "1.kernel").values;
        for (std::size_t i = 0; i < 18; ++i)
            CHECK((next[i] != w[i]) == bool(mask[i]));
        w = next;
    }
    CHECK(std::count(mask.begin(), mask.end(), 1) > 0);
    CHECK(std::count(mask.begin(), mask.end(), 1) < 6);
    std::string const why = message_of<data_error>([&] { run.step(batch_of(naive::random(row_count, 6, 9))); });
    CHECK(why.find("prune below: its threshold is -0.3") != std::string::npos);
    CHECK(naive::tensor(net, "1.kernel").values == w);
    CHECK(naive::flags_in(net, "1.kernel") == mask);
}

TEST_CASE("trained part: forgotten moments are those of a new optimizer", "[train]") {
    naive::network<by_program> net({4}, 16);
    optimizer::adamw const adamw{.learning_rate = 0.05};
    training run(net, loss::cross_entropy{}, adamw);
    for (std::uint64_t s = 0; s < 3; ++s)
        run.step(batch_of(naive::random(row_count, 6, s)));
    auto copy = net;
    training anew(copy, loss::cross_entropy{}, adamw);
    double const bias = moment(run, "1.bias", 0, 0);
    run.forget_moments("1.kernel");
    CHECK(moment(run, "1.kernel", 1, 4) == 0.0);
    CHECK(moment(run, "1.bias", 0, 0) == bias);
    CHECK_THROWS_AS(run.forget_moments("1.nothing"), data_error);
    for (std::uint64_t s = 3; s < 6; ++s) {
        // the same gradients for both: the biases go their own ways
        auto const x = naive::random(row_count, 6, s);
        std::vector<double> g;
        run.step(batch_of(x), before_update{[&](auto& gradients) {
                     auto const of = gradients.tensor("1.kernel");
                     g.assign(of.data, of.data + 30);
                     std::fill_n(gradients.data(), gradients.size(), 0.0);
                     std::copy(g.begin(), g.end(), of.data);
                 }});
        anew.step(batch_of(x), before_update{[&](auto& gradients) {
                      std::fill_n(gradients.data(), gradients.size(), 0.0);
                      std::copy(g.begin(), g.end(), gradients.tensor("1.kernel").data);
                  }});
        CHECK(naive::tensor(net, "1.kernel").values == naive::tensor(copy, "1.kernel").values);
    }
    CHECK(naive::tensor(net, "1.bias").values != naive::tensor(copy, "1.bias").values);
}

TEST_CASE("nuclear_norm: gradients are derivatives of its value, of all matrices or of one at random", "[train]") {
    using stack = sequence<input<6>, dense<5, activation::tanh, weight::trained_where>, dense<3>>;
    naive::network<stack> net({4}, 16);
    std::vector<std::uint8_t> keep(30); // no pattern that its singular vectors keep to by themselves
    for (std::size_t k = 0; k < 30; ++k)
        keep[k] = k % 7 < 3;
    set_mask(net, "1.kernel", keep);
    training run(net, loss::cross_entropy{}, optimizer::sgd{.learning_rate = 0.0});
    auto const gradient_of = [&](nuclear_norm<naive::network<stack>>& rank) {
        std::vector<double> g;
        run.step(batch_of(naive::random(row_count, 6, 1)), before_update{[&](auto& gradients) {
                     std::fill_n(gradients.data(), gradients.size(), 0.0);
                     rank.add_to(gradients);
                     g.assign(gradients.data(), gradients.data() + gradients.size());
                 }});
        return g;
    };
    nuclear_norm all(net, {.coefficient = 0.3, .larger_than = 2, .least_kept = 2});
    auto const g = gradient_of(all);
    for (std::string const name : {"1.kernel", "2.kernel"}) {
        tensor_info const& t = net.values().find(name);
        double* const w = net.values().view(t).data;
        for (index_t i = 0; i < t.size(); ++i) {
            double const was = w[i];
            w[i] = was + 1e-6;
            double const above = all.value();
            w[i] = was - 1e-6;
            double const below = all.value();
            w[i] = was;
            CHECK(std::fabs(g[static_cast<std::size_t>(t.offset + i)] - (above - below) / 2e-6) < 1e-9);
        }
    }
    CHECK(g[static_cast<std::size_t>(net.values().find("1.bias").offset)] == 0.0);

    nuclear_norm one(
        net, {.coefficient = 0.3, .visits = visited_matrices::one_at_random, .larger_than = 2, .least_kept = 2});
    nuclear_norm seldom(net, {.coefficient = 0.3, .larger_than = 2, .least_kept = 15, .every = 4});
    auto const first = static_cast<std::size_t>(net.values().find("1.kernel").offset);
    auto const second = static_cast<std::size_t>(net.values().find("2.kernel").offset);
    int visits = 0;
    for (int s = 0; s < 40; ++s) {
        bool const due = run.time().step % 4 == 0;
        auto const some = gradient_of(one);
        CHECK((some[first] != 0.0) != (some[second] != 0.0));
        CHECK((some[first] == g[first] || some[second] == g[second]));
        visits += some[first] != 0.0;
        if (due) continue;
        bool const now = run.time().step % 4 == 0;
        auto const few = gradient_of(seldom);
        CHECK(few[first] == 0.0); // its mask keeps 14
        CHECK(few[second] == (now ? Approx(4.0 * g[second]).epsilon(1e-13) : Approx(0.0)));
    }
    CHECK(visits > 10);
    CHECK(visits < 30);
}

TEST_CASE("nuclear_norm: what is refused, and a weight that is no number", "[train]") {
    naive::network<by_program> net({4}, 16);
    CHECK_THROWS_AS(nuclear_norm(net, {.larger_than = 5}), data_error); // none is as large
    CHECK_THROWS_AS(nuclear_norm(net, {.coefficient = -1.0, .larger_than = 2}), data_error);
    CHECK_THROWS_AS(nuclear_norm(net, {.larger_than = 2, .every = 0}), data_error);
    CHECK_THROWS_AS(nuclear_norm(net, {.larger_than = 2, .tolerance = 1.0}), data_error);
    nuclear_norm rank(net, {.larger_than = 2, .least_kept = 1});
    set_mask(net, "1.kernel", std::vector<std::uint8_t>(30, 0));
    double const second_alone = rank.value(); // an empty mask is skipped
    CHECK(second_alone > 0.0);
    net.values().view(net.values().find("2.kernel")).data[3] = std::numeric_limits<double>::quiet_NaN();
    CHECK_THROWS_AS(rank.value(), numerical_error);
}
