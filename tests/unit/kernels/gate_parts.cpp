// SPDX-License-Identifier: Apache-2.0
// Gates made of parts on the emulated block: noise of every row's own, a learned scale of it, and terms over the batch,
// against the CPU's sixteen rows at once.
#include <support/catch.hpp>

#include "launches.hpp"

#include <espalier/core/policy.hpp>
#include <espalier/core/random.hpp>
#include <espalier/core/rows.hpp>
#include <espalier/device/cpu/row_gate.hpp>
#include <espalier/gate/balance.hpp>
#include <espalier/gate/entropy.hpp>
#include <espalier/gate/importance.hpp>
#include <espalier/gate/jitter.hpp>
#include <espalier/gate/learned_noise.hpp>
#include <espalier/gate/load.hpp>
#include <espalier/gate/softmax.hpp>
#include <espalier/gate/temperature.hpp>
#include <espalier/gate/top_k.hpp>
#include <espalier/gate/z_loss.hpp>
#include <espalier/kernels/row_gate.hpp>
#include <espalier/kernels/sums.hpp>

#include <cstdint>
#include <vector>

namespace {

using namespace kernel_tests;
namespace k = espalier::kernels;
namespace gate = espalier::gate;
using espalier::matrix_view;

/// A gate's run over one batch: what stays on the tape, and the way back.
struct routed {
    std::vector<float> weight, gradient;
    std::vector<std::int32_t> expert;
    std::vector<double> slopes;
    double term = -7.0;
};

template <class Gate> struct batch_of {
    static constexpr int statistics = Gate::op::needs.statistics, columns = Gate::logits, slots = Gate::slots;
    static constexpr index_t sums = index_t{statistics} * Gate::experts;
    index_t n;
    std::vector<float> logits, dweight;
    std::vector<std::uint32_t> origin;
    espalier::gate_run run;

    batch_of(index_t rows, bool draws) : n(rows), logits(numbers<float>(rows * columns, 21)) {
        dweight = numbers<float>(rows * slots, 22);
        for (index_t r = 0; r < rows; ++r)
            origin.push_back(static_cast<std::uint32_t>(1000 - 3 * r));
        run.draws = draws;
        run.site = espalier::make_site(7, 3, 11, 1);
        run.batch.count = rows;
        run.batch.origin = origin.data();
    }
    matrix_view<float const> z() const { return {logits.data(), n, columns, columns}; }
    matrix_view<float const> dw() const { return {dweight.data(), n, slots, slots}; }
    routed empty() const {
        routed g;
        g.weight.assign(static_cast<std::size_t>(n * slots), -7.0f);
        g.expert.assign(g.weight.size(), -7);
        g.gradient.assign(logits.size(), -7.0f);
        g.slopes.assign(static_cast<std::size_t>(2 * sums), -7.0);
        return g;
    }
    matrix_view<float> weights(routed& g) const { return {g.weight.data(), n, slots, slots}; }
    matrix_view<std::int32_t> experts(routed& g) const {
        return {Gate::slot_is_expert ? nullptr : g.expert.data(), n, slots, slots};
    }
};

template <class Gate, class Launch, class Op>
routed by_bodies(Launch const& launch, Op const& op, batch_of<Gate> const& b) {
    constexpr index_t sums = batch_of<Gate>::sums;
    routed g = b.empty();
    std::vector<double> terms(static_cast<std::size_t>(b.n), -7.0);
    std::vector<float> statistics(static_cast<std::size_t>(b.n * sums), -7.0f);
    std::vector<float> partial(static_cast<std::size_t>(k::partial_size(b.n, sums)), -7.0f);
    k::gate_batch<float> given{b.run.site, b.run.batch, b.run.draws, statistics.data(), g.slopes.data() + sums};
    launch([&](auto const& block) {
        k::row_gate_forward<Gate>(block, op, b.z(), b.weights(g), b.experts(g), terms.data(), given);
    });
    if constexpr (sums > 0) {
        launch([&](auto const& block) {
            k::column_partials(block, matrix_view<float const>{statistics.data(), b.n, sums, sums}, partial.data());
        });
        espalier::emulated_launch<64>(1, [&](auto& block) {
            k::gate_statistics<static_cast<int>(sums)>(block, op, static_cast<float const*>(partial.data()),
                                                       static_cast<double const*>(terms.data()), b.n, g.slopes.data(),
                                                       &g.term);
        });
    } else if constexpr (espalier::detail::gate_has_term<Op>()) {
        espalier::emulated_launch<32>(1, [&](auto& block) { k::gate_term(block, terms.data(), b.n, &g.term); });
    }
    launch([&](auto const& block) {
        k::row_gate_backward<Gate>(block, op, b.z(), matrix_view<float const>(b.weights(g)),
                                   matrix_view<std::int32_t const>(b.experts(g)), b.dw(),
                                   matrix_view<float>{g.gradient.data(), b.n, Gate::logits, Gate::logits}, given);
    });
    return g;
}

template <class Gate, class Op> routed by_cpu(Op const& op, batch_of<Gate> const& b) {
    routed g = b.empty();
    espalier::gate_run run = b.run;
    run.term = &g.term;
    run.slopes = g.slopes.data();
    espalier::cpu::route<float, Gate>(op, b.z(), b.weights(g), b.experts(g), run);
    espalier::cpu::route_backward<float, Gate>(
        op, b.z(), matrix_view<float const>(b.weights(g)), matrix_view<std::int32_t const>(b.experts(g)), b.dw(),
        matrix_view<float>{g.gradient.data(), b.n, Gate::logits, Gate::logits}, run);
    return g;
}

template <class T> void require_near(std::vector<T> const& got, std::vector<T> const& expected, double tolerance) {
    REQUIRE(got.size() == expected.size());
    std::size_t wrong = 0;
    for (std::size_t i = 0; i < got.size(); ++i)
        wrong += !near(static_cast<double>(got[i]), static_cast<double>(expected[i]), tolerance);
    REQUIRE(wrong == 0);
}

/// All launches give the same bits, and those are the CPU's numbers; noise reaches the weights where it is drawn.
template <class Gate> void check() {
    auto const op = Gate::at(espalier::clock{});
    for (bool draws : {false, true})
        for (index_t n : {0, 1, 27, 130}) {
            CAPTURE(Gate::experts, Gate::slots, n, draws);
            batch_of<Gate> const b(n, draws);
            std::vector<routed> got;
            for_launches([&](auto const& launch) { got.push_back(by_bodies<Gate>(launch, op, b)); });
            for (auto const& g : got) {
                REQUIRE(same_bits(g.weight, got[0].weight));
                REQUIRE(same_bits(g.expert, got[0].expert));
                REQUIRE(same_bits(g.gradient, got[0].gradient));
                REQUIRE(same_bits(g.slopes, got[0].slopes));
                REQUIRE(g.term == got[0].term);
            }
            routed const e = by_cpu<Gate>(op, b);
            require_near(got[0].weight, e.weight, 4e-6);
            if (!Gate::slot_is_expert) REQUIRE(got[0].expert == e.expert);
            require_near(got[0].slopes, e.slopes, 2e-5);
            require_near(got[0].gradient, e.gradient, 2e-5);
            if constexpr (espalier::detail::gate_has_term<decltype(op)>()) REQUIRE(near(got[0].term, e.term, 2e-5));
            if (draws && n > 1 && Gate::op::needs.noise) {
                batch_of<Gate> const still(n, false);
                REQUIRE_FALSE(same_bits(by_cpu<Gate>(op, still).weight, e.weight));
            }
        }
}

} // namespace

TEMPLATE_TEST_CASE("gate bodies: noise is drawn for every row and expert", "[kernels]",
                   (gate::top_k<8, 2, gate::jitter<0.5>>), (gate::softmax<13, gate::jitter<0.5>>)) {
    check<TestType>();
}

TEMPLATE_TEST_CASE("gate bodies: a learned scale of the noise stands in the second half of the logits", "[kernels]",
                   (gate::top_k<8, 2, gate::learned_noise>),
                   (gate::top_k<33, 3, gate::learned_noise, gate::over_all>)) {
    check<TestType>();
}

TEMPLATE_TEST_CASE("gate bodies: terms over the batch are sums of all rows, and their slopes come back", "[kernels]",
                   (gate::top_k<16, 2, gate::balance<0.3>>), (gate::top_k<40, 2, gate::z_loss<0.1>>),
                   (gate::top_k<40, 2, gate::importance<0.2>, gate::z_loss<0.1>>),
                   (gate::top_k<8, 2, gate::learned_noise, gate::importance<0.2>, gate::load<0.4>>),
                   (gate::softmax<5, gate::temperature<0.7>, gate::importance<0.2>, gate::entropy<0.1>>)) {
    check<TestType>();
}
