// SPDX-License-Identifier: Apache-2.0
// The kernel bodies of embeddings on the emulated block against the loops of the CPU, bit by bit, ids that are none,
// and a stack with an embedding that is trained by them.
#include <support/catch.hpp>

#include "bodies.hpp"
#include "launches.hpp"

#include <espalier/activation/tanh.hpp>
#include <espalier/core/group.hpp>
#include <espalier/device/cpu/cpu.hpp>
#include <espalier/device/cpu/embedding.hpp>
#include <espalier/kernels/embedding.hpp>
#include <espalier/layer/dense.hpp>
#include <espalier/layer/embedding.hpp>
#include <espalier/layer/input.hpp>
#include <espalier/layer/sequence.hpp>
#include <espalier/loss/cross_entropy.hpp>
#include <espalier/optimizer/sgd.hpp>
#include <espalier/penalty/group_lasso.hpp>
#include <espalier/penalty/l2.hpp>
#include <espalier/projection/box.hpp>
#include <espalier/projection/max_norm.hpp>
#include <espalier/train/training.hpp>

#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

namespace {

using namespace kernel_tests;
using namespace espalier;
namespace k = espalier::kernels;

/// Ids of columns with so many each.
template <class T, class Sizes> std::vector<T> ids_below(Sizes const& sizes, index_t rows, std::uint32_t salt) {
    auto const columns = static_cast<index_t>(sizes.size());
    auto x = numbers<T>(rows * columns, salt);
    for (std::size_t i = 0; i < x.size(); ++i)
        x[i] = std::floor((x[i] + T(2)) / T(4) * static_cast<T>(sizes[i % sizes.size()]));
    return x;
}

/// `padding`: columns that the rows of y and dy have more, 0 for accesses of 16 bytes wherever the width allows them.
template <class T> void check_bodies(std::vector<index_t> const& sizes, index_t rows, index_t width, index_t padding) {
    CAPTURE(sizes.size(), rows, width, padding);
    auto const columns = static_cast<index_t>(sizes.size());
    index_t total = 0;
    for (index_t size : sizes)
        total += size;
    auto const id = ids_below<T>(sizes, rows, 3);
    auto const table = numbers<T>(total * width, 4);
    padded_matrix<T> const dy(rows, columns * width, padding, 5);
    matrix_view<T const> const ids{id.data(), rows, columns, columns};
    padded_matrix<T> const untouched(rows, columns * width, padding, 6);
    padded_matrix<T> expected = untouched;
    std::vector<T> gradient(table.size(), T(-7));
    cpu::embed(ids, sizes.data(), table.data(), width, expected.view());
    cpu::embed_backward(ids, sizes.data(), dy.view(), width, gradient.data());
    auto const tables = k::id_tables::of(sizes.data(), columns);
    for_launches([&](auto const& launch) {
        padded_matrix<T> y = untouched;
        std::vector<T> sums(table.size(), T(0));
        k::error_word error;
        launch([&](auto const& block) { k::embed(block, ids, tables, table.data(), width, y.view(), &error); });
        launch([&](auto const& block) { k::embed_backward(block, ids, tables, dy.view(), width, sums.data()); });
        REQUIRE(error.clear());
        REQUIRE(same_bits(y.data, expected.data));
        REQUIRE(same_bits(sums, gradient));
    });
}

constexpr int classes = 5;
using ids_of_test = vocabulary<3, 60, 7>;
template <class... Ps>
using stack = sequence<input<3>, embedding<ids_of_test, 12, Ps...>, dense<16, activation::tanh>, dense<classes>>;

/// The terms of a few steps, then the weights and the outputs of a prediction.
template <class Stack, class Device> std::vector<double> run(index_t n) {
    network<Stack, Device, float> net{seed{5}, n};
    training run(net, loss::cross_entropy{}, optimizer::sgd{.learning_rate = 0.5});
    std::vector<std::int32_t> label;
    for (index_t i = 0; i < n; ++i)
        label.push_back(static_cast<std::int32_t>(i * 7 % classes));
    rows tags;
    tags.count = n;
    tags.label = label.data();
    std::vector<double> trace;
    for (std::uint32_t i = 0; i < 4; ++i) {
        auto const x = ids_below<float>(ids_of_test::sizes, n, 10 + i);
        run.step({matrix_view<float const>{x.data(), n, 3, 3}, tags, {}});
        trace.insert(trace.end(), run.terms().begin(), run.terms().end());
    }
    auto const& weights = net.values().weights();
    trace.insert(trace.end(), weights.data(), weights.data() + weights.size());
    auto const x = ids_below<float>(ids_of_test::sizes, n, 9);
    std::vector<float> y(static_cast<std::size_t>(n * classes));
    net.predict(matrix_view<float const>{x.data(), n, 3, 3}, matrix_view<float>{y.data(), n, classes, classes});
    trace.insert(trace.end(), y.begin(), y.end());
    std::vector<float> dx(static_cast<std::size_t>(3 * n), 7.0f);
    run.input_gradients_of({matrix_view<float const>{x.data(), n, 3, 3}, tags}, matrix_view<float>{dx.data(), n, 3, 3});
    CHECK(dx == std::vector<float>(dx.size(), 0.0f));
    return trace;
}

template <class Stack> void check_stack() {
    for (index_t n : {1, 33, 150}) {
        CAPTURE(n);
        auto const expected = run<Stack, device::cpu>(n), got = run<Stack, bodies>(n);
        REQUIRE(got.size() == expected.size());
        std::size_t far = 0;
        for (std::size_t i = 0; i < got.size(); ++i)
            far += !near(got[i], expected[i], 1e-6);
        CHECK(far == 0);
    }
}

} // namespace

TEST_CASE("embedding bodies: rows of tables and their gradient are the CPU's for every launch", "[kernels]") {
    for (index_t rows : all_rows)
        for (index_t width : {1, 7, 8, 12, 33})
            check_bodies<float>({1, 5, 60}, rows, width, width == 7 ? 3 : 0);
    for (index_t width : {1, 8, 40}) {
        check_bodies<float>({3, 700, 40, 1}, 300, width, 0); // many rows with an id, and ids with one row
        check_bodies<double>({3, 700}, 150, width, 1);
    }
    check_bodies<float>(std::vector<index_t>(16, 9), 33, 4, 0);
    check_bodies<float>({index_t{1} << 14}, 33, 4, 4);
}

TEST_CASE("embedding bodies: what is no id is reported with its row and reads row 0", "[kernels]") {
    std::vector<index_t> const sizes{4, 6};
    auto const tables = k::id_tables::of(sizes.data(), 2);
    index_t const rows = 40, width = 5;
    auto const table = numbers<float>(10 * width, 1);
    padded_matrix<float> const dy(rows, 2 * width, 0, 2);
    auto const good = ids_below<float>(sizes, rows, 3);
    for (float wrong :
         {-1.0f, 6.0f, 2.5f, std::numeric_limits<float>::quiet_NaN(), 1e30f, -std::numeric_limits<float>::infinity()}) {
        CAPTURE(wrong);
        auto id = good;
        id[2 * 21 + 1] = wrong;
        id[2 * 30 + 1] = wrong;
        auto rest = dy;
        for (index_t r : {21, 30})
            for (index_t c = width; c < 2 * width; ++c)
                rest.view()(r, c) = 0.0f;
        auto known = id;
        known[2 * 21 + 1] = known[2 * 30 + 1] = 0.0f;
        matrix_view<float const> const ids{id.data(), rows, 2, 2}, zeros{known.data(), rows, 2, 2};
        padded_matrix<float> expected = dy;
        std::vector<float> gradient(table.size());
        cpu::embed(zeros, sizes.data(), table.data(), width, expected.view());
        // Without these rows; that their 0 is added to row 0 of the table changes none of its sums.
        cpu::embed_backward(zeros, sizes.data(), matrix_view<float const>(rest.view()), width, gradient.data());
        for_launches([&](auto const& launch) {
            padded_matrix<float> y = dy;
            std::vector<float> sums(table.size(), 0.0f);
            k::error_word error;
            launch([&](auto const& block) { k::embed(block, ids, tables, table.data(), width, y.view(), &error); });
            launch([&](auto const& block) { k::embed_backward(block, ids, tables, dy.view(), width, sums.data()); });
            REQUIRE(error.bits == k::id_out_of_range);
            REQUIRE(error.row == 21);
            REQUIRE(same_bits(y.data, expected.data));
            REQUIRE(same_bits(sums, gradient));
        });
    }
}

TEST_CASE("embedding bodies: a stack trained by them is the one that the CPU trains", "[kernels]") {
    check_stack<stack<>>();
    check_stack<stack<penalty::l2<0.01>>>();
    // with norms of whole tensors, which devices of bodies sum up in passes of their own
    check_stack<stack<penalty::group_lasso<0.02, over::tensor>, projection::box<-0.4, 0.4>,
                      projection::max_norm<0.9, over::tensor>>>();
    check_stack<stack<projection::max_norm<0.9, over::tensor>>>();
}
