// SPDX-License-Identifier: Apache-2.0
// A layer of experts for the benchmarks: forward, then the gradients of all parameters and of the inputs for a given
// gradient of the outputs. No loss, no update. Values and gradients are compared with sums in double before anything
// is timed.
//
// Floor: the gate's product, and the experts' products for the active pairs of row and expert (for all pairs with dense
// dispatch), three times each (forward and two gradients), at the rate of fused multiply-adds.
#pragma once

#include "common.hpp"
#include "reference_gate.hpp"

#include <espalier/activation/relu.hpp>
#include <espalier/device/cpu/cpu.hpp>
#include <espalier/gate/dispatch.hpp>
#include <espalier/layer/dense.hpp>
#include <espalier/layer/input.hpp>
#include <espalier/layer/moe.hpp>
#include <espalier/layer/sequence.hpp>
#include <espalier/network/network.hpp>

#include <algorithm>
#include <cstring>
#include <memory>
#include <numeric>
#include <type_traits>

namespace bench {

namespace esp = espalier;

/// One layer of `Gate::experts` dense experts with relu, Width -> Width.
template <class Gate, int Width, class Dispatch, class Device = esp::device::cpu> class layer_pass {
public:
    using stack = esp::sequence<esp::input<Width>, esp::moe<Gate, esp::dense<Width, esp::activation::relu>, Dispatch>>;
    using network = esp::network<stack, Device, float>;
    using layer = typename network::layer;
    using reference = reference_gate<Gate>;
    static constexpr int experts = Gate::experts;

    layer_pass(index_t row_count, phase p)
        : rows_(row_count), net_(esp::seed{42}, row_count), numbers_(layer::at(esp::clock{})), x_(rows_ * Width, 0),
          y_(rows_ * Width, 5), dy_(rows_ * Width, 7), work_(rows_ * Width, 11), dx_(rows_ * Width, 13),
          gradients_(network::size.parameters), terms_(network::size.terms + 1) {
        batch_.count = rows_;
        fill_normal(x_.data(), rows_ * Width, 1);
        // Away from 0, so that a split on one feature is saturated for every row.
        for (index_t i = 0; i < rows_ * Width; ++i)
            x_.data()[i] += x_.data()[i] < 0.0f ? -0.25f : 0.25f;
        fill_normal(dy_.data(), rows_ * Width, 2);
        auto const kernel = net_.tensor("1.gate.kernel"), bias = net_.tensor("1.gate.bias");
        bool const tree = reference::split(0) >= 0;
        fill_normal(kernel.data, kernel.rows * kernel.columns, 3, tree ? 0.03 : 1.0 / std::sqrt(double(Width)));
        fill_normal(bias.data, bias.columns, 4, 0.03);
        for (int c = 0; c < Gate::logits; ++c) {
            int const split = reference::split(c);
            if (split < 0) continue;
            for (int i = 0; i < Width; ++i)
                kernel(i, c) = p == phase::open ? 0.2f * kernel(i, c) : i == split % Width ? 5.0f : 0.0f;
        }
        for (int e = 0; e < experts; ++e) {
            auto const b = net_.tensor("1.expert." + std::to_string(e) + ".bias");
            fill_normal(b.data, Width, 5 + unsigned(e), 0.1);
        }
        net_.refresh();
        step();
    }

    void step() {
        esp::cpu::flush_denormals const scope;
        auto context = net_.runner().template make_context<esp::mode::train>(esp::seed{42}, 0);
        esp::layer_memory<float> m = net_.runner().memory(net_.values());
        m.gradients = gradients_.data();
        m.terms = terms_.data();
        esp::matrix_view<float const> const x{x_.data(), rows_, Width, Width};
        esp::matrix_view<float> const y{y_.data(), rows_, Width, Width}, d{work_.data(), rows_, Width, Width};
        layer::forward(context, numbers_, m, batch_, x, y);
        // A backward pass may write over the gradient it is given.
        std::memcpy(d.data, dy_.data(), static_cast<std::size_t>(rows_ * Width) * sizeof(float));
        layer::template backward<esp::differentiate{true, true}>(
            context, numbers_, m, batch_, x, esp::matrix_view<float const>(y), d,
            esp::matrix_view<float>{dx_.data(), rows_, Width, Width});
    }

    /// Compares outputs, a few gradients of an expert and the gradient of the inputs with sums in double.
    void check(std::string const& what) {
        std::vector<double> x(Width), y(Width), g(experts), shifted(Width);
        double pairs = 0.0;
        for (index_t r = 0; r < rows_; ++r) {
            read(r, x);
            gate(x, g);
            pairs += static_cast<double>(std::count_if(g.begin(), g.end(), [](double w) { return w != 0.0; }));
            if (r % 61 != 0) continue;
            value(x, r, y);
            for (int c = 0; c < Width; ++c)
                expect_close((what + ": output").c_str(), double(y_.data()[r * Width + c]), y[std::size_t(c)], 1e-4);
            // Central difference along a direction of the inputs.
            double slope = 0.0;
            double const h = 1e-6;
            auto const at = [&](double by) {
                for (int c = 0; c < Width; ++c)
                    shifted[std::size_t(c)] = x[std::size_t(c)] + by * direction(c);
                return value(shifted, r, y);
            };
            for (int c = 0; c < Width; ++c)
                slope += double(dx_.data()[r * Width + c]) * direction(c);
            expect_close((what + ": input gradient").c_str(), slope, (at(h) - at(-h)) / (2.0 * h), 1e-3);
        }
        pairs_ = pairs;
        density_ = pairs / (double(rows_) * experts);
        for (int e = 0; e < experts; e += experts / 2 + 1) {
            auto const w = net_.tensor("1.expert." + std::to_string(e) + ".kernel");
            auto const b = net_.tensor("1.expert." + std::to_string(e) + ".bias");
            float const* const got = gradients_.data() + (w.data - net_.values().weights().data());
            for (int c = 0; c < Width; c += 17) {
                std::vector<double> sum(Width);
                for (index_t r = 0; r < rows_; ++r) {
                    read(r, x);
                    gate(x, g);
                    if (g[std::size_t(e)] == 0.0 || unit(x, w, b, c) <= 0.0) continue;
                    for (int i = 0; i < Width; ++i)
                        sum[std::size_t(i)] +=
                            x[std::size_t(i)] * g[std::size_t(e)] * double(dy_.data()[r * Width + c]);
                }
                for (int i = 0; i < Width; ++i)
                    expect_close((what + ": weight gradient").c_str(), double(got[i * Width + c]), sum[std::size_t(i)],
                                 1e-3);
            }
        }
    }

    double density() const { return density_; }
    counters about() const {
        return {
            {"rows", double(rows_)}, {"experts", double(experts)}, {"k", double(reference::k)}, {"density", density_}};
    }
    double floor_ns() const {
        double const run = Dispatch::gathers ? pairs_ : double(rows_) * experts;
        return roof().flop_ns(6.0 * Width * (double(rows_) * Gate::logits + run * Width));
    }

private:
    static double direction(int c) { return c % 3 == 0 ? 1.0 : c % 3 == 1 ? -0.5 : 0.25; }
    void read(index_t r, std::vector<double>& x) const { std::copy_n(x_.data() + r * Width, Width, x.begin()); }
    template <class M> static double unit(std::vector<double> const& x, M const& w, M const& b, int c) {
        double z = double(b(0, c));
        for (int i = 0; i < Width; ++i)
            z += x[std::size_t(i)] * double(w(i, c));
        return z;
    }
    double gate(std::vector<double> const& x, std::vector<double>& g) {
        auto const w = net_.tensor("1.gate.kernel"), b = net_.tensor("1.gate.bias");
        std::vector<double> z(Gate::logits);
        for (int c = 0; c < Gate::logits; ++c)
            z[std::size_t(c)] = unit(x, w, b, c);
        return reference::weights(z.data(), g.data());
    }
    /// Outputs of one row; the row's share of what the gradients are those of.
    double value(std::vector<double> const& x, index_t r, std::vector<double>& y) {
        std::vector<double> g(experts);
        double sum = gate(x, g) / double(rows_);
        std::fill(y.begin(), y.end(), 0.0);
        for (int e = 0; e < experts; ++e) {
            if (g[std::size_t(e)] == 0.0) continue;
            auto const w = net_.tensor("1.expert." + std::to_string(e) + ".kernel");
            auto const b = net_.tensor("1.expert." + std::to_string(e) + ".bias");
            for (int c = 0; c < Width; ++c)
                y[std::size_t(c)] += g[std::size_t(e)] * std::max(unit(x, w, b, c), 0.0);
        }
        for (int c = 0; c < Width; ++c)
            sum += y[std::size_t(c)] * double(dy_.data()[r * Width + c]);
        return sum;
    }

    index_t rows_;
    network net_;
    typename layer::numbers numbers_;
    esp::rows batch_;
    array<float> x_, y_, dy_, work_, dx_;
    esp::cpu::buffer<float> gradients_;
    std::vector<double> terms_;
    double pairs_ = 0.0, density_ = 0.0;
};

template <class Gate, int Width, class Dispatch>
void add_layer(std::string const& name, index_t rows, phase p = phase::open) {
    auto const pass = std::make_shared<layer_pass<Gate, Width, Dispatch>>(rows, p);
    pass->check(name);
    add(
        name + "/ours", pass->floor_ns(), [pass] { pass->step(); }, pass->about());
}

} // namespace bench
