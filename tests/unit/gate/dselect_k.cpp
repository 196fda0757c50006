// SPDX-License-Identifier: Apache-2.0
// DSelect-k against published numbers, central differences, and itself in packs.
#include <espalier/core/group.hpp>
#include <espalier/gate/dselect_k.hpp>
#include <espalier/gate/smooth_step.hpp>

#include "whole_row.hpp"

#include <support/catch.hpp>

#include <cmath>

using namespace espalier;

namespace {

using whole_row::serial_row;

} // namespace

TEST_CASE("dselect_k: published values and gradients", "[gate][dselect_k]") {
    using op_type = gate::dselect_k_op<5, 2>;
    op_type const op{1.0, 0.1, 1.0};
    serial_row<double, 8> z{{.3, -.2, .1, -.45, .05, .4, .2, -.1}}, dz;
    serial_row<double, 5> const dweights{{1, 0, -1, .5, 2}};
    auto const [weights, term] = whole_row::route<5>(op, z);
    double const q[] = {0.021517263, 0.204976782, 0.01134115, 0.244379018, 0.142077603};
    for (int l = 0; l < 5; ++l)
        CHECK(weights.v[l] == Approx(q[l]).epsilon(0).margin(6e-10));
    CHECK(term == Approx(0.1 * 1.514423463 + 3.854050011).epsilon(0).margin(1e-5)); // published without the 1e-6
    op_type const of_entropy{1.0, 0.1, 0.0};
    CHECK(whole_row::route<5>(of_entropy, z).share == Approx(0.1 * 1.514423463).epsilon(0).margin(6e-10));
    // What each selector adds to q, and by how much it counts: the sum of a selector is alpha times its mass.
    double const r[2][5] = {{0.028700672, 0.052835328, 0.007907328, 0.014556672, 0.247267328},
                            {0.011820674, 0.410346263, 0.015976326, 0.554606737, 0.000086326}};
    double const alpha[] = {0.574442517, 0.425557483};
    auto const apart = whole_row::route<10>(op.taken_apart(), z).weights;
    for (int i = 0; i < 2; ++i)
        for (int l = 0; l < 5; ++l)
            CHECK(apart.v[5 * i + l] == Approx(alpha[i] * r[i][l]).epsilon(0).margin(1e-9));
    double const s[] = {0.896, 0.216, 0.648, 0.00725, 0.57475, 0.972};
    for (int i = 0; i < 6; ++i)
        CHECK(gate::smooth_step<double>(1.0).value(z.v[i]) == Approx(s[i]).epsilon(1e-14));
    whole_row::backward<5>(op, z, weights, dweights, 1.0, dz);
    double const published[] = {5.565576696, 2.736606601,  6.947006982, 0.263256511,
                                0.225154469, -0.091610377, 0.060940027, -0.060940027};
    for (int i = 0; i < 8; ++i)
        CHECK(dz.v[i] == Approx(published[i]).epsilon(2e-5)); // the same 1e-6
}

TEMPLATE_TEST_CASE_SIG("dselect_k: gradients against central differences", "[gate][dselect_k]",
                       ((int Experts, int K), Experts, K), (2, 1), (3, 2), (4, 2), (5, 2), (8, 3), (12, 2), (16, 4)) {
    using op_type = gate::dselect_k_op<Experts, K>;
    // Some bits saturate. Where codes are no experts, the one that is left must not be all of the mass.
    double const spread = op_type::codes == Experts ? 0.8 : 0.48;
    whole_row::check_gradient<Experts>(op_type{1.0, 0.3, 0.2}, spread, 12);
}

TEST_CASE("dselect_k: saturated bits choose at most k experts", "[gate][dselect_k]") {
    gate::dselect_k_op<8, 2> const op{1.0, 0.0, 0.0};
    serial_row<double, 8> z{{1, -1, 1, -1, 1, 1, 0.3, -0.2}}; // codes 101 and 011
    auto const [weights, term] = whole_row::route<8>(op, z);
    CHECK(term == 0.0);
    double const first = 1.0 / (1.0 + std::exp(-0.5));
    for (int l = 0; l < 8; ++l) {
        if (l != 5 && l != 3) CHECK(weights.v[l] == 0.0);
    }
    CHECK(weights.v[5] == Approx(first).epsilon(1e-14));
    CHECK(weights.v[3] == Approx(1.0 - first).epsilon(1e-14));
}

TEST_CASE("dselect_k: a pack holds rows that do not know of each other", "[gate][dselect_k]") {
    whole_row::check_pack<6>(gate::dselect_k_op<6, 2>{0.7, 0.2, 0.1}, 0.3, 12, 3, 1e-4);
}

TEST_CASE("dselect_k: a policy on the gate axis", "[gate][dselect_k]") {
    using policy = gate::dselect_k<6, 2, 0.5, 2.0>;
    STATIC_REQUIRE(gate_policy<policy>);
    STATIC_REQUIRE(policy::logits == 2 * 3 + 2);
    CHECK(policy::at(espalier::clock{}).width == 2.0);
    CHECK(policy::first_values(5) == 0.02);
    CHECK(policy::first_values(6) == 0.05);
}
