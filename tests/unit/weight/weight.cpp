// SPDX-License-Identifier: Apache-2.0
// Maps from raw to effective weights.
#include <espalier/core/pack.hpp>
#include <espalier/core/policy.hpp>
#include <espalier/weight/concept.hpp>
#include <espalier/weight/fixed_mask.hpp>
#include <espalier/weight/identity.hpp>

#include <support/catch.hpp>

#include <type_traits>

namespace weight = espalier::weight;
using espalier::pack;

static_assert(weight::element_map<weight::identity> && weight::element_map<weight::fixed_mask>);
static_assert(espalier::policy_on<weight::identity, espalier::axis::weight>);
static_assert(espalier::policy_on<weight::fixed_mask, espalier::axis::weight>);
static_assert(std::is_empty_v<weight::identity> && std::is_empty_v<weight::fixed_mask>);
static_assert(!weight::identity::uses_mask && weight::fixed_mask::uses_mask);
static_assert(!weight::identity::needs_operand && !weight::fixed_mask::needs_operand);

TEST_CASE("identity changes nothing, a fixed mask makes zeros that stay", "[weight]") {
    CHECK(weight::identity::pull(2.0) == 2.0);
    CHECK(weight::identity::store(2.0) == 2.0);
    CHECK(weight::identity::effective(2.0) == 2.0);
    for (bool keep : {false, true}) {
        double const share = keep ? 1.0 : 0.0;
        CHECK(weight::fixed_mask::pull(2.0, {.keep = keep}) == 2.0 * share);
        CHECK(weight::fixed_mask::store(-2.0, {.keep = keep}) == -2.0 * share);
        CHECK(weight::fixed_mask::effective(-2.0, {.keep = keep}) == -2.0 * share);
    }
}

TEST_CASE("the pull-back is the derivative of the effective weight", "[weight]") {
    auto const check = [](auto map) {
        for (bool keep : {false, true})
            for (double w : {-2.0, 0.0, 0.5}) {
                espalier::element_about<double> const about{.weight = w, .keep = keep};
                double const above = weight::detail::effective(map, about, w + 0.25);
                double const below = weight::detail::effective(map, about, w - 0.25);
                CHECK(weight::detail::pull(map, about, 3.0) == 3.0 * ((above - below) / 0.5));
            }
    };
    check(weight::identity{});
    check(weight::fixed_mask{});
}

TEST_CASE("maps of packs are those of plain numbers", "[weight]") {
    using P = pack<double, 8>;
    P const w = P::iota(-3.0), g = P::iota(1.0);
    auto const keep = espalier::mask_of<P>::first(3);
    for (int i = 0; i < 8; ++i) {
        CHECK(weight::fixed_mask::pull(g, {.keep = keep})[i] == weight::fixed_mask::pull(g[i], {.keep = i < 3}));
        CHECK(weight::fixed_mask::store(w, {.keep = keep})[i] == weight::fixed_mask::store(w[i], {.keep = i < 3}));
        CHECK(weight::fixed_mask::effective(w, {.keep = keep})[i] ==
              weight::fixed_mask::effective(w[i], {.keep = i < 3}));
        CHECK(weight::identity::pull(g)[i] == g[i]);
    }
}
