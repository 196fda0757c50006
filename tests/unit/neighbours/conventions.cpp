// SPDX-License-Identifier: Apache-2.0
// Conventions in which other libraries differ, where no other test holds ours: docs/neighbours.md. Numbers of PyTorch
// are those that version 2.15.0 gave.
#include <espalier/activation/softmax.hpp>
#include <espalier/core/clock.hpp>
#include <espalier/core/group.hpp>
#include <espalier/core/row.hpp>
#include <espalier/device/cpu/row_loss.hpp>
#include <espalier/loss/cross_entropy.hpp>
#include <espalier/loss/mean_squared_error.hpp>
#include <espalier/loss/soft_cross_entropy.hpp>
#include <espalier/optimizer/adam.hpp>
#include <espalier/optimizer/adamw.hpp>
#include <espalier/optimizer/sgd.hpp>
#include <espalier/schedule/step.hpp>
#include <espalier/train/area_under_curve.hpp>

#include <support/catch.hpp>

#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <limits>
#include <vector>

using namespace espalier;

namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();

/// The loss of logits [rows][3], their gradient in `gradient`.
struct batch_of_three {
    std::vector<double> logits{}, targets{};
    std::vector<std::int32_t> labels{};
    std::vector<float> weights{};
    std::vector<double> gradient{};

    template <class Loss> double of(Loss const& loss) {
        auto const n = static_cast<index_t>(logits.size() / 3);
        rows tags;
        tags.count = n;
        if (!labels.empty()) tags.label = labels.data();
        if (!weights.empty()) tags.weight = weights.data();
        gradient.assign(logits.size(), 0.0);
        cpu::loss_buffers<double> buffers;
        if (!targets.empty()) buffers.dense_targets = contiguous_view<double const>(targets.data(), n, 3);
        buffers.gradient = contiguous_view(gradient.data(), n, 3);
        return cpu::row_loss<double, 3>(loss, contiguous_view<double const>(logits.data(), n, 3), tags, buffers).value;
    }
};

/// Where a weight is after steps with these gradients, one after the other.
template <class Optimizer>
std::vector<double> path(Optimizer const& optimizer, double w, std::initializer_list<double> gradients) {
    std::vector<double> places;
    double moments[2] = {};
    std::uint64_t step = 0;
    for (double const g : gradients) {
        auto const op = optimizer.at(espalier::clock{.step = step}, step + 1);
        w = op.step(w, g, moments, op.rate(), 1.0);
        places.push_back(w);
        ++step;
    }
    return places;
}

void check_near(std::vector<double> const& found, std::vector<double> const& expected) {
    REQUIRE(found.size() == expected.size());
    for (std::size_t i = 0; i < found.size(); ++i)
        CHECK(found[i] == Approx(expected[i]).epsilon(1e-12));
}

} // namespace

TEST_CASE("neighbours: weights of classes, smoothed", "[neighbours]") {
    constexpr double smoothing = 0.1, by_class[] = {0.5, 2.0, 10.0};
    batch_of_three b{.logits = {2.0, 0.5, -1.0, 0.2, 0.1, 0.4, -1.0, 3.0, 0.5}, .labels = {1, 2, 0}};
    CHECK(b.of(loss::cross_entropy{}) == Approx(2.2589388956386665).epsilon(1e-14));
    CHECK(b.of(loss::cross_entropy{.smoothing = smoothing}) == Approx(2.2033833400831107).epsilon(1e-14));
    // A row has the weight of its class, and the sum is divided by the number of rows: PyTorch's mean for targets that
    // are probabilities. That for labels divides by the sum of the rows' weights.
    b.weights = {2.0f, 10.0f, 0.5f};
    double const plain = b.of(loss::cross_entropy{});
    CHECK(plain == Approx(4.9762567888220355).epsilon(1e-14));
    CHECK(plain * 3.0 / 12.5 == Approx(1.1943016293172886).epsilon(1e-14));
    // In PyTorch the smoothed part of a row has the weight of every class it goes to, here that of the row.
    b.weights.clear();
    std::vector<double> one_by_one;
    for (std::size_t row = 0; row < 3; ++row) {
        batch_of_three alone{.logits = {b.logits.begin() + static_cast<std::ptrdiff_t>(3 * row),
                                        b.logits.begin() + static_cast<std::ptrdiff_t>(3 * row + 3)},
                             .labels = {b.labels[row]}};
        one_by_one.push_back(alone.of(loss::cross_entropy{.smoothing = smoothing}));
    }
    b.weights = {2.0f, 10.0f, 0.5f};
    CHECK(b.of(loss::cross_entropy{.smoothing = smoothing}) ==
          Approx((2.0 * one_by_one[0] + 10.0 * one_by_one[1] + 0.5 * one_by_one[2]) / 3.0).epsilon(1e-14));
    // Target rows of which each class has its weight are the way to PyTorch's numbers.
    b.weights.clear();
    b.targets.assign(9, 0.0);
    for (std::size_t i = 0; i < 9; ++i) {
        double const hard = static_cast<std::int32_t>(i % 3) == b.labels[i / 3] ? 1.0 - smoothing : 0.0;
        b.targets[i] = by_class[i % 3] * (hard + smoothing / 3.0);
    }
    CHECK(b.of(loss::soft_cross_entropy{}) == Approx(5.330411205344832).epsilon(1e-14)); // its mean of probabilities
    for (double& t : b.targets)
        t *= 3.0 / 12.5;
    CHECK(b.of(loss::soft_cross_entropy{}) == Approx(1.2792986892827596).epsilon(1e-14)); // its mean of labels
}

TEST_CASE("neighbours: logits of minus infinity", "[neighbours]") {
    // A row of them has no softmax; a single one is a class that cannot be, and costs nothing where nothing wants it.
    row<serial_group, double, 3> none{{-infinity, -infinity, -infinity}};
    activation::softmax::forward(serial_group{}, none);
    for (double const y : none.v)
        CHECK(std::isnan(y));
    batch_of_three b{.logits = {1.0, -infinity, 1.0}, .targets = {0.0, 0.0, 1.0}, .labels = {2}};
    for (double const value : {b.of(loss::soft_cross_entropy{}), b.of(loss::cross_entropy{})}) {
        CHECK(value == Approx(std::log(2.0)).epsilon(1e-14));
        check_near(b.gradient, {0.5, 0.0, -0.5});
    }
    CHECK(b.of(loss::cross_entropy{.smoothing = 0.1}) == infinity);
}

TEST_CASE("neighbours: the loss of a batch is summed in double", "[neighbours]") {
    // In single precision 1e8 + 1 is 1e8.
    constexpr index_t n = 1000;
    std::vector<float> z(n, 1.0f), targets(n, 0.0f);
    z[0] = 1e4f;
    rows tags;
    tags.count = n;
    cpu::loss_buffers<float> buffers;
    buffers.dense_targets = contiguous_view<float const>(targets.data(), n, 1);
    auto const result = cpu::row_loss<float, 1>(loss::mean_squared_error{},
                                                contiguous_view<float const>(z.data(), n, 1), tags, buffers);
    CHECK(result.sum == 1e8 + 999.0);
}

TEST_CASE("neighbours: what momentum keeps, and where epsilon stands", "[neighbours]") {
    constexpr schedule::step falling{.from = 1.0, .factor = 0.1, .every = 1};
    // The sum of gradients, which the rate of the step scales as a whole: steps of dlib would go on at the old rate.
    check_near(path(optimizer::sgd{.learning_rate = falling, .momentum = 0.9}, 0.0, {1.0, 0.0}), {-1.0, -1.09});
    check_near(path(optimizer::sgd{.learning_rate = 1.0, .momentum = 0.9}, 0.0, {1.0, 1.0, 0.0}), {-1.0, -2.9, -4.61});
    check_near(path(optimizer::sgd{.learning_rate = 1.0, .momentum = optimizer::nesterov{0.9}}, 0.0, {1.0, 1.0, 0.0}),
               {-1.9, -4.61, -6.149});
    // Added to the corrected root: a gradient as large as epsilon makes half a step, the first one already.
    check_near(path(optimizer::adam{.learning_rate = 0.1}, 0.5, {1e-8, 1e-8}), {0.45, 0.4});
    // dlib's, which adds it before the correction, is this one with an epsilon of its own for every step.
    check_near(path(optimizer::adam{.learning_rate = 0.1, .epsilon = 1e-8 / std::sqrt(0.001)}, 0.5, {1e-8}),
               {0.5 - 0.1 / (1.0 + 1.0 / std::sqrt(0.001))});
}

TEST_CASE("neighbours: a decoupled decay follows the learning rate", "[neighbours]") {
    constexpr schedule::step falling{.from = 0.1, .factor = 0.5, .every = 1};
    check_near(path(optimizer::adamw{.learning_rate = falling, .weight_decay = 0.1}, 0.5, {0.0, 0.0}),
               {0.495, 0.492525});
    // That of adam passes through the moments: a decay alone moves a weight by the whole rate.
    check_near(path(optimizer::adam{.learning_rate = 0.1, .epsilon = 1e-30, .weight_decay = 0.1}, 0.5, {0.0}), {0.4});
}

TEST_CASE("neighbours: the area under the curve", "[neighbours]") {
    auto const area = [](std::vector<float> const& scores, std::vector<float> const& labels) {
        return area_under_curve(scores.begin(), scores.end(), labels.begin());
    };
    std::vector<float> const scores{0.1f, 0.5f, 0.5f, 0.9f};
    CHECK(area(scores, {0.0f, 0.0f, 1.0f, 1.0f}) == 0.875); // a tie counts half
    CHECK(area(scores, {1.0f, 1.0f, 0.0f, 0.0f}) == 0.125);
    for (float const only : {0.0f, 1.0f})
        CHECK(std::isnan(area(scores, std::vector<float>(4, only))));
    CHECK(std::isnan(area({}, {})));
}
