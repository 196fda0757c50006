// SPDX-License-Identifier: Apache-2.0
// A local search over every gate that it takes, against the definition of both written out row by row in float64.
#include "routed.hpp"

#include <espalier/gate/by_range.hpp>
#include <espalier/gate/comet.hpp>
#include <espalier/gate/dselect_k.hpp>
#include <espalier/gate/enforced.hpp>
#include <espalier/gate/expert_choice.hpp>
#include <espalier/gate/hash.hpp>
#include <espalier/gate/local_search.hpp>
#include <espalier/gate/over_all.hpp>
#include <espalier/gate/same_for_all_rows.hpp>
#include <espalier/gate/softmax.hpp>
#include <espalier/gate/temperature.hpp>
#include <espalier/gate/top_k.hpp>
#include <espalier/layer/input.hpp>
#include <espalier/layer/moe.hpp>

#include <support/catch.hpp>

#include <algorithm>
#include <cmath>
#include <functional>
#include <numeric>
#include <string>
#include <vector>

using namespace espalier;
using namespace routed;

namespace {

using numbers = std::vector<double>;

// ---- the gates: weights over the experts of one row, for every tree or selector

numbers exponentials(numbers z) {
    double const top = *std::max_element(z.begin(), z.end());
    double sum = 0.0;
    for (double& v : z)
        sum += v = std::exp(v - top);
    for (double& v : z)
        v /= sum;
    return z;
}

numbers top(numbers const& z, int k, bool over_all) {
    numbers order(z.size()), g(z.size());
    std::iota(order.begin(), order.end(), 0.0);
    std::stable_sort(order.begin(), order.end(), [&](double a, double b) {
        return z[static_cast<std::size_t>(a)] > z[static_cast<std::size_t>(b)];
    });
    numbers kept;
    for (int i = 0; i < k; ++i)
        kept.push_back(z[static_cast<std::size_t>(order[static_cast<std::size_t>(i)])]);
    numbers const p = exponentials(over_all ? z : kept);
    for (int i = 0; i < k; ++i) {
        auto const e = static_cast<std::size_t>(order[static_cast<std::size_t>(i)]);
        g[e] = over_all ? p[e] : p[static_cast<std::size_t>(i)];
    }
    return g;
}

double smooth_step(double t) {
    return t <= -0.5 ? 0.0 : t >= 0.5 ? 1.0 : -2.0 * t * t * t + 1.5 * t + 0.5;
}

/// alpha_i r_i
std::vector<numbers> selectors(numbers const& z, int experts, int k) {
    int bits = 0;
    while ((1 << bits) < experts)
        ++bits;
    numbers const alpha = exponentials(numbers(z.begin() + k * bits, z.end()));
    std::vector<numbers> all;
    for (int i = 0; i < k; ++i) {
        numbers r;
        for (int e = 0; e < experts; ++e) {
            double product = alpha[static_cast<std::size_t>(i)];
            for (int m = 0; m < bits; ++m) {
                double const s = smooth_step(z[static_cast<std::size_t>(i * bits + m)]);
                product *= (e >> (bits - 1 - m)) & 1 ? s : 1.0 - s;
            }
            r.push_back(product);
        }
        all.push_back(r);
    }
    return all;
}

/// The joint softmax over the open leaves of all trees.
std::vector<numbers> trees(numbers const& z, int experts, int count) {
    std::vector<numbers> all;
    double sum = 0.0;
    for (int j = 0; j < count; ++j) {
        double const* const of_tree = z.data() + j * (2 * experts - 1);
        numbers p;
        std::function<void(int, double)> const walk = [&](int node, double reach) {
            if (node >= experts - 1) return p.push_back(reach);
            double const s = smooth_step(of_tree[node]);
            walk(2 * node + 1, reach * s);
            walk(2 * node + 2, reach * (1.0 - s));
        };
        walk(0, 1.0);
        for (int l = 0; l < experts; ++l) {
            double& w = p[static_cast<std::size_t>(l)];
            w = w > 0.0 ? (w + 1e-8) * std::exp(of_tree[experts - 1 + l]) : 0.0;
            sum += w;
        }
        all.push_back(p);
    }
    for (numbers& w : all)
        for (double& v : w)
            v /= sum;
    return all;
}

std::vector<numbers> one_hot(int e, int experts) {
    numbers g(static_cast<std::size_t>(experts));
    g[static_cast<std::size_t>(e)] = 1.0;
    return {g};
}

// ---- the search

/// Rows, then columns, in the domain of logarithms.
naive::matrix sinkhorn(naive::matrix x, double temperature, int iterations) {
    for (double& v : x.values)
        v /= temperature;
    auto const normalise = [&](bool by_row) {
        for (index_t a = 0; a < x.rows; ++a) {
            double most = -1e300, sum = 0.0;
            for (index_t b = 0; b < x.rows; ++b)
                most = std::max(most, by_row ? x(a, b) : x(b, a));
            for (index_t b = 0; b < x.rows; ++b)
                sum += std::exp((by_row ? x(a, b) : x(b, a)) - most);
            for (index_t b = 0; b < x.rows; ++b)
                (by_row ? x(a, b) : x(b, a)) -= most + std::log(sum);
        }
    };
    for (int i = 0; i < iterations; ++i) {
        normalise(true);
        normalise(false);
    }
    for (double& v : x.values)
        v = std::exp(v);
    return x;
}

constexpr gate::search soft{.steps = 1000, .first_temperature = 0.2, .last_temperature = 0.2};
constexpr gate::search soft_apart{.steps = 1000, .first_temperature = 0.2, .last_temperature = 0.2, .apart = true};

/// `weights` gives those of every tree or selector for (logits, row of the batch); one for any other gate. `divided`:
/// whether a search divides g by its sum.
template <class Gate, gate::search Options, class Weights>
void check(std::string const& what, bool divided, Weights const& weights) {
    using stack = sequence<input<5>, moe<gate::local_search<Gate, Options>, expert, dispatch::dense>>;
    constexpr int experts = Gate::experts;
    constexpr index_t n = 21;
    naive::network<stack> net({6}, n);
    tagged_batch batch(n, 5, 4, 6);
    for (index_t r = 0; r < n; ++r)
        batch.x(r, 0) = static_cast<double>(r % 4) + 0.4; // what by_range reads
    naive::matrix z(n, 1);
    bool const keyed = Gate::logits == 0;
    if (!keyed) {
        bool const reads = detail::gate_reads_input<Gate>();
        if (reads)
            naive::set_tensor(net, "1.gate.kernel",
                              naive::random(5, Gate::logits, 31, Gate::logits == experts ? 1.0 : 0.25));
        naive::set_tensor(net, "1.gate.bias", naive::random(1, Gate::logits, 32, 0.3));
        auto const bias = naive::tensor(net, "1.gate.bias");
        z = reads ? naive::affine(batch.x, naive::tensor(net, "1.gate.kernel"), bias)
                  : naive::affine(naive::matrix(n, 5), naive::matrix(5, Gate::logits), bias);
    }
    auto const scores = naive::random(net.values().find("1.gate.scores").rows, experts, 33, 0.3);
    naive::set_tensor(net, "1.gate.scores", scores);
    for (bool const training : {false, true}) {
        naive::matrix g(n, experts);
        std::vector<std::vector<numbers>> given;
        for (index_t r = 0; r < n; ++r)
            given.push_back(weights(naive::middle_rows(z, r, 1).values, r, batch, net));
        if constexpr (detail::gate_chooses_rows<Gate>())
            for (std::size_t e = 0; e < static_cast<std::size_t>(experts); ++e) {
                numbers column;
                for (auto const& w : given)
                    column.push_back(w[0][e]);
                std::sort(column.rbegin(), column.rend());
                double const last = column[static_cast<std::size_t>(Gate::rows_of_expert(n) - 1)];
                for (auto& w : given)
                    if (w[0][e] < last) w[0][e] = 0.0;
            }
        for (index_t r = 0; r < n; ++r) {
            auto const& w = given[static_cast<std::size_t>(r)];
            for (std::size_t j = 0; j < w.size(); ++j) {
                index_t const first = scores.rows > experts ? static_cast<index_t>(j) * experts : 0;
                naive::matrix p = sinkhorn(naive::middle_rows(scores, first, experts), 0.2, 20);
                if (!training) // nothing was learnt: every expert stays where it is
                    for (index_t a = 0; a < experts; ++a)
                        for (index_t b = 0; b < experts; ++b)
                            p(a, b) = a == b ? 1.0 : 0.0;
                for (index_t a = 0; a < experts; ++a)
                    for (index_t b = 0; b < experts; ++b)
                        g(r, b) += w[j][static_cast<std::size_t>(a)] * p(a, b);
            }
            double sum = 0.0;
            for (index_t e = 0; e < experts; ++e)
                sum += g(r, e);
            for (index_t e = 0; divided && e < experts; ++e)
                g(r, e) /= sum;
        }
        auto const y = training ? naive::forward<mode::train>(net, batch.x, batch.tags())
                                : naive::forward<mode::evaluate>(net, batch.x, batch.tags());
        naive::matrix expected(n, 3);
        for (index_t e = 0; e < experts; ++e) {
            std::string const path = "1.expert." + std::to_string(e) + ".";
            auto h = naive::affine(batch.x, naive::tensor(net, path + "0.kernel"), naive::tensor(net, path + "0.bias"));
            h = naive::map(h, [](double v) { return std::tanh(v); });
            h = naive::affine(h, naive::tensor(net, path + "1.kernel"), naive::tensor(net, path + "1.bias"));
            for (index_t r = 0; r < n; ++r)
                for (index_t c = 0; c < 3; ++c)
                    expected(r, c) += g(r, e) * h(r, c);
        }
        INFO(what << (training ? ", soft" : ", before the first step"));
        CHECK(naive::distance(y, expected) < 1e-12);
    }
}

} // namespace

TEST_CASE("local search: weights that add up to one are divided by their sum", "[layer][gate]") {
    using namespace gate;
    check<gate::softmax<3>, soft>("softmax", true,
                                  [](numbers const& z, auto&&...) { return std::vector<numbers>{exponentials(z)}; });
    check<gate::softmax<3, temperature<0.5>>, soft>("softmax at a temperature", true, [](numbers z, auto&&...) {
        for (double& v : z)
            v *= 2.0;
        return std::vector<numbers>{exponentials(z)};
    });
    check<top_k<4, 2>, soft>("top-2", true,
                             [](numbers const& z, auto&&...) { return std::vector<numbers>{top(z, 2, false)}; });
    check<comet<3, 2>, soft>("trees", true, [](numbers const& z, auto&&...) { return trees(z, 3, 2); });
    check<comet<4, 2>, soft_apart>("trees apart", true, [](numbers const& z, auto&&...) { return trees(z, 4, 2); });
    check<gate::hash<4, 6>, soft>("hash", true, [](numbers const&, index_t r, auto& batch, auto& net) {
        auto const key = static_cast<index_t>(batch.keys[static_cast<std::size_t>(r)]);
        return one_hot(static_cast<int>(naive::tensor(net, "1.gate.table")(0, key)), 4);
    });
    check<enforced<4>, soft>("enforced", true, [](numbers const&, index_t r, auto& batch, auto&) {
        return one_hot(batch.groups[static_cast<std::size_t>(r)], 4);
    });
    check<by_range<equal_ranges<4, 0.0, 4.0>>, soft>(
        "by range", true, [](numbers const&, index_t r, auto&&...) { return one_hot(static_cast<int>(r % 4), 4); });
}

TEST_CASE("local search: weights that need not add up to one are not divided", "[layer][gate]") {
    using namespace gate;
    // 3 and 5 experts leave codes without an expert, 4 do not: the same rule for all.
    check<dselect_k<3, 2>, soft>("3 experts", false, [](numbers const& z, auto&&...) { return selectors(z, 3, 2); });
    check<dselect_k<4, 2>, soft>("4 experts", false, [](numbers const& z, auto&&...) { return selectors(z, 4, 2); });
    check<dselect_k<5, 2>, soft_apart>("5 experts, selectors apart", false,
                                       [](numbers const& z, auto&&...) { return selectors(z, 5, 2); });
    check<same_for_all_rows<dselect_k<3, 2>>, soft>("3 experts for all rows", false,
                                                    [](numbers const& z, auto&&...) { return selectors(z, 3, 2); });
    check<top_k<4, 2, over_all>, soft>(
        "top-2 over all", false, [](numbers const& z, auto&&...) { return std::vector<numbers>{top(z, 2, true)}; });
    check<expert_choice<3, 1.5>, soft>(
        "expert choice", false, [](numbers const& z, auto&&...) { return std::vector<numbers>{exponentials(z)}; });
}

TEST_CASE("local search: the mass of dselect_k on codes without an expert stays lost", "[layer][gate]") {
    // Logits of 0: every code has 1/4, and three of them are experts.
    using stack = sequence<input<2>, moe<gate::local_search<gate::dselect_k<3, 2>>, dense<1>, dispatch::dense>>;
    naive::network<stack> net({6}, 1);
    naive::set_tensor(net, "1.gate.kernel", naive::matrix(2, 6));
    naive::set_tensor(net, "1.gate.bias", naive::matrix(1, 6));
    for (int e = 0; e < 3; ++e) {
        naive::set_tensor(net, "1.expert." + std::to_string(e) + ".kernel", naive::matrix(2, 1));
        naive::set_tensor(net, "1.expert." + std::to_string(e) + ".bias", naive::matrix(1, 1, e == 1 ? 1.0 : 0.0));
    }
    CHECK(naive::forward<mode::evaluate>(net, naive::matrix(1, 2, 1.0))(0, 0) == 0.25);
}
