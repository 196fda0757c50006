// SPDX-License-Identifier: Apache-2.0
// The kernel bodies of the update pass on the emulated block: against the CPU loop, against the definition in double,
// and bit for bit over launch shapes.
#include <support/catch.hpp>

#include "launches.hpp"
#include "update_tensor.hpp"

#include <espalier/core/nested_groups.hpp>
#include <espalier/core/update.hpp>
#include <espalier/device/cpu/scale_columns.hpp>
#include <espalier/device/cpu/update.hpp>
#include <espalier/kernels/norms.hpp>
#include <espalier/kernels/scale_columns.hpp>
#include <espalier/kernels/update.hpp>
#include <espalier/layer/detail.hpp>
#include <espalier/optimizer/adamw.hpp>
#include <espalier/optimizer/sgd.hpp>
#include <espalier/penalty/anchor.hpp>
#include <espalier/penalty/elastic_net.hpp>
#include <espalier/penalty/elastic_weight_consolidation.hpp>
#include <espalier/penalty/group_lasso.hpp>
#include <espalier/penalty/l1.hpp>
#include <espalier/penalty/l2.hpp>
#include <espalier/penalty/nested_group_lasso.hpp>
#include <espalier/penalty/proximal.hpp>
#include <espalier/penalty/smooth_l1.hpp>
#include <espalier/penalty/where_pruned.hpp>
#include <espalier/projection/box.hpp>
#include <espalier/projection/max_norm.hpp>
#include <espalier/projection/non_negative.hpp>
#include <espalier/transform/agreement.hpp>
#include <espalier/transform/clip_value.hpp>
#include <espalier/transform/gradient_dropout.hpp>
#include <espalier/weight/adaptive_gain.hpp>
#include <espalier/weight/compander.hpp>
#include <espalier/weight/composed.hpp>
#include <espalier/weight/fixed_mask.hpp>
#include <espalier/weight/identity.hpp>
#include <espalier/weight/marked.hpp>
#include <espalier/weight/score_mask.hpp>
#include <espalier/weight/trained_where.hpp>

#include <cmath>
#include <cstdint>
#include <string_view>
#include <vector>

namespace {

using namespace kernel_tests;
namespace k = espalier::kernels;
using espalier::flat_tuple;
using espalier::group_scope;
using espalier::matrix_view;
using espalier::tensor_rule;

constexpr espalier::optimizer::adamw_op adamw{1e-2, 0.9, 0.99, 1e-6, 1e-2, 1.7, 1.3};
using rows_lasso = espalier::penalty::group_lasso_op<group_scope::rows>;
using columns_lasso = espalier::penalty::group_lasso_op<group_scope::columns>;
using shrunk_columns = espalier::penalty::proximal_op<columns_lasso>;
using shrunk_l1 = espalier::penalty::proximal_op<espalier::penalty::l1_op>;
using shrunk_rows = espalier::penalty::proximal_op<rows_lasso>;

template <class W, class N, class Optimizer, class Rule>
void check_update(Optimizer const& optimizer, Rule const& rule, index_t row_count, index_t columns, double tolerance) {
    CAPTURE(row_count, columns);
    std::vector<tensor<W, N>> results;
    for_launches([&](auto const& launch) {
        results.emplace_back(row_count, columns);
        run_update(launch, optimizer, rule, results.back());
    });
    for (auto const& r : results)
        REQUIRE(r.same(results[0]));
    auto const& got = results[0];

    // The definition, in double.
    tensor<W, N> const before(row_count, columns);
    std::vector<double> next[2], values(4 + espalier::weight::max_scalars, 0.25);
    values[Rule::penalty_count] = values[Rule::penalty_count + 1] = Rule::scalars > 0 ? 0.0 : 0.25;
    Rule const made = espalier::detail::with_scalars(rule, before.scalars.data());
    for (int g = 0; g < Rule::group_sets; ++g)
        next[g].assign(static_cast<std::size_t>(espalier::groups_of(Rule::scope(g), row_count, columns)), 0.5);
    auto const s = tensor<W, N>(row_count, columns).segment();
    bool right = true;
    for (index_t r = 0; r < row_count; ++r)
        for (index_t c = 0; c < columns; ++c) {
            index_t const i = r * columns + c;
            auto const at = static_cast<std::size_t>(i);
            double m[3] = {};
            for (int q = 0; q < Optimizer::moments; ++q)
                m[q] = static_cast<double>(before.moments[at + static_cast<std::size_t>(q * before.stride)]);
            auto const group_of = [&](int g) {
                group_scope const scope = Rule::scope(g);
                return static_cast<std::size_t>(scope == group_scope::rows ? r : scope == group_scope::columns ? c : 0);
            };
            bool const keep = !Rule::uses_mask || (before.mask[at / 32] >> (at % 32) & 1u) != 0;
            espalier::element_about<double> const about{.weight = static_cast<double>(before.weights[at]),
                                                        .rate = optimizer.rate() * s.rates.learning_rate,
                                                        .keep = keep,
                                                        .reference = static_cast<double>(before.reference[at])};
            auto const companion = [&](int number) {
                return static_cast<double>(
                    before.companions[at + static_cast<std::size_t>(number * s.companion_stride)]);
            };
            double const w = update_element(
                optimizer, made, static_cast<double>(before.gradients[at]), m, s.rates.decay, about,
                [&](int number) {
                    return espalier::draw(s.site, 0, static_cast<std::uint32_t>(i / 8),
                                          static_cast<std::uint32_t>(number))[static_cast<int>(i % 8)];
                },
                [&](int g) { return static_cast<double>(before.norms[g][group_of(g)]); },
                [&](int q, double v) { values[static_cast<std::size_t>(q)] += v; }, companion);
            for (int g = 0; g < Rule::group_sets; ++g)
                next[g][group_of(g)] += w * w;
            right &= near(static_cast<double>(got.weights[at]), w, tolerance);
            for (int q = 0; q < Optimizer::moments; ++q)
                right &= near(static_cast<double>(got.moments[at + static_cast<std::size_t>(q * got.stride)]), m[q],
                              tolerance);
            if (espalier::detail::writes_operands<Optimizer, Rule> || (Rule::scalars == 0 && !std::is_same_v<W, N>))
                right &=
                    near(static_cast<double>(static_cast<W>(got.operands[at])),
                         espalier::weight::detail::effective_weight(
                             made.map, w, about.keep, espalier::detail::companions_of_map<Rule, double>(companion)),
                         std::is_same_v<W, N> ? 2 * tolerance : 0.004);
        }
    REQUIRE(right);
    for (int g = 0; g < Rule::group_sets; ++g)
        for (std::size_t i = 0; i < next[g].size(); ++i)
            right &= near(static_cast<double>(got.next[g][i]), next[g][i], 100 * tolerance);
    constexpr int scalars = espalier::detail::moved_scalars<Optimizer, Rule>;
    auto const of_scalar = [](auto const& t, int q) {
        return static_cast<double>(t.scalar_gradients[static_cast<std::size_t>(q * espalier::padded(1))]);
    };
    for (int q = 0; q < scalars; ++q)
        right &= near(of_scalar(got, q), values[static_cast<std::size_t>(Rule::penalty_count + q)], 20 * tolerance);
    for (std::size_t q = 0; q < (Rule::scalars > 0 ? Rule::penalty_count : got.values.size()); ++q)
        right &= near(got.values[q], values[q], 20 * tolerance);
    REQUIRE(right);

    // The loop of the CPU.
    if constexpr (std::is_same_v<W, N>) {
        tensor<W, N> mine(row_count, columns);
        espalier::cpu::update(optimizer, rule, mine.segment());
        bool equal = true;
        for (std::size_t i = 0; i < mine.weights.size(); ++i) {
            equal &= near(static_cast<double>(got.weights[i]), static_cast<double>(mine.weights[i]), tolerance);
            equal &= near(static_cast<double>(got.operands[i]), static_cast<double>(mine.operands[i]), 2 * tolerance);
        }
        for (std::size_t i = 0; i < mine.moments.size(); ++i)
            equal &= near(static_cast<double>(got.moments[i]), static_cast<double>(mine.moments[i]), tolerance);
        for (int g = 0; g < 2; ++g)
            for (std::size_t i = 0; i < mine.next[g].size(); ++i)
                equal &=
                    near(static_cast<double>(got.next[g][i]), static_cast<double>(mine.next[g][i]), 100 * tolerance);
        for (std::size_t q = 0; q < got.values.size(); ++q)
            equal &= near(got.values[q], mine.values[q], 20 * tolerance);
        for (int q = 0; q < scalars; ++q)
            equal &= near(of_scalar(got, q), of_scalar(mine, q), 20 * tolerance);
        REQUIRE(equal);
    }
}

template <class W, class N = W, class Optimizer, class Rule>
void check_shapes(Optimizer const& optimizer, Rule const& rule, double tolerance) {
    for (index_t r : {index_t{1}, index_t{2}, index_t{33}})
        for (index_t c : all_columns)
            if (c > 0) check_update<W, N>(optimizer, rule, r, c, tolerance);
}

// Policies that give back what they see.
struct step_down {
    static constexpr int moments = 0;
    ESPALIER_FN double rate() const { return 0.5; }
    template <class T> ESPALIER_FN T step(T w, T g, T*, T rate, T) const { return w - rate * g; }
};
struct kept_rate {
    static constexpr bool proximal = false;
    template <class T> ESPALIER_FN T value(T w, espalier::element_about<T> const& about) const {
        return w + about.rate + about.squared_norm;
    }
    template <class T> ESPALIER_FN T gradient(T w, espalier::element_about<T> const& about) const {
        using espalier::select;
        return select(about.keep, w, w * about.rate);
    }
};
struct group_norm {
    static constexpr group_scope groups = group_scope::rows;
    template <class T> ESPALIER_FN T gradient(T, espalier::element_about<T> const& about) const {
        return about.squared_norm;
    }
};
template <bool Draws> struct sum_of_fields {
    static constexpr bool draws = Draws;
    static constexpr bool needs_reference = true;
    template <class T> ESPALIER_FN T apply(T g, espalier::element_about<T> const& about) const {
        return g + about.weight + about.reference + static_cast<T>(about.bits) + about.global_norm + about.squared_norm;
    }
};
struct twice {
    template <class T> ESPALIER_FN T apply(T g) const { return g + g; }
};
struct two_kept {
    static constexpr int companions = 2;
    static constexpr std::string_view companion_names[] = {"second", "first"};
    template <class T> ESPALIER_FN T value(T w, espalier::element_about<T> const& about) const {
        return w + about.companion[0] + T(10) * about.companion[1];
    }
    template <class T> ESPALIER_FN T gradient(T w, espalier::element_about<T> const& about) const {
        return value(w, about);
    }
};
struct one_kept {
    static constexpr int companions = 1;
    static constexpr bool proximal = true;
    static constexpr std::string_view companion_names[] = {"first"};
    template <class T> ESPALIER_FN T value(T, espalier::element_about<T> const& about) const {
        return about.companion[0];
    }
    template <class T> ESPALIER_FN T prox(T w, espalier::element_about<T> const& about) const {
        return w + about.companion[0];
    }
};
struct of_kept {
    static constexpr bool uses_mask = false;
    static constexpr bool needs_operand = true;
    static constexpr int companions = 1;
    static constexpr std::string_view companion_names[] = {"second"};
    template <class T> ESPALIER_FN static T pull(T g, espalier::element_about<T> const& about) {
        return g * about.companion[0];
    }
    template <class T> ESPALIER_FN static T store(T next, espalier::element_about<T> const& about) {
        return next + T(0.5) * about.companion[0];
    }
    template <class T> ESPALIER_FN static T effective(T raw, espalier::element_about<T> const& about) {
        return raw + about.companion[0];
    }
};
struct sees_none {
    static constexpr bool needs_reference = true;
    template <class T> ESPALIER_FN T apply(T g, espalier::element_about<T> const& about) const {
        return g + about.reference + T(1e6) * about.companion[0];
    }
};
struct least_norm {
    static constexpr group_scope groups = group_scope::rows;
    static constexpr bool proximal = true;
    template <class T> ESPALIER_FN T prox(T w, espalier::element_about<T> const& about) const {
        return w + T(100) * about.rate + about.squared_norm + about.weight;
    }
};

} // namespace

TEST_CASE("every policy of an update sees its own fields of a weight") {
    using rule = tensor_rule<doubled, flat_tuple<kept_rate, group_norm>,
                             flat_tuple<sum_of_fields<true>, sum_of_fields<false>, twice>>;
    double values[2] = {};
    auto const next = [&](bool keep) {
        return update_element(
            step_down{}, rule{}, 3.0, static_cast<double*>(nullptr), 0.0,
            espalier::element_about<double>{
                .weight = 2.0, .rate = 0.25, .keep = keep, .reference = 10.0, .global_norm = 1000.0},
            [](int) { return 7u; }, [](int group) { return 16.0 + group; }, [&](int i, double v) { values[i] += v; });
    };
    // pull, both penalties, two transforms of which one has a draw, twice that; the reference is pulled back as well
    CHECK(next(true) == 2.0 - 0.25 * 2.0 * (3.0 + 2.0 + 16.0 + (2.0 + 10.0 + 7.0 + 1000.0) + (2.0 + 10.0 + 1000.0)));
    CHECK(values[0] == 2.25); // no norm: that is for penalties over groups
    CHECK(next(false) == 2.0 - 0.25 * 2.0 * (1.5 + 0.5 + 16.0 + (2.0 + 5.0 + 7.0 + 1000.0) + (2.0 + 5.0 + 1000.0)));

    // The proxes of a step that shrinks groups.
    using shrunk = tensor_rule<espalier::weight::identity, flat_tuple<least_norm, shrunk_l1>, flat_tuple<>>;
    shrunk s{};
    espalier::get<1>(s.penalties).coefficient = 5.0;
    CHECK(update_element(
              espalier::no_step{0.3}, s, 3.0, static_cast<double*>(nullptr), 0.0,
              espalier::element_about<double>{.weight = 2.0, .rate = 0.25}, [](int) { return 7u; },
              [](int) { return 16.0; }, [](int, double) {}) == 2.0 + 25.0 + 16.0 + 2.0);
}

TEST_CASE("penalties that name the same companion of a tensor read the same one") {
    using rule =
        tensor_rule<espalier::weight::identity, flat_tuple<kept_rate, one_kept, two_kept, one_kept>, flat_tuple<>>;
    STATIC_REQUIRE(rule::companions == 2);
    CHECK(rule::companion_table.names[0] == "first");
    CHECK(rule::companion_table.names[1] == "second");
    double values[4] = {};
    double const next = update_element(
        step_down{}, rule{}, 3.0, static_cast<double*>(nullptr), 0.0,
        espalier::element_about<double>{.weight = 2.0, .rate = 0.25}, [](int) { return 7u; }, [](int) { return 16.0; },
        [&](int i, double v) { values[i] += v; }, [](int k) { return k == 0 ? 100.0 : 5000.0; });
    CHECK(next == 2.0 - 0.25 * (3.0 + 2.0 + 2.0 + 5000.0 + 1000.0) + 100.0 + 100.0);
    CHECK(values[0] == 2.25);
    CHECK(values[1] == 100.0);
    CHECK(values[2] == 6002.0);
    CHECK(values[3] == 100.0);
    STATIC_REQUIRE(tensor_rule<espalier::weight::identity, flat_tuple<kept_rate>, flat_tuple<>>::companions == 0);
}

TEST_CASE("update bodies: penalties that read companions, beside groups too") {
    using espalier::penalty::anchor_op, espalier::penalty::elastic_weight_consolidation_op;
    using rule = tensor_rule<espalier::weight::fixed_mask,
                             flat_tuple<anchor_op, espalier::penalty::proximal_op<elastic_weight_consolidation_op>>,
                             flat_tuple<>>;
    rule r{};
    espalier::get<0>(r.penalties) = {0.3};
    espalier::get<1>(r.penalties).coefficient = 0.5; // importances of any sign: the body is to follow the formula
    check_shapes<float>(adamw, r, 4e-6);
    check_update<float, float>(adamw, r, 5, 1001, 4e-6);
    using grouped =
        tensor_rule<espalier::weight::identity, flat_tuple<rows_lasso, elastic_weight_consolidation_op>, flat_tuple<>>;
    grouped g{};
    espalier::get<0>(g.penalties) = {0.2};
    espalier::get<1>(g.penalties) = {0.5};
    check_shapes<float>(adamw, g, 4e-6);
}

TEST_CASE("update bodies: penalties, mask and random transform in one pass") {
    using rule = tensor_rule<espalier::weight::fixed_mask,
                             flat_tuple<espalier::penalty::l1_op, espalier::penalty::l2_op,
                                        espalier::penalty::proximal_op<espalier::penalty::elastic_net_op>>,
                             flat_tuple<espalier::transform::gradient_dropout_op>>;
    rule r{};
    espalier::get<0>(r.penalties) = {0.01};
    espalier::get<1>(r.penalties) = {0.1};
    espalier::get<2>(r.penalties).l1 = 0.5;
    espalier::get<2>(r.penalties).l2 = 0.2;
    espalier::get<0>(r.transforms) = {20000, 65536.0 / (65536.0 - 20000.0)};
    check_shapes<float>(adamw, r, 4e-6);
    check_update<float, float>(adamw, r, 5, 1001, 4e-6);
}

TEST_CASE("update bodies: penalties on what a mask marks, in vectors as scales and biases are") {
    using espalier::penalty::where_pruned_op;
    using rule = tensor_rule<espalier::weight::marked,
                             flat_tuple<where_pruned_op<espalier::penalty::l1_op>, espalier::penalty::smooth_l1_op,
                                        espalier::penalty::proximal_op<where_pruned_op<espalier::penalty::l2_op>>>,
                             flat_tuple<>>;
    rule r{};
    espalier::get<0>(r.penalties).coefficient = 0.3;
    espalier::get<1>(r.penalties) = {4.0}; // some weights lie below rate C
    espalier::get<2>(r.penalties).coefficient = 0.5;
    for (index_t const n : {1, 31, 32, 33, 70, 1500})
        check_update<float, float>(adamw, r, 1, n, 4e-6);
}

TEST_CASE("update bodies: what a mask freezes, beside penalties by gradient and prox and a decay") {
    using rule = tensor_rule<
        espalier::weight::trained_where,
        flat_tuple<espalier::penalty::smooth_l1_op, espalier::penalty::proximal_op<espalier::penalty::elastic_net_op>>,
        flat_tuple<>>;
    rule r{};
    espalier::get<0>(r.penalties) = {4.0};
    espalier::get<1>(r.penalties).l1 = 0.5;
    espalier::get<1>(r.penalties).l2 = 0.2;
    for (index_t const n : {1, 33, 1500})
        check_update<float, float>(adamw, r, 1, n, 4e-6);
}

TEST_CASE("update bodies: every random transform has bits of its own") {
    using espalier::transform::agreement_op, espalier::transform::gradient_dropout_op;
    using rule = tensor_rule<
        espalier::weight::identity, flat_tuple<>,
        flat_tuple<agreement_op, espalier::transform::clip_value_op, gradient_dropout_op, gradient_dropout_op>>;
    static_assert(rule::draws == 3);
    rule r{};
    espalier::get<0>(r.transforms) = {1.0, 1e-8};
    espalier::get<1>(r.transforms) = {0.5};
    espalier::get<2>(r.transforms) = {32768, 2.0};
    espalier::get<3>(r.transforms) = {16384, 4.0 / 3.0};
    check_shapes<float>(adamw, r, 4e-6);
    check_update<float, float>(adamw, r, 5, 1001, 4e-6);
    using grouped = tensor_rule<espalier::weight::fixed_mask, flat_tuple<rows_lasso>,
                                flat_tuple<gradient_dropout_op, gradient_dropout_op>>;
    grouped g{};
    espalier::get<0>(g.penalties) = {0.2};
    espalier::get<0>(g.transforms) = {32768, 2.0};
    espalier::get<1>(g.transforms) = {16384, 4.0 / 3.0};
    check_shapes<float>(adamw, g, 4e-6);
}

TEST_CASE("update bodies: a separate copy for the products") {
    using rule = tensor_rule<doubled, flat_tuple<espalier::penalty::l2_op>, flat_tuple<>>;
    rule r{};
    espalier::get<0>(r.penalties) = {0.1};
    espalier::optimizer::sgd_op<espalier::optimizer::momentum_kind::nesterov> const sgd{0.05, 0.9, 0.01};
    check_shapes<float>(sgd, r, 2e-6);
    check_shapes<float, narrow>(sgd, r, 2e-6);
}

TEST_CASE("update bodies: trained numbers of a map, and the pass that writes operands when they have moved") {
    using map = espalier::weight::learned_compander_op<espalier::weight::arctan>;
    using rule = tensor_rule<espalier::weight::composed_op<espalier::weight::fixed_mask, map>,
                             flat_tuple<espalier::penalty::l2_op>, flat_tuple<>>;
    rule r{};
    espalier::get<0>(r.penalties) = {0.1};
    check_shapes<float>(adamw, r, 4e-6);
    check_update<float, narrow>(adamw, r, 5, 1001, 4e-6);
    check_update<float, narrow>(espalier::no_step{}, r, 5, 1001, 4e-6);
    check_update<float, float>(espalier::no_step{}, tensor_rule<map, flat_tuple<>, flat_tuple<>>{}, 33, 17, 4e-6);
    using grouped = tensor_rule<map, flat_tuple<rows_lasso>, flat_tuple<>>;
    grouped g{};
    espalier::get<0>(g.penalties) = {0.2};
    check_shapes<float>(adamw, g, 4e-6);
}

TEST_CASE("a map sees its companion, and penalties and transforms see none of it") {
    using rule = tensor_rule<of_kept, flat_tuple<kept_rate, one_kept, two_kept>, flat_tuple<sees_none>>;
    STATIC_REQUIRE(rule::companions == 2);
    CHECK(rule::companion_table.names[0] == "second"); // that of the map first
    double values[3] = {};
    double const next = update_element(
        step_down{}, rule{}, 3.0, static_cast<double*>(nullptr), 0.0,
        espalier::element_about<double>{.weight = 2.0, .rate = 0.25, .reference = 7.0}, [](int) { return 7u; },
        [](int) { return 16.0; }, [&](int i, double v) { values[i] += v; },
        [](int k) { return k == 0 ? 100.0 : 5000.0; });
    double const g = 300.0 + 2.0 + (2.0 + 100.0 + 50000.0) + 700.0;
    CHECK(next == 2.0 - 0.25 * g + 5000.0 + 0.5 * 100.0);
    CHECK(values[1] == 5000.0);
}

TEST_CASE("update bodies: scores of a frozen kernel, with both streams, the norm of all of them and an anchor") {
    using espalier::weight::score_mask_op;
    using rule = tensor_rule<score_mask_op, flat_tuple<espalier::penalty::anchor_op>,
                             flat_tuple<espalier::transform::agreement_op>>;
    rule r{};
    r.map.threshold = 0.1;
    espalier::get<0>(r.penalties) = {0.3};
    espalier::get<0>(r.transforms) = {0.7, 1e-8};
    check_shapes<float>(adamw, r, 4e-6);
    check_update<float, narrow>(adamw, r, 5, 1001, 4e-6);
    check_update<float, narrow>(espalier::no_step{}, r, 5, 1001, 4e-6);
    using normed = tensor_rule<score_mask_op, flat_tuple<espalier::penalty::group_lasso_op<group_scope::tensor>>,
                               flat_tuple<espalier::transform::agreement_op>>;
    normed n{};
    n.map.threshold = 0.1;
    espalier::get<0>(n.penalties) = {0.2};
    espalier::get<0>(n.transforms) = {0.7, 1e-8};
    check_update<float, float>(adamw, n, 33, 17, 4e-6);
}

TEST_CASE("update bodies: penalties over rows and columns") {
    using rule =
        tensor_rule<espalier::weight::fixed_mask, flat_tuple<rows_lasso, columns_lasso, espalier::penalty::l2_op>,
                    flat_tuple<espalier::transform::gradient_dropout_op>>;
    rule r{};
    espalier::get<0>(r.penalties) = {0.3};
    espalier::get<1>(r.penalties) = {0.2};
    espalier::get<2>(r.penalties) = {0.1};
    espalier::get<0>(r.transforms) = {20000, 65536.0 / (65536.0 - 20000.0)};
    check_shapes<float>(adamw, r, 4e-6);
}

TEST_CASE("update bodies: the pass that shrinks groups, from the norms of stepped weights") {
    using by_columns =
        tensor_rule<espalier::weight::fixed_mask,
                    flat_tuple<rows_lasso, shrunk_columns, espalier::penalty::proximal_op<espalier::penalty::l1_op>>,
                    flat_tuple<espalier::transform::gradient_dropout_op>>;
    by_columns c{};
    espalier::get<0>(c.penalties) = {0.3};
    espalier::get<1>(c.penalties).coefficient = 2.0;
    espalier::get<2>(c.penalties).coefficient = 5.0; // was applied by the step
    check_shapes<float>(espalier::no_step{0.3}, c, 4e-6);
    check_shapes<float>(adamw, c, 4e-6);
    using by_rows = tensor_rule<doubled, flat_tuple<shrunk_rows>, flat_tuple<>>;
    by_rows r{};
    espalier::get<0>(r.penalties).coefficient = 2.0;
    check_shapes<float>(espalier::no_step{0.3}, r, 4e-6);
    check_shapes<float, narrow>(espalier::no_step{0.3}, r, 4e-6);

    // The formula itself, and that a step or a rate of 0 leaves it out.
    tensor<float> const before(33, 40);
    tensor<float> t(33, 40), still(33, 40);
    for_blocks([&](auto const& launch) {
        t = still = before;
        run_update(launch, espalier::no_step{0.3}, r, t);
        run_update(launch, espalier::no_step{}, r, still);
    });
    int zeros = 0;
    for (std::size_t i = 0; i < t.weights.size(); ++i) {
        double const norm = std::sqrt(static_cast<double>(before.norms[0][i / 40]));
        double const factor = norm > 0.48 ? 1.0 - 0.48 / norm : 0.0; // 0.3 times the tensor's 0.8 times 2
        zeros += factor == 0.0;
        REQUIRE(static_cast<double>(t.weights[i]) ==
                Approx(static_cast<double>(before.weights[i]) * factor).epsilon(1e-5));
        REQUIRE((factor == 0.0) == (t.weights[i] == 0.0f));
    }
    REQUIRE(zeros > 0);
    REQUIRE(zeros < 33 * 40);
    REQUIRE(same_bits(still.weights, before.weights));
}

TEST_CASE("update bodies: the tensor as one group, by gradient and in the further pass") {
    using whole_lasso = espalier::penalty::group_lasso_op<group_scope::tensor>;
    using rule = tensor_rule<espalier::weight::fixed_mask, flat_tuple<rows_lasso, whole_lasso>, flat_tuple<>>;
    rule r{};
    espalier::get<0>(r.penalties) = {0.3};
    espalier::get<1>(r.penalties) = {0.2};
    check_shapes<float>(adamw, r, 4e-6);
    using whole = tensor_rule<doubled, flat_tuple<espalier::penalty::proximal_op<whole_lasso>>, flat_tuple<>>;
    whole w{};
    espalier::get<0>(w.penalties).coefficient = 0.2;
    check_shapes<float>(espalier::no_step{0.3}, w, 4e-6);
    check_shapes<double, double>(espalier::no_step{0.3}, w, 1e-13);
}

TEST_CASE("nested groups: tails and pulls by tiles of any width are those of one lane") {
    espalier::penalty::nested_group_lasso_op<group_scope::rows> const lasso{0.3};
    for (int const n : {1, 2, 7, 31, 32, 33, 100}) {
        auto const size = static_cast<std::size_t>(n);
        std::vector<double> squares(size), tails(size), pulls(size);
        for (std::size_t g = 0; g < size; ++g) // the last third is empty
            squares[g] = 3 * g < 2 * size ? 0.25 + 0.125 * static_cast<double>(g % 5) : 0.0;
        espalier::nested_groups(espalier::serial_group{}, lasso, squares.data(), n, tails.data(), pulls.data());
        double tail = 0.0, pull = 0.0;
        for (std::size_t g = size; g-- > 0;) {
            tail += squares[g];
            REQUIRE(tails[g] == Approx(tail).epsilon(1e-14));
        }
        for (std::size_t g = 0; g < size; ++g) {
            pull += tails[g] > 0.0 ? 0.3 / std::sqrt(tails[g]) : 0.0;
            REQUIRE(pulls[g] == Approx(pull).epsilon(1e-14));
        }
        for_blocks([&](auto const& launch) {
            std::vector<double> t(size, -1.0), p(size, -1.0);
            launch([&](auto const& block) {
                auto const tile = block.template tile<(
                    std::decay_t<decltype(block)>::lanes < 32 ? std::decay_t<decltype(block)>::lanes : 32)>();
                if (tile.group_rank() == 0) espalier::nested_groups(tile, lasso, squares.data(), n, t.data(), p.data());
            });
            for (std::size_t g = 0; g < size; ++g) {
                REQUIRE(t[g] == Approx(tails[g]).epsilon(1e-14));
                REQUIRE(p[g] == Approx(pulls[g]).epsilon(1e-14));
            }
        });
    }
}

TEST_CASE("update bodies: projections behind the prox, and over groups in the further pass") {
    using box = espalier::projection::detail::projected<espalier::projection::box_op>;
    using columns_bound =
        espalier::projection::detail::projected<espalier::projection::max_norm_op<group_scope::columns>>;
    using free = espalier::projection::detail::projected<espalier::projection::non_negative_op>;
    using rule = tensor_rule<doubled, flat_tuple<rows_lasso, shrunk_l1, box, columns_bound, free>,
                             flat_tuple<espalier::transform::gradient_dropout_op>>;
    STATIC_REQUIRE(rule::penalty_count == 2);
    STATIC_REQUIRE(rule::group_sets == 2);
    STATIC_REQUIRE(rule::group_proxes == 1);
    rule r{};
    espalier::get<0>(r.penalties) = {0.3};
    espalier::get<1>(r.penalties).coefficient = 0.5;
    espalier::get<2>(r.penalties).low = -0.25;
    espalier::get<2>(r.penalties).high = 0.125;
    espalier::get<3>(r.penalties).maximum = 0.6;
    check_shapes<float>(adamw, r, 4e-6);
    check_shapes<float, narrow>(adamw, r, 4e-6);
    check_shapes<float>(espalier::no_step{0.3}, r, 4e-6);
    check_shapes<float>(espalier::no_step{}, r, 4e-6);

    // What is stored, and that a step that moves nothing leaves single weights alone.
    tensor<float> const before(33, 40);
    tensor<float> t(33, 40), still(33, 40);
    for_blocks([&](auto const& launch) {
        t = still = before;
        run_update(launch, adamw, r, t);
        run_update(launch, espalier::no_step{}, r, still);
    });
    int at_0 = 0, at_bound = 0;
    for (float w : t.weights) {
        REQUIRE(w >= 0.0f);
        REQUIRE(w <= 0.125f);
        at_0 += w == 0.0f;
        at_bound += w == 0.125f;
    }
    REQUIRE(at_0 > 0);
    REQUIRE(at_bound > 0);
    REQUIRE(same_bits(still.weights, before.weights));

    // The loop of the CPU and the bodies store the same bits where a step does.
    using plain = tensor_rule<espalier::weight::identity, flat_tuple<box>, flat_tuple<>>;
    plain p{};
    espalier::get<0>(p.penalties).low = -0.25;
    espalier::get<0>(p.penalties).high = 0.125;
    check_shapes<float>(adamw, p, 4e-6);
    check_shapes<double>(adamw, p, 1e-13);
}

TEST_CASE("update bodies change nothing once an error was reported") {
    using flat = tensor_rule<espalier::weight::identity, flat_tuple<espalier::penalty::l1_op>, flat_tuple<>>;
    using grouped = tensor_rule<espalier::weight::identity, flat_tuple<rows_lasso, columns_lasso>, flat_tuple<>>;
    k::error_word error{k::loss_not_finite, 3};
    k::update_context context;
    context.error = &error;
    auto const check = [&](auto const& rule) {
        for_blocks([&](auto const& launch) {
            tensor<float> t(3, 20);
            tensor<float> const before = t;
            run_update(launch, adamw, rule, t, context);
            REQUIRE(t.same(before));
        });
    };
    check(flat{});
    check(grouped{});
}

TEST_CASE("sums of squares in a fixed order") {
    for (index_t n : {0, 1, 7, 8, 9, 257, 4096, 4097, 20000}) {
        auto const x = numbers<float>(n, 8);
        double exact = 0;
        for (float v : x)
            exact += static_cast<double>(v) * static_cast<double>(v);
        std::vector<double> results;
        for_launches([&](auto const& launch) {
            std::vector<double> partial(static_cast<std::size_t>(k::norm_chunks(n)), -9.0);
            double sum = 100.0;
            launch([&](auto const& group) { k::square_partials(group, x.data(), n, partial.data()); });
            for_blocks([&](auto const& one) {
                sum = 100.0;
                one([&](auto const& group) { k::sum_numbers(group, partial.data(), k::norm_chunks(n), &sum, true); });
                results.push_back(sum);
            });
        });
        REQUIRE(near(results[0] - 100.0, exact, 1e-6));
        for (double r : results)
            REQUIRE(r == results[0]);
    }
}

TEST_CASE("what a mask leaves out becomes 0") {
    for (index_t n : {0, 1, 7, 8, 9, 31, 33, 64, 257, 5000}) {
        CAPTURE(n);
        auto const x = numbers<float>(n, 8);
        std::vector<std::uint32_t> mask(static_cast<std::size_t>(n / 32 + 2));
        for (std::size_t w = 0; w < mask.size(); ++w)
            mask[w] = 0x9e3779b9u * static_cast<std::uint32_t>(w + 3);
        std::vector<float> expected(x.begin(), x.end());
        for (index_t i = 0; i < n; ++i)
            if ((mask[static_cast<std::size_t>(i / 32)] >> i % 32 & 1u) == 0) expected[static_cast<std::size_t>(i)] = 0;
        for_launches([&](auto const& launch) {
            std::vector<float> y(x.begin(), x.end());
            launch([&](auto const& group) { k::clear_left_out(group, y.data(), mask.data(), n); });
            REQUIRE(same_bits(y, expected));
        });
        std::vector<float> y(x.begin(), x.end());
        espalier::cpu::clear_left_out(y.data(), mask.data(), n);
        REQUIRE(same_bits(y, expected));
    }
}

TEST_CASE("gains of columns: every group gives the CPU's, and columns of nothing the gain of 0") {
    auto const op = espalier::weight::adaptive_gain<2.0>::at({});
    for (index_t columns : {1, 7, 16, 33, 300}) {
        index_t const rows = 5, stride = columns + 3;
        auto const factor = numbers<double>(rows * stride, 4);
        auto product = numbers<double>(rows * stride, 5), gradient = numbers<double>(rows * stride, 6);
        for (std::size_t i = 0; i < product.size(); ++i) // as of a Gram matrix: no negative squares, but for rounding
            product[i] = i % static_cast<std::size_t>(stride) == 0 ? -1e-18 * factor[i] : 0.5 * factor[i];
        matrix_view<double const> const read{factor.data(), rows, columns, stride};
        auto const scale = [&](auto const& body) {
            auto scaled = product, left = gradient;
            body(matrix_view<double>{scaled.data(), rows, columns, stride},
                 matrix_view<double>{left.data(), rows, columns, stride});
            scaled.insert(scaled.end(), left.begin(), left.end());
            return std::vector<double>(scaled.begin(), scaled.end());
        };
        auto const host = scale([&](auto scaled, auto left) { espalier::cpu::scale_columns(op, read, scaled, left); });
        auto const stride_of = static_cast<std::size_t>(stride);
        REQUIRE(host[0] == 2.0 * factor[0]);
        double squared = 0.0;
        for (std::size_t k = 0; k < 5 && columns > 2; ++k)
            squared += 0.5 * factor[k * stride_of + 2] * factor[k * stride_of + 2];
        if (columns > 2)
            REQUIRE(near(host[5 * stride_of + 2], gradient[2] / std::sqrt(std::sqrt(squared) + 0.25), 1e-14));
        for_launches([&](auto const& launch) {
            auto const device = scale([&](auto scaled, auto left) {
                launch([&](auto const& group) { k::scale_columns(group, op, read, scaled, left); });
            });
            for (std::size_t i = 0; i < host.size(); ++i)
                REQUIRE(near(device[i], host[i], 1e-14));
        });
    }
}

TEST_CASE("eight draws from any element on are those of the elements") {
    auto const site = espalier::make_site(1, 2, 3, 0);
    for (index_t first = 0; first < 40; ++first) {
        for (std::uint32_t number : {0u, 3u}) {
            auto const got = k::flat_bits(site, first, number);
            for (int j = 0; j < 8; ++j)
                REQUIRE(got[j] == espalier::draw(site, 0, static_cast<std::uint32_t>((first + j) / 8),
                                                 number)[static_cast<int>((first + j) % 8)]);
        }
    }
}
