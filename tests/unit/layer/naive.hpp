// SPDX-License-Identifier: Apache-2.0
// Slow and obvious arithmetic in double, and small networks to compare with it.
#pragma once

#include <espalier/core/random.hpp>
#include <espalier/device/cpu/cpu.hpp>
#include <espalier/network/network.hpp>

#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

namespace naive {

using espalier::index_t;

struct matrix {
    index_t rows = 0;
    index_t columns = 0;
    std::vector<double> values;

    matrix() = default;
    matrix(index_t r, index_t c, double value = 0.0)
        : rows(r), columns(c), values(static_cast<std::size_t>(r * c), value) {}
    double& operator()(index_t r, index_t c) { return values[static_cast<std::size_t>(r * columns + c)]; }
    double operator()(index_t r, index_t c) const { return values[static_cast<std::size_t>(r * columns + c)]; }
    espalier::matrix_view<double> view() { return espalier::contiguous_view(values.data(), rows, columns); }
    espalier::matrix_view<double const> view() const {
        return espalier::contiguous_view<double const>(values.data(), rows, columns);
    }
};

/// Numbers in [-scale, scale), always the same for one seed.
inline matrix random(index_t rows, index_t columns, std::uint64_t seed, double scale = 1.0) {
    matrix m(rows, columns);
    auto const site = espalier::make_site(seed, 12345);
    std::uint32_t i = 0;
    for (double& v : m.values)
        v = scale * (2.0 * espalier::uniform01(espalier::draw(site, i++, 0).word[0]) - 1.0);
    return m;
}

inline matrix copy(espalier::matrix_view<double const> v) {
    matrix m(v.rows, v.columns);
    for (index_t r = 0; r < v.rows; ++r)
        for (index_t c = 0; c < v.columns; ++c)
            m(r, c) = v(r, c);
    return m;
}

/// x W + b; b may have no elements.
inline matrix affine(matrix const& x, matrix const& w, matrix const& b) {
    matrix z(x.rows, w.columns);
    for (index_t r = 0; r < x.rows; ++r)
        for (index_t c = 0; c < w.columns; ++c) {
            double sum = b.values.empty() ? 0.0 : b(0, c);
            for (index_t k = 0; k < x.columns; ++k)
                sum += x(r, k) * w(k, c);
            z(r, c) = sum;
        }
    return z;
}
inline matrix transposed(matrix const& a) {
    matrix t(a.columns, a.rows);
    for (index_t r = 0; r < a.rows; ++r)
        for (index_t c = 0; c < a.columns; ++c)
            t(c, r) = a(r, c);
    return t;
}
inline matrix product(matrix const& a, matrix const& b) {
    return affine(a, b, {});
}
inline matrix column_sums(matrix const& a) {
    matrix s(1, a.columns);
    for (index_t r = 0; r < a.rows; ++r)
        for (index_t c = 0; c < a.columns; ++c)
            s(0, c) += a(r, c);
    return s;
}
template <class F> matrix map(matrix m, F const& f) {
    for (double& v : m.values)
        v = f(v);
    return m;
}
template <class F> matrix zip(matrix a, matrix const& b, F const& f) {
    for (std::size_t i = 0; i < a.values.size(); ++i)
        a.values[i] = f(a.values[i], b.values[i]);
    return a;
}
inline matrix times(matrix const& a, matrix const& b) {
    return zip(a, b, [](double x, double y) { return x * y; });
}
inline matrix plus(matrix const& a, matrix const& b) {
    return zip(a, b, [](double x, double y) { return x + y; });
}
inline matrix middle_rows(matrix const& m, index_t first, index_t count) {
    return copy(m.view().middle_rows(first, count));
}
inline matrix softmax(matrix m) {
    for (index_t r = 0; r < m.rows; ++r) {
        double top = m(r, 0), total = 0.0;
        for (index_t c = 1; c < m.columns; ++c)
            top = std::max(top, m(r, c));
        for (index_t c = 0; c < m.columns; ++c)
            total += m(r, c) = std::exp(m(r, c) - top);
        for (index_t c = 0; c < m.columns; ++c)
            m(r, c) /= total;
    }
    return m;
}

/// Mean cross-entropy of hard labels, and its gradient.
struct loss_and_gradient {
    double loss = 0.0;
    matrix gradient;
};
inline loss_and_gradient cross_entropy(matrix const& z, std::vector<std::int32_t> const& labels) {
    loss_and_gradient result{0.0, softmax(z)};
    for (index_t r = 0; r < z.rows; ++r) {
        index_t const y = labels[static_cast<std::size_t>(r)];
        result.loss -= std::log(result.gradient(r, y)) / static_cast<double>(z.rows);
        result.gradient(r, y) -= 1.0;
    }
    result.gradient = map(result.gradient, [&](double g) { return g / static_cast<double>(z.rows); });
    return result;
}

/// Largest |a - b| / max(1, |b|).
inline double distance(matrix const& a, matrix const& b) {
    if (a.rows != b.rows || a.columns != b.columns) return HUGE_VAL;
    double worst = 0.0;
    for (std::size_t i = 0; i < a.values.size(); ++i) {
        double const d = std::abs(a.values[i] - b.values[i]) / std::max(1.0, std::abs(b.values[i]));
        if (!(d <= worst)) worst = d;
    }
    return worst;
}

template <class Stack> using network = espalier::network<Stack, espalier::device::cpu, double>;

inline std::vector<std::int32_t> cyclic_labels(index_t rows, int classes) {
    std::vector<std::int32_t> labels(static_cast<std::size_t>(rows));
    for (std::size_t i = 0; i < labels.size(); ++i)
        labels[i] = static_cast<std::int32_t>(i) % classes;
    return labels;
}

inline espalier::rows tags_of(index_t count, std::vector<std::int32_t> const* labels = nullptr) {
    espalier::rows tags;
    tags.count = count;
    if (labels) tags.label = labels->data();
    return tags;
}

template <class Net> matrix tensor(Net& net, std::string const& name) {
    return copy(net.tensor(name));
}
/// The mask of a tensor: 1 for what it keeps.
template <class Net> std::vector<std::uint8_t> flags_in(Net& net, std::string const& name) {
    espalier::tensor_info const& t = net.values().find(name);
    std::vector<std::uint8_t> flags;
    for (index_t i = 0; i < t.size(); ++i)
        flags.push_back(net.values().masks().data()[t.mask_offset + i / 32] >> (i % 32) & 1u);
    return flags;
}
/// The same as a matrix.
template <class Net> matrix mask_in(Net& net, std::string const& name) {
    espalier::tensor_info const& t = net.values().find(name);
    matrix m(t.rows, t.columns);
    std::vector<std::uint8_t> const flags = flags_in(net, name);
    m.values.assign(flags.begin(), flags.end());
    return m;
}
template <class Net> void set_tensor(Net& net, std::string const& name, matrix const& to) {
    auto const v = net.tensor(name);
    for (index_t r = 0; r < v.rows; ++r)
        for (index_t c = 0; c < v.columns; ++c)
            v(r, c) = to(r, c);
    net.refresh();
}

/// One traversal of a network.
template <espalier::mode Mode, class Net>
matrix forward(Net& net, matrix const& x, espalier::rows const& tags, std::uint64_t step = 0) {
    index_t const growth = Mode == espalier::mode::train ? Net::layer::facts.growth : 1;
    matrix y(x.rows * growth, Net::output_width, -7.0);
    espalier::clock now;
    now.step = step;
    net.template forward<Mode>(Net::layer::at(now), tags, x.view(), y.view(), step);
    return y;
}
template <espalier::mode Mode, class Net> matrix forward(Net& net, matrix const& x, std::uint64_t step = 0) {
    return forward<Mode>(net, x, tags_of(x.rows), step);
}

inline double gelu(double x) {
    return 0.5 * x * (1.0 + std::erf(x / std::sqrt(2.0)));
}
inline double relu(double x) {
    return x > 0.0 ? x : 0.0;
}

} // namespace naive
