// SPDX-License-Identifier: Apache-2.0
// The kernel bodies of gates on the emulated block: the policies' own ops, against the same ops sixteen rows at once.
#include <support/catch.hpp>

#include "launches.hpp"

#include <espalier/core/row.hpp>
#include <espalier/device/cpu/row_gate.hpp>
#include <espalier/gate/comet.hpp>
#include <espalier/gate/dselect_k.hpp>
#include <espalier/gate/local_search.hpp>
#include <espalier/gate/softmax.hpp>
#include <espalier/gate/top_k.hpp>
#include <espalier/kernels/row_gate.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

namespace {

using namespace kernel_tests;
namespace k = espalier::kernels;
namespace gate = espalier::gate;
using espalier::matrix_view;

constexpr float nan_value = std::numeric_limits<float>::quiet_NaN();
constexpr float infinity = std::numeric_limits<float>::infinity();

/// A user's gate with numbers of its own and a term: the winner of the scaled logits with weight 1 / (1 + exp(-z)), and
/// the mean of (log sum_c exp(z_c))^2.
template <int Experts> struct loud_op {
    double factor = 0.0;
    static constexpr bool has_term = true;

    template <class Group, class T>
    ESPALIER_FN T route(Group const& group, espalier::row<Group, T, Experts> const& z,
                        espalier::gate_slots<T, 1>& chosen) const {
        using S = espalier::scalar_of<T>;
        auto const best = espalier::row_argmax(group, z);
        chosen.expert[0] = best.column;
        chosen.weight[0] = espalier::sigmoid(T(static_cast<S>(factor)) * best.value);
        T const l = espalier::row_log_sum_exp(group, z);
        return l * l;
    }
    template <class Group, class T>
    ESPALIER_FN void backward(Group const& group, espalier::row<Group, T, Experts> const& z,
                              espalier::gate_slots<T, 1> const& chosen, T const (&dweight)[1], T const& term_scale,
                              espalier::row<Group, T, Experts>& dz) const {
        using S = espalier::scalar_of<T>;
        T const l = espalier::row_log_sum_exp(group, z), w = chosen.weight[0], zero(S(0));
        T const own = dweight[0] * T(static_cast<S>(factor)) * w * (T(S(1)) - w);
        dz = z;
        espalier::row_softmax(group, dz);
        ESPALIER_ROW_UNROLL
        for (int i = 0; i < dz.local; ++i)
            dz.v[i] = term_scale * T(S(2)) * l * dz.v[i] +
                      espalier::select(dz.column(group, i) == chosen.expert[0], own, zero);
    }
};
template <int Experts> struct loud {
    static constexpr int experts = Experts, slots = 1, logits = Experts;
    static constexpr bool slot_is_expert = false;
    using op = loud_op<Experts>;
};

/// A gate whose logits are more than its experts, two for each: weights softmax_e(z_e + z_{e + Experts}), with a term,
/// the sum of the second half.
template <int Experts> struct paired {
    static constexpr int experts = Experts, slots = Experts, logits = 2 * Experts;
    static constexpr bool slot_is_expert = true, has_term = true;

    template <class Group, class T>
    ESPALIER_FN T route(Group const& group, espalier::row<Group, T, logits> const& z,
                        espalier::row<Group, T, slots>& weights) const {
        static_assert(Experts % static_cast<int>(Group::lanes) == 0 || Group::lanes == 1);
        ESPALIER_ROW_UNROLL
        for (int i = 0; i < weights.local; ++i)
            weights.v[i] = z.v[i] + z.v[i + weights.local];
        espalier::row_softmax(group, weights);
        T sum(espalier::scalar_of<T>(0));
        ESPALIER_ROW_UNROLL
        for (int i = 0; i < weights.local; ++i)
            sum += z.v[i + weights.local];
        return group.reduce_add(sum);
    }
    template <class Group, class T>
    ESPALIER_FN void backward(Group const& group, espalier::row<Group, T, logits> const&,
                              espalier::row<Group, T, slots> const& weights,
                              espalier::row<Group, T, slots> const& dweights, T const& term_scale,
                              espalier::row<Group, T, logits>& dz) const {
        T const mean = espalier::row_dot(group, weights, dweights);
        ESPALIER_ROW_UNROLL
        for (int i = 0; i < weights.local; ++i) {
            dz.v[i] = weights.v[i] * (dweights.v[i] - mean);
            dz.v[i + weights.local] = dz.v[i] + term_scale;
        }
    }
};

/// Logits with everything that a choice may stumble over.
std::vector<float> difficult(index_t n, int columns) {
    auto z = numbers<float>(n * columns, 11);
    for (index_t r = 0; r < n; ++r) {
        float* const row = z.data() + r * columns;
        for (int c = 0; c < columns; ++c) {
            if (r == 0) row[c] = 1.0f;                                     // all equal
            if (r == 1) row[c] = c % 2 ? 0.0f : -0.0f;                     // equal zeros
            if (r == 2) row[c] = nan_value;                                // no number
            if (r == 3) row[c] = -infinity;                                // nothing above minus infinity
            if (r == 4 && c % 3 != 1) row[c] = nan_value;                  // few numbers
            if (r == 5) row[c] = static_cast<float>(c / 2);                // pairs of ties
            if (r == 6 && c + 1 < columns) row[c] = -infinity;             // one candidate
            if (r == 7 && c == columns / 2) row[c] = infinity;             // one that beats all
            if (r == 8 && c % 5 == 2) row[c] = infinity;                   // several of them
            if (r == 9 && c != columns - 1) row[c] = nan_value;            // one number, the last one
            if (r == 10) row[c] = static_cast<float>(columns - c) * 0.25f; // falling
            if (r % 4 == 3 && r > 10) row[c] = std::round(row[c]);         // many ties
            if (r == 12 && c % 7 == 3) row[c] = nan_value;                 // a few NaN among numbers
        }
    }
    return z;
}

/// Equal within the tolerance, or both NaN.
bool same(double a, double b, double tolerance) {
    return std::isnan(a) || std::isnan(b) ? std::isnan(a) && std::isnan(b) : near(a, b, tolerance);
}

template <class T> struct routed {
    std::vector<T> weight, gradient;
    std::vector<std::int32_t> expert;
    double term = -7.0;
    routed(std::size_t slots, std::size_t logits)
        : weight(slots, T(-7)), gradient(logits, T(-7)), expert(slots, std::int32_t(-7)) {}
};

template <class Gate, class Op, class Launch, class T>
routed<T> by_bodies(Launch const& launch, Op const& op, std::vector<T> const& logits, std::vector<T> const& dweight,
                    index_t n) {
    constexpr int slots = Gate::slots, columns = Gate::logits;
    routed<T> g(static_cast<std::size_t>(n * slots), logits.size());
    std::vector<double> terms(static_cast<std::size_t>(n), -7.0);
    matrix_view<T const> const z{logits.data(), n, columns, columns};
    matrix_view<T> const weight{g.weight.data(), n, slots, slots};
    matrix_view<std::int32_t> const expert{Gate::slot_is_expert ? nullptr : g.expert.data(), n, slots, slots};
    launch([&](auto const& block) { k::row_gate_forward<Gate>(block, op, z, weight, expert, terms.data()); });
    espalier::emulated_launch<32>(1, [&](auto& block) { k::gate_term(block, terms.data(), n, &g.term); });
    launch([&](auto const& block) {
        k::row_gate_backward<Gate>(block, op, z, matrix_view<T const>(weight), matrix_view<std::int32_t const>(expert),
                                   matrix_view<T const>{dweight.data(), n, slots, slots},
                                   matrix_view<T>{g.gradient.data(), n, columns, columns});
    });
    return g;
}

template <class Gate, class Op, class T>
void expect_equal(routed<T> const& g, Op const& op, std::vector<T> const& logits, std::vector<T> const& dweight,
                  index_t n) {
    constexpr int slots = Gate::slots, columns = Gate::logits;
    routed<T> e(g.weight.size(), logits.size());
    matrix_view<T const> const z{logits.data(), n, columns, columns};
    matrix_view<T> const weight{e.weight.data(), n, slots, slots};
    matrix_view<std::int32_t> const expert{Gate::slot_is_expert ? nullptr : e.expert.data(), n, slots, slots};
    espalier::gate_run run;
    run.term = &e.term;
    espalier::cpu::route<T, Gate>(op, z, weight, expert, run);
    // The gradient of the bodies' own choice, so that an empty slot's expert, which nobody looks at, is the same.
    matrix_view<T const> const used{g.weight.data(), n, slots, slots};
    matrix_view<std::int32_t const> const used_expert{Gate::slot_is_expert ? nullptr : g.expert.data(), n, slots,
                                                      slots};
    espalier::cpu::route_backward<T, Gate>(op, z, used, used_expert,
                                           matrix_view<T const>{dweight.data(), n, slots, slots},
                                           matrix_view<T>{e.gradient.data(), n, columns, columns});
    auto const close = [](T a, T b, double tolerance) {
        return same(static_cast<double>(a), static_cast<double>(b), sizeof(T) > 4 ? 1e-4 * tolerance : tolerance);
    };
    for (index_t r = 0; r < n; ++r) {
        bool right = true;
        for (index_t s = 0; s < slots; ++s) {
            auto const at = static_cast<std::size_t>(r * slots + s);
            right &= close(g.weight[at], e.weight[at], 2e-6) && (g.weight[at] == T(0)) == (e.weight[at] == T(0));
            if (Gate::slot_is_expert) continue;
            right &= g.expert[at] >= 0 && g.expert[at] < Gate::experts;
            right &= g.weight[at] == T(0) || g.expert[at] == e.expert[at];
        }
        for (index_t c = 0; c < columns; ++c) {
            auto const at = static_cast<std::size_t>(r * columns + c);
            right &= close(g.gradient[at], e.gradient[at], 4e-6);
        }
        CAPTURE(Gate::experts, slots, r);
        REQUIRE(right);
    }
    if constexpr (espalier::detail::gate_has_term<Op>())
        REQUIRE(close(static_cast<T>(g.term), static_cast<T>(e.term), 4e-6));
}

/// All launches give the same bits, and those are the CPU's numbers.
template <class Gate, class T = float, class Op> void check_launches(Op const& op, bool clean) {
    for (index_t n : {0, 1, 27}) {
        CAPTURE(Gate::experts, Gate::slots, n);
        auto const difficult_ones = difficult(n, Gate::logits);
        auto const logits =
            clean ? numbers<T>(n * Gate::logits, 13) : std::vector<T>(difficult_ones.begin(), difficult_ones.end());
        auto const dweight = numbers<T>(n * Gate::slots, 12);
        std::vector<routed<T>> got;
        for_launches([&](auto const& launch) { got.push_back(by_bodies<Gate>(launch, op, logits, dweight, n)); });
        for (auto const& g : got) {
            REQUIRE(same_bits(g.weight, got[0].weight));
            REQUIRE(same_bits(g.expert, got[0].expert));
            REQUIRE(same_bits(g.gradient, got[0].gradient));
        }
        expect_equal<Gate>(got[0], op, logits, dweight, n);
    }
}

/// One launch shape, for the many pairs of experts and winners.
template <class Gate> void check_one() {
    auto const launch = [](auto const& body) {
        espalier::emulated_launch<32>(3, [&](auto& group) { body(group); }, {.order_seed = 5});
    };
    for (index_t n : {0, 1, 27}) {
        auto const logits = difficult(n, Gate::logits);
        auto const dweight = numbers<float>(n * Gate::slots, 12);
        expect_equal<Gate>(by_bodies<Gate>(launch, Gate{}, logits, dweight, n), Gate{}, logits, dweight, n);
    }
}

/// Gates with splits or bits of which some are saturated; in one row the first is NaN, which no other row may see. In
/// double: where hardly any mass is left on experts, the gradient of a gate of codes has lost most digits of a float.
template <class Gate, class Launch> void check_on(Launch const& launch) {
    auto const op = Gate::at(espalier::clock{});
    for (index_t n : {0, 1, 27}) {
        auto logits = numbers<double>(n * Gate::logits, 13);
        if (n > 5) logits[static_cast<std::size_t>(5 * Gate::logits)] = std::numeric_limits<double>::quiet_NaN();
        auto const dweight = numbers<double>(n * Gate::slots, 12);
        auto const got = by_bodies<Gate>(launch, op, logits, dweight, n);
        if (n > 5) REQUIRE(std::isnan(got.weight[5 * Gate::slots]));
        expect_equal<Gate>(got, op, logits, dweight, n);
    }
}
template <class Gate> void check_shared() {
    check_on<Gate>([](auto const& body) {
        espalier::emulated_launch<64>(2, [&](auto& group) { body(group); }, {.order_seed = 5});
    });
}

template <int Experts> void check_top_k() {
    check_one<gate::top_k<Experts, 1>>();
    if constexpr (Experts >= 2) check_one<gate::top_k<Experts, 2>>();
    if constexpr (Experts >= 4) check_one<gate::top_k<Experts, 4>>();
    if constexpr (Experts >= 8) check_one<gate::top_k<Experts, 8>>();
}

} // namespace

TEST_CASE("top-k gate bodies give the CPU's choice: ties, infinities and NaN included") {
    check_top_k<1>();
    check_top_k<2>();
    check_top_k<3>();
    check_top_k<5>();
    check_top_k<8>();
    check_top_k<16>();
    check_top_k<33>();
    check_top_k<64>();
    check_top_k<128>();
    check_top_k<200>();
    check_top_k<512>();
    check_one<gate::top_k<9, 3, gate::over_all>>();
    check_one<gate::top_k<200, 2, gate::over_all>>();
}

TEST_CASE("gate bodies: the same bits for every launch") {
    check_launches<gate::top_k<5, 2>>(gate::top_k<5, 2>{}, false);
    check_launches<gate::top_k<64, 2>>(gate::top_k<64, 2>{}, false);
    check_launches<gate::softmax<3>>(gate::softmax<3>{}, false);
    check_launches<gate::softmax<40>>(gate::softmax<40>{}, false);
}

TEMPLATE_TEST_CASE("gate bodies: softmax", "[kernels]", gate::softmax<1>, gate::softmax<2>, gate::softmax<8>,
                   gate::softmax<33>, gate::softmax<64>, gate::softmax<200>) {
    check_one<TestType>();
}

TEST_CASE("gate bodies: a gate of one's own, with numbers and a term") {
    check_launches<loud<7>>(loud_op<7>{0.75}, true);
    check_launches<loud<100>>(loud_op<100>{1.5}, true);
    check_launches<paired<4>>(paired<4>{}, true);
    check_launches<paired<32>>(paired<32>{}, true);
}

TEMPLATE_TEST_CASE("gate bodies: codes, whose lanes share memory", "[kernels]", (gate::dselect_k<2, 1, 0.3, 2.0>),
                   (gate::dselect_k<3, 2, 0.3, 2.0>), (gate::dselect_k<5, 4, 0.3, 2.0>),
                   (gate::dselect_k<8, 1, 0.3, 2.0>), (gate::dselect_k<16, 2, 0.3, 2.0>),
                   (gate::dselect_k<33, 4, 0.3, 2.0>), (gate::dselect_k<128, 2, 0.3, 2.0>),
                   (gate::dselect_k<200, 1, 0.3, 2.0>), (gate::dselect_k<512, 2, 0.3, 2.0>)) {
    check_shared<TestType>();
}

TEST_CASE("gate bodies: codes, the same bits for every launch") {
    STATIC_REQUIRE(k::gate_lanes<gate::softmax<22>, gate::softmax<22>>() == 8);
    using large = gate::dselect_k<64, 4, 0.3, 4.0>;
    STATIC_REQUIRE(k::gate_lanes<large, large::op>() == 16);
    using small = gate::dselect_k<6, 2, 0.3, 4.0>;
    check_launches<small, double>(small::at(espalier::clock{}), true);
    check_launches<large, double>(large::at(espalier::clock{}), true);
}

TEMPLATE_TEST_CASE("gate bodies: trees, whose lanes share memory", "[kernels]", (gate::comet<2, 1, 0.3, 2.0>),
                   (gate::comet<3, 1, 0.3, 2.0>), (gate::comet<5, 4, 0.3, 2.0>), (gate::comet<8, 2, 0.3, 2.0>),
                   (gate::comet<16, 2, 0.3, 2.0>), (gate::comet<33, 4, 0.3, 2.0>), (gate::comet<64, 4, 0.3, 2.0>),
                   (gate::comet<128, 3, 0.3, 2.0>), (gate::comet<200, 2, 0.3, 2.0>), (gate::comet<512, 1, 0.3, 2.0>)) {
    check_shared<TestType>();
}

TEST_CASE("gate bodies: trees, the same bits for every launch") {
    using small = gate::comet<6, 2, 0.3, 4.0>;
    check_launches<small, double>(small::at(espalier::clock{}), true);
    using large = gate::comet<64, 4, 0.3, 4.0>;
    check_launches<large, double>(large::at(espalier::clock{}), true);
}

TEST_CASE("gate bodies: trees and codes for each of which a search moves the experts") {
    using apart = gate::detail::taken_apart<gate::comet<6, 2, 0.3, 4.0>>;
    check_launches<apart, double>(apart::at(espalier::clock{}), true);
    using wide = gate::detail::taken_apart<gate::comet<33, 3, 0.3, 4.0>>;
    check_launches<wide, double>(wide::at(espalier::clock{}), true);
    using codes = gate::detail::taken_apart<gate::dselect_k<33, 3, 0.3, 4.0>>;
    check_launches<codes, double>(codes::at(espalier::clock{}), true);
}

TEST_CASE("gate bodies: a block works on a row that is too wide, or shares too much, for a tile") {
    using wide = gate::comet<200, 3, 0.3, 2.0>;
    using large = gate::comet<512, 1, 0.3, 2.0>;
    using usual = gate::comet<64, 4, 0.3, 4.0>;
    STATIC_REQUIRE(wide::logits > k::widest_tile_row);
    STATIC_REQUIRE(k::gate_takes_block<wide, wide::op, double, 256>());
    STATIC_REQUIRE(large::logits <= k::widest_tile_row);
    STATIC_REQUIRE(k::gate_takes_block<large, large::op, double, 256>());
    STATIC_REQUIRE_FALSE(k::gate_takes_block<usual, usual::op, float, 256>());
    auto const launch = [](auto const& body) {
        espalier::emulated_launch<256>(2, [&](auto& group) { body(group); }, {.order_seed = 5});
    };
    check_on<wide>(launch);
    check_on<large>(launch);
}
