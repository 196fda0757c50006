// SPDX-License-Identifier: Apache-2.0
// Adapters of low rank. Forward and backward of one layer's products, beside the parts that they consist of: the dense
// products that read the frozen kernel, and the thin ones of the factors; and whole steps on a frozen network, beside
// the step that trains all of it. "By hand" are Eigen's expressions for the layer. Floor: all products at the rate of
// fused multiply-adds.
#include "common.hpp"

#include <espalier/activation/relu.hpp>
#include <espalier/core/clock.hpp>
#include <espalier/core/context.hpp>
#include <espalier/device/cpu/cpu.hpp>
#include <espalier/layer/dense.hpp>
#include <espalier/layer/input.hpp>
#include <espalier/layer/sequence.hpp>
#include <espalier/loss/cross_entropy.hpp>
#include <espalier/network/base.hpp>
#include <espalier/network/network.hpp>
#include <espalier/optimizer/adam.hpp>
#include <espalier/product/direct.hpp>
#include <espalier/train/training.hpp>
#include <espalier/weight/adaptive_gain.hpp>
#include <espalier/weight/low_rank_adapter.hpp>

#include <Eigen/Core>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <random>
#include <string>
#include <vector>

namespace esp = espalier;
using bench::array;
using bench::index_t;

namespace {

constexpr index_t rank = 8;
using plain = esp::weight::low_rank_adapter<rank>;
using with_gain = esp::weight::low_rank_adapter<rank, esp::weight::adaptive_gain<2.0>>;

/// One layer's products, through the operator and one by one.
template <index_t In, index_t Out, class Weight> struct layer {
    using bound = typename Weight::template bind<In, Out>;
    using direct = esp::product::direct;
    using context = esp::context<esp::device::cpu, float, esp::mode::train>;
    static constexpr esp::footprint size = bound::template size<float>();

    index_t batch;
    esp::device::cpu device;
    espalier::cpu::buffer<std::byte> tape, work, scratch;
    array<float> weights{size.parameters, 1}, gradients{size.parameters, 3}, fixed{size.fixed, 5};
    array<float> x, z, dz, dx, inner, bias{Out, 17};
    esp::layer_memory<float> memory;
    typename bound::numbers numbers = bound::at(esp::clock{});

    explicit layer(index_t rows)
        : batch(rows), tape(size.tape.bytes(rows)), work(bound::template work<float>().bytes(rows)),
          scratch(static_cast<index_t>(bound::template scratch<esp::device::cpu, float>(rows))), x(rows * In, 7),
          z(rows * Out, 9), dz(rows * Out, 11), dx(rows * In, 13), inner(rows * rank, 15) {
        bench::fill_normal(weights.data(), size.parameters, 1, 0.1);
        bench::fill_normal(fixed.data(), size.fixed, 2, 0.1);
        bench::fill_normal(x.data(), rows * In, 3);
        bench::fill_normal(dz.data(), rows * Out, 4);
        bench::fill_normal(bias.data(), Out, 5);
        memory.parameters = weights.data();
        memory.gradients = gradients.data();
        memory.fixed = fixed.data();
        memory.tape = tape.data();
        memory.work = work.data();
        memory.capacity = rows;
        device.scratch = space();
    }
    layer(layer const&) = delete;
    layer& operator=(layer const&) = delete;

    esp::scratch_view space() { return {scratch.data(), static_cast<std::size_t>(scratch.size())}; }
    esp::matrix_view<float> rows_of(array<float>& a, index_t columns) { return {a.data(), batch, columns, columns}; }
    esp::matrix_view<float const> read(array<float>& a, index_t columns) { return rows_of(a, columns); }
    esp::matrix_view<float const> kernel() { return {fixed.data(), In, Out, Out}; }
    esp::matrix_view<float const> left() { return {weights.data(), In, rank, rank}; }
    esp::matrix_view<float const> right() { return {weights.data() + bound::second_at.parameters, rank, Out, Out}; }

    void forward() {
        context training{device};
        bound::forward(training, numbers, memory, read(x, In), static_cast<float const*>(bias.data()), rows_of(z, Out));
    }
    void backward() {
        context training{device};
        bound::template backward<esp::differentiate{true, true}>(training, numbers, memory, read(x, In), read(dz, Out),
                                                                 rows_of(dx, In));
    }
    void dense_forward() { direct::forward<float>(read(x, In), kernel(), bias.data(), rows_of(z, Out), space()); }
    void dense_backward() { direct::input_gradient<float>(read(dz, Out), kernel(), rows_of(dx, In), space()); }
    void thin_forward() {
        direct::forward<float>(read(x, In), left(), nullptr, rows_of(inner, rank), space());
        direct::forward<float>(read(inner, rank), right(), nullptr, rows_of(z, Out), space());
    }
    void thin_backward() {
        direct::weight_gradient<float>(
            read(inner, rank), read(dz, Out),
            esp::matrix_view<float>{gradients.data() + bound::second_at.parameters, rank, Out, Out}, space());
        direct::input_gradient<float>(read(dz, Out), right(), rows_of(inner, rank), space());
        direct::weight_gradient<float>(read(x, In), read(inner, rank),
                                       esp::matrix_view<float>{gradients.data(), In, rank, rank}, space());
        direct::input_gradient<float>(read(inner, rank), left(), rows_of(dx, In), space());
    }
};

/// Forward as a program would write it with Eigen.
template <index_t In, index_t Out> struct by_hand {
    using matrix = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
    matrix x, w, a, b, h, z;
    Eigen::Matrix<float, 1, Eigen::Dynamic> bias;

    template <class Layer> explicit by_hand(Layer& of) {
        auto const take = [](float const* from, index_t rows, index_t columns) {
            return matrix(Eigen::Map<matrix const>(from, rows, columns));
        };
        x = take(of.x.data(), of.batch, In);
        w = take(of.fixed.data(), In, Out);
        a = take(of.left().data, In, rank);
        b = take(of.right().data, rank, Out);
        bias = take(of.bias.data(), 1, Out);
        h.resize(of.batch, rank), z.resize(of.batch, Out);
    }
    void forward() {
        z.noalias() = x * w;
        z.rowwise() += bias;
        h.noalias() = x * a;
        z.noalias() += h * b;
    }
};

/// What a pass takes beyond its dense product, in terms of its thin products alone: the median over calls that take
/// turns. Measured one after the other, a difference of two large numbers varies by a third of itself.
template <class All, class Dense, class Thin>
double added_over_thin(All const& all, Dense const& dense, Thin const& thin) {
    std::vector<double> ratios(501);
    for (double& ratio : ratios) {
        double const with = bench::best_seconds(all, 1), without = bench::best_seconds(dense, 1);
        ratio = (with - without) / bench::best_seconds(thin, 1);
    }
    auto const middle = ratios.begin() + 250;
    std::nth_element(ratios.begin(), middle, ratios.end());
    return *middle;
}

template <index_t In, index_t Out> void add_layer(index_t batch) {
    auto one = std::make_shared<layer<In, Out, plain>>(batch);
    auto gained = std::make_shared<layer<In, Out, with_gain>>(batch);
    auto hand = std::make_shared<by_hand<In, Out>>(*one);
    one->forward();
    gained->forward();
    hand->forward();
    for (index_t i = 0; i < batch * Out; i += 7)
        bench::expect_close("adapter: outputs", double(one->z.data()[i]), double(hand->z.data()[i]), 1e-4);
    double const dense = 2.0 * double(batch) * In * Out, thin = 2.0 * double(batch) * rank * (In + Out);
    auto const floor = [](double flops) { return bench::roof().flop_ns(flops); };
    std::string const name =
        "adapter/" + std::to_string(batch) + "x" + std::to_string(In) + "x" + std::to_string(Out) + "_r8";
    double const forward =
        added_over_thin([&] { one->forward(); }, [&] { one->dense_forward(); }, [&] { one->thin_forward(); });
    double const backward =
        added_over_thin([&] { one->backward(); }, [&] { one->dense_backward(); }, [&] { one->thin_backward(); });
    bench::add(name + "/ours", floor(dense + thin), [one] { one->forward(); }, {{"added_over_thin", forward}});
    bench::add(name + "/hand", floor(dense + thin), [hand] { hand->forward(); });
    bench::add(name + "_dense_part/ours", floor(dense), [one] { one->dense_forward(); });
    bench::add(name + "_thin_part/ours", floor(thin), [one] { one->thin_forward(); });
    bench::add(name + "_backward/ours", floor(dense + 2.0 * thin), [one] { one->backward(); },
               {{"added_over_thin", backward}});
    bench::add(name + "_backward_dense_part/ours", floor(dense), [one] { one->dense_backward(); });
    bench::add(name + "_backward_thin_part/ours", floor(2.0 * thin), [one] { one->thin_backward(); });
    bench::add(name + "_backward_with_gain/ours", floor(dense + 2.0 * thin), [gained] { gained->backward(); });
}

template <class... Weight>
using narrowing =
    esp::sequence<esp::input<784>, esp::dense<256, esp::activation::relu, Weight...>, esp::dense<10, Weight...>>;
template <class... Weight>
using wide_layers =
    esp::sequence<esp::input<512>, esp::dense<512, esp::activation::relu, Weight...>,
                  esp::dense<512, esp::activation::relu, Weight...>, esp::dense<512, esp::activation::relu, Weight...>,
                  esp::dense<512, esp::activation::relu, Weight...>>;

/// A training of a stack.
template <class Stack> struct steps {
    using network = esp::network<Stack, esp::device::cpu, float>;
    network net;
    esp::training<network, esp::loss::cross_entropy, esp::optimizer::adam<>> train;
    std::vector<float> x;
    std::vector<std::int32_t> y;

    template <class Base>
    explicit steps(Base const& base, std::vector<esp::rate_rule> const& rules = {})
        : net(with_base(base)), train(net, {}, {}, 0, rules),
          x(static_cast<std::size_t>(net.capacity() * net.input_width)), y(static_cast<std::size_t>(net.capacity())) {
        bench::fill_normal(x.data(), static_cast<index_t>(x.size()), 1);
        std::mt19937 generator(3);
        for (auto& label : y)
            label = static_cast<std::int32_t>(generator() % 10);
    }
    template <class Base> static network with_base(Base const& base) {
        network made{esp::seed{42}, 128};
        esp::load_base(made, base);
        return made;
    }
    double step() {
        esp::rows tags;
        tags.count = net.capacity();
        tags.label = y.data();
        return train.step({esp::contiguous_view<float const>(x.data(), tags.count, net.input_width), tags, {}}).loss;
    }
};

template <template <class...> class Stack> void add_steps(std::string const& name) {
    esp::network<Stack<>, esp::device::cpu, float> base{esp::seed{7}, 128};
    auto all = std::make_shared<steps<Stack<>>>(base);
    auto adapters = std::make_shared<steps<Stack<plain>>>(
        base, std::vector<esp::rate_rule>{{.tensor_role = esp::role::bias, .frozen = true}});
    bench::expect_close((name + ": the loss that adapters begin with").c_str(), adapters->step(), all->step(), 1e-5);
    bench::add(name + "/ours", 0.0, [adapters] { adapters->step(); });
    bench::add(name + "_all_trained/ours", 0.0, [all] { all->step(); });
}

} // namespace

int main(int argc, char** argv) {
    add_layer<784, 256>(128);
    add_layer<512, 512>(128);
    add_steps<narrowing>("adapter/step_784-256-10_b128_r8");
    add_steps<wide_layers>("adapter/step_4x512_b128_r8");
    return bench::run(argc, argv);
}
