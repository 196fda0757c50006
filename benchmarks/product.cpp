// SPDX-License-Identifier: Apache-2.0
// The three products of a layer by every implementation there is. "By hand" is an Eigen expression, as a program
// without this library would write it. Floor: 2 m k n operations at the rate of fused multiply-adds.
#include "common.hpp"

#include <espalier/product/direct.hpp>
#include <espalier/product/eigen.hpp>
#if defined(ESPALIER_HAS_ONEDNN)
#include <espalier/product/onednn.hpp>
#endif

#include <Eigen/Core>

#include <memory>

namespace esp = espalier;
using bench::array;
using bench::index_t;

namespace {

struct data {
    index_t m, k, n;
    array<float> x, w, b, dz, z, dx, dw;
    espalier::cpu::buffer<std::byte> memory;
    data(index_t rows, index_t in, index_t out, std::size_t scratch)
        : m(rows), k(in), n(out), x(m * k, 0), w(k * n, 5), b(n, 7), dz(m * n, 11), z(m * n, 13), dx(m * k, 17),
          dw(k * n, 19), memory(static_cast<index_t>(scratch) + 64) {
        bench::fill_normal(x.data(), m * k, 1);
        bench::fill_normal(w.data(), k * n, 2);
        bench::fill_normal(b.data(), n, 3);
        bench::fill_normal(dz.data(), m * n, 4);
    }
    esp::scratch_view space() { return {memory.data(), static_cast<std::size_t>(memory.size())}; }
    template <class T> static esp::matrix_view<T const> in(array<T>& a, index_t r, index_t c) {
        return {a.data(), r, c, c};
    }
    template <class T> static esp::matrix_view<T> out(array<T>& a, index_t r, index_t c) { return {a.data(), r, c, c}; }

    template <class P> void forward() {
        P::template forward<float>(in(x, m, k), in(w, k, n), b.data(), out(z, m, n), space());
    }
    template <class P> void input_gradient() {
        P::template input_gradient<float>(in(dz, m, n), in(w, k, n), out(dx, m, k), space());
    }
    template <class P> void weight_gradient() {
        P::template weight_gradient<float>(in(x, m, k), in(dz, m, n), out(dw, k, n), space());
    }
    void check(char const* what) {
        auto const tolerance = [](index_t depth) { return 4e-6 * std::sqrt(static_cast<double>(depth)); };
        for (index_t i = 0; i < m; i += 7)
            for (index_t j = 0; j < n; ++j) {
                double sum = double(b.data()[j]);
                for (index_t p = 0; p < k; ++p)
                    sum += double(x.data()[i * k + p]) * double(w.data()[p * n + j]);
                bench::expect_close(what, double(z.data()[i * n + j]), sum, tolerance(k));
            }
        for (index_t i = 0; i < m; i += 7)
            for (index_t p = 0; p < k; ++p) {
                double sum = 0.0;
                for (index_t j = 0; j < n; ++j)
                    sum += double(dz.data()[i * n + j]) * double(w.data()[p * n + j]);
                bench::expect_close(what, double(dx.data()[i * k + p]), sum, tolerance(n));
            }
        for (index_t p = 0; p < k; p += 7)
            for (index_t j = 0; j < n; ++j) {
                double sum = 0.0;
                for (index_t i = 0; i < m; ++i)
                    sum += double(x.data()[i * k + p]) * double(dz.data()[i * n + j]);
                bench::expect_close(what, double(dw.data()[p * n + j]), sum, tolerance(m));
            }
    }
};

/// Eigen's expressions on maps of the same memory.
struct expressions {
    using matrix = Eigen::Map<Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>>;
    using input = Eigen::Map<Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor> const>;
    template <class T>
    static void forward(esp::matrix_view<T const> x, esp::matrix_view<T const> w, T const* bias, esp::matrix_view<T> z,
                        esp::scratch_view) {
        matrix result(z.data, z.rows, z.columns);
        result.noalias() = input(x.data, x.rows, x.columns) * input(w.data, w.rows, w.columns);
        result.rowwise() += Eigen::Map<Eigen::RowVectorXf const>(bias, z.columns);
    }
    template <class T>
    static void input_gradient(esp::matrix_view<T const> dz, esp::matrix_view<T const> w, esp::matrix_view<T> dx,
                               esp::scratch_view) {
        matrix(dx.data, dx.rows, dx.columns).noalias() =
            input(dz.data, dz.rows, dz.columns) * input(w.data, w.rows, w.columns).transpose();
    }
    template <class T>
    static void weight_gradient(esp::matrix_view<T const> x, esp::matrix_view<T const> dz, esp::matrix_view<T> dw,
                                esp::scratch_view) {
        matrix(dw.data, dw.rows, dw.columns).noalias() =
            input(x.data, x.rows, x.columns).transpose() * input(dz.data, dz.rows, dz.columns);
    }
};

template <class P>
void add(std::string const& suffix, char const* what, std::size_t scratch, index_t m, index_t k, index_t n) {
    auto d = std::make_shared<data>(m, k, n, scratch);
    d->forward<P>();
    d->input_gradient<P>();
    d->weight_gradient<P>();
    d->check(suffix.c_str());
    double const floor = bench::roof().flop_ns(2.0 * double(m) * double(k) * double(n));
    std::string const shape = std::to_string(m) + "x" + std::to_string(k) + "x" + std::to_string(n);
    bench::add("product/" + shape + suffix + "/" + what, floor, [d] { d->forward<P>(); });
    bench::add("product/" + shape + "_input_gradient" + suffix + "/" + what, floor, [d] { d->input_gradient<P>(); });
    bench::add("product/" + shape + "_weight_gradient" + suffix + "/" + what, floor, [d] { d->weight_gradient<P>(); });
}

} // namespace

int main(int argc, char** argv) {
    struct extents {
        index_t m, k, n;
    };
    for (extents const& e : {extents{128, 784, 256}, {128, 256, 10}, {64, 64, 64}, {512, 512, 512}}) {
        using esp::product::direct;
        using esp::product::eigen;
        add<direct>("", "ours", direct::scratch<float>(e.m, e.k, e.n), e.m, e.k, e.n);
        add<expressions>("", "hand", 0, e.m, e.k, e.n);
        add<eigen>("_by_eigen", "ours", eigen::scratch<float>(e.m, e.k, e.n), e.m, e.k, e.n);
#if defined(ESPALIER_HAS_ONEDNN)
        using esp::product::onednn;
        add<onednn>("_by_onednn", "ours", onednn::scratch<float>(e.m, e.k, e.n), e.m, e.k, e.n);
#endif
    }
    return bench::run(argc, argv);
}
