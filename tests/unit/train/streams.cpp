// SPDX-License-Identifier: Apache-2.0
// Two gradient streams: a step of transform::agreement against the same step done by hand in double.
#include <espalier/activation/tanh.hpp>
#include <espalier/device/cpu/cpu.hpp>
#include <espalier/dropout/bernoulli.hpp>
#include <espalier/layer/dense.hpp>
#include <espalier/layer/input.hpp>
#include <espalier/layer/multi_sample.hpp>
#include <espalier/layer/residual.hpp>
#include <espalier/layer/sequence.hpp>
#include <espalier/loss/cross_entropy.hpp>
#include <espalier/loss/mean_squared_error.hpp>
#include <espalier/loss/soft_cross_entropy.hpp>
#include <espalier/network/network.hpp>
#include <espalier/optimizer/sgd.hpp>
#include <espalier/train/fit.hpp>
#include <espalier/train/training.hpp>
#include <espalier/transform/agreement.hpp>

#include <support/catch.hpp>

#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

using namespace espalier;

namespace {

constexpr index_t count = 8, width = 5, classes = 3;

struct two_batches {
    std::vector<double> x = std::vector<double>(count * width), other = std::vector<double>(count * width);
    std::vector<std::int32_t> labels = std::vector<std::int32_t>(count);
    std::vector<double> targets = std::vector<double>(count * classes);

    two_batches() {
        fill_normal(make_site(9, 0), 0.0, 1.0, array_view<double>{x.data(), count * width});
        fill_normal(make_site(9, 1), 0.0, 1.0, array_view<double>{other.data(), count * width});
        for (index_t i = 0; i < count; ++i) {
            labels[static_cast<std::size_t>(i)] = static_cast<std::int32_t>(i % classes);
            for (index_t c = 0; c < classes; ++c)
                targets[static_cast<std::size_t>(i * classes + c)] = c == (i + 1) % classes ? 0.8 : 0.1;
        }
    }
    batch_view<double> task() const {
        batch_view<double> b;
        b.inputs = contiguous_view(x.data(), count, width);
        b.tags.count = count;
        b.tags.label = labels.data();
        return b;
    }
    batch_view<double> reference() const {
        batch_view<double> b;
        b.inputs = contiguous_view(other.data(), count, width);
        b.tags.count = count;
        b.targets = contiguous_view(targets.data(), count, classes);
        return b;
    }
};

template <class... Ps>
using stack_of = sequence<input<width>, residual<dense<width, activation::tanh, dropout::bernoulli<0.25>, Ps...>>,
                          dense<classes, Ps...>>;
using plain_stack = stack_of<>;
using gated_stack = stack_of<transform::agreement<0.75>>;

static_assert(!has(bound<plain_stack>::facts.needs, need::reference));
static_assert(has(bound<gated_stack>::facts.needs, need::reference));

} // namespace

TEST_CASE("streams: a step gates the gradients as the published equations say", "[train][streams]") {
    two_batches const data;
    network<gated_stack, device::cpu, double> net{seed{21}, count};
    network<plain_stack, device::cpu, double> same{seed{21}, count};
    double const rate = 0.5;
    training run{net, loss::cross_entropy{}, optimizer::sgd{.learning_rate = rate}};
    training task{same, loss::cross_entropy{}, optimizer::sgd{.learning_rate = rate}};
    training other{same, loss::soft_cross_entropy{}, optimizer::sgd{.learning_rate = rate}};
    CHECK(task.reference_gradients().size() == 0);
    CHECK(run.reference_gradients().size() == run.gradients().size());

    index_t kept = 0, damped = 0;
    for (std::uint64_t step = 0; step < 3; ++step) {
        for (index_t i = 0; i < net.values().weights().size(); ++i)
            same.values().weights()[i] = net.values().weights()[i];
        same.refresh();
        same.set_time({.step = step});
        double const loss_a = task.gradients_of(data.task());
        double const loss_b = other.gradients_of(data.reference());
        std::vector<double> const before(net.values().weights().data(),
                                         net.values().weights().data() + net.values().weights().size());
        step_result const result = run.step(data.task(), data.reference(), loss::soft_cross_entropy{});
        CHECK(result.loss == loss_a);
        CHECK(result.reference == loss_b);
        std::uint32_t stream = 0;
        for (tensor_info const& t : net.tensors()) {
            // kernel, bias and epilogue of a layer have one stream each
            std::uint32_t const own = stream;
            stream += t.tensor_role == role::bias ? 2 : 1;
            random_site const site =
                make_site(21, own * purposes + static_cast<std::uint32_t>(purpose::gradient), step);
            for (index_t i = 0; i < t.size(); ++i) {
                double const a = task.gradients()[t.offset + i], b = other.gradients()[t.offset + i];
                double const sign = a > 0 ? 1.0 : a < 0 ? -1.0 : 0.0;
                double const p = 0.5 * (1.0 + sign * (a + b) / (std::fabs(a) + std::fabs(b) + 1e-8));
                double const u =
                    (draw(site, 0, static_cast<std::uint32_t>(i / 8))[static_cast<int>(i % 8)] + 0.5) / 65536.0;
                double const g = (p > u ? 1.0 : 0.25) * a;
                (p > u ? kept : damped) += 1;
                INFO(t.name << "[" << i << "] at step " << step);
                CHECK(net.values().weights()[t.offset + i] ==
                      Approx(before[static_cast<std::size_t>(t.offset + i)] - rate * g).margin(1e-14));
            }
        }
    }
    CHECK(kept > 20);
    CHECK(damped > 5);
}

TEST_CASE("streams: a reference equal to the task changes nothing, an opposite one stops everything",
          "[train][streams]") {
    // y = x W with W = 0 and squared error: the gradient of the opposite target is exactly the opposite gradient.
    using line = sequence<input<4>, dense<2, no_bias, initial::zeros, transform::agreement<1.0>>>;
    std::vector<double> x(16);
    fill_normal(make_site(3, 3), 0.0, 1.0, array_view<double>{x.data(), 16});
    std::vector<double> t{1, -2, 0.5, 1, 3, 1, -1, 0.25}, minus;
    for (double const v : t)
        minus.push_back(-1000.0 * v);
    batch_view<double> batch;
    batch.inputs = contiguous_view(x.data(), 4, 4);
    batch.tags.count = 4;
    batch.targets = contiguous_view(t.data(), 4, 2);
    batch_view<double> opposite = batch;
    opposite.targets = contiguous_view(minus.data(), 4, 2);

    network<line, device::cpu, double> net{seed{1}, 16};
    training run{net, loss::mean_squared_error{}, optimizer::sgd{.learning_rate = 1.0}};
    run.step(batch, batch, loss::mean_squared_error{});
    for (index_t i = 0; i < 8; ++i)
        CHECK(net.tensor("1.kernel").data[i] == -run.gradients()[i]);
    net.initialise();
    run.step(batch, opposite, loss::mean_squared_error{});
    int still = 0;
    for (index_t i = 0; i < 8; ++i) {
        CHECK(run.reference_gradients()[i] == Approx(-1000.0 * run.gradients()[i]));
        still += net.tensor("1.kernel").data[i] == 0.0;
    }
    CHECK(still == 8); // kept with probability 1/1001 each
}

TEST_CASE("streams: several samples of a head, and dense targets for the second stream only", "[train][streams]") {
    using stack = sequence<input<width>, dense<6, activation::tanh>,
                           multi_sample<3, dense<classes, dropout::bernoulli<0.5>, transform::agreement<1.0>>>>;
    two_batches const data;
    network<stack, device::cpu, double> net{seed{2}, count};
    training run{net, loss::cross_entropy{}, optimizer::sgd{.learning_rate = 0.0}};
    auto const result = run.step(data.task(), data.reference(), loss::soft_cross_entropy{});
    training other{net, loss::soft_cross_entropy{}, optimizer::sgd{.learning_rate = 0.0}};
    net.set_time({}); // the factors of that step
    CHECK(result.reference == other.gradients_of(data.reference()));
    for (index_t i = 0; i < other.gradients().size(); ++i)
        CHECK(run.reference_gradients()[i] == other.gradients()[i]);
}

TEST_CASE("streams: a bad second stream changes nothing", "[train][streams]") {
    two_batches data;
    network<gated_stack, device::cpu, double> net{seed{21}, count};
    training run{net, loss::cross_entropy{}, optimizer::sgd{.learning_rate = 0.1}};
    std::vector<double> const before(net.values().weights().data(),
                                     net.values().weights().data() + net.values().weights().size());
    auto short_batch = data.reference();
    short_batch.tags.count = 3;
    CHECK_THROWS_AS(run.step(data.task(), short_batch, loss::soft_cross_entropy{}), shape_error);
    auto labelled = data.task();
    labelled.tags.label = nullptr;
    CHECK_THROWS_AS(run.step(data.task(), labelled, loss::cross_entropy{}), data_error);
    data.other[3] = std::numeric_limits<double>::quiet_NaN();
    CHECK_THROWS_AS(run.step(data.task(), data.reference(), loss::soft_cross_entropy{}), numerical_error);
    CHECK(run.time().step == 0);
    CHECK(std::vector<double>(net.values().weights().data(),
                              net.values().weights().data() + net.values().weights().size()) == before);
}

TEST_CASE("streams: fit takes the rows of the second stream at the places of its own", "[train][streams]") {
    index_t const rows_of_data = 22, batch = 8; // the last batch has 6 rows
    std::vector<float> x(rows_of_data * width), other(rows_of_data * width), targets(rows_of_data * classes);
    std::vector<std::int32_t> labels(rows_of_data);
    fill_normal(make_site(9, 0), 0.0, 1.0, array_view<float>{x.data(), rows_of_data * width});
    fill_normal(make_site(9, 1), 0.0, 1.0, array_view<float>{other.data(), rows_of_data * width});
    for (index_t i = 0; i < rows_of_data; ++i) {
        labels[static_cast<std::size_t>(i)] = static_cast<std::int32_t>(i * i % classes);
        for (index_t c = 0; c < classes; ++c)
            targets[static_cast<std::size_t>(i * classes + c)] = c == (i + 1) % classes ? 0.8f : 0.1f;
    }
    data_view task, reference;
    task.features = contiguous_view<float const>(x.data(), rows_of_data, width);
    task.labels = {labels.data(), rows_of_data};
    reference.features = contiguous_view<float const>(other.data(), rows_of_data, width);
    reference.targets = contiguous_view<float const>(targets.data(), rows_of_data, classes);

    auto const optimizer = optimizer::sgd{.learning_rate = 0.3};
    network<gated_stack, device::cpu, float> fitted{seed{21}, batch}, by_hand{seed{21}, batch};
    history const record =
        fit(fitted, loss::cross_entropy{}, optimizer, task, reference_stream{loss::soft_cross_entropy{}, reference},
            {.epochs = 3, .batch = batch, .progress = false});

    training run{by_hand, loss::cross_entropy{}, optimizer};
    by_hand.set_time({.steps_per_epoch = 3});
    double mean = 0.0;
    for (std::uint64_t epoch = 0; epoch < 3; ++epoch) {
        std::vector<std::int64_t> order(rows_of_data);
        random_permutation(make_site(21, detail::order_stream, epoch),
                           array_view<std::int64_t>{order.data(), rows_of_data});
        mean = 0.0;
        for (index_t first = 0; first < rows_of_data; first += batch) {
            index_t const n = std::min(batch, rows_of_data - first);
            std::vector<float> bx, bo, bt;
            std::vector<std::int32_t> bl;
            for (index_t i = 0; i < n; ++i) {
                index_t const r = order[static_cast<std::size_t>(first + i)];
                bx.insert(bx.end(), x.data() + r * width, x.data() + (r + 1) * width);
                bo.insert(bo.end(), other.data() + r * width, other.data() + (r + 1) * width);
                bt.insert(bt.end(), targets.data() + r * classes, targets.data() + (r + 1) * classes);
                bl.push_back(labels[static_cast<std::size_t>(r)]);
            }
            batch_view<float> a, b;
            a.inputs = contiguous_view<float const>(bx.data(), n, width);
            b.inputs = contiguous_view<float const>(bo.data(), n, width);
            b.targets = contiguous_view<float const>(bt.data(), n, classes);
            a.tags.count = b.tags.count = n;
            a.tags.label = bl.data();
            mean += run.step(a, b, loss::soft_cross_entropy{}).reference * static_cast<double>(n);
        }
        espalier::clock now = run.time();
        now.epoch = epoch + 1;
        run.set_time(now);
    }
    for (index_t i = 0; i < fitted.values().weights().size(); ++i)
        REQUIRE(fitted.values().weights()[i] == by_hand.values().weights()[i]);
    CHECK(record.last("reference_loss") == Approx(mean / static_cast<double>(rows_of_data)).epsilon(1e-12));

    reference.features.rows = reference.targets.rows = rows_of_data - 1;
    CHECK_THROWS_WITH(fit(fitted, loss::cross_entropy{}, optimizer, task,
                          reference_stream{loss::soft_cross_entropy{}, reference}, {.progress = false}),
                      contains_text("the second stream has 21 rows, the training data have 22"));
}
