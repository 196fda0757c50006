// SPDX-License-Identifier: Apache-2.0
// All products against sums in double: extents of 0 and 1, strides, and that nothing beside the result is written.
#include <espalier/product/direct.hpp>
#include <espalier/product/eigen.hpp>
#include <espalier/product/onednn.hpp>

#include <espalier/device/cpu/buffer.hpp>

#include <support/allocations.hpp>
#include <support/catch.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <limits>
#include <random>
#include <string>
#include <vector>

namespace {

using espalier::index_t;
using espalier::matrix_view;
using espalier::scratch_view;
namespace product = espalier::product;

/// rows x columns numbers, `stride` apart, with a frame around them that nobody may touch.
template <class T> struct framed {
    index_t rows, columns, stride;
    std::vector<T> memory;
    static constexpr index_t margin = 40;

    framed(index_t r, index_t c, index_t extra) : rows(r), columns(c), stride(c + extra) {
        memory.assign(static_cast<std::size_t>(2 * margin + r * stride), T(-777));
    }
    T* data() { return memory.data() + margin; }
    matrix_view<T> view() { return {data(), rows, columns, stride}; }
    matrix_view<T const> read() { return {data(), rows, columns, stride}; }
    bool inside(std::size_t i) const {
        index_t const at = static_cast<index_t>(i) - margin;
        return at >= 0 && at < rows * stride && at % stride < columns;
    }
    void fill(unsigned seed) {
        std::mt19937 generator(seed);
        std::normal_distribution<double> normal;
        for (index_t r = 0; r < rows; ++r)
            for (index_t c = 0; c < columns; ++c)
                view()(r, c) = static_cast<T>(normal(generator));
    }
    bool frame_untouched() const {
        for (std::size_t i = 0; i < memory.size(); ++i)
            if (!inside(i) && memory[i] != T(-777)) return false;
        return true;
    }
};

/// The largest error of c against sum_p a(i, p) b(p, j) + start(i, j), in units of the bound: (inner + 1) roundings,
/// each of at most half an ulp, of a sum of the terms' magnitudes.
template <class T, class A, class B>
double worst_error(framed<T>& c, index_t inner, A const& a, B const& b, matrix_view<T const> start) {
    double worst = 0.0;
    double const half_ulp = sizeof(T) == 4 ? 0x1p-24 : 0x1p-53;
    for (index_t i = 0; i < c.rows; ++i)
        for (index_t j = 0; j < c.columns; ++j) {
            double sum = start.data ? static_cast<double>(start(i, j)) : 0.0;
            double magnitude = std::abs(sum);
            for (index_t p = 0; p < inner; ++p) {
                double const term = static_cast<double>(a(i, p)) * static_cast<double>(b(p, j));
                sum += term;
                magnitude += std::abs(term);
            }
            double const error = std::abs(static_cast<double>(c.view()(i, j)) - sum);
            // The reference rounds too when T is double.
            double const bound =
                (sizeof(T) == 4 ? 1.0 : 2.0) * (static_cast<double>(inner) + 1.0) * half_ulp * magnitude;
            if (!(error <= bound))
                worst = std::max(worst, bound > 0.0 ? error / bound : 1e300);
            else if (bound > 0.0)
                worst = std::max(worst, error / bound);
        }
    return worst;
}

struct extents {
    index_t rows, in, out, extra;
};
std::vector<extents> const shapes = {{1, 1, 1, 0},      {0, 5, 7, 0},     {1, 64, 10, 0},    {2, 3, 5, 1},
                                     {7, 17, 15, 0},    {8, 16, 16, 0},   {9, 33, 17, 3},    {31, 48, 49, 0},
                                     {64, 64, 64, 0},   {37, 101, 53, 5}, {128, 256, 10, 0}, {100, 600, 47, 0},
                                     {300, 20, 130, 2}, {5, 1, 200, 0},   {3, 530, 1, 0},    {520, 9, 3, 4}};

template <class P, class T> void check_all() {
    for (extents const& e : shapes) {
        INFO(P::name << ", " << e.rows << " rows, " << e.in << " -> " << e.out << ", strides " << e.extra
                     << " longer than the rows");
        framed<T> x(e.rows, e.in, e.extra), w(e.in, e.out, e.extra), z(e.rows, e.out, e.extra),
            dz(e.rows, e.out, e.extra), dx(e.rows, e.in, e.extra), dw(e.in, e.out, e.extra), bias(1, e.out, 0);
        x.fill(1);
        w.fill(2);
        dz.fill(3);
        bias.fill(4);
        espalier::cpu::buffer<std::byte> memory(
            static_cast<index_t>(P::template scratch<T>(std::max<index_t>(e.rows, 1), e.in, e.out)));
        scratch_view const space{memory.data(), static_cast<std::size_t>(memory.size())};

        for (T const* offset : {static_cast<T const*>(bias.data()), static_cast<T const*>(nullptr)}) {
            P::template forward<T>(x.read(), w.read(), offset, z.view(), space);
            CHECK(worst_error(
                      z, e.in, [&](index_t i, index_t p) { return x.read()(i, p); },
                      [&](index_t p, index_t j) { return w.read()(p, j); },
                      matrix_view<T const>{offset, e.rows, e.out, 0}) <= 1.0);
        }
        P::template input_gradient<T>(dz.read(), w.read(), dx.view(), space);
        CHECK(worst_error(
                  dx, e.out, [&](index_t i, index_t p) { return dz.read()(i, p); },
                  [&](index_t p, index_t j) { return w.read()(j, p); }, matrix_view<T const>{}) <= 1.0);
        P::template weight_gradient<T>(x.read(), dz.read(), dw.view(), space);
        CHECK(worst_error(
                  dw, e.rows, [&](index_t i, index_t p) { return x.read()(p, i); },
                  [&](index_t p, index_t j) { return dz.read()(p, j); }, matrix_view<T const>{}) <= 1.0);
        // Added to what is there: the same as one more term of the sum, the number itself times 1.
        static_assert(espalier::adding_product<P, T>);
        framed<T> sum(e.rows, e.out, e.extra), dsum(e.rows, e.in, e.extra);
        sum.fill(5);
        dsum.fill(6);
        framed<T> start = sum, dstart = dsum;
        P::template add_forward<T>(x.read(), w.read(), sum.view(), space);
        CHECK(worst_error(
                  sum, e.in, [&](index_t i, index_t p) { return x.read()(i, p); },
                  [&](index_t p, index_t j) { return w.read()(p, j); }, start.read()) <= 1.0);
        P::template add_input_gradient<T>(dz.read(), w.read(), dsum.view(), space);
        CHECK(worst_error(
                  dsum, e.out, [&](index_t i, index_t p) { return dz.read()(i, p); },
                  [&](index_t p, index_t j) { return w.read()(j, p); }, dstart.read()) <= 1.0);
        CHECK(sum.frame_untouched());
        CHECK(dsum.frame_untouched());
        CHECK(z.frame_untouched());
        CHECK(dx.frame_untouched());
        CHECK(dw.frame_untouched());
    }
}

} // namespace

TEST_CASE("product::eigen gives the products", "[product]") {
    check_all<product::eigen, float>();
    check_all<product::eigen, double>();
}

TEST_CASE("product::direct gives the products", "[product]") {
    check_all<product::direct, float>();
    check_all<product::direct, double>();
}

TEST_CASE("product::direct gives a row the same bits in every batch", "[product]") {
    constexpr index_t rows = 75, in = 530, out = 70;
    framed<float> x(rows, in, 0), w(in, out, 0), together(rows, out, 0), alone(rows, out, 0);
    x.fill(1);
    w.fill(2);
    espalier::cpu::buffer<std::byte> memory(static_cast<index_t>(product::direct::scratch<float>(rows, in, out)));
    scratch_view const space{memory.data(), static_cast<std::size_t>(memory.size())};
    product::direct::forward<float>(x.read(), w.read(), nullptr, together.view(), space);
    for (index_t r = 0; r < rows;) {
        index_t const n = std::min<index_t>(1 + r % 11, rows - r);
        product::direct::forward<float>(x.read().middle_rows(r, n), w.read(), nullptr, alone.view().middle_rows(r, n),
                                        space);
        r += n;
    }
    CHECK(together.memory == alone.memory);
}

TEST_CASE("products refuse too little packing space before they write", "[product]") {
    framed<float> x(300, 300, 0), w(300, 300, 0), z(300, 300, 0);
    std::vector<float> const before = z.memory;
    std::byte little[64];
    CHECK_THROWS_AS(product::direct::forward<float>(x.read(), w.read(), nullptr, z.view(), {little, sizeof little}),
                    espalier::shape_error);
    CHECK(z.memory == before);
    CHECK_THROWS_AS(product::eigen::input_gradient<float>(x.read(), w.read(), z.view(), {little, sizeof little}),
                    espalier::shape_error);
}

namespace {

/// What product::direct says of weight gradients in which one element is not finite, one in every row.
template <class T> void check_said(index_t rows, index_t in, index_t out) {
    framed<T> x(rows, in, 3), dz(rows, out, 2), dw(in, out, 5);
    std::vector<std::byte> memory(product::direct::scratch<T>(rows, in, out));
    scratch_view const space{memory.data(), memory.size()};
    auto const said = [&] { return product::direct::weight_gradient<T>(x.read(), dz.read(), dw.view(), space); };
    CAPTURE(rows, in, out);
    x.fill(1), dz.fill(2);
    REQUIRE(said());
    for (index_t i = 0; i < in; ++i) {
        index_t const j = i * 7 % out, r = i % rows;
        x.fill(1), dz.fill(2);
        for (index_t c = 0; c < in; ++c)
            x.view()(r, c) = T(0);
        for (index_t c = 0; c < out; ++c)
            dz.view()(r, c) = T(0);
        // Finite factors whose product is not, in element (i, j) alone.
        x.view()(r, i) = dz.view()(r, j) = std::numeric_limits<T>::max();
        REQUIRE_FALSE(said());
        REQUIRE_FALSE(std::isfinite(dw.view()(i, j)));
    }
}

} // namespace

TEST_CASE("product::direct sees every element of a weight gradient that is not finite", "[product]") {
    check_said<float>(3, 5, 7);
    check_said<float>(64, 29, 50);
    check_said<float>(600, 9, 65); // longer than one go
    check_said<double>(20, 70, 17);
    check_said<double>(1, 1, 1);
}

#if defined(ESPALIER_TEST_COUNTS_MALLOC)
namespace {

template <class P> std::size_t allocations() {
    std::size_t count = 0;
    for (index_t const rows : {256, 40, 256}) {
        constexpr index_t in = 400, out = 300; // packing buffers of several hundred kilobytes
        framed<float> x(rows, in, 0), w(in, out, 0), z(rows, out, 0), dx(rows, in, 0), dw(in, out, 0);
        x.fill(1);
        w.fill(2);
        espalier::cpu::buffer<std::byte> memory(static_cast<index_t>(P::template scratch<float>(256, in, out)));
        scratch_view const space{memory.data(), static_cast<std::size_t>(memory.size())};
        std::size_t const before = counted_allocations;
        P::template forward<float>(x.read(), w.read(), nullptr, z.view(), space);
        P::template input_gradient<float>(z.read(), w.read(), dx.view(), space);
        P::template weight_gradient<float>(x.read(), z.read(), dw.view(), space);
        count += counted_allocations - before;
    }
    return count;
}

} // namespace

TEST_CASE("products allocate nothing", "[product]") {
    std::size_t const before = counted_allocations;
    std::free(std::malloc(100000)); // the counter counts
    void* volatile const block = ::operator new(64);
    ::operator delete(block);
    REQUIRE(counted_allocations - before >= 1);
    CHECK(allocations<product::eigen>() == 0);
    CHECK(allocations<product::direct>() == 0);
}
#endif

#if __has_include(<oneapi/dnnl/dnnl.hpp>) && defined(ESPALIER_HAS_ONEDNN)
TEST_CASE("product::onednn gives the products", "[product]") {
    check_all<product::onednn, float>();
}
#endif
