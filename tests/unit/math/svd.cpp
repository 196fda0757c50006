// SPDX-License-Identifier: Apache-2.0
// Singular values and the polar factor of small matrices.
#include "../layer/naive.hpp"

#include <espalier/core/error.hpp>
#include <espalier/math/svd.hpp>

#include <support/catch.hpp>

#include <cmath>
#include <limits>

using namespace espalier;

namespace {

naive::matrix polar(naive::matrix const& a, double tolerance = 1e-12) {
    naive::matrix q(a.rows, a.columns, 7.0);
    math::thin_svd(a.view()).polar_factor({q.values.data(), q.rows, q.columns, q.columns}, tolerance);
    return q;
}

/// Q^T A, of which the trace is the nuclear norm.
double trace_with(naive::matrix const& q, naive::matrix const& a) {
    double sum = 0.0;
    for (std::size_t i = 0; i < a.values.size(); ++i)
        sum += q.values[i] * a.values[i];
    return sum;
}

} // namespace

TEST_CASE("svd: the published singular values and polar factor of a masked matrix", "[math]") {
    naive::matrix a(3, 3);
    a.values = {0.0, 0.001, -0.0015, 0.0005, 0.0, 0.0, -0.0019, 0.0012, 0.0};
    math::thin_svd const s(a.view());
    double const expected[] = {0.002404556101, 0.001648192865, 0.000227090813};
    for (std::size_t i = 0; i < 3; ++i)
        CHECK(std::fabs(s.values()[i] - expected[i]) < 1e-12);
    CHECK(s.nuclear_norm() == Approx(0.004279839779166075).epsilon(1e-13));
    auto const q = polar(a);
    double const on_mask[] = {0.0, 0.437161317, -0.892129385, 0.624502871, 0.0, 0.0, -0.772658411, 0.603484974, 0.0};
    for (std::size_t i = 0; i < 9; ++i)
        if (a.values[i] != 0.0) CHECK(std::fabs(q.values[i] - on_mask[i]) < 1e-9);
}

TEST_CASE("svd: squares, traces and orthogonal columns of matrices of any shape", "[math]") {
    for (auto const& [rows, columns] : {std::pair{1, 1}, {1, 5}, {7, 1}, {8, 8}, {13, 9}, {9, 13}, {70, 66}}) {
        INFO(rows << " x " << columns);
        auto const a = naive::random(rows, columns, 3, 2.0);
        math::thin_svd const s(a.view());
        double squares = 0.0, last = std::numeric_limits<double>::max();
        CHECK(s.values().size() == static_cast<std::size_t>(std::min(rows, columns)));
        for (double const value : s.values()) {
            CHECK(value <= last);
            last = value;
            squares += value * value;
        }
        CHECK(squares == Approx(trace_with(a, a)).epsilon(1e-13));
        auto const q = polar(a);
        CHECK(trace_with(q, a) == Approx(s.nuclear_norm()).epsilon(1e-13));
        auto const square =
            rows < columns ? naive::product(q, naive::transposed(q)) : naive::product(naive::transposed(q), q);
        for (index_t r = 0; r < square.rows; ++r)
            for (index_t c = 0; c < square.columns; ++c)
                CHECK(std::fabs(square(r, c) - (r == c ? 1.0 : 0.0)) < 1e-12);
    }
}

TEST_CASE("svd: what is 0, of low rank, very large or very small", "[math]") {
    naive::matrix const zero(4, 3);
    CHECK(math::thin_svd(zero.view()).nuclear_norm() == 0.0);
    CHECK(polar(zero).values == zero.values);
    // rank 2: the polar factor is that of the two values which are there
    auto const a = naive::product(naive::random(9, 2, 1), naive::random(2, 6, 2));
    math::thin_svd const s(a.view());
    CHECK(s.values()[1] > 1e-3);
    CHECK(s.values()[2] < 1e-14 * s.values()[0]);
    auto const q = polar(a);
    CHECK(trace_with(q, q) == Approx(2.0).epsilon(1e-12));
    CHECK(trace_with(q, a) == Approx(s.nuclear_norm()).epsilon(1e-13));
    CHECK(trace_with(polar(a, 0.999), a) == Approx(s.values()[0]).epsilon(1e-12)); // the largest alone
    for (double const size : {1e-200, 1e200}) {
        auto const scaled = naive::map(a, [=](double x) { return x * size; });
        CHECK(math::thin_svd(scaled.view()).nuclear_norm() == Approx(size * s.nuclear_norm()).epsilon(1e-12));
    }
    naive::matrix spoiled = a;
    spoiled(2, 3) = std::numeric_limits<double>::quiet_NaN();
    CHECK_THROWS_AS(math::thin_svd(spoiled.view()), numerical_error);
}
