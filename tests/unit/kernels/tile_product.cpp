// SPDX-License-Identifier: Apache-2.0
// Products by tiles on the emulated block against sums in double: shapes that fill no tile, strides, unaligned rows,
// every number of live rows, and the same bits for every number of blocks; small matrices of a warp by themselves.
#include <support/catch.hpp>
#include <support/sanitized.hpp>

#include "launches.hpp"

#include <espalier/core/error.hpp>
#include <espalier/kernels/tile_product.hpp>

#include <cfloat>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <type_traits>
#include <vector>

namespace {

using namespace kernel_tests;
namespace k = espalier::kernels;
using espalier::master_of;
using espalier::matrix_view;

template <class T> double wide(T x) {
    return static_cast<double>(static_cast<master_of<T>>(x));
}

/// Of a sum of n products, rounded at each and stored as Out: n + 2 roundings of the sum of the magnitudes, and one of
/// the result.
template <class W, class Out> bool within(double got, double want, double magnitudes, index_t n) {
    double const unit = std::is_same_v<W, double> ? DBL_EPSILON / 2 : static_cast<double>(FLT_EPSILON) / 2;
    double const stored = sizeof(Out) == 2 ? 0x1p-8 : unit;
    return std::fabs(got - want) <= 1.01 * (static_cast<double>(n + 2) * unit * magnitudes + stored * std::fabs(want));
}

template <class Body> void on_blocks(index_t blocks, std::uint64_t seed, Body const& body) {
    espalier::emulated_launch<k::tile_product_threads>(blocks, [&](auto& group) { body(group); }, {.order_seed = seed});
}

struct launch_shape {
    index_t blocks;
    std::uint64_t seed;
};
// One block takes large tiles where they are fewer rounds, many blocks take small ones.
constexpr launch_shape launch_shapes[] = {{1, 0}, {3, 1}, {16, 2}};

struct extents {
    index_t rows, in, out;
    index_t padding = 0; ///< of every row in memory
    index_t first = 0;   ///< columns that are left out in front, so that no row is 16-byte aligned
};

constexpr std::int32_t all = -1;

template <class T> matrix_view<T> skip(padded_matrix<T>& m, index_t columns, index_t first) {
    return m.view().middle_columns(first, columns);
}
template <class T> matrix_view<T const> skip(padded_matrix<T> const& m, index_t columns, index_t first) {
    return m.view().middle_columns(first, columns);
}

template <class T> void check(extents e, std::int32_t live, bool with_bias, bool accumulate = false) {
    using W = master_of<T>;
    CAPTURE(sizeof(T), e.rows, e.in, e.out, e.padding, e.first, live, with_bias, accumulate);
    index_t const n = live == all ? e.rows : live;
    espalier::live_window const given{live == all ? nullptr : &live};
    padded_matrix<T> x(e.rows, e.in + e.first, e.padding, 1), dz(e.rows, e.out + e.first, e.padding, 3);
    padded_matrix<T> const w(e.in, e.out + e.first, e.padding, 2);
    // What rows hold beyond the live ones must not matter.
    for (index_t r = n; r < e.rows; ++r) {
        for (index_t c = 0; c < x.columns; ++c)
            x.view()(r, c) = static_cast<T>(std::numeric_limits<W>::quiet_NaN());
        for (index_t c = 0; c < dz.columns; ++c)
            dz.view()(r, c) = static_cast<T>(std::numeric_limits<W>::infinity());
    }
    std::vector<W> const bias = numbers<W>(e.out, 4);
    padded_matrix<T> const z_before(e.rows, e.out + e.first, e.padding, 5), dx_before(e.rows, e.in + e.first, 3, 6);
    padded_matrix<W> const dw_before(e.in, e.out + e.first, e.padding, 7);
    auto const xv = skip(std::as_const(x), e.in, e.first), gv = skip(std::as_const(dz), e.out, e.first);
    auto const wv = skip(w, e.out, e.first);

    std::vector<padded_matrix<T>> z, dx;
    std::vector<padded_matrix<W>> dw;
    for (launch_shape const shape : launch_shapes) {
        z.push_back(z_before);
        dx.push_back(dx_before);
        dw.push_back(dw_before);
        on_blocks(shape.blocks, shape.seed, [&](auto const& block) {
            k::tile_forward(block, xv, wv, with_bias ? bias.data() : nullptr, skip(z.back(), e.out, e.first),
                            accumulate, given);
        });
        on_blocks(shape.blocks, shape.seed, [&](auto const& block) {
            k::tile_input_gradient(block, gv, wv, skip(dx.back(), e.in, e.first), given);
        });
        on_blocks(shape.blocks, shape.seed, [&](auto const& block) {
            k::tile_weight_gradient(block, xv, gv, skip(dw.back(), e.out, e.first), given);
        });
        REQUIRE(same_bits(z.back().data, z[0].data));
        REQUIRE(same_bits(dx.back().data, dx[0].data));
        REQUIRE(same_bits(dw.back().data, dw[0].data));
    }

    // Everything outside the live part of the results stays; put it back and nothing else may differ.
    auto const kept = [](auto after, auto const& before, index_t rows, index_t first) {
        for (index_t r = 0; r < rows; ++r)
            for (index_t c = first; c < after.columns; ++c)
                after.view()(r, c) = before(r, c);
        return same_bits(after.data, before.data);
    };
    REQUIRE(kept(z[0], z_before, n, e.first));
    REQUIRE(kept(dx[0], dx_before, n, e.first));
    REQUIRE(kept(dw[0], dw_before, e.in, e.first));

    bool right = true;
    for (index_t r = 0; r < n; ++r) {
        for (index_t c = 0; c < e.out; ++c) {
            double sum = with_bias ? wide(bias[static_cast<std::size_t>(c)]) : 0.0;
            if (accumulate) sum += wide(z_before(r, e.first + c));
            double magnitudes = std::fabs(sum);
            for (index_t i = 0; i < e.in; ++i) {
                sum += wide(xv(r, i)) * wide(wv(i, c));
                magnitudes += std::fabs(wide(xv(r, i)) * wide(wv(i, c)));
            }
            right &= within<W, T>(wide(z[0](r, e.first + c)), sum, magnitudes + 2.0 * std::fabs(sum), e.in);
        }
        for (index_t i = 0; i < e.in; ++i) {
            double sum = 0, magnitudes = 0;
            for (index_t c = 0; c < e.out; ++c) {
                sum += wide(gv(r, c)) * wide(wv(i, c));
                magnitudes += std::fabs(wide(gv(r, c)) * wide(wv(i, c)));
            }
            right &= within<W, T>(wide(dx[0](r, e.first + i)), sum, magnitudes, e.out);
        }
    }
    for (index_t i = 0; i < e.in; ++i)
        for (index_t c = 0; c < e.out; ++c) {
            double sum = 0, magnitudes = 0;
            for (index_t r = 0; r < n; ++r) {
                sum += wide(xv(r, i)) * wide(gv(r, c));
                magnitudes += std::fabs(wide(xv(r, i)) * wide(gv(r, c)));
            }
            right &= within<W, W>(wide(dw[0](i, e.first + c)), sum, magnitudes, n);
            if (n == 0) right &= dw[0](i, e.first + c) == W(0);
        }
    REQUIRE(right);
}

} // namespace

TEMPLATE_TEST_CASE("products by tiles", "[kernels]", float, double, narrow) {
    for (extents const e : {extents{1, 1, 1}, extents{3, 5, 7}, extents{3, 5, 7, 3}, extents{64, 64, 64},
                            extents{65, 130, 33, 7}, extents{40, 24, 72, 8}, extents{40, 24, 72, 7, 1},
                            extents{17, 1, 9}, extents{1, 200, 1}, extents{5, 0, 3}, extents{0, 3, 5}}) {
        check<TestType>(e, all, true);
        check<TestType>(e, all, false, true);
        for (std::int32_t const live : {0, 1, static_cast<std::int32_t>(e.rows / 2), static_cast<std::int32_t>(e.rows)})
            if (live <= e.rows) check<TestType>(e, live, live % 2 == 0);
    }
}

// Large tiles of 128 x 128, and several rounds of them.
TEMPLATE_TEST_CASE("products by large tiles", "[kernels]", float, narrow) {
    for (extents const e : {extents{256, 256, 256}, extents{300, 136, 264, 8}}) {
        if (sanitized && e.rows == 256) continue; // memory is at the edges
        check<TestType>(e, all, true);
        check<TestType>(e, 129, false);
    }
}

TEST_CASE("products by tiles take a count outside the rows as none or all") {
    padded_matrix<float> const x(9, 4, 0, 1), w(4, 5, 0, 2), before(9, 5, 0, 3);
    auto const run = [&](espalier::live_window live) {
        padded_matrix<float> z(before);
        on_blocks(2, 0, [&](auto const& block) {
            k::tile_forward(block, x.view(), w.view(), static_cast<float const*>(nullptr), z.view(), false, live);
        });
        return z.data;
    };
    std::int32_t const less = -3, more = 1000;
    REQUIRE(same_bits(run({&less}), before.data));
    REQUIRE(same_bits(run({&more}), run({})));
    REQUIRE_FALSE(same_bits(run({}), before.data));
}

TEST_CASE("products by tiles: a window is the product of its rows alone, and nothing else changes") {
    constexpr index_t rows = 100, in = 24, out = 40;
    padded_matrix<float> const x(rows, in, 8, 1), w(in, out, 0, 2), dz(rows, out, 3, 4);
    for (std::int32_t const first : {0, 16, 48})
        for (std::int32_t const count : {0, 1, 33}) {
            CAPTURE(first, count);
            espalier::live_window const window{&count, &first};
            padded_matrix<float> z(rows, out, 8, 3), dx(rows, in, 0, 5), dw(in, out, 0, 6);
            padded_matrix<float> z_alone(z), dx_alone(dx), dw_alone(dw);
            // The host gives the most rows that there may be: here half of those that the memory has.
            auto const most = [](auto const& view) { return view.middle_rows(0, rows / 2); };
            auto const alone = [&](auto const& view) { return view.middle_rows(first, count); };
            on_blocks(2, 0, [&](auto const& block) {
                k::tile_forward(block, most(x.view()), w.view(), static_cast<float const*>(nullptr), most(z.view()),
                                false, window);
                k::tile_input_gradient(block, most(dz.view()), w.view(), most(dx.view()), window);
                k::tile_weight_gradient(block, most(x.view()), most(dz.view()), dw.view(), window);
            });
            on_blocks(2, 0, [&](auto const& block) {
                k::tile_forward(block, alone(x.view()), w.view(), static_cast<float const*>(nullptr),
                                alone(z_alone.view()), false, {});
                k::tile_input_gradient(block, alone(dz.view()), w.view(), alone(dx_alone.view()), {});
                k::tile_weight_gradient(block, alone(x.view()), alone(dz.view()), dw_alone.view(), {});
            });
            REQUIRE(same_bits(z.data, z_alone.data));
            REQUIRE(same_bits(dx.data, dx_alone.data));
            REQUIRE(same_bits(dw.data, dw_alone.data));
        }
}

TEST_CASE("a row of a product by tiles does not depend on the other rows") {
    padded_matrix<narrow> const x(150, 70, 2, 1), w(70, 90, 6, 2);
    padded_matrix<narrow> all_rows_z(150, 90, 0, 3), one(1, 90, 0, 3);
    auto const run = [&](matrix_view<narrow const> from, matrix_view<narrow> to) {
        on_blocks(1, 0, [&](auto const& block) {
            k::tile_forward(block, from, w.view(), static_cast<float const*>(nullptr), to, false, {});
        });
    };
    run(x.view(), all_rows_z.view());
    for (index_t const r : {0, 77, 149}) {
        run(x.view().middle_rows(r, 1), one.view());
        REQUIRE(std::memcmp(one.data.data(), all_rows_z.view().row(r), 90 * sizeof(narrow)) == 0);
    }
}
