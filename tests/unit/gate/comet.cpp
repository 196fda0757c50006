// SPDX-License-Identifier: Apache-2.0
// COMET against published numbers, central differences, and itself in packs.
#include <espalier/core/group.hpp>
#include <espalier/core/pack.hpp>
#include <espalier/core/random.hpp>
#include <espalier/gate/comet.hpp>
#include <espalier/schedule/linear.hpp>

#include <support/catch.hpp>

#include <cmath>
#include <limits>
#include <vector>

using namespace espalier;

namespace {

template <class T, int N> using serial_row = row<serial_group, T, N>;

template <class Op, class T, int Experts> struct routed_row {
    serial_row<T, Experts> weights;
    T share;
};

template <int Experts, int Trees, class T>
auto route(gate::comet_op<Experts, Trees> const& op, serial_row<T, gate::comet_op<Experts, Trees>::logits> const& z) {
    routed_row<gate::comet_op<Experts, Trees>, T, Experts> r;
    r.share = op.route(serial_group{}, z, r.weights);
    return r;
}

double random(std::uint32_t i, std::uint32_t stream = 5) {
    return 2.0 * uniform01(draw(make_site(11, stream), i, 0).word[0]) - 1.0;
}

/// sum_l g_l c_l + scale * share, the value whose gradient `backward` gives for dweights = c and term_scale = scale.
template <int Experts, int Trees>
double value(gate::comet_op<Experts, Trees> const& op,
             serial_row<double, gate::comet_op<Experts, Trees>::logits> const& z, double const* c, double scale) {
    auto const r = route(op, z);
    double sum = scale * r.share;
    for (int l = 0; l < Experts; ++l)
        sum += r.weights.v[l] * c[l];
    return sum;
}

template <int Experts, int Trees> void check_gradient() {
    using op_type = gate::comet_op<Experts, Trees>;
    op_type const op{1.0, 0.3};
    double worst = 0.0;
    int closed = 0;
    for (std::uint32_t trial = 0; trial < 20; ++trial) {
        serial_row<double, op_type::logits> z, dz;
        for (int i = 0; i < op_type::logits; ++i)
            z.v[i] = 0.8 * random(trial * 1000 + static_cast<std::uint32_t>(i)); // some splits saturate
        std::vector<double> c(Experts);
        for (int l = 0; l < Experts; ++l)
            c[static_cast<std::size_t>(l)] = 2.0 * random(trial * 1000 + static_cast<std::uint32_t>(l), 6);
        auto const r = route(op, z);
        serial_row<double, Experts> dweights;
        for (int l = 0; l < Experts; ++l) {
            closed += r.weights.v[l] == 0.0;
            // What a dispatch knows of an expert that did not run: nothing.
            dweights.v[l] = r.weights.v[l] == 0.0 ? 0.0 : c[static_cast<std::size_t>(l)];
        }
        op.backward(serial_group{}, z, r.weights, dweights, 0.7, dz);
        for (int i = 0; i < op_type::logits; ++i) {
            double const h = 1e-6;
            // At the ends of the smooth-step the second derivative jumps: differences across them say nothing.
            if (std::abs(std::abs(z.v[i]) - 0.5) < 2 * h) continue;
            auto up = z, down = z;
            up.v[i] += h;
            down.v[i] -= h;
            double const difference = (value(op, up, c.data(), 0.7) - value(op, down, c.data(), 0.7)) / (2 * h);
            worst = std::max(worst, std::abs(difference - dz.v[i]) / std::max(1.0, std::abs(difference)));
        }
    }
    INFO("experts " << Experts << ", trees " << Trees << ", worst " << worst);
    CHECK(worst < 2e-7);
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
    using op_type = gate::comet_op<4, 2>;
    op_type const op{1.0, 0.5};
    double omega = 0.0;
    double sum_s[3][2] = {}, sum_a[4][2] = {};
    for (int b = 0; b < 2; ++b) {
        serial_row<double, op_type::logits> z, dz;
        for (int j = 0; j < 2; ++j) {
            for (int q = 0; q < 3; ++q)
                z.v[j * 7 + q] = x[b][0] * ws[q][j][0] + x[b][1] * ws[q][j][1] + bs[q][j];
            for (int l = 0; l < 4; ++l)
                z.v[j * 7 + 3 + l] = x[b][0] * wa[l][j][0] + x[b][1] * wa[l][j][1] + ba[l][j];
        }
        auto const r = route(op, z);
        omega += r.share / 2.0;
        serial_row<double, 4> dweights;
        for (int l = 0; l < 4; ++l) {
            CHECK(r.weights.v[l] == Approx(g[b][l]).epsilon(0).margin(6e-10));
            dweights.v[l] = dg[b][l];
        }
        op.backward(serial_group{}, z, r.weights, dweights, 0.5, dz);
        double back[2] = {};
        for (int j = 0; j < 2; ++j) {
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
        auto const r = route(three, z);
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
    auto const r = route(five, z);
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

TEST_CASE("comet: gradients against central differences", "[gate][comet]") {
    check_gradient<2, 1>();
    check_gradient<3, 2>();
    check_gradient<4, 2>();
    check_gradient<5, 3>();
    check_gradient<6, 2>();
    check_gradient<7, 1>();
    check_gradient<8, 2>();
    check_gradient<9, 4>();
    check_gradient<16, 2>();
    check_gradient<33, 1>();
}

TEST_CASE("comet: a pack holds rows that do not know of each other", "[gate][comet]") {
    using op_type = gate::comet_op<6, 2>;
    op_type const op{0.7, 0.2};
    using P = pack<float, 16>;
    serial_row<P, op_type::logits> z, dz;
    serial_row<P, 6> d;
    for (int i = 0; i < op_type::logits; ++i)
        for (int r = 0; r < 16; ++r)
            z.v[i].set(r, static_cast<float>(random(static_cast<std::uint32_t>(100 * i + r))));
    z.v[3].set(7, std::numeric_limits<float>::quiet_NaN());
    for (int l = 0; l < 6; ++l)
        d.v[l] = P::iota(static_cast<float>(l));
    auto const all = route(op, z);
    op.backward(serial_group{}, z, all.weights, d, P(0.5f), dz);
    for (int r = 0; r < 16; ++r) {
        serial_row<float, op_type::logits> one, done;
        serial_row<float, 6> dw;
        for (int i = 0; i < op_type::logits; ++i)
            one.v[i] = z.v[i][r];
        auto const alone = route(op, one);
        for (int l = 0; l < 6; ++l)
            dw.v[l] = d.v[l][r];
        op.backward(serial_group{}, one, alone.weights, dw, 0.5f, done);
        for (int l = 0; l < 6; ++l) {
            if (r == 7)
                CHECK((std::isnan(all.weights.v[l][r]) && std::isnan(alone.weights.v[l])));
            else {
                CHECK(all.weights.v[l][r] == Approx(alone.weights.v[l]).epsilon(0).margin(1e-6));
                CHECK((all.weights.v[l][r] == 0.0f) == (alone.weights.v[l] == 0.0f));
            }
        }
        if (r != 7)
            for (int i = 0; i < op_type::logits; ++i)
                CHECK(dz.v[i][r] == Approx(done.v[i]).epsilon(0).margin(3e-5));
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
