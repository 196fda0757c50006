// SPDX-License-Identifier: Apache-2.0
// Which channels stay: thresholds of scales, and votes of layers that share their channels.
#include <espalier/core/error.hpp>
#include <espalier/prune/scale_threshold.hpp>
#include <espalier/prune/vote.hpp>

#include <support/catch.hpp>

#include <limits>
#include <vector>

using namespace espalier;

namespace {

using prune::keep_flags;

/// As the scale of a normalisation: one row.
matrix_view<double const> view(std::vector<double> const& scales) {
    return {scales.data(), 1, static_cast<index_t>(scales.size()), static_cast<index_t>(scales.size())};
}
/// Flags of what goes, as papers have them, from flags of what stays; and back.
keep_flags turned(keep_flags flags) {
    for (auto& f : flags)
        f = 1 - f;
    return flags;
}

std::vector<double> const published{.8, -.3, .009, .02, -.002, .5};

} // namespace

TEST_CASE("channels: a threshold and the energy below it give the published masks of MaskSparsity", "[prune]") {
    CHECK(turned(prune::keep_above(view(published), 0.01)) == keep_flags{0, 0, 1, 0, 1, 0});
    CHECK(prune::energy_threshold(view(published)) == Approx(0.0145).epsilon(1e-12));
    CHECK(prune::energy_threshold(view(published), 1e-2) == Approx(0.16).epsilon(1e-12));
    std::vector<double> const tiny{1e-4, 5e-4};
    CHECK(prune::energy_threshold(view(tiny)) == 1.0);
    CHECK(prune::keep_above(view(tiny), 1.0) == keep_flags{0, 1}); // one stays all the same
    // Nothing below the first: everything stays. Ones, of which half carry half.
    CHECK(prune::energy_threshold(view({1.0, 2.0})) == 0.0);
    CHECK(prune::energy_threshold(view({1.0, 1.0, 1.0, 1.0}), 0.5) == 1.0);
    CHECK(prune::energy_threshold(view({0.0, 1.0}), 0.0) == 0.0); // a zero counts as 1e-18
    CHECK(prune::energy_threshold(view({4.0, 3.0}), 0.37) == 3.5);
}

TEST_CASE("channels: enough of them stay, of equal ones those of lower index", "[prune]") {
    CHECK(prune::keep_above(view({.1, .5, .2}), 0.9) == keep_flags{0, 1, 0});
    CHECK(prune::keep_above(view({.1, .5, .2}), 0.9, 2) == keep_flags{0, 1, 1});
    CHECK(prune::keep_above(view({.1, .5, .2}), 0.15, 2) == keep_flags{0, 1, 1});
    CHECK(prune::keep_above(view({.1, .5, .2}), 0.9, 0) == keep_flags{0, 0, 0});
    CHECK(prune::keep_above(view({0.0, 0.0, 0.0}), 0.0) == keep_flags{1, 0, 0});
    CHECK(prune::keep_above(view({.3, -.3}), 0.3) == keep_flags{1, 0}); // what equals the threshold goes
    CHECK(prune::keep_largest(view({.3, -.4, .4, .1}), 2) == keep_flags{0, 1, 1, 0});
    CHECK(prune::keep_largest(view({.3, -.4, .4, .1}), 1) == keep_flags{0, 1, 0, 0});
    CHECK(prune::keep_largest(view({.3}), 0) == keep_flags{0});

    double const none = std::numeric_limits<double>::quiet_NaN(), inf = std::numeric_limits<double>::infinity();
    CHECK_THROWS_AS(prune::keep_above(view({.1, none}), 0.5), data_error);
    CHECK_THROWS_AS(prune::keep_largest(view({.1, inf}), 1), data_error);
    CHECK_THROWS_AS(prune::energy_threshold(view({none})), data_error);
    CHECK_THROWS_AS(prune::keep_above(view({.1}), -0.5), data_error);
    CHECK_THROWS_AS(prune::keep_above(view({.1}), none), data_error);
    CHECK_THROWS_AS(prune::keep_above(view({.1}), 0.5, 2), data_error);
    CHECK_THROWS_AS(prune::keep_above(view({.1}), 0.5, -1), data_error);
    CHECK_THROWS_AS(prune::keep_largest(view({.1}), 2), data_error);
    CHECK_THROWS_AS(prune::energy_threshold(view({.1}), 1.0), data_error);
    CHECK_THROWS_AS(prune::energy_threshold(view({}), 0.1), data_error);
}

TEST_CASE("channels: a vote gives the published mask of a residual group", "[prune]") {
    std::vector<keep_flags> wishes{{1, 1, 0, 1, 0, 0}, {1, 0, 0, 1, 1, 0}, {1, 1, 0, 0, 1, 0}};
    for (auto& w : wishes)
        w = turned(w);
    CHECK(turned(prune::vote(wishes)) == keep_flags{1, 1, 0, 1, 1, 0});
    CHECK(prune::vote({{0, 1, 1}}) == keep_flags{0, 1, 1});            // one alone has its way
    CHECK(prune::vote({{0, 0, 1}, {1, 1, 1}}) == keep_flags{1, 1, 1}); // one that wants none to go
    // Two that want two of three channels each, and agree on one: with the rule alone nothing would be left.
    CHECK(prune::vote({{0, 0, 1}, {1, 0, 0}}) == keep_flags{1, 0, 0});
    CHECK(prune::vote({{0, 0, 1}, {1, 0, 0}}, 0) == keep_flags{0, 0, 0});
    CHECK(prune::vote({{0, 0, 1}, {1, 0, 0}}, 2) == keep_flags{1, 0, 1});
    CHECK_THROWS_AS(prune::vote({}), data_error);
    CHECK_THROWS_AS(prune::vote({{1, 1}, {1}}), shape_error);
    CHECK_THROWS_AS(prune::vote({{1, 1}}, 3), data_error);
}
