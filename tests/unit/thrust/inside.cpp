// SPDX-License-Identifier: Apache-2.0
// Inside a program that uses Thrust: its vectors and ranges as data, inputs and outputs; policies in its algorithms.
#include <espalier/activation/gelu.hpp>
#include <espalier/activation/silu.hpp>
#include <espalier/core/view.hpp>
#include <espalier/data/table.hpp>
#include <espalier/device/cpu/cpu.hpp>
#include <espalier/dropout/bernoulli.hpp>
#include <espalier/functor/backward.hpp>
#include <espalier/functor/dropout_at.hpp>
#include <espalier/functor/forward.hpp>
#include <espalier/functor/penalty_value.hpp>
#include <espalier/functor/prox.hpp>
#include <espalier/functor/schedule_at.hpp>
#include <espalier/layer/dense.hpp>
#include <espalier/layer/input.hpp>
#include <espalier/layer/sequence.hpp>
#include <espalier/loss/mean_squared_error.hpp>
#include <espalier/network/network.hpp>
#include <espalier/optimizer/sgd.hpp>
#include <espalier/penalty/l1.hpp>
#include <espalier/schedule/cosine.hpp>
#include <espalier/thrust/view.hpp>
#include <espalier/train/batches.hpp>
#include <espalier/train/fit.hpp>

#include <support/catch.hpp>

#include <thrust/count.h>
#include <thrust/device_vector.h>
#include <thrust/host_vector.h>
#include <thrust/iterator/constant_iterator.h>
#include <thrust/iterator/counting_iterator.h>
#include <thrust/iterator/permutation_iterator.h>
#include <thrust/iterator/transform_iterator.h>
#include <thrust/iterator/zip_iterator.h>
#include <thrust/transform.h>
#include <thrust/transform_reduce.h>
#include <thrust/universal_vector.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <type_traits>
#include <vector>

using namespace espalier;

namespace {

constexpr index_t count = 12, width = 4;

struct wave {
    __host__ __device__ float operator()(int i) const { return 0.25f * static_cast<float>(i % 7) - 0.5f; }
};

/// Rows as `batches` gathers them.
std::vector<float> gathered(data_view const& data) {
    batches<float> rows(data, 5, seed{3});
    std::vector<float> all;
    for (index_t i = 0; i < rows.count(); ++i) {
        auto const batch = rows[i];
        for (index_t r = 0; r < batch.inputs.rows; ++r) {
            all.insert(all.end(), batch.inputs.row(r), batch.inputs.row(r) + batch.inputs.columns);
            if (batch.targets.rows > 0) all.push_back(batch.targets(r, 0));
        }
    }
    return all;
}

using stack = sequence<input<width>, dense<6, activation::silu>, dense<1>>;
using net_type = network<stack, device::cpu, float>;

std::vector<float> trained(data_view const& data) {
    net_type net(seed{4}, 8);
    fit(net, loss::mean_squared_error{}, optimizer::sgd{.learning_rate = 0.1}, data, {.epochs = 2, .batch = 5});
    auto const kernel = net.tensor("1.kernel");
    return {kernel.data, kernel.data + kernel.rows * kernel.columns};
}

} // namespace

TEST_CASE("thrust: vectors are viewed where they lie", "[thrust]") {
    thrust::host_vector<float> host(12, 1.0f);
    thrust::device_vector<double> device(12, 2.0);
    thrust::universal_vector<float> universal(12, 3.0f);
    thrust::host_vector<float> const& constant = host;
    static_assert(std::is_same_v<decltype(view(host, 3)), matrix_view<float>> &&
                  std::is_same_v<decltype(view(constant, 3)), matrix_view<float const>> &&
                  std::is_same_v<decltype(view(device, 3)), matrix_view<double>>);
    CHECK(view(host, 3).data == thrust::raw_pointer_cast(host.data()));
    CHECK(view(host, 3).rows == 4);
    CHECK(view(host, 3).contiguous());
    view(device, 4)(2, 1) = 5.0;
    CHECK(device[9] == 5.0);
    CHECK(view(universal, 12).rows == 1);
    CHECK(numbers(device, 4)(2, 1) == 5.0);
    CHECK(numbers(universal).columns == 1);
    CHECK_THROWS_WITH(view(host, 5), contains_text("12 numbers was given as rows of 5"));
    CHECK_THROWS_AS(view(host, 0), shape_error);
    CHECK_THROWS_AS(numbers(device, 7), shape_error);
}

TEST_CASE("thrust: vectors are data", "[thrust]") {
    thrust::device_vector<float> const x(thrust::make_transform_iterator(thrust::make_counting_iterator(0), wave{}),
                                         thrust::make_transform_iterator(thrust::make_counting_iterator(48), wave{}));
    thrust::host_vector<double> const y(12, 0.5);
    thrust::universal_vector<std::int32_t> labels(12, 2);
    thrust::host_vector<std::uint64_t> const keys(11, 7);
    data_view rows{numbers(x, width)};
    rows.targets = rows.weights = numbers(y);
    rows.labels = rows.groups = tags(labels);
    check(rows);
    labels[3] = 4;
    CHECK(rows.labels[3] == 4);
    CHECK(rows.weights(2, 0) == 0.5);
    rows.keys = tags(keys);
    CHECK_THROWS_WITH(check(rows), contains_text("11 keys for 12 rows"));

    // The same training as with vectors of the standard library.
    data_set same;
    same.count = count, same.width = width, same.target_width = 1;
    same.features.assign(x.begin(), x.end());
    same.targets.assign(12, 0.5f);
    rows.keys = {};
    rows.labels = rows.groups = {};
    rows.weights = {};
    CHECK(trained(rows) == trained(same));
}

TEST_CASE("thrust: ranges of iterators are data without a copy", "[thrust]") {
    thrust::host_vector<float> a(12), b(24);
    for (int i = 0; i < 12; ++i)
        a[static_cast<std::size_t>(i)] = wave{}(i), b[static_cast<std::size_t>(i)] = wave{}(i + 5);
    std::vector<int> const order{11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0};
    std::vector<double> expected;
    for (std::size_t i = 0; i < 12; ++i)
        for (double const v : {double{a[i]}, double{b[11 - i]}, 1.5, static_cast<double>(i)})
            expected.push_back(v);
    auto const x = numbers(thrust::make_zip_iterator(thrust::make_tuple(
                               a.begin(), thrust::make_permutation_iterator(b.begin(), order.begin()),
                               thrust::make_constant_iterator(1.5), thrust::make_counting_iterator(0))),
                           count);
    auto const y = numbers(thrust::make_transform_iterator(thrust::make_counting_iterator(3), wave{}), count, 1);
    data_view rows{x};
    rows.targets = y;
    std::vector<double> targets;
    for (int i = 0; i < 12; ++i)
        targets.push_back(double{wave{}(i + 3)});
    data_view const same{contiguous_view<double const>(expected.data(), count, width),
                         {},
                         contiguous_view<double const>(targets.data(), count, 1)};
    CHECK(rows.width() == width);
    CHECK(gathered(rows) == gathered(same));
    CHECK(gathered(rows.middle_rows(3, 8)) == gathered(same.middle_rows(3, 8)));
    CHECK(trained(rows) == trained(same));
    CHECK(rows.features(4, 2) == 1.5);
    // What the range stands on is read when a row is.
    a[4] = 100.0f;
    CHECK(rows.features(4, 0) == 100.0);

    auto const flat = numbers(thrust::make_counting_iterator(10), 3, 4);
    number_view const flat_view = flat;
    CHECK(flat_view(2, 1) == 19.0);
    CHECK_THROWS_AS(numbers(thrust::make_counting_iterator(10), -1, 4), shape_error);
}

TEST_CASE("thrust: a network reads and writes vectors", "[thrust]") {
    net_type net(seed{4}, 8);
    thrust::device_vector<float> x(48, 0.5f), y(12), once_more(12);
    net.predict(view(x, width), view(y, 1));
    std::vector<float> const copy(48, 0.5f);
    net.predict(contiguous_view(copy.data(), count, width), view(once_more, 1));
    CHECK(y == once_more);
    CHECK(thrust::count(y.begin(), y.end(), y[0]) == 12);
    CHECK(y[0] != 0.0f);
    CHECK_THROWS_AS(net.predict(view(x, 3), view(y, 1)), shape_error);
    training run(net, loss::mean_squared_error{}, optimizer::sgd{.learning_rate = 0.1});
    thrust::device_vector<float> const targets(8, 1.0f);
    double const before = run.step({view(x, width).middle_rows(0, 8), rows{.count = 8}, view(targets, 1)}).loss;
    CHECK(run.step({view(x, width).middle_rows(0, 8), rows{.count = 8}, view(targets, 1)}).loss < before);
}

TEST_CASE("thrust: policies in algorithms", "[thrust]") {
    thrust::device_vector<float> x(48), y(48), dy(48, 0.5f);
    thrust::transform(thrust::make_counting_iterator(0), thrust::make_counting_iterator(48), x.begin(), wave{});
    using act = activation::gelu;
    thrust::transform(x.begin(), x.end(), y.begin(), forward<act>());
    thrust::transform(x.begin(), x.end(), dy.begin(), dy.begin(), backward<act>());
    using drop = dropout::bernoulli<0.5>;
    auto const drops = dropout_at<drop>(dropout_site<drop>(1, 2, 3), {.count = count}, width);
    thrust::device_vector<float> dropped(48), rates(10);
    thrust::transform(thrust::make_counting_iterator<index_t>(0), thrust::make_counting_iterator<index_t>(48),
                      y.begin(), dropped.begin(), drops);
    auto const shrink = prox<penalty::l1<0.5>>(0.5);
    auto const lazy = thrust::make_transform_iterator(x.begin(), shrink);
    schedule::cosine const rate{.from = 1.0, .to = 0.0, .steps = 10};
    thrust::transform(thrust::make_counting_iterator(0), thrust::make_counting_iterator(10), rates.begin(),
                      schedule_at(rate));
    std::ptrdiff_t zeros = 0;
    double term = 0.0;
    for (int i = 0; i < 48; ++i) {
        auto const at = static_cast<std::size_t>(i);
        CHECK(y[at] == act::forward(wave{}(i)));
        CHECK(dy[at] == act::backward(wave{}(i), act::forward(wave{}(i)), 0.5f));
        CHECK(dropped[at] == drops(i, act::forward(wave{}(i))));
        CHECK(lazy[i] == shrink(wave{}(i)));
        zeros += shrink(wave{}(i)) == 0.0f;
        term += static_cast<double>(penalty_value<penalty::l1<0.25>>()(wave{}(i)));
    }
    CHECK(thrust::count(lazy, lazy + 48, 0.0f) == zeros);
    CHECK((zeros > 0 && zeros < 48));
    CHECK(rates[4] == static_cast<float>(rate.at({.step = 4})));
    CHECK(thrust::transform_reduce(x.begin(), x.end(), penalty_value<penalty::l1<0.25>>(), 0.0,
                                   thrust::plus<double>()) == Approx(term).epsilon(1e-12));
}
