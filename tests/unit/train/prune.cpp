// SPDX-License-Identifier: Apache-2.0
// Pruning while training: which weights go, what becomes of them, and what the products read.
#include "../layer/naive.hpp"

#include <espalier/activation/tanh.hpp>
#include <espalier/layer/dense.hpp>
#include <espalier/layer/input.hpp>
#include <espalier/layer/sequence.hpp>
#include <espalier/loss/cross_entropy.hpp>
#include <espalier/optimizer/adam.hpp>
#include <espalier/optimizer/adamw.hpp>
#include <espalier/optimizer/sgd.hpp>
#include <espalier/penalty/group_lasso.hpp>
#include <espalier/prune/by_magnitude.hpp>
#include <espalier/prune/constant.hpp>
#include <espalier/prune/decayed.hpp>
#include <espalier/prune/global.hpp>
#include <espalier/prune/gradual.hpp>
#include <espalier/prune/hard.hpp>
#include <espalier/prune/magnitude.hpp>
#include <espalier/prune/n_m.hpp>
#include <espalier/prune/n_m_stages.hpp>
#include <espalier/prune/per_layer.hpp>
#include <espalier/prune/policy.hpp>
#include <espalier/prune/straight_through.hpp>
#include <espalier/schedule/linear.hpp>
#include <espalier/train/training.hpp>

#include <support/catch.hpp>

#include <algorithm>

using namespace espalier;
using namespace espalier::literals;

namespace {

using naive::mask_in;

template <class Net> index_t kept_count(Net& net, std::string const& name) {
    auto const flags = naive::flags_in(net, name);
    return std::count(flags.begin(), flags.end(), 1);
}

/// The mask that keeps the `count` largest of |w|.
naive::matrix largest(naive::matrix const& w, index_t count) {
    std::vector<std::size_t> order(w.values.size());
    for (std::size_t i = 0; i < order.size(); ++i)
        order[i] = i;
    std::stable_sort(order.begin(), order.end(),
                     [&](std::size_t a, std::size_t b) { return std::abs(w.values[a]) > std::abs(w.values[b]); });
    naive::matrix mask(w.rows, w.columns);
    for (index_t i = 0; i < count; ++i)
        mask.values[order[static_cast<std::size_t>(i)]] = 1.0;
    return mask;
}

constexpr index_t row_count = 16;
std::vector<std::int32_t> const labels = naive::cyclic_labels(row_count, 4);

batch_view<double> batch_of(naive::matrix const& x) {
    return {x.view(), naive::tags_of(row_count, &labels), {}};
}

template <class Rule>
using half_from_2 =
    prune::policy<prune::by_magnitude, prune::per_layer, prune::constant{.sparsity = 0.5, .start = 2}, Rule>;

/// effective(w) = w - w^3: of two raw weights the smaller may be the larger one for the products.
struct bent {
    using axis = espalier::axis::weight;
    static constexpr std::string_view name = "bent";
    static constexpr bool uses_mask = false;
    static constexpr bool needs_operand = true;
    template <class T> ESPALIER_FN static T pull(T g, element_about<T> const& about) {
        return g * (T(1) - T(3) * about.weight * about.weight);
    }
    template <class T> ESPALIER_FN static T store(T next) { return next; }
    /// `about` has the weight that is mapped, in a step and in a selection, and no rate.
    template <class T> ESPALIER_FN static T effective(T, element_about<T> const& about) {
        return about.weight - about.weight * about.weight * about.weight + about.rate;
    }
};

} // namespace

TEST_CASE("prune: hard keeps exact zeros through later steps", "[train][prune]") {
    naive::network<sequence<input<9>, dense<7, activation::tanh, half_from_2<prune::hard>>, dense<4>>> net({4}, 16);
    training run(net, loss::cross_entropy{}, optimizer::adam{.learning_rate = 0.05});
    for (std::uint64_t step = 0; step < 8; ++step) {
        auto const before = naive::tensor(net, "1.kernel");
        run.step(batch_of(naive::random(row_count, 9, step)));
        auto const after = naive::tensor(net, "1.kernel"), mask = mask_in(net, "1.kernel");
        CHECK(kept_count(net, "1.kernel") == (step < 2 ? 63 : 63 - 32));
        if (step == 2) CHECK(mask.values == largest(before, 63 - 32).values);
        for (std::size_t i = 0; i < 63; ++i) {
            if (mask.values[i] == 0.0)
                CHECK(after.values[i] == 0.0);
            else
                CHECK(after.values[i] != before.values[i]);
        }
    }
    // what is not pruned is not touched by it
    CHECK(net.values().find("1.bias").mask_offset == -1);
    CHECK(net.values().find("2.kernel").mask_offset == -1);
}

TEST_CASE("prune: neither momentum from before nor decay moves a pruned weight off zero", "[train][prune]") {
    auto const check = [](auto const& optimizer) {
        naive::network<sequence<input<9>, dense<7, activation::tanh, half_from_2<prune::hard>>, dense<4>>> net({4}, 16);
        training run(net, loss::cross_entropy{}, optimizer);
        for (std::uint64_t step = 0; step < 12; ++step) {
            run.step(batch_of(naive::random(row_count, 9, step)));
            auto const w = naive::tensor(net, "1.kernel"), mask = mask_in(net, "1.kernel");
            REQUIRE(kept_count(net, "1.kernel") == (step < 2 ? 63 : 63 - 32));
            int moved = 0;
            for (std::size_t i = 0; i < 63; ++i)
                moved += mask.values[i] == 0.0 && w.values[i] != 0.0;
            INFO(optimizer.name << " step " << step);
            CHECK(moved == 0);
        }
    };
    check(optimizer::sgd{.learning_rate = 0.1, .momentum = 0.9, .weight_decay = 0.1});
    check(optimizer::sgd{.learning_rate = 0.1, .momentum = optimizer::nesterov{0.9}, .weight_decay = 0.1});
    check(optimizer::adamw{.learning_rate = 0.05, .weight_decay = 0.1});
}

TEST_CASE("prune: straight-through and decayed hide weights from the products only", "[train][prune]") {
    constexpr schedule::linear fade{.from = 1.0, .to = 0.0, .steps = 8};
    using fading = prune::decayed<fade>;
    using fading_exactly = prune::decayed<fade, prune::derivative::exact>;
    naive::network<sequence<input<9>, dense<4, half_from_2<prune::straight_through>>>> through({4}, 16);
    naive::network<sequence<input<9>, dense<4, half_from_2<fading>>>> decayed({4}, 16);
    training run_through(through, loss::cross_entropy{}, optimizer::sgd{.learning_rate = 0.5});
    training run_decayed(decayed, loss::cross_entropy{}, optimizer::sgd{.learning_rate = 0.5});
    naive::network<sequence<input<9>, dense<4, half_from_2<fading_exactly>>>> exact({4}, 16);
    training run_exact(exact, loss::cross_entropy{}, optimizer::sgd{.learning_rate = 0.5});
    naive::matrix w = naive::tensor(through, "1.kernel"), b = naive::tensor(through, "1.bias");
    naive::matrix u = w, c = b, exact_w = w, exact_b = b;
    naive::matrix mask(9, 4, 1.0), decayed_mask(9, 4, 1.0), exact_mask(9, 4, 1.0);
    for (std::uint64_t step = 0; step < 6; ++step) {
        auto const x = naive::random(row_count, 9, step, 2.0);
        if (step == 2) {
            mask = largest(w, 18);
            decayed_mask = largest(u, 18);
            exact_mask = largest(exact_w, 18);
        }
        // straight-through: the gradient of the effective weight moves the raw one, masked or not
        auto l = naive::cross_entropy(naive::affine(x, naive::times(w, mask), b), labels);
        CHECK(run_through.step(batch_of(x)).loss == Approx(l.loss).epsilon(1e-12));
        w = naive::zip(w, naive::product(naive::transposed(x), l.gradient),
                       [](double v, double g) { return v - 0.5 * g; });
        b = naive::zip(b, naive::column_sums(l.gradient), [](double v, double g) { return v - 0.5 * g; });
        CHECK(naive::distance(naive::tensor(through, "1.kernel"), w) < 1e-13);
        CHECK(mask_in(through, "1.kernel").values == mask.values);
        // decayed: products see the factor of their own step, the raw weight learns from the whole gradient; with the
        // exact derivative the gradient sees the same factor
        double const faded = step < 2 ? 1.0 : 1.0 - static_cast<double>(step) / 8.0;
        auto const factor = [&](naive::matrix const& kept) {
            return naive::map(kept, [=](double m) { return m > 0.0 ? 1.0 : faded; });
        };
        auto const descend = [](double from, double d) { return from - 0.5 * d; };
        INFO("step " << step);
        l = naive::cross_entropy(naive::affine(x, naive::times(u, factor(decayed_mask)), c), labels);
        CHECK(run_decayed.step(batch_of(x)).loss == Approx(l.loss).epsilon(1e-12));
        u = naive::zip(u, naive::product(naive::transposed(x), l.gradient), descend);
        c = naive::zip(c, naive::column_sums(l.gradient), descend);
        CHECK(naive::distance(naive::tensor(decayed, "1.kernel"), u) < 1e-13);
        l = naive::cross_entropy(naive::affine(x, naive::times(exact_w, factor(exact_mask)), exact_b), labels);
        CHECK(run_exact.step(batch_of(x)).loss == Approx(l.loss).epsilon(1e-12));
        auto const g = naive::times(naive::product(naive::transposed(x), l.gradient), factor(exact_mask));
        exact_w = naive::zip(exact_w, g, descend);
        exact_b = naive::zip(exact_b, naive::column_sums(l.gradient), descend);
        CHECK(naive::distance(naive::tensor(exact, "1.kernel"), exact_w) < 1e-13);
    }
}

TEST_CASE("prune: a rule stands behind a weight map, and weights are compared as products read them",
          "[train][prune]") {
    auto const bend = [](double w) { return w - w * w * w; };
    auto const slope = [](double w) { return 1.0 - 3.0 * w * w; };
    auto const check = [&]<class Rule, class Selection>(Rule, Selection, bool held) {
        using policy =
            prune::policy<prune::by_magnitude, Selection, prune::constant{.sparsity = 0.5, .start = 2}, Rule>;
        naive::network<sequence<input<9>, dense<4, bent, policy>>> net({4}, 16);
        training run(net, loss::cross_entropy{}, optimizer::sgd{.learning_rate = 0.5});
        naive::matrix w = naive::tensor(net, "1.kernel"), b = naive::tensor(net, "1.bias"), mask(9, 4, 1.0);
        for (std::uint64_t step = 0; step < 6; ++step) {
            auto const x = naive::random(row_count, 9, step, 2.0);
            if (step == 2) {
                mask = largest(naive::map(w, bend), 18);
                CHECK(mask.values != largest(w, 18).values); // else this test would see no difference
            }
            auto const l = naive::cross_entropy(naive::affine(x, naive::times(naive::map(w, bend), mask), b), labels);
            INFO("step " << step);
            CHECK(run.step(batch_of(x)).loss == Approx(l.loss).epsilon(1e-12));
            auto g = naive::times(naive::product(naive::transposed(x), l.gradient), naive::map(w, slope));
            if (held) {
                w = naive::times(w, mask); // from the selection on the raw weight is 0
                g = naive::times(naive::product(naive::transposed(x), l.gradient),
                                 naive::times(naive::map(w, slope), mask));
            }
            auto const descend = [](double v, double d) { return v - 0.5 * d; };
            w = naive::zip(w, g, descend);
            b = naive::zip(b, naive::column_sums(l.gradient), descend);
            CHECK(naive::distance(naive::tensor(net, "1.kernel"), w) < 1e-13);
            CHECK(mask_in(net, "1.kernel").values == mask.values);
        }
        CHECK(report_of<typename decltype(net)::stack>().tensors[0].held == held);
    };
    check(prune::straight_through{}, prune::per_layer{}, false);
    check(prune::hard{}, prune::per_layer{}, true);
    check(prune::straight_through{}, prune::global{}, false);
    // A step leaves the copy that is made without one.
    naive::network<sequence<input<9>, dense<4, bent>>> net({4}, 16);
    training run(net, loss::cross_entropy{}, optimizer::sgd{.learning_rate = 0.5});
    auto const x = naive::random(row_count, 9, 3, 2.0);
    run.step(batch_of(x));
    auto const after_step = naive::forward<mode::evaluate>(net, x);
    net.refresh();
    CHECK(naive::forward<mode::evaluate>(net, x).values == after_step.values);
}

TEST_CASE("prune: one selection over two layers is exact", "[train][prune]") {
    using everywhere_by =
        prune::policy<prune::by_magnitude, prune::global,
                      prune::gradual{.from = 0.0, .to = 0.9, .start = 0, .steps = 6, .every = 2}, prune::hard>;
    naive::network<sequence<input<9>, dense<7, activation::tanh, everywhere_by>, dense<4, everywhere_by>>> net({4}, 16);
    training run(net, loss::cross_entropy{}, optimizer::sgd{.learning_rate = 0.1});
    index_t const n = 63 + 28;
    for (std::uint64_t step = 0; step < 9; ++step) {
        auto all = naive::tensor(net, "1.kernel");
        auto const second = naive::tensor(net, "2.kernel");
        all.values.insert(all.values.end(), second.values.begin(), second.values.end());
        all.rows = 1;
        all.columns = n;
        run.step(batch_of(naive::random(row_count, 9, step)));
        double const left = step >= 5 ? 0.0 : 1.0 - static_cast<double>(step) / 6.0;
        index_t const pruned =
            static_cast<index_t>(std::lround(0.9 * (1.0 - left * left * left) * static_cast<double>(n)));
        if ((step % 2 == 0 && step < 5) || step == 5) {
            auto mask = mask_in(net, "1.kernel").values;
            auto const rest = mask_in(net, "2.kernel").values;
            mask.insert(mask.end(), rest.begin(), rest.end());
            CHECK(mask == largest(all, n - pruned).values);
        }
        if (step >= 5) CHECK(kept_count(net, "1.kernel") + kept_count(net, "2.kernel") == n - 82);
    }
}

TEST_CASE("prune: a training as long as its schedule ends at the target", "[train][prune]") {
    using slowly = prune::policy<prune::by_magnitude, prune::per_layer,
                                 prune::gradual{.from = 0.0, .to = 0.9, .steps = 120, .every = 20}, prune::hard>;
    naive::network<sequence<input<30>, dense<10, slowly>>> net({4}, 16);
    training run(net, loss::cross_entropy{}, optimizer::sgd{.learning_rate = 0.1});
    for (std::uint64_t step = 0; step < 120; ++step)
        run.step(batch_of(naive::random(row_count, 30, step)));
    CHECK(run.time().step == 120);
    CHECK(kept_count(net, "1.kernel") == 30);
}

TEST_CASE("prune: two of four stay in every group of rows", "[train][prune]") {
    using two_of_four = prune::policy<prune::by_magnitude, prune::n_m<2, 4>, 0.5, prune::hard>;
    naive::network<sequence<input<10>, dense<4, two_of_four>>> net({4}, 16);
    training run(net, loss::cross_entropy{}, optimizer::sgd{.learning_rate = 0.1});
    run.step(batch_of(naive::random(row_count, 10, 1)));
    auto const mask = mask_in(net, "1.kernel");
    for (index_t c = 0; c < 4; ++c)
        for (index_t r = 0; r < 10; r += 4) {
            double sum = 0.0;
            for (index_t i = r; i < std::min<index_t>(r + 4, 10); ++i)
                sum += mask(i, c);
            CHECK(sum == 2.0);
        }
}

TEST_CASE("prune: a pattern changes from stage to stage, and a weight may come back", "[train][prune]") {
    // The last stage leaves out less than the one before it.
    using in_stages = prune::n_m_stages<
        prune::stages<prune::stage{2, 7, 8}, prune::stage{4, 4, 24}, prune::stage{6, 1, 6}, prune::stage{9, 3, 4}>{}>;
    using policy = prune::policy<prune::by_magnitude, in_stages, 1.0, prune::straight_through>;
    naive::network<sequence<input<24>, dense<4, policy>>> net({4}, 16);
    training run(net, loss::cross_entropy{}, optimizer::sgd{.learning_rate = 5.0});
    naive::matrix mask(24, 4, 1.0);
    for (std::uint64_t step = 0; step < 12; ++step) {
        INFO("step " << step);
        auto const w = naive::tensor(net, "1.kernel"), b = naive::tensor(net, "1.bias");
        auto const before = mask;
        if (step == 2 || step == 4 || step == 6 || step == 9) {
            index_t const kept = step == 2 ? 7 : step == 4 ? 4 : step == 6 ? 1 : 3;
            index_t const group = step == 2 ? 8 : step == 4 ? 24 : step == 6 ? 6 : 4;
            for (index_t c = 0; c < 4; ++c)
                for (index_t r = 0; r < 24; r += group) {
                    naive::matrix part(group, 1);
                    for (index_t i = 0; i < group; ++i)
                        part(i, 0) = w(r + i, c);
                    auto const chosen = largest(part, kept);
                    for (index_t i = 0; i < group; ++i)
                        mask(r + i, c) = chosen(i, 0);
                }
            bool comes_back = false;
            for (std::size_t i = 0; i < mask.values.size(); ++i)
                comes_back = comes_back || mask.values[i] > before.values[i];
            CHECK(comes_back == (step > 2)); // else this test would see less than it says
        }
        auto const x = naive::random(row_count, 24, step, 2.0);
        auto const l = naive::cross_entropy(naive::affine(x, naive::times(w, mask), b), labels);
        CHECK(run.step(batch_of(x)).loss == Approx(l.loss).epsilon(1e-12));
        CHECK(mask_in(net, "1.kernel").values == mask.values);
    }
}

TEST_CASE("prune: a tensor of another role that does not hold the groups of its stages is refused", "[train][prune]") {
    using in_stages = prune::n_m_stages<prune::stages<prune::stage{0, 1, 1}, prune::stage{4, 1, 2}>{}>;
    using stack = sequence<input<6>, dense<4, on<role::bias, prune::magnitude<1.0, in_stages>>>>;
    CHECK_THROWS_WITH(
        detail::mask_selection<double>(report_of<stack>()),
        "prune: tensor 1.bias has 1 rows, and groups of 2 do not divide them; begin prune::n_m_stages with "
        "smaller groups, or prune this tensor with prune::n_m");
}

TEST_CASE("prune: layers that disagree about a common selection are refused", "[train][prune]") {
    using half = prune::policy<prune::by_magnitude, prune::global, 0.5, prune::hard>;
    using third = prune::policy<prune::by_magnitude, prune::global, 0.25, prune::hard>;
    naive::network<sequence<input<9>, dense<7, half>, dense<4, third>>> net({4}, 16);
    training run(net, loss::cross_entropy{}, optimizer::sgd{.learning_rate = 0.1});
    auto const before = naive::tensor(net, "1.kernel");
    CHECK_THROWS_AS(run.step(batch_of(naive::random(row_count, 9, 1))), data_error);
    CHECK(naive::tensor(net, "1.kernel").values == before.values);
    CHECK(kept_count(net, "1.kernel") == 63);
}

TEST_CASE("frozen tensors keep their part of a group that spans layers", "[train]") {
    using grouped = sequence<input<9>, dense<7, penalty::group_lasso<0.5, penalty::over::columns, "unit"_name>>,
                             dense<4, penalty::group_lasso<0.5, penalty::over::rows, "unit"_name>>>;
    naive::network<grouped> net({4}, 16);
    training run(net, loss::cross_entropy{}, optimizer::sgd{.learning_rate = 0.1}, 0,
                 {{.path = "1.kernel", .frozen = true}});
    auto const frozen = naive::tensor(net, "1.kernel");
    for (std::uint64_t step = 0; step < 3; ++step) {
        auto const x = naive::random(row_count, 9, step);
        auto const w = naive::tensor(net, "2.kernel");
        auto const h = naive::affine(x, frozen, naive::tensor(net, "1.bias"));
        auto const l = naive::cross_entropy(naive::affine(h, w, naive::tensor(net, "2.bias")), labels);
        auto const g = naive::product(naive::transposed(h), l.gradient);
        naive::matrix expected = w;
        for (index_t r = 0; r < 7; ++r) {
            double squares = 0.0;
            for (index_t k = 0; k < 9; ++k)
                squares += frozen(k, r) * frozen(k, r);
            for (index_t c = 0; c < 4; ++c)
                squares += w(r, c) * w(r, c);
            // both tensors carry the penalty of the whole group
            for (index_t c = 0; c < 4; ++c)
                expected(r, c) -= 0.1 * (g(r, c) + 0.5 * w(r, c) / std::sqrt(squares));
        }
        run.step(batch_of(x));
        INFO("step " << step);
        CHECK(naive::distance(naive::tensor(net, "2.kernel"), expected) < 1e-12);
        CHECK(naive::tensor(net, "1.kernel").values == frozen.values);
    }
}
