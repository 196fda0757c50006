// SPDX-License-Identifier: Apache-2.0
// What the samples of a head cost in forward: `multi_sample/WIDTH-10_bROWS_xSAMPLES`, a dropout of WIDTH features and a
// product with 10 columns, SAMPLES times on the same rows. "By hand" draws the same bits, writes the masked copy and
// multiplies with Eigen, sample by sample. Floor: the products at the rate of fused multiply-adds, and each sample's
// masked copy at the bandwidth of a copy in cache.
#include "common.hpp"

#include <espalier/core/random.hpp>
#include <espalier/device/cpu/cpu.hpp>
#include <espalier/dropout/bernoulli.hpp>
#include <espalier/layer/dense.hpp>
#include <espalier/layer/elementwise.hpp>
#include <espalier/layer/input.hpp>
#include <espalier/layer/multi_sample.hpp>
#include <espalier/layer/sequence.hpp>
#include <espalier/network/network.hpp>

#include <Eigen/Core>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace esp = espalier;
using bench::index_t;

namespace {

constexpr int classes = 10;

template <int Width, int Samples> struct heads {
    using stack =
        esp::sequence<esp::input<Width>,
                      esp::multi_sample<Samples, esp::elementwise<esp::dropout::bernoulli<0.5>>, esp::dense<classes>>>;
    using network = esp::network<stack, esp::device::cpu, float>;
    using matrix = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
    index_t batch;
    network net;
    std::vector<float> x, y;
    matrix w, masked, z;
    std::vector<std::uint16_t> bits;

    explicit heads(index_t rows)
        : batch(rows), net(esp::seed{42}, rows), x(static_cast<std::size_t>(rows * Width)),
          y(static_cast<std::size_t>(rows * Samples * classes)), masked(rows, Width), z(rows * Samples, classes),
          bits(x.size()) {
        bench::fill_normal(x.data(), rows * Width, 1);
        w = Eigen::Map<matrix>(net.values().tensor("1.1.kernel").data, Width, classes);
    }

    double ours() {
        esp::rows tags;
        tags.count = batch;
        net.template forward<esp::mode::train>(network::layer::at(esp::clock{}), tags,
                                               esp::contiguous_view<float const>(x.data(), batch, Width),
                                               esp::contiguous_view(y.data(), batch * Samples, classes));
        return sum(y.data());
    }
    double hand() {
        auto const keep = esp::quantise(0.5);
        auto const threshold = static_cast<std::uint16_t>(keep.threshold);
        auto const scale = static_cast<float>(keep.scale);
        for (std::uint32_t s = 0; s < Samples; ++s) {
            esp::fill_bits(esp::make_site(42, 0, 0, s), std::uint32_t{0}, batch, 0, Width / 8, bits.data());
            float* const to = masked.data();
            for (std::size_t i = 0; i < x.size(); ++i)
                to[i] = bits[i] >= threshold ? x[i] * scale : 0.0f;
            z.middleRows(s * batch, batch).noalias() = masked * w;
        }
        return sum(z.data());
    }

private:
    /// Of some of the outputs, so that it costs nothing.
    double sum(float const* values) const {
        double total = 0.0;
        for (int s = 0; s < Samples; ++s)
            total += static_cast<double>(values[(s * batch + s) * classes + s % classes]);
        return total;
    }
};

template <int Width, int Samples> void add(index_t batch) {
    auto h = std::make_shared<heads<Width, Samples>>(batch);
    std::string const name =
        "multi_sample/" + std::to_string(Width) + "-10_b" + std::to_string(batch) + "_x" + std::to_string(Samples);
    bench::expect_close(name.c_str(), h->ours(), h->hand(), 1e-5);
    double const floor = Samples * (bench::roof().flop_ns(2.0 * double(batch) * Width * classes) +
                                    bench::roof().copy_ns(8.0 * double(batch) * Width, true));
    bench::add(name + "/ours", floor, [h] { h->ours(); });
    bench::add(name + "/hand", floor, [h] { h->hand(); });
}

} // namespace

int main(int argc, char** argv) {
    add<128, 1>(50);
    add<128, 8>(50);
    add<1024, 1>(256);
    add<1024, 2>(256);
    add<1024, 4>(256);
    add<1024, 8>(256);
    return bench::run(argc, argv);
}
