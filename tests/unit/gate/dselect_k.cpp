// SPDX-License-Identifier: Apache-2.0
// DSelect-k against published numbers, central differences, and itself in packs.
#include <espalier/core/group.hpp>
#include <espalier/core/pack.hpp>
#include <espalier/core/random.hpp>
#include <espalier/gate/dselect_k.hpp>

#include <support/catch.hpp>

#include <cmath>
#include <vector>

using namespace espalier;

namespace {

template <class T, int N> using serial_row = row<serial_group, T, N>;

double random(std::uint32_t i, std::uint32_t stream = 5) {
    return 2.0 * uniform01(draw(make_site(12, stream), i, 0).word[0]) - 1.0;
}

template <int Experts, int K>
double value(gate::dselect_k_op<Experts, K> const& op,
             serial_row<double, gate::dselect_k_op<Experts, K>::logits> const& z, double const* c, double scale) {
    serial_row<double, Experts> weights;
    double sum = scale * op.route(serial_group{}, z, weights);
    for (int l = 0; l < Experts; ++l)
        sum += weights.v[l] * c[l];
    return sum;
}

template <int Experts, int K> void check_gradient() {
    using op_type = gate::dselect_k_op<Experts, K>;
    op_type const op{1.0, 0.3, 0.2};
    double worst = 0.0;
    for (std::uint32_t trial = 0; trial < 20; ++trial) {
        serial_row<double, op_type::logits> z, dz;
        for (int i = 0; i < op_type::logits; ++i)
            // Some bits saturate. Where codes are no experts, the one that is left must not be all of the mass.
            z.v[i] = (op_type::codes == Experts ? 0.8 : 0.48) * random(trial * 1000 + static_cast<std::uint32_t>(i));
        std::vector<double> c(Experts);
        serial_row<double, Experts> weights, dweights;
        op.route(serial_group{}, z, weights);
        for (int l = 0; l < Experts; ++l) {
            c[static_cast<std::size_t>(l)] = 2.0 * random(trial * 1000 + static_cast<std::uint32_t>(l), 6);
            dweights.v[l] = weights.v[l] == 0.0 ? 0.0 : c[static_cast<std::size_t>(l)];
        }
        op.backward(serial_group{}, z, weights, dweights, 0.7, dz);
        for (int i = 0; i < op_type::logits; ++i) {
            double const h = 1e-6;
            if (std::abs(std::abs(z.v[i]) - 0.5) < 2 * h) continue;
            auto up = z, down = z;
            up.v[i] += h;
            down.v[i] -= h;
            double const difference = (value(op, up, c.data(), 0.7) - value(op, down, c.data(), 0.7)) / (2 * h);
            worst = std::max(worst, std::abs(difference - dz.v[i]) / std::max(1.0, std::abs(difference)));
        }
    }
    INFO("experts " << Experts << ", k " << K << ", worst " << worst);
    CHECK(worst < 2e-7);
}

} // namespace

TEST_CASE("dselect_k: published values and gradients", "[gate][dselect_k]") {
    using op_type = gate::dselect_k_op<5, 2>;
    op_type const op{1.0, 0.1, 1.0};
    serial_row<double, 8> z{{.3, -.2, .1, -.45, .05, .4, .2, -.1}}, dz;
    serial_row<double, 5> weights, dweights{{1, 0, -1, .5, 2}};
    double const term = op.route(serial_group{}, z, weights);
    double const q[] = {0.021517263, 0.204976782, 0.01134115, 0.244379018, 0.142077603};
    for (int l = 0; l < 5; ++l)
        CHECK(weights.v[l] == Approx(q[l]).epsilon(0).margin(6e-10));
    CHECK(term == Approx(0.1 * 1.514423463 + 3.854050011).epsilon(0).margin(1e-5)); // published without the 1e-6
    op.backward(serial_group{}, z, weights, dweights, 1.0, dz);
    double const published[] = {5.565576696, 2.736606601,  6.947006982, 0.263256511,
                                0.225154469, -0.091610377, 0.060940027, -0.060940027};
    for (int i = 0; i < 8; ++i)
        CHECK(dz.v[i] == Approx(published[i]).epsilon(2e-5)); // the same 1e-6
}

TEST_CASE("dselect_k: gradients against central differences", "[gate][dselect_k]") {
    check_gradient<2, 1>();
    check_gradient<3, 2>();
    check_gradient<4, 2>();
    check_gradient<5, 2>();
    check_gradient<8, 3>();
    check_gradient<12, 2>();
    check_gradient<16, 4>();
}

TEST_CASE("dselect_k: saturated bits choose at most k experts", "[gate][dselect_k]") {
    gate::dselect_k_op<8, 2> const op{1.0, 0.0, 0.0};
    serial_row<double, 8> z{{1, -1, 1, -1, 1, 1, 0.3, -0.2}}; // codes 101 and 011
    serial_row<double, 8> weights;
    CHECK(op.route(serial_group{}, z, weights) == 0.0);
    double const first = 1.0 / (1.0 + std::exp(-0.5));
    for (int l = 0; l < 8; ++l) {
        if (l != 5 && l != 3) CHECK(weights.v[l] == 0.0);
    }
    CHECK(weights.v[5] == Approx(first).epsilon(1e-14));
    CHECK(weights.v[3] == Approx(1.0 - first).epsilon(1e-14));
}

TEST_CASE("dselect_k: a pack holds rows that do not know of each other", "[gate][dselect_k]") {
    using op_type = gate::dselect_k_op<6, 2>;
    op_type const op{0.7, 0.2, 0.1};
    using P = pack<float, 16>;
    serial_row<P, op_type::logits> z, dz;
    serial_row<P, 6> d, weights;
    for (int i = 0; i < op_type::logits; ++i)
        for (int r = 0; r < 16; ++r)
            z.v[i].set(r, 0.3f * static_cast<float>(random(static_cast<std::uint32_t>(100 * i + r))));
    for (int l = 0; l < 6; ++l)
        d.v[l] = P::iota(static_cast<float>(l));
    op.route(serial_group{}, z, weights);
    op.backward(serial_group{}, z, weights, d, P(0.5f), dz);
    for (int r = 0; r < 16; ++r) {
        serial_row<float, op_type::logits> one, done;
        serial_row<float, 6> dw, alone;
        for (int i = 0; i < op_type::logits; ++i)
            one.v[i] = z.v[i][r];
        for (int l = 0; l < 6; ++l)
            dw.v[l] = d.v[l][r];
        op.route(serial_group{}, one, alone);
        op.backward(serial_group{}, one, alone, dw, 0.5f, done);
        for (int l = 0; l < 6; ++l)
            CHECK(weights.v[l][r] == Approx(alone.v[l]).epsilon(0).margin(1e-6));
        for (int i = 0; i < op_type::logits; ++i)
            CHECK(dz.v[i][r] == Approx(done.v[i]).epsilon(1e-4).margin(3e-5));
    }
}

TEST_CASE("dselect_k: a policy on the gate axis", "[gate][dselect_k]") {
    using policy = gate::dselect_k<6, 2, 0.5, 2.0>;
    STATIC_REQUIRE(gate_policy<policy>);
    STATIC_REQUIRE(policy::logits == 2 * 3 + 2);
    CHECK(policy::at(espalier::clock{}).width == 2.0);
    CHECK(policy::first_values(5) == 0.02);
    CHECK(policy::first_values(6) == 0.05);
}
