// SPDX-License-Identifier: Apache-2.0
// Gates against a sorting oracle and central differences, row by row.
#include <espalier/core/random.hpp>
#include <espalier/device/cpu/row_gate.hpp>
#include <espalier/gate/softmax.hpp>
#include <espalier/gate/top_k.hpp>

#include <support/catch.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

using namespace espalier;

namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();
constexpr double nan_value = std::numeric_limits<double>::quiet_NaN();

double random(std::uint32_t i) {
    return 2.0 * uniform01(draw(make_site(11, 3), i, 0).word[0]) - 1.0;
}

/// What a gate decided about a batch.
struct routed {
    std::vector<double> weight;
    std::vector<std::int32_t> expert;
};

template <class Gate, class T> routed route(std::vector<double> const& logits) {
    std::vector<T> const z(logits.begin(), logits.end());
    index_t const n = static_cast<index_t>(logits.size()) / Gate::logits;
    std::vector<T> weight(static_cast<std::size_t>(n * Gate::slots), T(-7));
    routed r;
    r.expert.assign(static_cast<std::size_t>(n * Gate::slots), -7);
    cpu::route<T, Gate>(
        Gate{}, contiguous_view<T const>(z.data(), n, Gate::logits), contiguous_view(weight.data(), n, Gate::slots),
        Gate::slot_is_expert ? matrix_view<std::int32_t>{} : contiguous_view(r.expert.data(), n, Gate::slots));
    r.weight.assign(weight.begin(), weight.end());
    return r;
}

/// Experts of one row by falling logit, lower numbers first among equals; without those that never win.
std::vector<int> ranked(double const* z, int experts) {
    std::vector<int> order;
    for (int e = 0; e < experts; ++e)
        if (z[e] > -infinity) order.push_back(e); // false for NaN
    std::stable_sort(order.begin(), order.end(), [&](int a, int b) { return z[a] > z[b]; });
    return order;
}

template <int Experts, int K, class T> void check_against_sorting() {
    constexpr index_t n = 37;
    std::vector<double> logits(static_cast<std::size_t>(n * Experts));
    for (std::size_t i = 0; i < logits.size(); ++i)
        logits[i] = static_cast<double>(static_cast<T>(3.0 * random(static_cast<std::uint32_t>(i))));
    for (index_t r = 0; r < n; ++r) {
        double* const z = logits.data() + r * Experts;
        for (int e = 0; e < Experts; ++e) {
            if (r % 4 == 1) z[e] = std::round(z[e]);        // many ties
            if (r == 2) z[e] = 0.5;                         // nothing but ties
            if (r % 8 == 3 && e % 3 == 0) z[e] = -infinity; // may leave fewer than k
            if (r % 8 == 7 && e % 2 == 0) z[e] = nan_value;
            if (r == 9) z[e] = e == Experts / 2 ? 1.0 : nan_value; // one candidate
            if (r == 10) z[e] = nan_value;                         // none
        }
    }
    auto const got = route<gate::top_k<Experts, K>, T>(logits);
    auto const all = route<gate::top_k<Experts, K, gate::over_all>, T>(logits);
    double const tolerance = sizeof(T) == 4 ? 2e-6 : 1e-14;
    bool right = true;
    for (index_t r = 0; r < n; ++r) {
        double const* const z = logits.data() + r * Experts;
        auto const order = ranked(z, Experts);
        bool const has_nan = std::any_of(z, z + Experts, [](double v) { return std::isnan(v); });
        double winners = 0.0, total = 0.0;
        for (std::size_t i = 0; i < order.size(); ++i) {
            double const e = std::exp(z[order[i]] - z[order[0]]);
            total += e;
            if (i < K) winners += e;
        }
        for (std::size_t k = 0; k < K; ++k) {
            std::size_t const at = static_cast<std::size_t>(r) * K + k;
            if (k < order.size()) {
                double const e = std::exp(z[order[k]] - z[order[0]]);
                right = right && got.expert[at] == order[k] && all.expert[at] == order[k] &&
                        std::abs(got.weight[at] - e / winners) <= tolerance;
                if (!has_nan) right = right && std::abs(all.weight[at] - e / total) <= tolerance;
            } else {
                right = right && got.weight[at] == 0.0; // an empty slot; its expert is not looked at
            }
            if (!right) {
                INFO(Experts << " experts, k = " << K << ", row " << r << ", slot " << k << ": expert "
                             << got.expert[at] << ", weight " << got.weight[at] << ", over all " << all.weight[at]);
                CHECK(right);
                return;
            }
        }
    }
    CHECK(right);
}

} // namespace

TEMPLATE_TEST_CASE_SIG("top_k against sorting: ties, NaN and minus infinity included", "[gate]",
                       ((int Experts), Experts), 1, 2, 3, 5, 8, 16, 33, 64, 128) {
    check_against_sorting<Experts, 1, double>();
    check_against_sorting<Experts, 1, float>();
    if constexpr (Experts >= 2) check_against_sorting<Experts, 2, double>();
    if constexpr (Experts >= 4) check_against_sorting<Experts, 4, float>();
    if constexpr (Experts >= 8) check_against_sorting<Experts, 8, double>();
}

// d objective / d logits by `backward` against differences of objective = sum over slots of c(expert) * weight.
TEMPLATE_TEST_CASE("gates: gradients against central differences", "[gate]", gate::softmax<7>, gate::softmax<40>,
                   (gate::top_k<7, 1>), (gate::top_k<7, 3>), (gate::top_k<40, 4>), (gate::top_k<7, 3, gate::over_all>),
                   (gate::top_k<40, 2, gate::over_all>)) {
    using Gate = TestType;
    constexpr index_t n = 19;
    constexpr int experts = Gate::logits, slots = Gate::slots;
    std::vector<double> logits(static_cast<std::size_t>(n * experts)), cost(logits.size());
    for (std::size_t i = 0; i < logits.size(); ++i) {
        logits[i] = 2.0 * random(static_cast<std::uint32_t>(i));
        cost[i] = random(static_cast<std::uint32_t>(i) + 100000);
    }
    auto const expert_of = [&](routed const& g, index_t r, int s) {
        return Gate::slot_is_expert ? s : g.expert[static_cast<std::size_t>(r * slots + s)];
    };
    auto const objective = [&](index_t r) {
        auto const g = route<Gate, double>(logits);
        double sum = 0.0;
        for (int s = 0; s < slots; ++s)
            sum += cost[static_cast<std::size_t>(r * experts + expert_of(g, r, s))] *
                   g.weight[static_cast<std::size_t>(r * slots + s)];
        return sum;
    };
    auto const g = route<Gate, double>(logits);
    std::vector<double> dweight(static_cast<std::size_t>(n * slots)), dz(logits.size(), -7.0);
    for (index_t r = 0; r < n; ++r)
        for (int s = 0; s < slots; ++s)
            dweight[static_cast<std::size_t>(r * slots + s)] =
                cost[static_cast<std::size_t>(r * experts + expert_of(g, r, s))];
    cpu::route_backward<double, Gate>(
        Gate{}, contiguous_view<double const>(logits.data(), n, experts),
        contiguous_view<double const>(g.weight.data(), n, slots),
        Gate::slot_is_expert ? matrix_view<std::int32_t const>{}
                             : contiguous_view<std::int32_t const>(g.expert.data(), n, slots),
        contiguous_view<double const>(dweight.data(), n, slots), contiguous_view(dz.data(), n, experts));
    double worst = 0.0;
    for (index_t r = 0; r < n; r += 3)
        for (int e = 0; e < experts; ++e) {
            double& z = logits[static_cast<std::size_t>(r * experts + e)];
            double const old = z;
            z = old + 1e-6;
            double const above = objective(r);
            z = old - 1e-6;
            double const below = objective(r);
            z = old;
            worst = std::max(worst, std::abs((above - below) / 2e-6 - dz[static_cast<std::size_t>(r * experts + e)]));
        }
    INFO("worst difference " << worst);
    CHECK(worst < 1e-8);
}

TEST_CASE("top_k: numbers worked out by hand elsewhere", "[gate]") {
    std::vector<double> const clean{1, .5, -.2, .1, .3, -.4, .8, .2, -.1, .6, .55, -.3};
    double const weights[3][2] = {{0.622459331, 0.377540669}, {0.622459331, 0.377540669}, {0.512497396, 0.487502604}};
    std::int32_t const experts[3][2] = {{0, 1}, {2, 0}, {1, 2}};
    auto const got = route<gate::top_k<4, 2>, double>(clean);
    for (std::size_t r = 0; r < 3; ++r)
        for (std::size_t k = 0; k < 2; ++k) {
            CHECK(got.weight[2 * r + k] == Approx(weights[r][k]).margin(1e-9));
            CHECK(got.expert[2 * r + k] == experts[r][k]);
        }
    // the gradient for dg = (1, -1, .5, 2)
    double const by_expert[] = {1, -1, .5, 2};
    std::vector<double> dweight, dz(12);
    for (std::int32_t const e : got.expert)
        dweight.push_back(by_expert[e]);
    cpu::route_backward<double, gate::top_k<4, 2>>(
        gate::top_k<4, 2>{}, contiguous_view<double const>(clean.data(), 3, 4),
        contiguous_view<double const>(got.weight.data(), 3, 2),
        contiguous_view<std::int32_t const>(got.expert.data(), 3, 2),
        contiguous_view<double const>(dweight.data(), 3, 2), contiguous_view(dz.data(), 3, 4));
    double const expected[] = {0.470007424, -0.470007424, 0,           0, 0.117501856, 0, -0.117501856, 0,
                               0,           -0.374765723, 0.374765723, 0};
    for (std::size_t i = 0; i < 12; ++i)
        CHECK(dz[i] == Approx(expected[i]).margin(1e-9));
}
