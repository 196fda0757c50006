// SPDX-License-Identifier: Apache-2.0
// Gates in double, plainly: what the benchmarks of mixtures compare weights and outputs with.
#pragma once

#include <espalier/gate/comet.hpp>
#include <espalier/gate/dselect_k.hpp>
#include <espalier/gate/top_k.hpp>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstddef>
#include <numeric>
#include <vector>

namespace bench {

namespace esp = espalier;

/// What the gate of a case looks like: `open` is how a tree or a code begins, every split near a half and every expert
/// active; `sparse` is how it ends, every split saturated, so that at most k experts are active, others for other rows.
enum class phase { open, sparse };

/// The same gate in double, plainly: weights of all experts from the logits of a row, the row's term, and which
/// columns of the gate's product are splits (-1: none, else their number).
template <class Gate> struct reference_gate;

inline double smooth_step(double t) {
    double const u = std::clamp(t, -0.5, 0.5);
    return u * (1.5 - 2.0 * u * u) + 0.5;
}
constexpr double entropy = 0.1; // the gates' default

template <int Experts, int Trees> struct reference_gate<esp::gate::comet<Experts, Trees>> {
    static constexpr int k = Trees;
    static constexpr int columns_of_tree = 2 * Experts - 1;
    static int split(int column) {
        int const q = column % columns_of_tree;
        return q < Experts - 1 ? column / columns_of_tree * (Experts - 1) + q : -1;
    }
    static void leaves(double const* z, int q, double p, std::vector<double>& to) {
        if (q >= Experts - 1) {
            to.push_back(p);
            return;
        }
        double const s = smooth_step(z[q]);
        leaves(z, 2 * q + 1, p * s, to);
        leaves(z, 2 * q + 2, p * (1.0 - s), to);
    }
    static double weights(double const* z, double* g) {
        double total = 0.0, term = 0.0;
        std::fill_n(g, Experts, 0.0);
        for (int j = 0; j < Trees; ++j) {
            std::vector<double> p;
            leaves(z + j * columns_of_tree, 0, 1.0, p);
            for (int l = 0; l < Experts; ++l) {
                double const reached = p[static_cast<std::size_t>(l)];
                term -= entropy * reached * std::log(reached + 1e-6);
                if (reached == 0.0) continue;
                double const w = (reached + 1e-8) * std::exp(z[j * columns_of_tree + Experts - 1 + l]);
                g[l] += w;
                total += w;
            }
        }
        for (int l = 0; l < Experts; ++l)
            g[l] /= total;
        return term;
    }
};

template <int Experts, int K> struct reference_gate<esp::gate::dselect_k<Experts, K>> {
    static constexpr int k = K;
    static constexpr int bits = std::bit_width(unsigned(Experts)) - 1;
    static_assert(1 << bits == Experts);
    static int split(int column) { return column < K * bits ? column : -1; }
    static double weights(double const* z, double* g) {
        double total = 0.0, term = 0.0;
        std::fill_n(g, Experts, 0.0);
        for (int i = 0; i < K; ++i)
            total += std::exp(z[K * bits + i]);
        for (int i = 0; i < K; ++i)
            for (int l = 0; l < Experts; ++l) {
                double r = 1.0;
                for (int m = 0; m < bits; ++m) {
                    double const s = smooth_step(z[i * bits + m]);
                    r *= (l >> (bits - 1 - m)) & 1 ? s : 1.0 - s;
                }
                g[l] += r * std::exp(z[K * bits + i]) / total;
                term -= entropy * r * std::log(r + 1e-6);
            }
        return term;
    }
};

template <int Experts, int K> struct reference_gate<esp::gate::top_k<Experts, K>> {
    static constexpr int k = K;
    static int split(int) { return -1; }
    static double weights(double const* z, double* g) {
        int order[Experts];
        std::iota(order, order + Experts, 0);
        std::stable_sort(order, order + Experts, [&](int a, int b) { return z[a] > z[b]; });
        std::fill_n(g, Experts, 0.0);
        double total = 0.0;
        for (int i = 0; i < K; ++i)
            total += g[order[i]] = std::exp(z[order[i]] - z[order[0]]);
        for (int i = 0; i < K; ++i)
            g[order[i]] /= total;
        return 0.0;
    }
};

} // namespace bench
