// SPDX-License-Identifier: Apache-2.0
// A whole training step of small networks: forward, loss, backward, Adam, with dropout. "By hand" is one function with
// Eigen's expressions and plain loops. Floor: the products at the rate of fused multiply-adds plus the update's 28
// bytes a weight at the bandwidth of working in place (in cache where they fit there). A masked network costs what the
// whole one does, and the compacted one what a network of its size does.
#include "common.hpp"

#include <espalier/activation/relu.hpp>
#include <espalier/device/cpu/cpu.hpp>
#include <espalier/dropout/bernoulli.hpp>
#include <espalier/layer/dense.hpp>
#include <espalier/layer/input.hpp>
#include <espalier/layer/sequence.hpp>
#include <espalier/loss/cross_entropy.hpp>
#include <espalier/network/compact.hpp>
#include <espalier/network/network.hpp>
#include <espalier/network/set_units.hpp>
#include <espalier/optimizer/adam.hpp>
#include <espalier/product/direct.hpp>
#include <espalier/product/eigen.hpp>
#include <espalier/train/training.hpp>
#include <espalier/units/fixed_mask.hpp>

#include <Eigen/Core>

#include <cstddef>
#include <memory>
#include <string>
#include <vector>

namespace esp = espalier;
using bench::index_t;

namespace {

constexpr int classes = 10;

template <int In, int Hidden, class Device, class... Units> struct ours {
    using stack =
        esp::sequence<esp::input<In>, esp::dense<Hidden, esp::activation::relu, esp::dropout::bernoulli<0.2>, Units...>,
                      esp::dense<classes>>;
    index_t batch;
    esp::network<stack, Device, float> net;
    esp::training<decltype(net), esp::loss::cross_entropy, esp::optimizer::adam<>> train;
    std::vector<float> x;
    std::vector<std::int32_t> y;

    explicit ours(index_t rows)
        : batch(rows), net(esp::seed{42}, rows), train(net, {}, {}), x(static_cast<std::size_t>(rows * In)),
          y(static_cast<std::size_t>(rows)) {
        bench::fill_normal(x.data(), rows * In, 1);
        std::mt19937 generator(3);
        for (auto& label : y)
            label = static_cast<std::int32_t>(generator() % classes);
    }
    double step() {
        esp::rows tags;
        tags.count = batch;
        tags.label = y.data();
        return train.step({esp::contiguous_view<float const>(x.data(), batch, In), tags, {}}).loss;
    }
};

/// The same network, written out.
template <int In, int Hidden> struct by_hand {
    using matrix = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
    using row = Eigen::Matrix<float, 1, Eigen::Dynamic>;
    index_t batch;
    matrix x, w1, w2, z1, h, z2, d1, dw1, dw2, m1, v1, m2, v2;
    row b1, b2, db1, db2, mb1, vb1, mb2, vb2;
    std::vector<std::int32_t> y;
    std::vector<std::uint16_t> bits;
    std::uint64_t steps = 0, seed = 42, stream = 0;
    std::uint16_t threshold;
    float scale;

    template <class Ours> explicit by_hand(Ours& o) : batch(o.batch), y(o.y) {
        auto const keep = esp::quantise(0.2);
        threshold = static_cast<std::uint16_t>(keep.threshold);
        scale = static_cast<float>(keep.scale);
        x = Eigen::Map<matrix>(o.x.data(), batch, In);
        auto const tensor = [&](char const* name, index_t r, index_t c) {
            return matrix(Eigen::Map<matrix>(o.net.values().tensor(name).data, r, c));
        };
        w1 = tensor("1.kernel", In, Hidden);
        b1 = tensor("1.bias", 1, Hidden);
        w2 = tensor("2.kernel", Hidden, classes);
        b2 = tensor("2.bias", 1, classes);
        z1.resize(batch, Hidden), h = d1 = z1, z2.resize(batch, classes);
        dw1 = m1 = v1 = matrix::Zero(In, Hidden);
        dw2 = m2 = v2 = matrix::Zero(Hidden, classes);
        db1 = mb1 = vb1 = row::Zero(Hidden);
        db2 = mb2 = vb2 = row::Zero(classes);
        bits.resize(static_cast<std::size_t>(batch * Hidden));
    }

    static void adam(index_t n, float* __restrict__ w, float const* __restrict__ g, float* __restrict__ m,
                     float* __restrict__ v, float c1, float c2) {
        for (index_t i = 0; i < n; ++i) {
            m[i] += 0.1f * (g[i] - m[i]);
            v[i] = 0.999f * v[i] + 0.001f * g[i] * g[i];
            w[i] -= c1 * m[i] / (__builtin_sqrtf(v[i]) * c2 + 1e-8f);
        }
    }

    double step() {
        z1.noalias() = x * w1;
        z1.rowwise() += b1;
        esp::fill_bits(esp::make_site(seed, stream, steps), std::uint32_t{0}, batch, 0, Hidden / 8, bits.data());
        index_t const n = batch * Hidden;
        {
            float const* const z = z1.data();
            float* const to = h.data();
            std::uint16_t const* const b = bits.data();
            for (index_t i = 0; i < n; ++i)
                to[i] = b[i] >= threshold ? (z[i] > 0.0f ? z[i] : 0.0f) * scale : 0.0f;
        }
        z2.noalias() = h * w2;
        z2.rowwise() += b2;
        double loss = 0.0;
        float const inverse = 1.0f / static_cast<float>(batch);
        for (index_t r = 0; r < batch; ++r) {
            float* const z = &z2(r, 0);
            float top = z[0], sum = 0.0f, e[classes];
            for (int c = 1; c < classes; ++c)
                top = z[c] > top ? z[c] : top;
            int const label = y[static_cast<std::size_t>(r)];
            float const own = z[label] - top;
            for (int c = 0; c < classes; ++c)
                sum += e[c] = std::exp(z[c] - top);
            loss += static_cast<double>(std::log(sum) - own);
            for (int c = 0; c < classes; ++c)
                z[c] = (e[c] / sum - (c == label ? 1.0f : 0.0f)) * inverse;
        }
        dw2.noalias() = h.transpose() * z2;
        db2 = z2.colwise().sum();
        d1.noalias() = z2 * w2.transpose();
        {
            float const* const z = z1.data();
            float* const d = d1.data();
            std::uint16_t const* const b = bits.data();
            for (index_t i = 0; i < n; ++i)
                d[i] = b[i] >= threshold && z[i] > 0.0f ? d[i] * scale : 0.0f;
        }
        db1 = d1.colwise().sum();
        dw1.noalias() = x.transpose() * d1;
        ++steps;
        double const t = static_cast<double>(steps);
        float const c1 = static_cast<float>(1e-3 / (1.0 - std::pow(0.9, t)));
        float const c2 = static_cast<float>(1.0 / std::sqrt(1.0 - std::pow(0.999, t)));
        adam(w1.size(), w1.data(), dw1.data(), m1.data(), v1.data(), c1, c2);
        adam(b1.size(), b1.data(), db1.data(), mb1.data(), vb1.data(), c1, c2);
        adam(w2.size(), w2.data(), dw2.data(), m2.data(), v2.data(), c1, c2);
        adam(b2.size(), b2.data(), db2.data(), mb2.data(), vb2.data(), c1, c2);
        return loss / static_cast<double>(batch);
    }
};

double floor_of(index_t in, index_t hidden, index_t batch) {
    auto const wide = static_cast<double>(in), units = static_cast<double>(hidden);
    double const weights = (wide + 1.0) * units + (units + 1.0) * classes;
    double const flops = 2.0 * double(batch) * (2.0 * wide * units + 3.0 * units * classes);
    return bench::roof().flop_ns(flops) + bench::roof().in_place_ns(28.0 * weights, weights < 30000);
}

/// Kept of Hidden units, masked in the whole network, and in the compacted one.
template <int In, int Hidden, int Kept> void add_units(index_t batch) {
    using device = esp::device::cpu;
    std::string const name =
        "step/" + std::to_string(In) + "-" + std::to_string(Hidden) + "-10_b" + std::to_string(batch);
    auto masked = std::make_shared<ours<In, Hidden, device, esp::units::fixed_mask>>(batch);
    auto whole = std::make_shared<ours<In, Hidden, device>>(batch);
    auto compacted = std::make_shared<ours<In, Kept, device>>(batch);
    std::vector<bool> kept(Hidden);
    for (std::size_t c = 0; c < Kept; ++c)
        kept[c * Hidden / Kept] = true;
    esp::set_units(masked->net, "1", kept);
    esp::compact(masked->net, compacted->net);
    double own = 0.0, smaller = 0.0; // dropout draws by place, so losses agree as averages over steps only
    for (int i = 0; i < 10; ++i) {
        own += masked->step();
        smaller += compacted->step();
    }
    bench::expect_close((name + ": loss of the masked and of the compacted network").c_str(), own, smaller, 0.2);
    bench::add(name + "_whole/ours", floor_of(In, Hidden, batch), [whole] { whole->step(); });
    bench::add(name + "_masked/ours", floor_of(In, Hidden, batch), [masked] { masked->step(); });
    bench::add(name + "_compacted/ours", floor_of(In, Kept, batch), [compacted] { compacted->step(); });
}

template <int In, int Hidden> void add(index_t batch) {
    using direct = esp::device::basic_cpu<esp::product::direct>;
    using eigen = esp::device::basic_cpu<esp::product::eigen>;
    std::string const name =
        "step/" + std::to_string(In) + "-" + std::to_string(Hidden) + "-10_b" + std::to_string(batch);
    auto a = std::make_shared<ours<In, Hidden, direct>>(batch);
    auto b = std::make_shared<ours<In, Hidden, eigen>>(batch);
    auto c = std::make_shared<by_hand<In, Hidden>>(*a);
    // Dropout of the hand-written network draws from its own stream, so losses agree as averages over steps only.
    double own = 0.0, expressions = 0.0, written = 0.0;
    for (int i = 0; i < 10; ++i) {
        own += a->step();
        expressions += b->step();
        written += c->step();
    }
    bench::expect_close((name + ": loss of both products").c_str(), own, expressions, 1e-4);
    bench::expect_close((name + ": loss of the hand-written network").c_str(), own, written, 0.2);
    double const floor = floor_of(In, Hidden, batch);
    bench::add(name + "/ours", floor, [a] { a->step(); });
    bench::add(name + "/hand", floor, [c] { c->step(); });
    bench::add(name + "_by_eigen/ours", floor, [b] { b->step(); });
}

} // namespace

int main(int argc, char** argv) {
    add<784, 256>(128);
    add<64, 64>(64);
    add_units<784, 256, 64>(128);
    return bench::run(argc, argv);
}
