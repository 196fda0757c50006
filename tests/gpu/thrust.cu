// SPDX-License-Identifier: Apache-2.0
// Inside a program that uses Thrust on a GPU: policies in algorithms on device_vectors against the host, and networks
// on device::cuda that read and write device_vectors where they lie. With --host what the host does of it, without a
// GPU: the same policies by thrust::host and thrust::cpp::par, vectors and ranges as data, under nvcc. The loops of the
// CPU are host code throughout; nvcc would have them callable from device code.
#pragma nv_diag_suppress 20011, 20013, 20014, 20015

#include "verify.hpp"

#include <espalier/activation/gelu.hpp>
#include <espalier/activation/relu.hpp>
#include <espalier/activation/silu.hpp>
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
#include <espalier/product/tiles.hpp>
#include <espalier/schedule/cosine.hpp>
#include <espalier/schedule/linear.hpp>
#include <espalier/thrust/view.hpp>
#include <espalier/train/training.hpp>

#include <thrust/device_vector.h>
#include <thrust/execution_policy.h>
#include <thrust/host_vector.h>
#include <thrust/iterator/counting_iterator.h>
#include <thrust/iterator/zip_iterator.h>
#include <thrust/system/cpp/execution_policy.h>
#include <thrust/transform.h>
#include <thrust/transform_reduce.h>
#include <thrust/universal_vector.h>

#include <cstring>
#include <string>
#include <vector>

namespace {

// Not `using namespace espalier`: what nvcc writes for the host names ::cuda as cuda.
namespace esp = espalier;
using namespace gpu_tests;

constexpr index_t row_count = 40, width = 16, size = row_count * width;

using drop = esp::dropout::bernoulli<0.25>;
using lasso = esp::penalty::l1<0.5>;
using stack = esp::sequence<esp::input<width>, esp::dense<24, esp::activation::silu>, esp::dense<3>>;

auto drops() {
    return esp::dropout_at<drop>(esp::dropout_site<drop>(1, 2, 3), {.count = row_count}, width);
}

template <class Vector> std::vector<float> copied(Vector const& from) {
    std::vector<float> to(from.size());
    thrust::copy(from.begin(), from.end(), to.begin());
    return to;
}

/// What policies make of numbers, by the algorithms of an execution policy on vectors of its memory.
template <template <class...> class Vector, class Execution> struct results {
    std::vector<float> relu, gelu, slope, dropped, shrunk, steps;
    double term;

    explicit results(Execution const& where) {
        std::vector<float> const from = numbers(size, 1);
        Vector<float> const x(from.begin(), from.end());
        Vector<float> y(x.size());
        thrust::transform(where, x.begin(), x.end(), y.begin(), esp::forward<esp::activation::relu>());
        relu = copied(y);
        thrust::transform(where, x.begin(), x.end(), y.begin(), esp::forward<esp::activation::gelu>());
        gelu = copied(y);
        thrust::transform(where, x.begin(), x.end(), x.begin(), y.begin(), esp::backward<esp::activation::silu>());
        slope = copied(y);
        auto const first = thrust::make_counting_iterator<index_t>(0);
        thrust::transform(where, first, first + size, x.begin(), y.begin(), drops());
        dropped = copied(y);
        thrust::transform(where, x.begin(), x.end(), y.begin(), esp::prox<lasso>(0.5));
        shrunk = copied(y);
        thrust::transform(where, first, first + size, y.begin(),
                          esp::schedule_at(esp::schedule::linear{.from = 1.0, .to = 0.0, .steps = 512}));
        steps = copied(y);
        term = thrust::transform_reduce(where, x.begin(), x.end(), esp::penalty_value<lasso>(), 0.0,
                                        thrust::plus<double>());
    }
    template <class Other> void compare(Other const& other, double tolerance, std::string const& what) const {
        // Without a function of the math library nothing depends on where it runs.
        expect(same_bits(relu, other.relu), what + "relu");
        expect(same_bits(dropped, other.dropped), what + "dropout");
        expect(same_bits(shrunk, other.shrunk), what + "prox");
        expect(distance(steps, other.steps) <= tolerance, what + "schedule");
        expect(distance(gelu, other.gelu) <= tolerance, what + "gelu");
        expect(distance(slope, other.slope) <= tolerance, what + "slope of silu");
        expect(std::fabs(term - other.term) <= 1e-9 * term, what + "penalty");
    }
};

auto on_the_host() {
    return results<thrust::host_vector, thrust::detail::host_t>(thrust::host);
}

void host_tests() {
    auto const host = on_the_host();
    host.compare(results<thrust::host_vector, thrust::system::cpp::detail::par_t>(thrust::cpp::par), 0.0, "cpp::par: ");
    std::vector<float> const x = numbers(size, 1);
    auto const drop_element = drops();
    for (index_t i = 0; i < size; ++i) {
        auto const at = static_cast<std::size_t>(i);
        expect(host.gelu[at] == esp::activation::gelu::forward(x[at]), "host: gelu");
        expect(host.dropped[at] == drop_element.factor<float>(i) * x[at], "host: dropout");
    }
    thrust::host_vector<float> const rows(x.begin(), x.end());
    auto const zipped =
        esp::numbers(thrust::make_zip_iterator(rows.begin(), thrust::make_counting_iterator(0)), row_count);
    esp::data_view data{esp::numbers(rows, width)};
    data.targets = zipped;
    esp::check(data);
    expect(data.features(3, 5) == double{x[3 * width + 5]} && data.targets(7, 1) == 7.0 &&
               data.targets(7, 0) == double{x[7]},
           "host: vectors and ranges as data");
}

void device_tests() {
    results<thrust::device_vector, thrust::detail::device_t>(thrust::device).compare(on_the_host(), 1e-6, "device: ");

    // The same network on both sides; its rows, outputs and targets are device_vectors.
    using on_gpu = esp::network<stack, esp::device::basic_cuda<esp::product::tiles>, float>;
    on_gpu net(esp::seed{4}, row_count);
    esp::network<stack, esp::device::cpu, float> same(esp::seed{4}, row_count);
    std::vector<float> const from = numbers(size, 2), wanted = numbers(row_count * 3, 3);
    thrust::device_vector<float> const x(from.begin(), from.end()), targets(wanted.begin(), wanted.end());
    thrust::device_vector<float> y(row_count * 3);
    std::vector<float> expected(y.size());
    auto const compare = [&](std::string const& what) {
        net.predict(esp::view(x, width), esp::view(y, 3));
        same.predict(esp::contiguous_view(from.data(), row_count, width),
                     esp::contiguous_view(expected.data(), row_count, 3));
        net.runner().device().wait();
        expect(distance(copied(y), expected) < 1e-4, what);
    };
    compare("predict");
    esp::training run(net, esp::loss::mean_squared_error{}, esp::optimizer::sgd{.learning_rate = 0.05});
    esp::training run_too(same, esp::loss::mean_squared_error{}, esp::optimizer::sgd{.learning_rate = 0.05});
    for (int step = 0; step < 3; ++step) {
        run.step({esp::view(x, width), esp::rows{.count = row_count}, esp::view(targets, 3)});
        run_too.step({esp::contiguous_view(from.data(), row_count, width), esp::rows{.count = row_count},
                      esp::contiguous_view(wanted.data(), row_count, 3)});
    }
    compare("after three steps");
}

} // namespace

int main(int count, char** arguments) {
    if (count > 1 && std::strcmp(arguments[1], "--host") == 0) {
        host_tests();
        std::printf("%d checks, %d failed\n", checks, failures);
        return failures == 0 && checks > 0 ? 0 : 1;
    }
    return run(device_tests, count, arguments);
}
