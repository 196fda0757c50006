// SPDX-License-Identifier: Apache-2.0
// COMET against published numbers, central differences, and itself in packs.
#include <espalier/core/group.hpp>
#include <espalier/core/random.hpp>
#include <espalier/gate/comet.hpp>
#include <espalier/gate/smooth_step.hpp>
#include <espalier/gate/soft_tree.hpp>
#include <espalier/schedule/linear.hpp>

#include "whole_row.hpp"

#include <support/catch.hpp>

#include <cmath>
#include <type_traits>
#include <vector>

using namespace espalier;

namespace {

using whole_row::route;
using whole_row::serial_row;

template <int Experts, int Trees> void check_gradient() {
    // At this spread some splits saturate.
    int const closed = whole_row::check_gradient<Experts>(gate::comet_op<Experts, Trees>{1.0, 0.3}, 0.8, 11);
    if (Experts > 4) CHECK(closed > 0);
}

} // namespace

TEST_CASE("comet: published row values", "[gate][comet]") {
    // 4 experts, 2 trees: logits from x, kernel and bias; first row of the published example, and both its terms.
    double const x[2][2] = {{.3, -.2}, {-.5, .4}};
    double const ws[3][2][2] = {{{.5, .1}, {-.4, .3}}, {{.2, -.6}, {.9, .1}}, {{-.3, .2}, {.2, .2}}};
    double const bs[3][2] = {{.05, -.1}, {0, .02}, {.1, 0}};
    double const wa[4][2][2] = {{{.1, .2}, {-.1, 0}}, {{0, .3}, {.2, .2}}, {{-.2, .1}, {0, -.3}}, {{.4, 0}, {.1, .1}}};
    double const ba[4][2] = {{0, .1}, {.2, 0}, {-.1, 0}, {0, .3}};
    double const g[2][4] = {{0.310101308, 0.103212566, 0.265016656, 0.32166947},
                            {0.023795758, 0.52236186, 0.368406578, 0.085435804}};
    double const dg[2][4] = {{1, 0, 0, 0}, {0, 0, -2, 1}};
    double const dbs[3][2] = {{1.664655644, 0.299608167}, {0.301424101, 0.426921487}, {-1.157305682, -0.433976154}};
    double const dba[4][2] = {{0.183791291, 0.045647214},
                              {0.075825025, 0.232423309},
                              {-0.459138278, -0.119885188},
                              {0.014929954, 0.026406674}};
    double const dx[2][2] = {{-0.309797894, 0.20351257}, {1.887932456, -0.304900411}};
    double const s[2][3][2] = {{{0.758336, 0.123904}, {0.758336, 0.865634}, {0.455054, 0.529984}},
                               {{0.268192, 0.808704}, {0.068608, 0.033638}, {0.923126, 0.470016}}};
    double const p[2][2][4] = {
        {{0.575073489, 0.183262511, 0.10997017, 0.13169383}, {0.107255515, 0.016648485, 0.464316862, 0.411779138}},
        {{0.018400117, 0.249791883, 0.675550992, 0.056257008}, {0.027203185, 0.781500815, 0.089912181, 0.101383819}}};
    double const droot[2][2] = {{-0.816184644, 0.653754874}, {0.554342432, -0.40826662}};
    using op_type = gate::comet_op<4, 2>;
    op_type const op{1.0, 0.5};
    gate::smooth_step<double> const step(op.width);
    double omega = 0.0;
    double sum_s[3][2] = {}, sum_a[4][2] = {}, sum_root[2][2] = {};
    for (int b = 0; b < 2; ++b) {
        serial_row<double, op_type::logits> z, dz;
        for (int j = 0; j < 2; ++j) {
            for (int q = 0; q < 3; ++q)
                z.v[j * 7 + q] = x[b][0] * ws[q][j][0] + x[b][1] * ws[q][j][1] + bs[q][j];
            for (int l = 0; l < 4; ++l)
                z.v[j * 7 + 3 + l] = x[b][0] * wa[l][j][0] + x[b][1] * wa[l][j][1] + ba[l][j];
            double splits[3], nodes[7];
            for (int q = 0; q < 3; ++q) {
                splits[q] = step.value(z.v[j * 7 + q]);
                CHECK(splits[q] == Approx(s[b][q][j]).epsilon(0).margin(6e-10));
            }
            gate::soft_tree<4>::reach(serial_group{}, splits, nodes);
            for (int l = 0; l < 4; ++l)
                CHECK(nodes[gate::soft_tree<4>::leaf(l)] == Approx(p[b][j][l]).epsilon(0).margin(6e-10));
        }
        auto const r = route<4>(op, z);
        omega += r.share / 2.0;
        serial_row<double, 4> dweights;
        for (int l = 0; l < 4; ++l) {
            CHECK(r.weights.v[l] == Approx(g[b][l]).epsilon(0).margin(6e-10));
            dweights.v[l] = dg[b][l];
        }
        whole_row::backward<4>(op, z, r.weights, dweights, 0.5, dz);
        double back[2] = {};
        for (int j = 0; j < 2; ++j) {
            for (int i = 0; i < 2; ++i)
                sum_root[j][i] += dz.v[j * 7] * x[b][i];
            for (int q = 0; q < 3; ++q) {
                sum_s[q][j] += dz.v[j * 7 + q];
                for (int i = 0; i < 2; ++i)
                    back[i] += dz.v[j * 7 + q] * ws[q][j][i];
            }
            for (int l = 0; l < 4; ++l) {
                sum_a[l][j] += dz.v[j * 7 + 3 + l];
                for (int i = 0; i < 2; ++i)
                    back[i] += dz.v[j * 7 + 3 + l] * wa[l][j][i];
            }
        }
        for (int i = 0; i < 2; ++i)
            CHECK(back[i] == Approx(dx[b][i]).epsilon(0).margin(6e-10));
    }
    CHECK(omega == Approx(0.938577742).epsilon(0).margin(6e-10));
    for (int j = 0; j < 2; ++j) {
        for (int i = 0; i < 2; ++i)
            CHECK(sum_root[j][i] == Approx(droot[j][i]).epsilon(0).margin(6e-10));
        for (int q = 0; q < 3; ++q)
            CHECK(sum_s[q][j] == Approx(dbs[q][j]).epsilon(0).margin(6e-10));
        for (int l = 0; l < 4; ++l)
            CHECK(sum_a[l][j] == Approx(dba[l][j]).epsilon(0).margin(6e-10));
    }
}

TEST_CASE("comet: three experts, and splits that are saturated", "[gate][comet]") {
    gate::comet_op<3, 1> const three{0.5, 1.0};
    double const x[3][2] = {{1, 2}, {.1, -.3}, {-1, .5}};
    double const g[3][3] = {{1, 0, 0}, {0.056213874, 0.535238758, 0.408547369}, {0.14760007, 0, 0.85239993}};
    double omega = 0.0;
    for (int b = 0; b < 3; ++b) {
        serial_row<double, 5> z;
        z.v[0] = .2 * x[b][0] + .1 * x[b][1];
        z.v[1] = -.3 * x[b][0] + .4 * x[b][1];
        z.v[2] = .1;
        z.v[3] = .2;
        z.v[4] = -.3;
        auto const r = route<3>(three, z);
        for (int l = 0; l < 3; ++l) {
            CHECK(r.weights.v[l] == Approx(g[b][l]).epsilon(0).margin(6e-10));
            CHECK((r.weights.v[l] == 0.0) == (g[b][l] == 0.0));
        }
        omega += r.share / 3.0;
    }
    CHECK(omega == Approx(0.394003288).epsilon(0).margin(6e-10));

    gate::comet_op<5, 2> const five{1.0, 1.0};
    serial_row<double, 18> z;
    double const bias[4][2] = {{1, -1}, {-1, 1}, {1, 1}, {1, -1}};
    for (int j = 0; j < 2; ++j) {
        for (int q = 0; q < 4; ++q)
            z.v[j * 9 + q] = bias[q][j];
        for (int l = 0; l < 5; ++l)
            z.v[j * 9 + 4 + l] = (2 * l + j) / 10.0;
    }
    auto const r = route<5>(five, z);
    CHECK(r.weights.v[0] == 0.0);
    CHECK(r.weights.v[1] == 0.0);
    CHECK(r.weights.v[2] == Approx(0.425557483).epsilon(0).margin(6e-10));
    CHECK(r.weights.v[3] == Approx(0.574442517).epsilon(0).margin(6e-10));
    CHECK(r.weights.v[4] == 0.0);
    CHECK(r.share == Approx(-2e-6).epsilon(1e-3));
}

TEST_CASE("comet: leaves in depth-first order for every number of experts", "[gate][comet]") {
    auto const order = []<int E>(std::integral_constant<int, E>) {
        std::vector<int> heap;
        for (int l = 0; l < E; ++l)
            heap.push_back(gate::soft_tree<E>::leaf(l));
        return heap;
    };
    using std::integral_constant;
    CHECK(order(integral_constant<int, 2>{}) == std::vector{1, 2});
    CHECK(order(integral_constant<int, 3>{}) == std::vector{3, 4, 2});
    CHECK(order(integral_constant<int, 4>{}) == std::vector{3, 4, 5, 6});
    CHECK(order(integral_constant<int, 5>{}) == std::vector{7, 8, 4, 5, 6});
    CHECK(order(integral_constant<int, 6>{}) == std::vector{7, 8, 9, 10, 5, 6});
    CHECK(order(integral_constant<int, 7>{}) == std::vector{7, 8, 9, 10, 11, 12, 6});
    CHECK(order(integral_constant<int, 9>{}) == std::vector{15, 16, 8, 9, 10, 11, 12, 13, 14});
}

TEMPLATE_TEST_CASE_SIG("comet: gradients against central differences", "[gate][comet]",
                       ((int Experts, int Trees), Experts, Trees), (2, 1), (3, 2), (4, 2), (5, 3), (6, 2), (7, 1),
                       (8, 2), (9, 4), (16, 2), (33, 1)) {
    check_gradient<Experts, Trees>();
}

TEST_CASE("comet: a pack holds rows that do not know of each other", "[gate][comet]") {
    whole_row::check_pack<6>(gate::comet_op<6, 2>{0.7, 0.2}, 1.0, 11, 3, 0.0);
}

TEST_CASE("comet: an only open leaf weighs exactly 1 and has no gradient", "[gate][comet]") {
    // Both trees of every row end at expert 2, with leaf logits near 1000 and of any difference.
    constexpr int experts = 4;
    using op_type = gate::comet_op<experts, 2>;
    using P = espalier::pack<float, 16>;
    op_type const op{1.0, 0.0};
    for (std::uint32_t round = 0; round < 20; ++round) {
        serial_row<P, op_type::logits> z, dz;
        serial_row<P, experts> d;
        for (int i = 0; i < op_type::logits; ++i)
            for (int r = 0; r < 16; ++r) {
                auto const draw =
                    static_cast<float>(whole_row::random(round * 1000 + static_cast<std::uint32_t>(16 * i + r), 3));
                int const c = i % op_type::logits_of_tree;
                // splits 0, 1, 2: to the right, either, to the left
                z.v[i].set(r, c == 0 ? -2.0f : c == 2 ? 2.0f : c == 1 ? draw : 1000.0f + 2.0f * draw);
            }
        for (int l = 0; l < experts; ++l)
            d.v[l] = l == 2 ? P::iota(-3.3f) : P(0.0f);
        auto const all = whole_row::route<experts>(op, z);
        whole_row::backward<experts>(op, z, all.weights, d, P(0.0f), dz);
        for (int r = 0; r < 16; ++r) {
            serial_row<float, op_type::logits> one;
            for (int i = 0; i < op_type::logits; ++i)
                one.v[i] = z.v[i][r];
            auto const alone = whole_row::route<experts>(op, one);
            for (int l = 0; l < experts; ++l) {
                CHECK(all.weights.v[l][r] == (l == 2 ? 1.0f : 0.0f));
                CHECK(alone.weights.v[l] == (l == 2 ? 1.0f : 0.0f));
            }
            for (int i = 0; i < op_type::logits; ++i)
                CHECK(dz.v[i][r] == 0.0f);
        }
    }
    // Open splits, and one leaf so far above the others that theirs are rounded away: the way back divides by that
    // leaf's probability, as little as 1e-4, and would make 4e-4 of a weight that is off by one unit.
    using tree = gate::comet_op<experts, 1>;
    tree const alone{1.0, 0.0};
    for (std::uint32_t round = 0; round < 50; ++round) {
        serial_row<float, tree::logits> z, dz;
        serial_row<float, experts> d;
        // Nearly shut: at -0.5 the leaf would have no part at all.
        float const shut = -0.485f + 0.01f * static_cast<float>(whole_row::random(round, 5));
        float const logits[tree::logits] = {shut, 0.2f, 0.1f, 900.0f, -900.0f, -950.0f, -1000.0f};
        for (int i = 0; i < tree::logits; ++i)
            z.v[i] = logits[i];
        for (int l = 0; l < experts; ++l)
            d.v[l] = l == 0 ? 3.0f : 0.0f;
        auto const routed = whole_row::route<experts>(alone, z);
        CHECK(routed.weights.v[0] == 1.0f);
        whole_row::backward<experts>(alone, z, routed.weights, d, 0.0f, dz);
        for (int i = 0; i < tree::logits; ++i)
            CHECK(dz.v[i] == 0.0f);
    }
}

TEST_CASE("comet: its numbers follow the clock", "[gate][comet]") {
    using growing = gate::comet<8, 2, schedule::linear{.from = 0.0, .to = 1.0, .steps = 4}, 0.25>;
    STATIC_REQUIRE(gate_policy<growing>);
    STATIC_REQUIRE(growing::logits == 2 * 15);
    CHECK(growing::at(espalier::clock{.step = 2}).entropy == 0.5);
    CHECK(growing::at(espalier::clock{.step = 9}).width == 0.25);
    STATIC_REQUIRE(std::is_same_v<growing::op, gate::comet<8, 2, 7.0>::op>); // numbers make no new kernel
    CHECK(growing::first_values(0) == 0.0025);
    CHECK(growing::first_values(7) == 0.05);
    CHECK(growing::first_values(15) == 0.0025);

    std::vector<double> w(static_cast<std::size_t>(3 * growing::logits));
    growing::initial::fill(matrix_view<double>{w.data(), 3, growing::logits, growing::logits}, 3, growing::logits,
                           make_site(1, 2));
    for (std::size_t i = 0; i < w.size(); ++i) {
        double const bound = growing::first_values(static_cast<int>(i) % growing::logits);
        CHECK((std::abs(w[i]) <= bound && w[i] != 0.0));
    }
}
