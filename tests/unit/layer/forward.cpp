// SPDX-License-Identifier: Apache-2.0
// Layers against arithmetic written out in double: dense, elementwise, residual, parallel, everywhere.
#include "naive.hpp"

#include <espalier/activation/gelu.hpp>
#include <espalier/activation/relu.hpp>
#include <espalier/activation/softmax.hpp>
#include <espalier/activation/tanh.hpp>
#include <espalier/dropout/bernoulli.hpp>
#include <espalier/dropout/drop_path.hpp>
#include <espalier/layer/dense.hpp>
#include <espalier/layer/elementwise.hpp>
#include <espalier/layer/everywhere.hpp>
#include <espalier/layer/input.hpp>
#include <espalier/layer/parallel.hpp>
#include <espalier/layer/residual.hpp>
#include <espalier/layer/sequence.hpp>
#include <espalier/penalty/l1.hpp>
#include <espalier/penalty/l2.hpp>

#include <support/catch.hpp>

#include <algorithm>

using namespace espalier;

namespace {

constexpr double ulps = 1e-14;

/// The factors that the dropout of a dense layer draws: with kernel 0 and offset 1 they are the layer's output.
template <class Stack> naive::matrix factors(seed s, index_t rows_wanted, rows const& tags, std::uint64_t step = 0) {
    naive::network<Stack> net(s, rows_wanted);
    for (tensor_info const& t : net.tensors()) {
        auto const v = net.tensor(t.name);
        std::fill(v.data, v.data + t.size(), t.tensor_role == role::bias ? 1.0 : 0.0);
    }
    net.refresh();
    return naive::forward<mode::train>(net, naive::matrix(rows_wanted, net.input_width), tags, step);
}

} // namespace

TEST_CASE("dense: factor times activation of x W + b", "[layer]") {
    using stack = sequence<input<7>, dense<19, dropout::bernoulli<0.25>, activation::gelu>>;
    using drawing = sequence<input<7>, dense<19, dropout::bernoulli<0.25>>>;
    naive::network<stack> net({3}, 37);
    auto const x = naive::random(37, 7, 1, 2.0);
    naive::set_tensor(net, "1.bias", naive::random(1, 19, 2));
    auto const expected = naive::map(naive::affine(x, naive::tensor(net, "1.kernel"), naive::tensor(net, "1.bias")),
                                     [](double z) { return naive::gelu(z); });
    CHECK(naive::distance(naive::forward<mode::evaluate>(net, x), expected) < ulps);
    auto const mask = factors<drawing>({3}, 37, naive::tags_of(37));
    CHECK(naive::distance(naive::forward<mode::train>(net, x), naive::times(expected, mask)) < ulps);
    // both kinds of factors occur, and the mean of the kept ones is 1 / (1 - p) with p on a grid of 2^-16
    index_t dropped = 0;
    for (double const f : mask.values) {
        if (f == 0.0)
            ++dropped;
        else
            CHECK(f == Approx(1.0 / 0.75).epsilon(1e-4));
    }
    CHECK(dropped > 37 * 19 / 8);
    CHECK(dropped < 37 * 19 * 3 / 8);
}

TEST_CASE("dense: first values are those of he_normal, offsets 0", "[layer]") {
    using stack = sequence<input<7>, dense<19, dropout::bernoulli<0.25>>>; // the one whose factors are drawn above
    double squares = 0.0;
    constexpr std::uint64_t networks = 40;
    for (std::uint64_t s = 0; s < networks; ++s) {
        naive::network<stack> net({s}, 1);
        for (double const w : naive::tensor(net, "1.kernel").values)
            squares += w * w;
        CHECK(naive::tensor(net, "1.bias").values == std::vector<double>(19, 0.0));
    }
    // 5320 values: the standard error of their variance is 1.9 % of it.
    CHECK(squares / (networks * 7 * 19) == Approx(2.0 / 7.0).epsilon(0.08));
}

TEST_CASE("dense: without an offset, and with a row-wise activation", "[layer]") {
    naive::network<sequence<input<5>, dense<11, no_bias, activation::softmax>>> net({4}, 9);
    auto const x = naive::random(9, 5, 3);
    auto const expected = naive::softmax(naive::affine(x, naive::tensor(net, "1.kernel"), {}));
    CHECK(net.tensors().size() == 1);
    CHECK(naive::distance(naive::forward<mode::evaluate>(net, x), expected) < ulps);
    CHECK(naive::distance(naive::forward<mode::train>(net, x), expected) < ulps);
}

TEST_CASE("evaluation is deterministic and draws nothing", "[layer]") {
    using stack = sequence<input<6>, dense<8, activation::relu, dropout::bernoulli<0.5>>,
                           elementwise<activation::tanh, dropout::drop_path<0.5>>, dense<4>>;
    using plain = sequence<input<6>, dense<8, activation::relu>, elementwise<activation::tanh>, dense<4>>;
    naive::network<stack> net({5}, 64);
    naive::network<plain> same({5}, 64);
    for (tensor_info const& t : net.tensors())
        naive::set_tensor(same, t.name, naive::tensor(net, t.name));
    auto const x = naive::random(50, 6, 4);
    auto const y = naive::forward<mode::evaluate>(net, x);
    CHECK(y.values == naive::forward<mode::evaluate>(net, x, 99).values);
    CHECK(y.values == naive::forward<mode::evaluate>(same, x).values);
    CHECK(y.values != naive::forward<mode::train>(net, x).values);
    CHECK(naive::forward<mode::train>(net, x).values == naive::forward<mode::train>(net, x).values);
    CHECK(naive::forward<mode::train>(net, x, 1).values != naive::forward<mode::train>(net, x, 2).values);
}

TEST_CASE("random factors belong to rows, not to their place in memory", "[layer]") {
    using stack = sequence<input<3>, dense<37, dropout::bernoulli<0.5>>>;
    using per_row = sequence<input<3>, dense<5, dropout::drop_path<0.5>>>;
    auto const whole = factors<stack>({8}, 96, naive::tags_of(96), 6);
    auto const whole_rows = factors<per_row>({8}, 96, naive::tags_of(96), 6);
    for (index_t const first : {0, 1, 16, 31, 64}) {
        rows tags = naive::tags_of(32);
        tags.first = static_cast<std::uint32_t>(first);
        CHECK(factors<stack>({8}, 32, tags, 6).values == naive::middle_rows(whole, first, 32).values);
        CHECK(factors<per_row>({8}, 32, tags, 6).values == naive::middle_rows(whole_rows, first, 32).values);
    }
    std::vector<std::uint32_t> origin;
    for (std::uint32_t i = 0; i < 40; ++i)
        origin.push_back((i * 29 + 5) % 96);
    rows tags = naive::tags_of(40);
    tags.origin = origin.data();
    auto const permuted = factors<stack>({8}, 40, tags, 6);
    auto const permuted_rows = factors<per_row>({8}, 40, tags, 6);
    for (index_t r = 0; r < 40; ++r) {
        CHECK(naive::middle_rows(permuted, r, 1).values == naive::middle_rows(whole, origin[r], 1).values);
        CHECK(naive::middle_rows(permuted_rows, r, 1).values == naive::middle_rows(whole_rows, origin[r], 1).values);
    }
    // a factor a row: all columns of a row agree, and both factors occur
    index_t dropped = 0;
    for (index_t r = 0; r < 96; ++r) {
        dropped += whole_rows(r, 0) == 0.0;
        for (index_t c = 1; c < 5; ++c)
            CHECK(whole_rows(r, c) == whole_rows(r, 0));
    }
    CHECK(dropped > 24);
    CHECK(dropped < 72);
    // another seed, another layer: other factors
    CHECK(factors<stack>({9}, 96, naive::tags_of(96), 6).values != whole.values);
}

TEST_CASE("residual and parallel: sums and places side by side", "[layer]") {
    auto const x = naive::random(21, 6, 5);
    auto const tanh_of = [](double z) { return std::tanh(z); };
    {
        naive::network<sequence<input<6>, residual<dense<9, activation::tanh>, dense<6>>>> net({6}, 21);
        auto const hidden =
            naive::map(naive::affine(x, naive::tensor(net, "1.0.kernel"), naive::tensor(net, "1.0.bias")), tanh_of);
        auto const inner = naive::affine(hidden, naive::tensor(net, "1.1.kernel"), naive::tensor(net, "1.1.bias"));
        CHECK(naive::distance(naive::forward<mode::train>(net, x), naive::plus(x, inner)) < ulps);
        CHECK(naive::distance(naive::forward<mode::evaluate>(net, x), naive::plus(x, inner)) < ulps);
    }
    {
        using two = parallel<merge::concatenate, dense<4, activation::tanh>, sequence<dense<3>, dense<5>>>;
        naive::network<sequence<input<6>, two>> net({6}, 21);
        auto const a =
            naive::map(naive::affine(x, naive::tensor(net, "1.0.kernel"), naive::tensor(net, "1.0.bias")), tanh_of);
        auto const b =
            naive::affine(naive::affine(x, naive::tensor(net, "1.1.0.kernel"), naive::tensor(net, "1.1.0.bias")),
                          naive::tensor(net, "1.1.1.kernel"), naive::tensor(net, "1.1.1.bias"));
        naive::matrix expected(21, 9);
        for (index_t r = 0; r < 21; ++r)
            for (index_t c = 0; c < 9; ++c)
                expected(r, c) = c < 4 ? a(r, c) : b(r, c - 4);
        CHECK(naive::distance(naive::forward<mode::train>(net, x), expected) < ulps);
    }
    {
        using three = parallel<merge::add, dense<4, activation::tanh>, dense<4, activation::softmax>, dense<4>>;
        naive::network<sequence<input<6>, three>> net({6}, 21);
        auto const z = [&](std::string const& path) {
            return naive::affine(x, naive::tensor(net, path + ".kernel"), naive::tensor(net, path + ".bias"));
        };
        auto const expected =
            naive::plus(naive::plus(naive::map(z("1.0"), tanh_of), naive::softmax(z("1.1"))), z("1.2"));
        CHECK(naive::distance(naive::forward<mode::train>(net, x), expected) < ulps);
    }
}

TEST_CASE("everywhere: a layer's own policy wins, stacking policies add up", "[layer]") {
    using inner = sequence<input<6>, dense<9, activation::tanh, penalty::l1<0.5>>, dense<4>>;
    using with = everywhere<inner, activation::relu, penalty::l2<0.25>>;
    using written = sequence<input<6>, dense<9, penalty::l2<0.25>, activation::tanh, penalty::l1<0.5>>,
                             dense<4, activation::relu, penalty::l2<0.25>>>;
    naive::network<with> a({7}, 8);
    naive::network<written> b({7}, 8);
    auto const x = naive::random(8, 6, 8);
    CHECK(naive::forward<mode::train>(a, x).values == naive::forward<mode::train>(b, x).values);
    std::vector<std::string> terms;
    for (term_info const& t : report_of<with>().terms)
        terms.push_back(t.name);
    CHECK(terms == std::vector<std::string>{"1.kernel.l1", "1.kernel.l2", "2.kernel.l2"});
    // the inner one of two wins
    using nested = everywhere<sequence<input<6>, everywhere<dense<9>, activation::tanh>, dense<4>>, activation::relu>;
    using nested_written = sequence<input<6>, dense<9, activation::tanh>, dense<4, activation::relu>>;
    naive::network<nested> c({7}, 8);
    naive::network<nested_written> d({7}, 8);
    CHECK(naive::forward<mode::train>(c, x).values == naive::forward<mode::train>(d, x).values);
}
