// SPDX-License-Identifier: Apache-2.0
// Initial values: moments and bounds, the same numbers for float and double, for every stride and for every part.
#include <espalier/core/random.hpp>
#include <espalier/core/view.hpp>
#include <espalier/initial/concept.hpp>
#include <espalier/initial/constant.hpp>
#include <espalier/initial/he_normal.hpp>
#include <espalier/initial/he_uniform.hpp>
#include <espalier/initial/normal.hpp>
#include <espalier/initial/uniform.hpp>
#include <espalier/initial/xavier_normal.hpp>
#include <espalier/initial/xavier_uniform.hpp>
#include <espalier/initial/zeros.hpp>

#include <support/catch.hpp>

#include <algorithm>
#include <cmath>
#include <vector>

namespace initial = espalier::initial;
using espalier::contiguous_view;
using espalier::index_t;
using espalier::make_site;
using espalier::matrix_view;

namespace {

constexpr index_t fan_in = 300, fan_out = 100;

struct moments {
    double mean = 0.0, variance = 0.0, fourth = 0.0, low = 0.0, high = 0.0;
};

template <class Initial> moments moments_of() {
    std::vector<double> w(static_cast<std::size_t>(fan_in * fan_out));
    Initial::fill(contiguous_view(w.data(), fan_in, fan_out), fan_in, fan_out, make_site(42, 3));
    moments m;
    auto const n = static_cast<double>(w.size());
    for (double x : w)
        m.mean += x / n;
    for (double x : w) {
        double const d = x - m.mean;
        m.variance += d * d / n;
        m.fourth += d * d * d * d / n;
    }
    m.low = *std::min_element(w.begin(), w.end());
    m.high = *std::max_element(w.begin(), w.end());
    return m;
}

// 30000 values: the standard error of a mean is 0.6 % of the deviation, of a variance 0.8 % (normal) of itself.
void check_normal(moments const& m, double variance) {
    CHECK(std::fabs(m.mean) < 4 * 0.006 * std::sqrt(variance));
    CHECK(m.variance == Approx(variance).epsilon(4 * 0.0082));
    CHECK(m.fourth == Approx(3 * variance * variance).epsilon(0.15));
}

void check_uniform(moments const& m, double low, double high) {
    double const variance = (high - low) * (high - low) / 12;
    CHECK(std::fabs(m.mean - (low + high) / 2) < 4 * 0.006 * std::sqrt(variance));
    CHECK(m.variance == Approx(variance).epsilon(4 * 0.006));
    CHECK(m.low >= low);
    CHECK(m.high <= high);
    CHECK(m.low < low + 0.01 * (high - low));
    CHECK(m.high > high - 0.01 * (high - low));
}

} // namespace

static_assert(initial::initialiser<initial::he_normal> && initial::initialiser<initial::he_uniform>);
static_assert(initial::initialiser<initial::xavier_normal> && initial::initialiser<initial::xavier_uniform>);
static_assert(initial::initialiser<initial::zeros> && initial::initialiser<initial::constant<0.5>>);
static_assert(initial::initialiser<initial::uniform<-1, 0.5f>> && initial::initialiser<initial::normal<0.5f>>);

TEST_CASE("initial values have the moments of their papers", "[initial]") {
    check_normal(moments_of<initial::he_normal>(), 2.0 / fan_in);
    check_normal(moments_of<initial::xavier_normal>(), 2.0 / (fan_in + fan_out));
    check_normal(moments_of<initial::normal<3>>(), 9.0);
    check_uniform(moments_of<initial::he_uniform>(), -std::sqrt(6.0 / fan_in), std::sqrt(6.0 / fan_in));
    check_uniform(moments_of<initial::xavier_uniform>(), -std::sqrt(6.0 / (fan_in + fan_out)),
                  std::sqrt(6.0 / (fan_in + fan_out)));
    check_uniform(moments_of<initial::uniform<-1, 0.5f>>(), -1.0, 0.5);
    std::vector<double> wide(1000);
    initial::uniform<-1.7e308, 1.7e308>::fill(contiguous_view(wide.data(), 10, 100), 10, 100, make_site(1, 2));
    CHECK(std::all_of(wide.begin(), wide.end(), [](double w) { return std::abs(w) <= 1.7e308; }));
    moments const zero = moments_of<initial::zeros>(), three = moments_of<initial::constant<3>>();
    CHECK((zero.low == 0.0 && zero.high == 0.0));
    CHECK((three.low == 3.0 && three.high == 3.0));
}

TEMPLATE_TEST_CASE("initial values depend on place and site alone", "[initial]", initial::he_normal,
                   initial::he_uniform, initial::xavier_normal, initial::xavier_uniform, (initial::uniform<-2, 3>),
                   initial::normal<0.5>) {
    constexpr index_t row_count = 5, columns = 7, stride = 9; // an odd number of elements
    auto const site = make_site(7, 1);
    std::vector<double> packed(row_count * columns), apart(row_count * stride, -77.0), other(row_count * columns);
    std::vector<float> single(row_count * columns);
    TestType::fill(contiguous_view(packed.data(), row_count, columns), 5, 7, site);
    TestType::fill(matrix_view<double>{apart.data(), row_count, columns, stride}, 5, 7, site);
    TestType::fill(contiguous_view(single.data(), row_count, columns), 5, 7, site);
    TestType::fill(contiguous_view(other.data(), row_count, columns), 5, 7, make_site(7, 2));
    int same = 0;
    for (index_t r = 0; r < row_count; ++r)
        for (index_t c = 0; c < stride; ++c) {
            double const x = apart[static_cast<std::size_t>(r * stride + c)];
            if (c >= columns) {
                CHECK(x == -77.0);
                continue;
            }
            auto const i = static_cast<std::size_t>(r * columns + c);
            CHECK(x == packed[i]);
            CHECK(single[i] == static_cast<float>(packed[i]));
            same += other[i] == packed[i];
        }
    CHECK(same == 0);
    auto sorted = packed;
    std::sort(sorted.begin(), sorted.end());
    CHECK(std::adjacent_find(sorted.begin(), sorted.end()) == sorted.end()); // no draw is used twice
    // a shorter tensor has the same beginning
    std::vector<double> part(4);
    TestType::fill(contiguous_view(part.data(), 2, 2), 5, 7, site);
    CHECK(std::equal(part.begin(), part.end(), packed.begin()));
}

TEST_CASE("initial values are laid out as the library's own filling of arrays", "[initial]") {
    auto const site = make_site(3, 9);
    std::vector<double> a(11), b(11);
    initial::uniform<-2, 3>::fill(contiguous_view(a.data(), 1, 11), 1, 1, site);
    espalier::fill_uniform(site, -2.0, 3.0, espalier::array_view<double>{b.data(), 11});
    CHECK(a == b);
    initial::he_normal::fill(contiguous_view(a.data(), 1, 11), 2, 1, site);
    espalier::fill_normal(site, 0.0, 1.0, espalier::array_view<double>{b.data(), 11});
    CHECK(a == b);
}

TEST_CASE("a fan below 1 is refused, an empty tensor is fine", "[initial]") {
    double w[1] = {5.0};
    auto const view = contiguous_view(w, 1, 1);
    CHECK_THROWS_AS(initial::he_normal::fill(view, 0, 1, make_site(1, 1)), espalier::shape_error);
    CHECK_THROWS_AS(initial::he_uniform::fill(view, -1, 1, make_site(1, 1)), espalier::shape_error);
    CHECK_THROWS_AS(initial::xavier_normal::fill(view, 1, 0, make_site(1, 1)), espalier::shape_error);
    CHECK_THROWS_AS(initial::xavier_uniform::fill(view, 0, 1, make_site(1, 1)), espalier::shape_error);
    CHECK(w[0] == 5.0); // thrown before anything is written
    initial::he_normal::fill(contiguous_view(w, 0, 1), 1, 1, make_site(1, 1));
    CHECK(w[0] == 5.0);
}
