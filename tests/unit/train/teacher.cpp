// SPDX-License-Identifier: Apache-2.0
// The averaging teacher: closed forms of its weights, predictions of its own, and no memory taken in a step.
#include "../io/temporary_folder.hpp"

#include <espalier/activation/relu.hpp>
#include <espalier/data/csv.hpp>
#include <espalier/device/cpu/cpu.hpp>
#include <espalier/layer/batch_norm.hpp>
#include <espalier/layer/dense.hpp>
#include <espalier/layer/input.hpp>
#include <espalier/layer/sequence.hpp>
#include <espalier/loss/cross_entropy.hpp>
#include <espalier/network/network.hpp>
#include <espalier/optimizer/adamw.hpp>
#include <espalier/prune/by_magnitude.hpp>
#include <espalier/prune/per_layer.hpp>
#include <espalier/prune/policy.hpp>
#include <espalier/prune/straight_through.hpp>
#include <espalier/schedule/linear.hpp>
#include <espalier/train/fit.hpp>
#include <espalier/train/teacher.hpp>
#include <espalier/train/training.hpp>

#include <support/allocations.hpp>
#include <support/catch.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <vector>

using namespace espalier;

namespace {

using stack = sequence<input<6>, dense<8, activation::relu>, batch_norm<>, dense<3>>;
using model_type = network<stack, device::cpu, double>;

void fill(model_type& net, double value) {
    for (index_t i = 0; i < net.values().weights().size(); ++i)
        net.values().weights()[i] = value;
    for (index_t i = 0; i < net.values().state().size(); ++i)
        net.values().state()[i] = value;
}

struct little_batch {
    std::vector<double> x = std::vector<double>(12 * 6);
    std::vector<std::int32_t> labels = std::vector<std::int32_t>(12);
    little_batch() {
        fill_normal(make_site(2, 2), 0.0, 1.0, array_view<double>{x.data(), 72});
        for (std::size_t i = 0; i < 12; ++i)
            labels[i] = static_cast<std::int32_t>(i % 3);
    }
    batch_view<double> view() const {
        batch_view<double> b;
        b.inputs = contiguous_view(x.data(), 12, 6);
        b.tags.count = 12;
        b.tags.label = labels.data();
        return b;
    }
};

} // namespace

TEST_CASE("teacher: closed form for constant weights", "[train][teacher]") {
    model_type net{seed{1}, 16};
    fill(net, 5.0);
    ema_teacher cold{net, 0.9, ema_start::cold};
    ema_teacher warm{net, 0.75};
    fill(net, 2.0);
    for (int t = 1; t <= 30; ++t) {
        cold.update(net);
        warm.update(net);
        // cold: 2 + 0.9^t (5 - 2); warm: the first update copies the student
        CHECK(cold.values().weights()[3] == Approx(2.0 + 3.0 * std::pow(0.9, t)).epsilon(1e-13));
        CHECK(cold.values().state()[3] == Approx(2.0 + 3.0 * std::pow(0.9, t)).epsilon(1e-13));
        CHECK(warm.values().weights()[3] == 2.0);
    }
    CHECK(cold.updates() == 30);
}

TEST_CASE("teacher: a warm start is the plain mean until the decay is reached", "[train][teacher]") {
    model_type net{seed{1}, 16};
    ema_teacher teacher{net, 0.75};
    double sum = 0.0, expected = 0.0;
    for (int t = 0; t < 12; ++t) {
        double const w = std::sin(t + 1.0);
        fill(net, w);
        teacher.update(net);
        sum += w;
        expected = t < 4 ? sum / (t + 1) : 0.75 * expected + 0.25 * w;
        // running statistics of batch_norm among them
        for (char const* const name : {"1.kernel", "2.scale", "2.running_mean", "2.running_variance"}) {
            auto const average = teacher.values().view(teacher.values().find(name));
            INFO("update " << t << " of " << name);
            for (index_t i = 0; i < average.rows * average.columns; ++i)
                REQUIRE(average.data[i] == Approx(expected).epsilon(1e-12));
        }
    }
}

TEST_CASE("teacher: the decay may be a schedule, and has to be in [0, 1]", "[train][teacher]") {
    model_type net{seed{1}, 16};
    fill(net, 1.0);
    ema_teacher teacher{net, schedule::linear{.from = 1.0, .to = 2.0, .steps = 10}, ema_start::cold};
    fill(net, 0.0);
    teacher.update(net);
    CHECK(teacher.values().weights()[0] == 1.0);
    net.set_time({.step = 5});
    CHECK_THROWS_AS(teacher.update(net), data_error);
    CHECK(teacher.values().weights()[0] == 1.0);
    CHECK(teacher.updates() == 1);
    for (double const wrong : {-0.1, 1.1, std::nan("")})
        CHECK_THROWS_AS((ema_teacher{net, wrong}), data_error);
}

TEST_CASE("teacher: its predictions are those of a network with the averaged weights", "[train][teacher]") {
    little_batch const data;
    model_type net{seed{7}, 16};
    training run{net, loss::cross_entropy{}, optimizer::adamw{.learning_rate = 0.02}};
    ema_teacher teacher{net, 0.9};
    std::vector<double> own(36), averaged(36), again(36);
    for (int step = 0; step < 25; ++step) {
        run.step(data.view());
        teacher.update(net);
    }
    net.predict(data.view().inputs, contiguous_view(own.data(), 12, 3));
    teacher.predict(net, data.view().inputs, contiguous_view(averaged.data(), 12, 3));
    double gap = 0.0;
    for (std::size_t i = 0; i < 36; ++i)
        gap = std::max(gap, std::fabs(own[i] - averaged[i]));
    CHECK(gap > 1e-3);

    model_type copy{seed{99}, 16};
    copy.values() = teacher.values();
    copy.refresh();
    copy.predict(data.view().inputs, contiguous_view(again.data(), 12, 3));
    CHECK(again == averaged);
    // the student is as it was
    net.predict(data.view().inputs, contiguous_view(again.data(), 12, 3));
    CHECK(again == own);
}

TEST_CASE("teacher: operand copies and masks are made anew before they are used", "[train][teacher]") {
    // Straight-through masks keep the raw weights, so the products read a copy.
    using masked =
        sequence<input<6>,
                 dense<3, prune::policy<prune::by_magnitude, prune::per_layer, 0.5, prune::straight_through>>>;
    little_batch const data;
    network<masked, device::cpu, double> net{seed{7}, 16};
    training run{net, loss::cross_entropy{}, optimizer::adamw{.learning_rate = 0.1}};
    ema_teacher teacher{net, 0.5};
    std::vector<double> y(36);
    for (int step = 0; step < 5; ++step) {
        run.step(data.view());
        teacher.update(net);
        teacher.predict(net, data.view().inputs, contiguous_view(y.data(), 12, 3));
        auto const& kernel = net.values().find("1.kernel");
        auto const& bias = net.values().find("1.bias");
        std::uint32_t const* const mask = net.values().masks().data() + kernel.mask_offset;
        int kept = 0;
        for (index_t r = 0; r < 12; ++r)
            for (index_t o = 0; o < 3; ++o) {
                double expected = teacher.values().weights()[bias.offset + o];
                for (index_t i = 0; i < 6; ++i) {
                    index_t const at = i * 3 + o;
                    bool const keep = (mask[at / 32] >> (at % 32)) & 1;
                    kept += keep;
                    if (keep)
                        expected += data.x[static_cast<std::size_t>(r * 6 + i)] *
                                    teacher.values().weights()[kernel.offset + at];
                }
                CHECK(y[static_cast<std::size_t>(r * 3 + o)] == Approx(expected).margin(1e-12));
            }
        CHECK(kept == 12 * 9);
    }
}

#if defined(ESPALIER_TEST_COUNTS_MALLOC)
TEST_CASE("teacher: nothing is allocated by an update or a prediction", "[train][teacher]") {
    little_batch const data;
    model_type net{seed{7}, 16};
    training run{net, loss::cross_entropy{}, optimizer::adamw{}};
    ema_teacher teacher{net, 0.9};
    std::vector<double> y(36);
    std::size_t const start = counted_allocations;
    std::free(std::malloc(100000)); // the counter counts
    REQUIRE(counted_allocations > start);
    std::size_t const before = counted_allocations;
    for (int step = 0; step < 3; ++step) {
        run.step(data.view());
        teacher.update(net);
        teacher.predict(net, data.view().inputs, contiguous_view(y.data(), 12, 3));
    }
    CHECK(counted_allocations == before);
}
#endif

TEST_CASE("teacher: follows fit", "[train][teacher]") {
    using digits = sequence<input<64>, dense<32, activation::relu>, dense<10>>;
    auto all = read_csv(ESPALIER_EXAMPLE_DATA "/digits.csv.gz");
    scale(all, 1.0 / 16);
    auto const [train, test] = split(all, 1347);
    network<digits, device::cpu, float> model{seed{5}};
    ema_teacher teacher{model, 0.98};
    fit_options options{.epochs = 12, .batch = 64, .progress = false};
    std::uint64_t seen = 0;
    options.on_step = [&](espalier::clock const& now) {
        ++seen;
        CHECK(now.step == seen);
    };
    options.followers = {teacher.follow(model)};
    fit(model, loss::cross_entropy{}, optimizer::adamw{.learning_rate = 2e-3}, train, options);
    CHECK(seen == 12 * 22);
    CHECK(teacher.updates() == seen);
    std::vector<float> y(static_cast<std::size_t>(test.count * 10));
    teacher.predict(model, test.view().features, contiguous_view(y.data(), test.count, 10));
    index_t right = 0;
    for (index_t i = 0; i < test.count; ++i) {
        auto const* const row = y.data() + i * 10;
        right += std::max_element(row, row + 10) - row == test.labels[static_cast<std::size_t>(i)];
    }
    CHECK(static_cast<double>(right) / static_cast<double>(test.count) > 0.8);
}

TEST_CASE("teacher: a resumed fit has the teacher of an unbroken one, bit for bit", "[train][teacher]") {
    using pruned =
        prune::policy<prune::by_magnitude, prune::per_layer, schedule::linear{0.0, 0.5, 40}, prune::straight_through>;
    using small = sequence<input<64>, dense<16, activation::relu, pruned>, batch_norm<>, dense<10>>;
    using small_net = network<small, device::cpu, float>;
    auto all = read_csv(ESPALIER_EXAMPLE_DATA "/digits.csv.gz");
    scale(all, 1.0 / 16);
    auto const [train, rest] = split(all, 300);
    espalier_test::temporary_folder const folder;
    auto const optimizer = optimizer::adamw{.learning_rate = 2e-3};
    auto const options_for = [&](index_t epochs, follower const& f) {
        fit_options o{.epochs = epochs, .batch = 32, .checkpoints = folder.path(), .resume = true, .progress = false};
        o.followers = {f};
        return o;
    };
    auto const same = [](auto const& a, auto const& b) {
        REQUIRE(a.size() == b.size());
        for (index_t i = 0; i < a.size(); ++i)
            if (a[i] != b[i]) return false;
        return true;
    };

    small_net unbroken{seed{5}};
    ema_teacher whole{unbroken, 0.95};
    auto options = options_for(4, whole.follow(unbroken));
    options.checkpoints = {};
    fit(unbroken, loss::cross_entropy{}, optimizer, train, options);

    {
        small_net first{seed{5}};
        ema_teacher half{first, 0.95};
        fit(first, loss::cross_entropy{}, optimizer, train, options_for(2, half.follow(first)));
    }
    small_net again{seed{5}};
    ema_teacher resumed{again, 0.95};
    fit(again, loss::cross_entropy{}, optimizer, train, options_for(4, resumed.follow(again)));
    CHECK(resumed.updates() == whole.updates());
    CHECK(same(again.values().weights(), unbroken.values().weights()));
    CHECK(same(resumed.values().weights(), whole.values().weights()));
    CHECK(same(resumed.values().state(), whole.values().state()));
    CHECK(same(resumed.values().masks(), whole.values().masks()));

    // A checkpoint without this teacher is refused, and nothing has changed then.
    small_net third{seed{5}};
    ema_teacher other{third, 0.95};
    training run{third, loss::cross_entropy{}, optimizer};
    auto const before = third.values();
    CHECK_THROWS_WITH(load_training(run, folder / "last.safetensors", {other.follow(third, "second")}),
                      contains_text("there is no tensor 'second.1.kernel'"));
    CHECK(same(third.values().weights(), before.weights()));
    CHECK(other.updates() == 0);
    CHECK(run.time().step == 0);
}
