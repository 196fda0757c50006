// SPDX-License-Identifier: Apache-2.0
// What the tests of gates that have a whole row in one lane of the CPU share (COMET, DSelect-k): gradients against
// central differences, and rows in packs against the same rows alone.
#pragma once

#include <espalier/core/group.hpp>
#include <espalier/core/pack.hpp>
#include <espalier/core/random.hpp>
#include <espalier/core/row.hpp>
#include <espalier/gate/concept.hpp>

#include <support/catch.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <vector>

namespace whole_row {

using espalier::serial_group;

template <class T, int N> using serial_row = espalier::row<serial_group, T, N>;

/// The weights that an op chooses for one row (or one pack of rows), and the share of its term.
template <class T, int Experts> struct routed_row {
    serial_row<T, Experts> weights;
    T share;
};

template <int Experts, class Op, class T> auto route(Op const& op, serial_row<T, Op::logits> const& z) {
    routed_row<T, Experts> r;
    std::vector<T> space(Op::row_space);
    espalier::gate_about<serial_group, T, Experts, 0> about;
    about.space = space.data();
    r.share = op.route(serial_group{}, z, r.weights, about);
    return r;
}
template <int Experts, class Op, class T>
void backward(Op const& op, serial_row<T, Op::logits> const& z, serial_row<T, Experts> const& weights,
              serial_row<T, Experts> const& dweights, T const& scale, serial_row<T, Op::logits>& dz) {
    std::vector<T> space(Op::row_space);
    espalier::gate_about<serial_group, T, Experts, 0> about;
    about.space = space.data();
    op.backward(serial_group{}, z, weights, dweights, scale, dz, about);
}

/// Evenly from [-1, 1).
inline double random(std::uint32_t i, std::uint32_t seed, std::uint32_t stream = 5) {
    return 2.0 * espalier::uniform01(espalier::draw(espalier::make_site(seed, stream), i, 0).word[0]) - 1.0;
}

/// sum_l g_l c_l + scale * share, the value whose gradient `backward` gives for dweights = c and term_scale = scale.
template <int Experts, class Op>
double value(Op const& op, serial_row<double, Op::logits> const& z, std::vector<double> const& c, double scale) {
    auto const r = route<Experts>(op, z);
    double sum = scale * r.share;
    for (int l = 0; l < Experts; ++l)
        sum += r.weights.v[l] * c[static_cast<std::size_t>(l)];
    return sum;
}

/// Checks gradients of twenty rows with logits in [-spread, spread). Returns how many weights were exactly 0.
template <int Experts, class Op> int check_gradient(Op const& op, double spread, std::uint32_t seed) {
    double worst = 0.0;
    int closed = 0;
    for (std::uint32_t trial = 0; trial < 20; ++trial) {
        serial_row<double, Op::logits> z, dz;
        for (int i = 0; i < Op::logits; ++i)
            z.v[i] = spread * random(trial * 1000 + static_cast<std::uint32_t>(i), seed);
        std::vector<double> c(Experts);
        for (int l = 0; l < Experts; ++l)
            c[static_cast<std::size_t>(l)] = 2.0 * random(trial * 1000 + static_cast<std::uint32_t>(l), seed, 6);
        auto const r = route<Experts>(op, z);
        serial_row<double, Experts> dweights;
        for (int l = 0; l < Experts; ++l) {
            closed += r.weights.v[l] == 0.0;
            // What a dispatch knows of an expert that did not run: nothing.
            dweights.v[l] = r.weights.v[l] == 0.0 ? 0.0 : c[static_cast<std::size_t>(l)];
        }
        backward<Experts>(op, z, r.weights, dweights, 0.7, dz);
        for (int i = 0; i < Op::logits; ++i) {
            double const h = 1e-6;
            // At the ends of the smooth-step the second derivative jumps: differences across them say nothing.
            if (std::abs(std::abs(z.v[i]) - 0.5) < 2 * h) continue;
            auto up = z, down = z;
            up.v[i] += h;
            down.v[i] -= h;
            double const difference = (value<Experts>(op, up, c, 0.7) - value<Experts>(op, down, c, 0.7)) / (2 * h);
            worst = std::max(worst, std::abs(difference - dz.v[i]) / std::max(1.0, std::abs(difference)));
        }
    }
    INFO("experts " << Experts << ", logits " << Op::logits << ", worst " << worst);
    CHECK(worst < 2e-7);
    return closed;
}

/// Sixteen rows in a pack against each of them alone; in row 7 one logit is NaN, which no other row may see. `epsilon`
/// is the relative error that gradients may have besides 3e-5.
template <int Experts, class Op>
void check_pack(Op const& op, double spread, std::uint32_t seed, int nan_logit, double epsilon) {
    using P = espalier::pack<float, 16>;
    constexpr int nan_row = 7;
    serial_row<P, Op::logits> z, dz;
    serial_row<P, Experts> d;
    for (int i = 0; i < Op::logits; ++i)
        for (int r = 0; r < 16; ++r)
            z.v[i].set(r, static_cast<float>(spread) *
                              static_cast<float>(random(static_cast<std::uint32_t>(100 * i + r), seed)));
    z.v[nan_logit].set(nan_row, std::numeric_limits<float>::quiet_NaN());
    for (int l = 0; l < Experts; ++l)
        d.v[l] = P::iota(static_cast<float>(l));
    auto const all = route<Experts>(op, z);
    backward<Experts>(op, z, all.weights, d, P(0.5f), dz);
    for (int r = 0; r < 16; ++r) {
        serial_row<float, Op::logits> one, done;
        serial_row<float, Experts> dw;
        for (int i = 0; i < Op::logits; ++i)
            one.v[i] = z.v[i][r];
        auto const alone = route<Experts>(op, one);
        for (int l = 0; l < Experts; ++l)
            dw.v[l] = d.v[l][r];
        backward<Experts>(op, one, alone.weights, dw, 0.5f, done);
        for (int l = 0; l < Experts; ++l) {
            if (r == nan_row)
                CHECK((std::isnan(all.weights.v[l][r]) && std::isnan(alone.weights.v[l])));
            else {
                CHECK(all.weights.v[l][r] == Approx(alone.weights.v[l]).epsilon(0).margin(1e-6));
                CHECK((all.weights.v[l][r] == 0.0f) == (alone.weights.v[l] == 0.0f));
            }
        }
        if (r != nan_row)
            for (int i = 0; i < Op::logits; ++i)
                CHECK(dz.v[i][r] == Approx(done.v[i]).epsilon(epsilon).margin(3e-5));
    }
}

} // namespace whole_row
