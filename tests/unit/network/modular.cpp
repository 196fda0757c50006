// SPDX-License-Identifier: Apache-2.0
// Networks for modular arithmetic: published numbers, the solution that is known, and units judged by their spectrum.
#include <espalier/activation/power.hpp>
#include <espalier/core/random.hpp>
#include <espalier/data/modular_table.hpp>
#include <espalier/device/cpu/cpu.hpp>
#include <espalier/initial/normal.hpp>
#include <espalier/layer/dense.hpp>
#include <espalier/layer/elementwise.hpp>
#include <espalier/layer/embedding.hpp>
#include <espalier/layer/input.hpp>
#include <espalier/layer/parallel.hpp>
#include <espalier/layer/sequence.hpp>
#include <espalier/layer/slice.hpp>
#include <espalier/layer/tap.hpp>
#include <espalier/loss/one_hot_squared_error.hpp>
#include <espalier/math/primitive_root.hpp>
#include <espalier/network/compact.hpp>
#include <espalier/network/network.hpp>
#include <espalier/network/set_units.hpp>
#include <espalier/optimizer/sgd.hpp>
#include <espalier/prune/inverse_participation.hpp>
#include <espalier/prune/keep_flags.hpp>
#include <espalier/prune/unit_scores.hpp>
#include <espalier/train/check_gradients.hpp>
#include <espalier/train/training.hpp>
#include <espalier/units/fixed_mask.hpp>

#include <support/catch.hpp>
#include <support/message_of.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <numbers>
#include <span>
#include <string>
#include <type_traits>
#include <vector>

using namespace espalier;
using namespace espalier::literals;

namespace {

/// f = W^T (U[n_1] + V[n_2])^2: two tables whose rows are added, so that nobody makes one-hot rows.
template <int P, int Units, int Which>
using numbered = sequence<slice<Which, 1>, embedding<vocabulary<P>, Units, initial::normal<0.05>>>;
template <int P, int Units>
using stack = sequence<input<2>, parallel<merge::add, numbered<P, Units, 0>, numbered<P, Units, 1>>,
                       elementwise<activation::power<2>, units::fixed_mask>, dense<P, no_bias, initial::normal<0.05>>>;
template <int P, int Units> using net_of = network<stack<P, Units>, device::cpu, double>;

std::vector<prune::unit_tensor> const weights_of_units{
    {"1.0.1.table", over::columns}, {"1.1.1.table", over::columns}, {"3.kernel", over::rows}};

/// Rows of numbers, one for each unit or each output, into the tensor of that name, which has them as columns.
template <class Net>
void set_columns(Net& net, std::string const& name, std::vector<std::vector<double>> const& columns) {
    auto const t = net.tensor(name);
    for (index_t c = 0; c < t.columns; ++c)
        for (index_t r = 0; r < t.rows; ++r)
            t(r, c) = columns[static_cast<std::size_t>(c)][static_cast<std::size_t>(r)];
}

void columns_near(matrix_view<double const> t, std::vector<std::vector<double>> const& columns) {
    for (index_t c = 0; c < t.columns; ++c)
        for (index_t r = 0; r < t.rows; ++r)
            CHECK(t(r, c) == Approx(columns[static_cast<std::size_t>(c)][static_cast<std::size_t>(r)]).margin(2e-9));
}

struct published {
    net_of<3, 2> net{seed{1}, 3};
    std::vector<double> x{0, 1, 2, 2, 1, 0};
    std::vector<std::int32_t> labels{1, 1, 1};
    rows tags{.count = 3};

    published() {
        tags.label = labels.data();
        set_columns(net, "1.0.1.table", {{.2, -.1, .3}, {0, .4, -.2}});
        set_columns(net, "1.1.1.table", {{.1, .2, -.3}, {-.2, .1, .5}});
        set_columns(net, "3.kernel", {{.5, -.4}, {.1, .3}, {-.2, .6}});
        net.refresh();
    }
    matrix_view<double> inputs() { return contiguous_view(x.data(), 3, 2); }
};

double uniform(std::uint32_t k, std::uint32_t what) {
    bits8 const bits = draw(make_site(5, 1), k, what);
    return uniform01(bits.word[0], bits.word[1]);
}

/// The solution that is known: U_k[n] = cos(2 pi s n / p + a), V_k[n] = cos(2 pi s n / p + b),
/// W_kq = cos(2 pi s q / p + a + b), with s of 1 ... (p - 1) / 2 and phases a, b drawn for each unit.
template <class Net> void solve(Net& net) {
    auto const u = net.tensor("1.0.1.table"), v = net.tensor("1.1.1.table"), w = net.tensor("3.kernel");
    auto const p = static_cast<double>(u.rows);
    for (index_t k = 0; k < u.columns; ++k) {
        auto const id = static_cast<std::uint32_t>(k);
        double const turn = 2.0 * std::numbers::pi, s = 1.0 + std::floor(uniform(id, 0) * std::floor(p / 2.0)),
                     a = turn * uniform(id, 1), b = turn * uniform(id, 2);
        for (index_t n = 0; n < u.rows; ++n) {
            double const angle = turn * s * static_cast<double>(n) / p;
            u(n, k) = std::cos(angle + a);
            v(n, k) = std::cos(angle + b);
            w(k, n) = std::cos(angle + a + b);
        }
    }
    net.refresh();
}

template <class Net> std::vector<double> outputs(Net& net, data_set const& rows, index_t classes) {
    std::vector<double> x(rows.features.begin(), rows.features.end());
    std::vector<double> y(static_cast<std::size_t>(rows.count * classes));
    net.predict(contiguous_view<double const>(x.data(), rows.count, 2), contiguous_view(y.data(), rows.count, classes));
    return y;
}

double accuracy(std::vector<double> const& y, data_set const& rows, index_t classes) {
    double right = 0.0;
    for (index_t r = 0; r < rows.count; ++r) {
        auto const row = y.begin() + r * classes;
        right += std::max_element(row, row + classes) - row == rows.labels[static_cast<std::size_t>(r)];
    }
    return right / static_cast<double>(rows.count);
}

} // namespace

TEST_CASE("modular: the published outputs, loss and gradients", "[network]") {
    published p;
    std::vector<double> y(9);
    p.net.predict(matrix_view<double const>(p.inputs()), contiguous_view(y.data(), 3, 3));
    double const f[] = {0.076, 0.019, -0.026, -0.036, 0.027, 0.054, -0.016, 0.012, 0.024};
    for (std::size_t i = 0; i < 9; ++i)
        CHECK(y[i] == Approx(f[i]).margin(1e-12));
    training run{p.net, loss::one_hot_squared_error{}, optimizer::sgd{.learning_rate = 0.1}};
    batch_view<double> const batch{p.inputs(), p.tags, {}};
    CHECK(run.objective(batch) == Approx(0.321858889).margin(1e-9));
    run.gradients_of(batch);
    columns_near(run.gradient("3.kernel"),
                 {{0.002702222, -0.000693333}, {-0.03488, -0.030422222}, {-0.000924444, 0.001235556}});
    columns_near(run.gradient("1.0.1.table"), {{-0.00976, 0, 0}, {-0.015124444, -0.024497778, -0.03268}});
    columns_near(run.gradient("1.1.1.table"), {{0, -0.00976, 0}, {-0.024497778, -0.015124444, -0.03268}});

    for (tensor_info const& t : p.net.tensors())
        if (t.trained)
            for (index_t i = 0; i < t.size(); ++i)
                p.net.tensor(t.name).data[i] += 0.3;
    auto const report = check_gradients(run, p.inputs(), p.tags, {}, {.elements = 100, .inputs = false});
    INFO(report.text());
    CHECK(report.ok(1e-7));
}

TEST_CASE("inverse participation: the published values", "[prune]") {
    prune::inverse_participation const ratio;
    auto const cosines = [](double first, double phase, double second, double factor) {
        std::vector<double> v(7);
        for (int n = 0; n < 7; ++n)
            v[static_cast<std::size_t>(n)] = std::cos(2.0 * std::numbers::pi * first * n / 7.0 + phase) +
                                             factor * std::cos(2.0 * std::numbers::pi * second * n / 7.0);
        return v;
    };
    std::vector<double> const given{.3, -.1, .4, .2, -.5, .1, 0}, ones(7, 1.0), impulse{0, 0, 1, 0, 0, 0, 0};
    CHECK(ratio(cosines(2, 0.3, 0, 0)) == Approx(1.0).epsilon(1e-13));
    CHECK(ratio(cosines(1, 0, 3, 0.5)) == Approx(0.68).epsilon(1e-13));
    CHECK(ratio(given) == Approx(0.304161861).margin(1e-9));
    CHECK(ratio(ones) == Approx(1.0).epsilon(1e-13));
    CHECK(ratio(impulse) == Approx(0.25).epsilon(1e-13));

    CHECK(ratio(std::vector<double>(7)) == 0.0);
    CHECK(ratio({}) == 0.0);
    prune::inverse_participation const third{.order = 3.0}, waves{.counts_constant = false};
    CHECK(third(impulse) == Approx(0.0625).epsilon(1e-13));
    CHECK(third(cosines(1, 0, 3, 0.5)) == Approx(0.512 + 0.008).epsilon(1e-13)); // shares 0.8 and 0.2
    for (double const size : {1.0, 0.1, 3e200, 1e-200}) {
        CHECK(waves(std::vector<double>(97, size)) == 0.0);
        std::vector<double> raised = cosines(2, 0.3, 0, 0.7);
        for (double& x : raised)
            x *= size;
        CHECK(waves(raised) == Approx(1.0).epsilon(1e-13)); // the 0.7 is no wave
        CHECK(ratio(raised) < 0.9);
    }

    // A wave of products modulo 59 is one over discrete logarithms only.
    auto const order = math::powers_of_primitive_root(59);
    std::vector<double> of_products(59), turned;
    for (std::size_t i = 0; i < order.size(); ++i) {
        turned.push_back(std::cos(2.0 * std::numbers::pi * 5.0 * static_cast<double>(i) / 58.0 + 0.4));
        of_products[static_cast<std::size_t>(order[i])] = turned.back();
    }
    CHECK(ratio(turned) == Approx(1.0).epsilon(1e-12));
    CHECK(ratio(of_products) < 0.1);

    double const none = std::numeric_limits<double>::quiet_NaN();
    CHECK(message_of<numerical_error>([&] {
              ratio(std::vector<double>{1.0, none});
          }) == "prune::inverse_participation: number 1 is not finite");
    CHECK(message_of<data_error>([&] { prune::inverse_participation{.order = 1.0}(ones); }) ==
          "prune::inverse_participation: the order is 1; needed is a finite number above 1");
    CHECK_THROWS_AS((prune::inverse_participation{.order = none}(ones)), data_error);
}

TEST_CASE("modular: of a known solution and noise, the spectrum tells which units are which", "[network][prune]") {
    constexpr index_t p = 97;
    constexpr int units = 500, noisy = 180;
    // All 9409 pairs come out right; under the sanitizers they take ten seconds, and a third of them tells as much.
    data_set const all = modular_table({.modulus = p, .train_share = 0.3}).train;
    net_of<p, units> net{seed{2}, all.count};
    solve(net);
    CHECK(accuracy(outputs(net, all, p), all, p) == 1.0);
    data_set const some = split(all, 600).first;
    auto scores = prune::unit_scores(net, weights_of_units, prune::inverse_participation{});
    REQUIRE(scores.size() == units);
    CHECK(*std::min_element(scores.begin(), scores.end()) > 1.0 - 1e-10);

    // Every third of the first ones answers with noise, and loudly.
    prune::keep_flags right(units, 1);
    for (int k = 0; k < 3 * noisy; k += 3) {
        int const unit = k % units;
        right[static_cast<std::size_t>(unit)] = 0;
        for (index_t n = 0; n < p; ++n) {
            auto const place = static_cast<std::uint32_t>(unit * p + n);
            net.tensor("1.0.1.table")(n, unit) = 4.0 * uniform(place, 3) - 2.0;
            net.tensor("3.kernel")(unit, n) = 8.0 * uniform(place, 4) - 4.0;
        }
    }
    net.refresh();
    CHECK(std::count(right.begin(), right.end(), 0) == noisy);
    CHECK(accuracy(outputs(net, some, p), some, p) < 0.9);
    scores = prune::unit_scores(net, weights_of_units, prune::inverse_participation{});
    CHECK(prune::keep_highest(scores, units - noisy) == right);
    prune::keep_flags wrong = right;
    for (auto& f : wrong)
        f = 1 - f;
    CHECK(prune::keep_lowest(scores, noisy) == wrong);
    set_units(net, "2", prune::keep_highest(scores, units - noisy));
    auto const masked = outputs(net, some, p);
    CHECK(accuracy(masked, some, p) == 1.0);

    net_of<p, units - noisy> small{seed{3}, some.count};
    compact(net, small);
    auto const compacted = outputs(small, some, p);
    bool same = true;
    for (std::size_t i = 0; i < masked.size(); ++i)
        same = same && std::abs(masked[i] - compacted[i]) < 1e-9;
    CHECK(same);
}

TEST_CASE("unit_scores: the mean over tensors, and what makes no sense is refused", "[prune]") {
    published p;
    auto const sum = [](std::span<double const> v) {
        double s = 0.0;
        for (double const x : v)
            s += x;
        return s;
    };
    auto const scores = prune::unit_scores(p.net, weights_of_units, sum);
    REQUIRE(scores.size() == 2);
    CHECK(scores[0] == Approx((0.4 + 0.0 + 0.4) / 3.0).margin(1e-14));
    CHECK(scores[1] == Approx((0.2 + 0.4 + 0.5) / 3.0).margin(1e-14));
    auto const of = [&](std::vector<prune::unit_tensor> const& tensors) {
        return prune::unit_scores(p.net, tensors, sum);
    };
    CHECK(message_of<data_error>([&] { of({}); }) == "prune::unit_scores: no tensors were given");
    CHECK_THROWS_AS(of({{"4.kernel", over::rows}}), data_error);
    CHECK(message_of<data_error>([&] {
              of({{"3.kernel", over::tensor}});
          }) == "prune::unit_scores: the units of 3.kernel are its rows or its columns; the whole tensor was given");
    CHECK(message_of<shape_error>([&] {
              of({{"1.0.1.table", over::columns}, {"3.kernel", over::columns}});
          }) == "prune::unit_scores: 1.0.1.table has 2 units and 3.kernel 3");
    p.net.tensor("3.kernel")(1, 2) = std::numeric_limits<double>::quiet_NaN();
    CHECK(message_of<numerical_error>([&] { of(weights_of_units); }) ==
          "prune::unit_scores: the score of unit 1 by 3.kernel is no number");
}

TEST_CASE("keep_highest, keep_lowest: exact counts, of equal ones those of lower index", "[prune]") {
    using flags = prune::keep_flags;
    std::vector<double> const scores{-0.5, 0.3, -0.5, 0.3, 2.0};
    CHECK(prune::keep_highest(scores, 2) == flags{0, 1, 0, 0, 1});
    CHECK(prune::keep_highest(scores, 4) == flags{1, 1, 0, 1, 1});
    CHECK(prune::keep_lowest(scores, 1) == flags{1, 0, 0, 0, 0});
    CHECK(prune::keep_lowest(scores, 3) == flags{1, 1, 1, 0, 0});
    CHECK(prune::keep_lowest(scores, 0) == flags{0, 0, 0, 0, 0});
    CHECK(message_of<data_error>([&] { prune::keep_highest(scores, 6); }) ==
          "prune::keep_highest: 6 units are to be kept of 5");
    CHECK_THROWS_AS(prune::keep_lowest(scores, -1), data_error);
    std::vector<double> const spoiled{0.0, std::numeric_limits<double>::quiet_NaN()};
    CHECK(message_of<data_error>([&] { prune::keep_lowest(spoiled, 1); }) ==
          "prune::keep_lowest: the score of unit 1 is no number");
}

TEST_CASE("compact: branches that are added, slices and embeddings", "[network]") {
    // Whatever the masks are: columns 1, 2 and 3 stay.
    auto const why = [](auto from, auto to) {
        network<typename decltype(from)::type, device::cpu, double> a{seed{1}, 4};
        network<typename decltype(to)::type, device::cpu, double> b{seed{2}, 4};
        for (tensor_info const& t : a.tensors())
            if (t.units) {
                std::vector<bool> kept(static_cast<std::size_t>(t.columns));
                kept[1] = kept[2] = kept[3] = true;
                set_units(a, t.path(), kept);
            }
        std::string const said = message_of<data_error>([&] { compact(a, b); });
        if (said != "no exception") return said;
        std::vector<double> const x{0, 1, 2, 1, 1, 0, 2, 2};
        std::vector<double> y(8), z(8);
        a.predict(contiguous_view(x.data(), 4, 2), contiguous_view(y.data(), 4, 2));
        b.predict(contiguous_view(x.data(), 4, 2), contiguous_view(z.data(), 4, 2));
        for (std::size_t i = 0; i < 8; ++i)
            CHECK(y[i] == Approx(z[i]).margin(1e-12));
        return said;
    };
    using std::type_identity;
    using masked = elementwise<units::fixed_mask>;
    using sum = parallel<merge::add, sequence<dense<5>, masked>, dense<5, units::fixed_mask>>;
    using small_sum = parallel<merge::add, sequence<dense<3>, masked>, dense<3, units::fixed_mask>>;
    CHECK(why(type_identity<sequence<input<2>, sum, dense<2>>>{},
              type_identity<sequence<input<2>, small_sum, dense<2>>>{}) == "no exception");
    // A branch that gives its input on, beside one that reads it.
    using beside = parallel<merge::add, masked, dense<5, units::fixed_mask>>;
    using small_beside = parallel<merge::add, masked, dense<3, units::fixed_mask>>;
    CHECK(why(type_identity<sequence<input<2>, dense<5, units::fixed_mask>, beside, dense<2>>>{},
              type_identity<sequence<input<2>, dense<3, units::fixed_mask>, small_beside, dense<2>>>{}) ==
          "no exception");
    CHECK(why(type_identity<
                  sequence<input<2>, dense<5>, parallel<merge::add, tap<"x"_name>, dense<5>>, masked, dense<2>>>{},
              type_identity<
                  sequence<input<2>, dense<3>, parallel<merge::add, tap<"x"_name>, dense<3>>, masked, dense<2>>>{}) ==
          "compact: the mask of layer 3 comes behind a product that reads the same columns without it");
    CHECK(
        why(type_identity<sequence<input<2>, parallel<merge::add, dense<5>, dense<5, units::fixed_mask>>, dense<2>>>{},
            type_identity<sequence<input<2>, parallel<merge::add, dense<3>, dense<3>>, dense<2>>>{}) ==
        "compact: the masks of what the branches of layer 1 add differ; give the layers whose outputs are added one "
        "mask");
    CHECK(why(type_identity<sequence<input<2>, dense<5, units::fixed_mask>, slice<0, 3>, dense<2>>>{},
              type_identity<sequence<input<2>, dense<3>, slice<0, 3>, dense<2>>>{}) ==
          "compact: layer 2, slice from column 0, reads columns by their places, and the mask of layer 1 would move "
          "them");
    CHECK(why(type_identity<sequence<input<2>, slice<0, 2>, parallel<merge::concatenate, dense<5>>, dense<2>>>{},
              type_identity<sequence<input<2>, slice<0, 2>, parallel<merge::concatenate, dense<5>>, dense<2>>>{})
              .starts_with("compact: layer 2 is parallel concatenate; known are input, dense, embedding,"));
}
