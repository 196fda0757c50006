// SPDX-License-Identifier: Apache-2.0
// check_policy on gates: every shipped gate passes, and wrong ones fail with the point where they are wrong.
#include <espalier/core/math.hpp>
#include <espalier/gate/balance.hpp>
#include <espalier/gate/by_range.hpp>
#include <espalier/gate/comet.hpp>
#include <espalier/gate/dselect_k.hpp>
#include <espalier/gate/entropy.hpp>
#include <espalier/gate/expert_choice.hpp>
#include <espalier/gate/hash.hpp>
#include <espalier/gate/importance.hpp>
#include <espalier/gate/jitter.hpp>
#include <espalier/gate/learned_noise.hpp>
#include <espalier/gate/load.hpp>
#include <espalier/gate/local_search.hpp>
#include <espalier/gate/over_all.hpp>
#include <espalier/gate/same_for_all_rows.hpp>
#include <espalier/gate/softmax.hpp>
#include <espalier/gate/temperature.hpp>
#include <espalier/gate/top_k.hpp>
#include <espalier/gate/z_loss.hpp>
#include <espalier/train/policy_check.hpp>

#include <support/catch.hpp>
#include <support/named_numbers.hpp>

#include <cstdint>
#include <string>
#include <string_view>

using namespace espalier;

namespace {

template <class... Ps> void all_pass() {
    (
        [] {
            auto const report = check_policy<Ps>();
            INFO(report.text);
            CHECK(report.ok());
        }(),
        ...);
}
/// And `describe` names the numbers of their ops.
template <class... Ps> void all_shipped_pass() {
    all_pass<Ps...>();
    CHECK(support::all_name_their_numbers(type_list<Ps...>{}));
}

/// Gates whose mistake is a number of their op have the one of the time.
template <class P, class Mistake = int> void fails(std::string_view line, Mistake mistake = {}) {
    espalier::clock now;
    now.step = static_cast<std::uint64_t>(mistake);
    auto const report = check_policy<P>(now);
    INFO(report.text);
    CHECK_FALSE(report.ok());
    CHECK_THAT(report.text, contains_text("FAIL  " + std::string(line)));
}

enum class fault { none, gradient, sum, overflow, lanes, packs, term, term_of_packs, slopes, scale_of_noise };

struct unbounded {
    using axis = espalier::axis::initial;
    template <class T> static void fill(matrix_view<T> w, index_t, index_t, random_site const&) {
        for (index_t r = 0; r < w.rows; ++r)
            for (index_t c = 0; c < w.columns; ++c)
                w(r, c) = T(1) / T(r);
    }
};
struct of_zeros : unbounded {
    template <class T> static void fill(matrix_view<T> w, index_t, index_t, random_site const&) {
        for (index_t r = 0; r < w.rows; ++r)
            for (index_t c = 0; c < w.columns; ++c)
                w(r, c) = T(0);
    }
};

/// softmax(z + noise exp(noise_logits)) with the terms 0.1 z_0^2 a row and 0.01 sum over e of (sum over rows of g_e)^2.
struct some_op {
    fault mistake;

    static constexpr bool has_term = true;
    static constexpr gate_needs needs{.noise = true, .noise_logits = true, .statistics = 1};

    template <class Group, class T, class About>
    ESPALIER_FN T route(Group const& group, row<Group, T, 4> const& z, row<Group, T, 4>& weights, About& about) const {
        using espalier::exp;
        using S = scalar_of<T>;
        for (int i = 0; i < z.local; ++i)
            weights.v[i] = z.v[i] + about.noise.v[i] * exp(about.noise_logits.v[i]);
        if (mistake == fault::overflow) {
            for (int i = 0; i < z.local; ++i)
                weights.v[i] = exp(weights.v[i]);
            T const total = row_sum(group, weights);
            for (int i = 0; i < z.local; ++i)
                weights.v[i] = weights.v[i] / total;
        } else if (mistake == fault::lanes) { // as if every lane had a whole row
            T total(S(0));
            for (int i = 0; i < z.local; ++i) {
                weights.v[i] = exp(weights.v[i]);
                total += weights.v[i];
            }
            for (int i = 0; i < z.local; ++i)
                weights.v[i] = weights.v[i] / total;
        } else
            row_softmax(group, weights);
        if (mistake == fault::sum || (mistake == fault::packs && is_pack<T>))
            for (int i = 0; i < z.local; ++i)
                weights.v[i] = weights.v[i] * T(S(0.5));
        about.statistic[0] = weights;
        return square_of_first(group, z) * T(S(mistake == fault::term_of_packs && is_pack<T> ? 0.2 : 0.1));
    }
    template <class Group, class T, class About>
    ESPALIER_FN void backward(Group const& group, row<Group, T, 4> const& z, row<Group, T, 4> const& weights,
                              row<Group, T, 4> const& dweights, T const& term_scale, row<Group, T, 4>& dz,
                              About& about) const {
        using espalier::exp;
        using S = scalar_of<T>;
        auto d = dweights;
        for (int i = 0; i < z.local; ++i)
            d.v[i] = d.v[i] + about.slope[0].v[i];
        T const mean = row_dot(group, weights, d);
        for (int i = 0; i < z.local; ++i) {
            dz.v[i] = weights.v[i] * (mistake == fault::gradient ? d.v[i] : d.v[i] - mean);
            about.dnoise_logits.v[i] = dz.v[i] * about.noise.v[i] * exp(about.noise_logits.v[i]);
            if (mistake == fault::scale_of_noise) about.dnoise_logits.v[i] = dz.v[i];
            if (mistake != fault::term)
                dz.v[i] += select(z.column(group, i) == T(S(0)), T(S(0.2)) * term_scale * z.v[i], T(S(0)));
        }
    }
    ESPALIER_FN double finish(double const* sums, index_t, double* slopes) const {
        double total = 0.0;
        for (int e = 0; e < 4; ++e) {
            total += 0.01 * sums[e] * sums[e];
            slopes[e] = (mistake == fault::slopes ? 0.01 : 0.02) * sums[e];
        }
        return total;
    }

private:
    template <class Group, class T> static ESPALIER_FN T square_of_first(Group const& group, row<Group, T, 4> z) {
        for (int i = 0; i < z.local; ++i)
            z.v[i] = select(z.column(group, i) == T(scalar_of<T>(0)), z.v[i], T(scalar_of<T>(0)));
        return row_dot(group, z, z);
    }
};
struct some_gate {
    using axis = espalier::axis::gate;
    static constexpr int experts = 4;
    static constexpr int slots = 4;
    static constexpr int logits = 8;
    static constexpr bool slot_is_expert = true;
    using initial = of_zeros;
    using op = some_op;
    static op at(espalier::clock const& now) { return {static_cast<fault>(now.step)}; }
};
struct takes_no_row : gate::softmax<4> {
    static constexpr index_t rows_of_expert(index_t rows) { return rows / 8; }
};
struct begins_unbounded : gate::softmax<4> {
    using initial = unbounded;
};

enum class slip { none, expert, expert_of_nan, column_of_lane, empty_slot };

/// The expert of the largest logit, with weight 1.
struct largest_op {
    slip mistake;

    template <class Group, class T>
    ESPALIER_FN T route(Group const& group, row<Group, T, 5> const& z, gate_slots<T, 1>& chosen) const {
        using S = scalar_of<T>;
        auto const best = row_argmax(group, z);
        T const none(S(0)), one(S(1));
        chosen.expert[0] = mistake == slip::expert ? best.column + one : best.column;
        if (mistake == slip::column_of_lane && is_pack<T>) chosen.expert[0] = none;
        // whether anybody was above minus infinity
        chosen.weight[0] = select(best.value > T(static_cast<S>(-__builtin_inf())), one, none);
        if (mistake == slip::expert_of_nan) {
            T const sum = row_sum(group, z);
            chosen.expert[0] = select(sum == sum, best.column, sum);
            chosen.weight[0] = one;
        }
        if (mistake == slip::empty_slot) chosen.weight[0] = none;
        return none;
    }
    template <class Group, class T>
    ESPALIER_FN void backward(Group const&, row<Group, T, 5> const&, gate_slots<T, 1> const&, T const (&)[1], T const&,
                              row<Group, T, 5>& dz) const {
        for (int i = 0; i < dz.local; ++i)
            dz.v[i] = T(scalar_of<T>(0));
    }
};
struct largest {
    using axis = espalier::axis::gate;
    static constexpr int experts = 5;
    static constexpr int slots = 1;
    static constexpr int logits = 5;
    static constexpr bool slot_is_expert = false;
    using op = largest_op;
    static op at(espalier::clock const& now) { return {static_cast<slip>(now.step)}; }
};

enum class lookup { right, expert, refusal, table, table_of_floats, refuses_all };

template <lookup Way> struct by_key {
    using axis = espalier::axis::gate;
    static constexpr int experts = 4;
    static constexpr int slots = 1;
    static constexpr int logits = 0;
    static constexpr bool slot_is_expert = false;
    static constexpr index_t keys = 10;

    template <class T, class W>
    ESPALIER_FN std::int32_t expert(rows const& batch, index_t r, T const*, W const* table) const {
        if (Way == lookup::refuses_all || (Way == lookup::refusal && batch.key[r] == 3)) return -1;
        return static_cast<std::int32_t>(table[batch.key[r]]) + (Way == lookup::expert && batch.key[r] == 7 ? 4 : 0);
    }
    template <class T> static std::string refusal(rows const&, index_t, T const*) {
        return Way == lookup::refuses_all ? "nobody comes in" : "";
    }
    template <class W> static void fill_table(matrix_view<W> table, random_site const&) {
        for (index_t k = 0; k < keys; ++k)
            table.data[k] = static_cast<W>(k % 4);
        if (Way == lookup::table) table.data[2] = W(2.5);
        if (Way == lookup::table_of_floats && sizeof(W) == 4) table.data[2] = W(3);
    }
};

} // namespace

TEST_CASE("check_policy: every shipped gate passes", "[train][policy_check]") {
    all_shipped_pass<gate::softmax<4>, gate::top_k<4, 2>, gate::top_k<11, 3, gate::over_all>,
                     gate::comet<4, 2, 0.3, 0.7>, gate::dselect_k<5, 2>, gate::hash<4, 10>,
                     gate::expert_choice<4, 1.0 / 3.0>, gate::by_range<gate::ranges_between<0.0, 1.0 / 3.0, 1.0>>,
                     gate::local_search<gate::top_k<4, 2>>,
                     gate::local_search<gate::comet<4, 2>, gate::search{.apart = true}>,
                     gate::same_for_all_rows<gate::top_k<4, 1>>>();
    all_shipped_pass<
        gate::top_k<11, 2, gate::learned_noise, gate::load<0.1>, gate::importance<0.1>, gate::temperature<0.3>>,
        gate::softmax<4, gate::jitter<0.1>, gate::z_loss<0.1>, gate::entropy<0.1>>,
        gate::top_k<4, 2, gate::balance<0.3>>>();
}

TEST_CASE("check_policy: gates that are wrong fail where they are wrong", "[train][policy_check]") {
    all_pass<some_gate>();
    fails<some_gate>("backward is the gradient of the weights and the term at row 0, logit 0", fault::gradient);
    fails<some_gate>("backward is the gradient of the weights and the term at row 0, logit 0", fault::term);
    fails<some_gate>("backward is the gradient of the weights and the term at row 0, logit 0", fault::slopes);
    fails<some_gate>("backward gives the gradient of the scale of the noise at row 0, logit 0", fault::scale_of_noise);
    fails<some_gate>("weights of random logits at row 0, sum of the weights", fault::sum);
    fails<some_gate>("weights of equal and very large logits at row 3, slot 0: given the weight", fault::overflow);
    fails<some_gate>("weights of one row over several lanes at row 0, column 0", fault::lanes);
    fails<some_gate>("weights of several rows in packs at row 0, column 0", fault::packs);
    fails<some_gate>("experts and shares of several rows in packs at row 0, share of the term", fault::term_of_packs);
    fails<takes_no_row>("an expert takes 1 to all rows at 1 rows: given 0");
    fails<begins_unbounded>("values are finite, and those of float are those of double rounded at row 0");
}

TEST_CASE("check_policy: slots and lookups that are wrong fail where they are wrong", "[train][policy_check]") {
    all_pass<largest, by_key<lookup::right>>();
    fails<largest>("weights and experts of random logits at row", slip::expert);
    fails<largest>("weights and experts of logits that are not finite at row 0, slot 0: given "
                   "expert nan of 5 with weight 1",
                   slip::expert_of_nan);
    fails<largest>("experts and shares of several rows in packs at row", slip::column_of_lane);
    fails<largest>("weights and experts of random logits at row 0, sum of the weights", slip::empty_slot);
    fails<by_key<lookup::expert>>("a row has an expert, or a refusal says why not at row 1: given expert 7 of 4");
    fails<by_key<lookup::refusal>>("a row has an expert, or a refusal says why not at row 9");
    fails<by_key<lookup::table>>("every entry of the first table is an expert at key 2: given 2.5");
    fails<by_key<lookup::table_of_floats>>("every entry of the first table is an expert at key 2 in float: given 3");
}

TEST_CASE("check_policy: a report names what was not checked, and who does", "[train][policy_check]") {
    auto const gates = check_policy<gate::local_search<gate::top_k<4, 2>>>();
    CHECK(gates.not_checked == 2);
    CHECK_THAT(gates.text, contains_text("not checked: the search"));
    CHECK_THAT(gates.text, contains_text("check_gradients_of"));
    auto const refused = check_policy<by_key<lookup::refuses_all>>();
    CHECK(refused.not_checked == 1);
    CHECK_THAT(refused.text, contains_text("not checked: experts of rows"));
}
