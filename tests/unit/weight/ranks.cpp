// SPDX-License-Identifier: Apache-2.0
// Ranks as numbers of a network: set, cut by importance, drawn for single steps, found from a kernel, saved.
#include <espalier/activation/tanh.hpp>
#include <espalier/device/cpu/cpu.hpp>
#include <espalier/dropout/bernoulli.hpp>
#include <espalier/io/checkpoint.hpp>
#include <espalier/layer/dense.hpp>
#include <espalier/layer/input.hpp>
#include <espalier/layer/sequence.hpp>
#include <espalier/loss/cross_entropy.hpp>
#include <espalier/network/describe.hpp>
#include <espalier/network/network.hpp>
#include <espalier/optimizer/sgd.hpp>
#include <espalier/schedule/runtime.hpp>
#include <espalier/train/fit.hpp>
#include <espalier/weight/bake.hpp>
#include <espalier/weight/low_rank.hpp>
#include <espalier/weight/ordered_ranks.hpp>
#include <espalier/weight/ranks.hpp>

#include <support/allocations.hpp>
#include <support/catch.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <limits>
#include <set>
#include <string>
#include <utility>
#include <vector>

using namespace espalier;
using namespace espalier::literals;

namespace {

constexpr schedule::runtime first_rank{.name = "rank 1"_name, .initial = 5.0};
constexpr schedule::runtime second_rank{.name = "rank 2"_name, .initial = 3.0};
using stack = sequence<input<6>, dense<8, weight::low_rank<5, first_rank>, activation::tanh, dropout::bernoulli<0.25>>,
                       dense<3, weight::low_rank<3, second_rank>>>;
using model = network<stack, device::cpu, double>;

constexpr schedule::runtime of_three{.name = "rank"_name, .initial = 3.0};
using square = network<sequence<input<3>, dense<3, weight::low_rank<3, of_three>>, dense<2>>, device::cpu, double>;
square published() {
    square net{seed{1}, 4};
    // Row j of the published V is column j here.
    std::vector<double> const in{0.5, 0.3, -0.6, -0.2, 0.8, 0.2, 0.1, -0.4, 0.7};
    std::vector<double> const out{0.9, 0.1, 0.4, -0.3, 0.7, 0.2, 0.2, -0.5, 0.3};
    std::copy(in.begin(), in.end(), net.tensor("1.factor_in").data);
    std::copy(out.begin(), out.end(), net.tensor("1.factor_out").data);
    net.refresh();
    return net;
}

void check_close(std::vector<double> const& got, std::vector<double> const& wanted, double margin = 1e-9) {
    REQUIRE(got.size() == wanted.size());
    for (std::size_t i = 0; i < wanted.size(); ++i) {
        INFO("number " << i);
        CHECK(got[i] == Approx(wanted[i]).epsilon(0).margin(margin));
    }
}

std::vector<double> weights_of(model const& net) {
    auto const& w = net.values().weights();
    return {w.data(), w.data() + w.size()};
}

data_set points(index_t count) {
    data_set set;
    set.count = count;
    set.width = 6;
    set.features.resize(static_cast<std::size_t>(count * 6));
    fill_normal(make_site(7, 1), 0.0, 1.0, array_view<float>{set.features.data(), count * 6});
    for (index_t i = 0; i < count; ++i)
        set.labels.push_back(set.features[static_cast<std::size_t>(6 * i)] > 0.3f ? 2
                                                                                  : static_cast<std::int32_t>(i % 2));
    return set;
}

/// What a sampler says at a step: the ranks of both layers.
std::pair<index_t, index_t> drawn(weight::ordered_ranks& sampler, espalier::clock const& now) {
    kept_time time(now);
    sampler(time, common_site(3, "test", now.step, 0));
    return {static_cast<index_t>(first_rank.at(time.now())), static_cast<index_t>(second_rank.at(time.now()))};
}

} // namespace

TEST_CASE("ranks: the published importances, nested and single", "[weight][ranks]") {
    square const net = published();
    check_close(weight::rank_importance(net, "1"), {2.029384143, 1.334166406, 0.581549654});
    check_close(weight::rank_importance(net, "1", weight::importance::single), {0.542217668, 0.742832417, 0.581549654});
    CHECK_THROWS_AS(weight::rank_importance(net, "2"), data_error);
}

TEST_CASE("ranks: factors found from a kernel have the published singular values as importances", "[weight][ranks]") {
    constexpr schedule::runtime of_two{.name = "rank"_name, .initial = 2.0};
    network<sequence<input<2>, dense<2, weight::low_rank<2, of_two>>>, device::cpu, double> net{seed{1}, 4};
    std::vector<double> const kernel{1.0, 2.0, 0.0, 3.0};
    weight::factorise(net, "1", contiguous_view(kernel.data(), 2, 2));
    check_close(weight::rank_importance(net, "1", weight::importance::single), {3.650281540, 0.821854415});
    std::vector<double> baked(4);
    weight::bake(net, "1", contiguous_view(baked.data(), 2, 2));
    check_close(baked, kernel, 1e-14);
    for (index_t k = 0; k < 2; ++k) { // equally long
        auto const u = net.tensor("1.factor_in"), v = net.tensor("1.factor_out");
        CHECK(std::hypot(u(0, k), u(1, k)) == Approx(std::hypot(v(k, 0), v(k, 1))).epsilon(1e-13));
    }

    model wide{seed{2}, 4}; // 6 x 8 by 5 ranks, 8 x 3 by 3
    auto const numbers = [](index_t n) {
        std::vector<double> v(static_cast<std::size_t>(n));
        fill_normal(make_site(5, 1), 0.0, 1.0, array_view<double>{v.data(), n});
        return v;
    };
    auto const long_kernel = numbers(6 * 8), thin_kernel = numbers(8 * 3);
    weight::factorise(wide, "1", contiguous_view(long_kernel.data(), 6, 8));
    weight::factorise(wide, "2", contiguous_view(thin_kernel.data(), 8, 3));
    std::vector<double> first(48), second(24);
    weight::bake(wide, "1", contiguous_view(first.data(), 6, 8));
    weight::bake(wide, "2", contiguous_view(second.data(), 8, 3));
    check_close(second, thin_kernel, 1e-13);
    double left_out = 0.0; // the best approximation lacks the sixth singular value
    for (std::size_t i = 0; i < 48; ++i)
        left_out += (first[i] - long_kernel[i]) * (first[i] - long_kernel[i]);
    math::thin_svd const svd({long_kernel.data(), 6, 8, 8});
    CHECK(std::sqrt(left_out) == Approx(svd.values()[5]).epsilon(1e-10));

    auto const before = weights_of(wide);
    CHECK_THROWS_AS(weight::factorise(wide, "1", contiguous_view(thin_kernel.data(), 8, 3)), shape_error);
    CHECK_THROWS_AS(weight::factorise(wide, "3", contiguous_view(thin_kernel.data(), 8, 3)), data_error);
    auto spoiled = thin_kernel;
    spoiled[4] = std::nan("");
    CHECK_THROWS_AS(weight::factorise(wide, "2", contiguous_view(spoiled.data(), 8, 3)), numerical_error);
    CHECK(weights_of(wide) == before);
}

TEST_CASE("ranks: shrinking keeps what reaches the threshold and takes nothing back", "[weight][ranks]") {
    using weight::importance;
    auto const rank_at = [](double threshold, importance kind) {
        square net = published();
        index_t const gone = weight::shrink_ranks(net, threshold, kind);
        index_t const left = weight::ranks(net).at(0).rank;
        CHECK(gone == 3 - left);
        return left;
    };
    CHECK(rank_at(0.0, importance::nested) == 3);
    CHECK(rank_at(0.58, importance::nested) == 3);
    CHECK(rank_at(0.59, importance::nested) == 2);
    CHECK(rank_at(1.4, importance::nested) == 1);
    CHECK(rank_at(3.0, importance::nested) == 0);
    CHECK(rank_at(0.6, importance::single) == 2); // the second reaches it, the first does not
    CHECK(rank_at(0.56, importance::single) == 3);

    square net = published();
    weight::shrink_ranks(net, 0.59);
    // Of two ranks the tails are those of two ranks.
    check_close(weight::rank_importance(net, "1"),
                {std::sqrt(0.3 + 0.89) * std::sqrt(0.98 + 0.62), std::sqrt(0.89 * 0.62)});
    CHECK(weight::shrink_ranks(net, 0.0) == 0);
    for (double const wrong : {-1e-9, std::nan(""), std::numeric_limits<double>::infinity()})
        CHECK_THROWS_AS(weight::shrink_ranks(net, wrong), data_error);
    for (index_t const wrong : {index_t{-1}, index_t{4}})
        CHECK_THROWS_AS(weight::set_rank(net, "1", wrong), data_error);
    CHECK_THROWS_AS(weight::set_rank(net, "2", 1), data_error);
    CHECK(weight::ranks(net).at(0).rank == 2);
    weight::layer_rank const line = weight::ranks(net).at(0);
    CHECK(line.layer == "1");
    CHECK(line.most == 3);
    CHECK(line.size() == 12);
    CHECK(line.better_dense());
    CHECK(describe(net).find("weight low_rank(rank 2)") != std::string::npos);
    weight::set_rank(net, "1", 0);
    CHECK(describe(net).find("weight low_rank(rank 0)") != std::string::npos);
}

TEST_CASE("ranks: the cheapest cut is taken, and all ranks stay when none can be judged", "[weight][ranks]") {
    model net{seed{1}, 4};
    auto const now = [&] {
        auto const all = weight::ranks(net);
        return std::pair{all.at(0).rank, all.at(1).rank};
    };
    auto const cost = [&] {
        auto const [a, b] = now();
        return 10.0 * static_cast<double>(5 - a) + 7.0 * static_cast<double>((3 - b) * (3 - b));
    };
    using both = std::pair<index_t, index_t>;
    CHECK(weight::cut_cheapest(net, 1, cost) == 7.0);
    CHECK(now() == both{5, 2});
    CHECK(weight::cut_cheapest(net, 1, cost) == 17.0); // 28 by the second layer
    CHECK(now() == both{4, 2});
    CHECK(weight::cut_cheapest(net, 2, cost) == 37.0);
    CHECK(now() == both{2, 2});
    CHECK_THROWS_AS(weight::cut_cheapest(net, 3, cost), data_error);
    CHECK_THROWS_AS(weight::cut_cheapest(net, 0, cost), data_error);
    CHECK_THROWS_AS(weight::cut_cheapest(net, 1, [] { return std::nan(""); }), numerical_error);
    CHECK_THROWS_AS(weight::cut_cheapest(net, 1, []() -> double { throw shape_error("no"); }), shape_error);
    CHECK(now() == both{2, 2});
    while (now() != both{0, 0})
        weight::cut_cheapest(net, 1, cost);
    CHECK_THROWS_AS(weight::cut_cheapest(net, 1, cost), data_error);
}

TEST_CASE("ordered_ranks: every pair once before any comes again, in an order of its own", "[weight][ranks]") {
    model net{seed{1}, 4};
    weight::ordered_ranks sampler(net);
    std::set<std::vector<std::pair<index_t, index_t>>> orders;
    std::vector<std::pair<index_t, index_t>> all;
    espalier::clock now;
    for (now.step = 0; now.step < 40; ++now.step) {
        all.push_back(drawn(sampler, now));
        weight::ordered_ranks fresh(net); // remembers nothing
        CHECK(drawn(fresh, now) == all.back());
    }
    for (std::size_t cycle = 0; cycle < 5; ++cycle) {
        std::vector<std::pair<index_t, index_t>> order(all.begin() + static_cast<std::ptrdiff_t>(8 * cycle),
                                                       all.begin() + static_cast<std::ptrdiff_t>(8 * cycle + 8));
        orders.insert(order);
        std::sort(order.begin(), order.end());
        // (5, 3) is the full rank of either layer
        CHECK(order ==
              std::vector<std::pair<index_t, index_t>>{{1, 3}, {2, 3}, {3, 3}, {4, 3}, {5, 1}, {5, 2}, {5, 3}, {5, 3}});
    }
    CHECK(orders.size() == 5);
    now.epoch_begin = now.step; // a new epoch begins a new order in the middle of one
    now.step += 7;
    now.epoch_begin = now.step;
    auto const of_epoch = drawn(sampler, now);
    weight::ordered_ranks fresh(net);
    CHECK(drawn(fresh, now) == of_epoch);

    named_value const none[] = {{"rank 1"_name, 0.0}, {"rank 2"_name, 0.0}};
    now.values = {none, 2};
    CHECK(drawn(sampler, now) == std::pair<index_t, index_t>{0, 0});
    named_value const one[] = {{"rank 1"_name, 0.0}, {"rank 2"_name, 2.0}};
    now.values = {one, 2};
    std::set<std::pair<index_t, index_t>> seen;
    for (int i = 0; i < 2; ++i, ++now.step)
        seen.insert(drawn(sampler, now));
    CHECK(seen == std::set<std::pair<index_t, index_t>>{{0, 1}, {0, 2}});

    network<sequence<input<3>, dense<2, weight::low_rank<2>>>, device::cpu, double> fixed{seed{1}, 4};
    CHECK_THROWS_AS(weight::ordered_ranks(fixed), data_error);
}

TEST_CASE("ordered_ranks: ranks are drawn as integers, of many as of few", "[weight][ranks]") {
    // Drawn as shares and rounded up, 7 of 25, 14 of 25 and 15 of 29 come out one too large.
    constexpr schedule::runtime many{.name = "rank"_name, .initial = 29.0};
    network<sequence<input<30>, dense<30, weight::low_rank<29, many>>>, device::cpu, float> net{seed{1}, 4};
    weight::ordered_ranks sampler(net);
    for (index_t const rank : {7, 25, 29}) {
        named_value const value{"rank"_name, static_cast<double>(rank)};
        std::vector<int> times(30);
        for (std::uint64_t step = 0; step < static_cast<std::uint64_t>(rank); ++step) {
            espalier::clock now;
            now.step = step;
            now.values = {&value, 1};
            kept_time time(now);
            sampler(time, common_site(3, "test", step, 0));
            double const b = many.at(time.now());
            REQUIRE(b == std::floor(b));
            ++times.at(static_cast<std::size_t>(b));
        }
        for (index_t b = 0; b < 30; ++b)
            CHECK(times[static_cast<std::size_t>(b)] == (b >= 1 && b <= rank ? 1 : 0));
    }
}

TEST_CASE("ordered_ranks: every layer draws for itself", "[weight][ranks]") {
    model net{seed{1}, 4};
    weight::ordered_ranks sampler(net, weight::rank_draw::every_layer);
    std::vector<std::vector<int>> times(6, std::vector<int>(4));
    espalier::clock now;
    for (now.step = 0; now.step < 6000; ++now.step) {
        auto const [a, b] = drawn(sampler, now);
        ++times.at(static_cast<std::size_t>(a)).at(static_cast<std::size_t>(b));
    }
    for (std::size_t a = 0; a < 6; ++a)
        for (std::size_t b = 0; b < 4; ++b) // 400 each, deviation 19.3
            CHECK((a == 0 || b == 0 ? times[a][b] == 0 : std::abs(times[a][b] - 400) < 80));
}

TEST_CASE("a decision holds for one step, and a rank above the layer's is refused", "[weight][ranks][train]") {
    data_set const set = points(4);
    model net{seed{3}, 4};
    training run{net, loss::cross_entropy{}, optimizer::sgd{.learning_rate = 0.1}};
    std::vector<double> x(set.features.begin(), set.features.end());
    batch_view<double> batch;
    batch.inputs = contiguous_view(x.data(), 4, 6);
    batch.tags.count = 4;
    batch.tags.label = set.labels.data();
    std::vector<double> full(4 * 3), now(4 * 3);
    net.predict(batch.inputs, contiguous_view(full.data(), 4, 3));
    double const loss = run.evaluate(batch);
    double const whole = run.objective(batch);

    run.decide_with([](kept_time& time, random_site const&) { time.set("rank 1"_name, 2.0); });
    CHECK(run.objective(batch) != whole);
    CHECK(run.evaluate(batch) == loss);
    net.predict(batch.inputs, contiguous_view(now.data(), 4, 3));
    CHECK(now == full);
    run.gradients_of(batch);
    auto const cut = run.gradient("1.factor_in"), kept = run.gradient("2.factor_in");
    for (index_t i = 0; i < 6; ++i)
        for (index_t k = 0; k < 5; ++k)
            CHECK((cut(i, k) == 0.0) == (k >= 2));
    for (index_t k = 0; k < 3; ++k)
        CHECK(kept(0, k) != 0.0);
    CHECK(net.time().values.size == 0);
    CHECK(weight::ranks(net).at(0).rank == 5);

    // The same as a network of that rank: nobody else's random bits change.
    model small = net;
    weight::set_rank(small, "1", 2);
    training other{small, loss::cross_entropy{}, optimizer::sgd{.learning_rate = 0.1}};
    CHECK(run.objective(batch) == other.objective(batch));
    run.step(batch);
    other.step(batch);
    CHECK(weights_of(net) == weights_of(small));

    auto const before = weights_of(net);
    auto const step = net.time().step;
    weight::set_rank(net, "2", 2);
    for (double const wrong : {3.0, 4.0, -1.0, std::nan("")}) {
        run.decide_with([=](kept_time& time, random_site const&) { time.set("rank 2"_name, wrong); });
        CHECK_THROWS_AS(run.step(batch), data_error);
    }
    CHECK(weights_of(net) == before);
    CHECK(net.time().step == step);
    run.decide_with(weight::ordered_ranks(net));
    run.step(batch);
#if defined(ESPALIER_TEST_COUNTS_MALLOC)
    std::size_t const taken = counted_allocations;
    for (int i = 0; i < 20; ++i)
        run.step(batch);
    CHECK(counted_allocations == taken);
#endif
    run.decide_with({});
    auto const decided = net.time().step;
    run.step(batch);
    CHECK(net.time().step == decided + 1);
}

TEST_CASE("ordered ranks that are cut: a resumed run is the unbroken one, bit for bit", "[weight][ranks][train]") {
    data_set const set = points(50);
    auto const folder = std::filesystem::temp_directory_path() / "espalier_ranks";
    std::filesystem::remove_all(folder);
    int decided = 0;
    auto const train = [&](model& net, index_t epochs, bool keep) {
        fit_options options{.epochs = epochs, .batch = 8, .progress = false};
        if (keep) options.checkpoints = folder.string();
        options.resume = keep;
        options.on_epoch = [&](history const&, std::vector<named_value>&) {
            if (net.time().epoch == 2) weight::set_rank(net, "1", 3);
            weight::shrink_ranks(net, 1e-6);
            return true;
        };
        options.decide = [&, draws = weight::ordered_ranks(net)](kept_time& now, random_site const& bits) mutable {
            draws(now, bits);
            ++decided;
        };
        fit(net, loss::cross_entropy{}, optimizer::sgd{.learning_rate = 0.05, .momentum = 0.9}, set, options);
    };
    model unbroken{seed{3}, 8}, begun{seed{3}, 8}, resumed{seed{3}, 8}, plain{seed{3}, 8};
    train(unbroken, 4, false);
    CHECK(decided == 4 * 7);
    train(begun, 2, true);
    train(resumed, 4, true);
    std::filesystem::remove_all(folder);
    CHECK(weight::ranks(resumed).at(0).rank == 3);
    CHECK(weight::ranks(resumed).at(1).rank == 3);
    CHECK(resumed.time().epoch == 4);
    CHECK(weights_of(resumed) == weights_of(unbroken));
    CHECK(weights_of(begun) != weights_of(unbroken));
    fit(plain, loss::cross_entropy{}, optimizer::sgd{.learning_rate = 0.05, .momentum = 0.9}, set,
        {.epochs = 4, .batch = 8, .progress = false});
    CHECK(weights_of(plain) != weights_of(unbroken));
}
