// SPDX-License-Identifier: Apache-2.0
// host only. What `check_policy` does with a gate: rows routed and pulled back in every form that a row has.
#pragma once

#include <espalier/core/clock.hpp>
#include <espalier/core/policy.hpp>
#include <espalier/core/rows.hpp>
#include <espalier/core/view.hpp>
#include <espalier/gate/concept.hpp>
#include <espalier/initial/check.hpp>
#include <espalier/train/policy_checker.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>
#include <type_traits>
#include <vector>

namespace espalier::detail {

/// A batch as a gate sees it, what it decides, and the gradient of
///     sum over rows and slots of cost(expert) weight + mean over the rows of the shares + finish(sums).
template <class Gate, class Op> struct gate_trial {
    static constexpr int columns = gate_row_columns<Gate, Op>();
    static constexpr gate_needs needs = gate_needs_of<Op>();
    static constexpr bool has_term = gate_has_term<Op>();
    static constexpr int statistics = needs.statistics;

    Op const& op;
    int row_count;
    number_table z, noise, noise_logits, cost;
    number_table weight, expert, dz, dnoise_logits, sums, slopes;
    std::vector<double> share;

    gate_trial(Op const& given, int rows)
        : op(given), row_count(rows), z(rows, columns), noise(rows, Gate::experts), noise_logits(rows, Gate::experts),
          cost(rows, Gate::experts), weight(rows, Gate::slots), expert(rows, Gate::slots), dz(rows, columns),
          dnoise_logits(rows, Gate::experts), sums(std::max(statistics, 1), Gate::experts),
          slopes(std::max(statistics, 1), Gate::experts), share(static_cast<std::size_t>(rows)) {
        fill(z, 1.5, 1);
        fill(noise, 1.5, 2);
        fill(noise_logits, 1.0, 3);
        fill(cost, 1.0, 4);
    }
    static void fill(number_table& table, double spread, std::uint32_t purpose) {
        for (std::size_t i = 0; i < table.of.size(); ++i)
            table.of[i] = spread * check_number(i, purpose);
    }

    template <class Form> using call_of = gate_call<Gate, typename Form::group, typename Form::value>;

    template <class Form> typename call_of<Form>::about load_about(int first) const {
        typename call_of<Form>::about about;
        about.noise = load_form<Form, Gate::experts>(noise, first);
        about.noise_logits = load_form<Form, Gate::experts>(noise_logits, first);
        for (int k = 0; k < statistics; ++k) {
            number_table slope(1, Gate::experts);
            for (int e = 0; e < Gate::experts; ++e)
                slope.at(0, e) = slopes.at(k, e);
            about.slope[k] = load_form<Form, Gate::experts>(slope, 0);
        }
        return about;
    }

    /// Weights, experts, shares and sums of all rows. Not inlined, as what calls it: one copy is enough to compile.
    template <class Form> [[gnu::noinline]] void route() {
        using T = typename Form::value;
        using call = call_of<Form>;
        std::fill(sums.of.begin(), sums.of.end(), 0.0);
        for (int first = 0; first < row_count; first += Form::rows) {
            typename Form::group const group{};
            typename call::logits const x = load_form<Form, columns>(z, first);
            typename call::about about = load_about<Form>(first);
            typename call::chosen chosen;
            T memory[std::size_t{gate_row_space<Op>() + 1}];
            about.space = memory;
            T const shares = gate::detail::route(op, about, group, x, chosen);
            int const count = std::min(Form::rows, row_count - first);
            for (int r = 0; r < count; ++r) {
                share[static_cast<std::size_t>(first + r)] = Form::of_row(shares, r);
                for (int s = 0; s < Gate::slots; ++s)
                    if constexpr (Gate::slot_is_expert) {
                        weight.at(first + r, s) = Form::get(chosen, r, s);
                        expert.at(first + r, s) = s % Gate::experts;
                    } else {
                        weight.at(first + r, s) = Form::of_row(chosen.weight[s], r);
                        expert.at(first + r, s) = Form::of_row(chosen.expert[s], r);
                    }
                for (int k = 0; k < statistics; ++k)
                    for (int e = 0; e < Gate::experts; ++e)
                        sums.at(k, e) += Form::get(about.statistic[k], r, e);
            }
        }
    }
    /// The term; leaves the slopes.
    double term() {
        double sum = 0.0;
        if constexpr (has_term)
            for (double const s : share)
                sum += s / row_count;
        if constexpr (statistics > 0) sum += op.finish(sums.of.data(), index_t{row_count}, slopes.of.data());
        return sum;
    }
    bool in_range(int r, int s) const {
        double const e = expert.at(r, s);
        return e >= 0.0 && e < Gate::experts && e == std::floor(e);
    }
    double cost_of(int r, int s) const { return in_range(r, s) ? cost.at(r, static_cast<int>(expert.at(r, s))) : 0.0; }
    [[gnu::noinline]] double objective() {
        route<one_row>();
        double sum = term();
        for (int r = 0; r < row_count; ++r)
            for (int s = 0; s < Gate::slots; ++s)
                sum += cost_of(r, s) * weight.at(r, s);
        return sum;
    }
    /// Gradients of what `route` has left.
    template <class Form> [[gnu::noinline]] void pull_back() {
        using T = typename Form::value;
        using call = call_of<Form>;
        number_table dweight(row_count, Gate::slots);
        for (int r = 0; r < row_count; ++r)
            for (int s = 0; s < Gate::slots; ++s)
                dweight.at(r, s) = weight.at(r, s) == 0.0 ? 0.0 : cost_of(r, s); // an expert that did not run
        for (int first = 0; first < row_count; first += Form::rows) {
            typename Form::group const group{};
            typename call::logits const x = load_form<Form, columns>(z, first);
            typename call::logits gradient = x;
            typename call::about about = load_about<Form>(first);
            T memory[std::size_t{gate_row_space<Op>() + 1}];
            about.space = memory;
            T const scale(1.0 / row_count);
            if constexpr (Gate::slot_is_expert) {
                auto const chosen = load_form<Form, Gate::slots>(weight, first);
                auto const d = load_form<Form, Gate::slots>(dweight, first);
                gate::detail::backward(op, about, group, x, chosen, d, scale, gradient);
            } else {
                gate_slots<T, Gate::slots> chosen;
                T d[Gate::slots];
                for (int s = 0; s < Gate::slots; ++s) {
                    chosen.weight[s] = load_numbers<Form>(column(weight, s), first);
                    chosen.expert[s] = load_numbers<Form>(column(expert, s), first);
                    d[s] = load_numbers<Form>(column(dweight, s), first);
                }
                gate::detail::backward(op, about, group, x, chosen, d, scale, gradient);
            }
            store_form<Form, columns>(gradient, dz, first);
            if constexpr (needs.noise_logits)
                store_form<Form, Gate::experts>(about.dnoise_logits, dnoise_logits, first);
        }
    }
    static std::vector<double> column(number_table const& table, int c) {
        std::vector<double> numbers;
        for (int r = 0; r * table.columns < static_cast<int>(table.of.size()); ++r)
            numbers.push_back(table.at(r, c));
        return numbers;
    }
};

template <class Trial>
void check_gate_gradient(policy_checker& to, std::string const& what, Trial& trial, number_table& variable,
                         number_table const& gradient) {
    auto check = to.over(what);
    // Differences of a large value have lost digits: a term may be 1e6 where the gradient is 1.
    double const rounding = 1e-10 * std::fabs(trial.objective());
    for (int r = 0; r < trial.row_count; ++r)
        for (int c = 0; c < variable.columns; ++c) {
            double const numeric = central_difference(&variable.at(r, c), 1e-4, [&] { return trial.objective(); });
            if (std::isnan(numeric)) {
                ++check.skipped;
                continue;
            }
            check.compare("row " + std::to_string(r) + ", logit " + std::to_string(c) + " = " +
                              number_text(variable.at(r, c)),
                          gradient.at(r, c), numeric, 1e-6 * (1.0 + std::fabs(numeric)) + rounding);
        }
}

/// Weights, experts, the share of the term and the gradient of a further form of rows against one row in one lane.
template <class Form, class Trial> void check_gate_form(policy_checker& to, Trial const& expected) {
    Trial given = expected;
    given.template route<Form>();
    compare_tables(to, std::string("weights of ") + Form::name, given.weight, expected.weight);
    number_table const experts = given.expert;
    auto check = to.over(std::string("experts and shares of ") + Form::name);
    for (int r = 0; r < given.row_count; ++r) {
        std::size_t const at = static_cast<std::size_t>(r);
        if (Trial::has_term)
            check.compare("row " + std::to_string(r) + ", share of the term", given.share[at], expected.share[at],
                          1e-11 * (1.0 + std::fabs(expected.share[at])));
        for (int s = 0; s < experts.columns; ++s)
            if (expected.weight.at(r, s) != 0.0)
                check.compare("row " + std::to_string(r) + ", slot " + std::to_string(s), experts.at(r, s),
                              expected.expert.at(r, s), 0.0);
    }
    given.weight = expected.weight;
    given.expert = expected.expert;
    given.template pull_back<Form>();
    compare_tables(to, std::string("gradient of ") + Form::name, given.dz, expected.dz);
}

/// What must hold for every row, whatever its logits: an expert that gets a weight exists.
template <class Gate, class Trial>
void check_gate_rows(policy_checker& to, std::string const& logits, Trial& trial, bool finite, bool sums_to_one) {
    trial.template route<one_row>();
    auto check = to.over("weights" + std::string(Gate::slot_is_expert ? "" : " and experts") + " of " + logits);
    for (int r = 0; r < trial.row_count; ++r) {
        double sum = 0.0;
        for (int s = 0; s < Gate::slots; ++s) {
            std::string const place = "row " + std::to_string(r) + ", slot " + std::to_string(s);
            double const w = trial.weight.at(r, s);
            sum += w;
            if (finite) check.require(std::isfinite(w), place, "given the weight " + number_text(w));
            check.require(w == 0.0 || trial.in_range(r, s), place,
                          "given expert " + text_of(trial.expert.at(r, s)) + " of " + std::to_string(Gate::experts) +
                              " with weight " + text_of(w));
        }
        if (finite && sums_to_one)
            check.compare("row " + std::to_string(r) + ", sum of the weights (`sums_to_one` is not declared false)",
                          sum, 1.0, 1e-9);
        if (finite) {
            double const share = Trial::has_term ? trial.share[static_cast<std::size_t>(r)] : 0.0;
            check.require(std::isfinite(share), "row " + std::to_string(r),
                          "given the share " + number_text(share) + " of the term");
        }
    }
}

template <class Gate> void check_choosing_gate(policy_checker& to, clock const& now) {
    auto const op = op_at<Gate>(now);
    using op_type = std::remove_cvref_t<decltype(op)>;
    using trial_type = gate_trial<Gate, op_type>;
    constexpr bool sums_to_one = gate_sums_to_one<Gate>() && !gate_chooses_rows<Gate>();
    trial_type trial(op, 9);
    check_gate_rows<Gate>(to, "random logits", trial, true, sums_to_one);
    double const term = trial.term();
    if constexpr (trial_type::has_term || trial_type::statistics > 0)
        to.over("the term of a batch is finite").require(std::isfinite(term), "9 rows", "given " + number_text(term));
    trial.template pull_back<one_row>();
    trial_type const expected = trial;
    check_gate_gradient(to, "backward is the gradient of the weights and the term", trial, trial.z, expected.dz);
    if constexpr (trial_type::needs.noise_logits)
        check_gate_gradient(to, "backward gives the gradient of the scale of the noise", trial, trial.noise_logits,
                            expected.dnoise_logits);
    check_gate_form<rows_in_packs>(to, expected);
    if constexpr (gate_row_space<op_type>() == 0) check_gate_form<row_over_lanes>(to, expected);

    double const infinity = std::numeric_limits<double>::infinity();
    trial_type difficult(op, 6);
    for (int c = 0; c < trial_type::columns; ++c) {
        difficult.z.at(0, c) = 0.25;                   // nothing but ties
        difficult.z.at(1, c) = c % 2 ? 300.0 : -300.0; // exp overflows
        difficult.z.at(2, c) = 0.0;
        difficult.z.at(3, c) = c == 0 ? 1e6 : -1e6;
        difficult.z.at(4, c) = -1e30;
        difficult.z.at(5, c) = 1e-300 * c;
    }
    check_gate_rows<Gate>(to, "equal and very large logits", difficult, true, sums_to_one);
    difficult.template pull_back<one_row>();
    {
        auto check = to.over("gradients of equal and very large logits are finite");
        for (double const g : difficult.dz.of)
            check.require(std::isfinite(g), "one of 6 rows", "given " + number_text(g));
    }
    for (int c = 0; c < trial_type::columns; ++c) {
        difficult.z.at(0, c) = std::numeric_limits<double>::quiet_NaN();
        difficult.z.at(1, c) = c % 2 ? std::numeric_limits<double>::quiet_NaN() : 0.5;
        difficult.z.at(2, c) = -infinity;
        difficult.z.at(3, c) = infinity;
        difficult.z.at(4, c) = c == 1 ? infinity : -infinity;
        difficult.z.at(5, c) = c == 0 ? 0.5 : -infinity;
    }
    check_gate_rows<Gate>(to, "logits that are not finite", difficult, false, false);
    if constexpr (gate_chooses_rows<Gate>()) {
        auto check = to.over("an expert takes 1 to all rows");
        for (index_t const n : {1, 2, 7, 100, 4096}) {
            index_t const taken = Gate::rows_of_expert(n);
            check.require(taken >= 1 && taken <= n, std::to_string(n) + " rows", "given " + std::to_string(taken));
        }
        to.leave_out("which rows the experts take: check_gradients_of a stack with the moe");
    }
    to.leave_out(
        "float, tiles of a GPU and the dispatch: run kernel bodies on an emulated_block, and check_gradients_of "
        "a stack with the moe");
}

/// A gate that looks its rows up, by rows with every tag and wide inputs.
template <class Gate> void check_lookup_gate(policy_checker& to, clock const& now) {
    auto const op = op_at<Gate>(now);
    constexpr int n = 64, width = 4096;
    constexpr index_t keys = gate_keys<Gate>();
    std::vector<std::uint64_t> key(n);
    std::vector<std::int32_t> label(n), group(n);
    std::vector<double> x(static_cast<std::size_t>(n * width));
    std::vector<float> narrow(x.size());
    for (int r = 0; r < n; ++r) {
        auto const at = static_cast<std::size_t>(r);
        key[at] = static_cast<std::uint64_t>(keys > 0 ? r * 7 % keys : r);
        label[at] = group[at] = static_cast<std::int32_t>(keys > 0 ? r * 5 % keys : r % 4);
    }
    for (std::size_t i = 0; i < x.size(); ++i)
        narrow[i] = static_cast<float>(x[i] = static_cast<double>(i / width) / n);
    rows batch;
    batch.count = n;
    batch.key = key.data();
    batch.label = label.data();
    batch.group = group.data();
    std::vector<double> table(static_cast<std::size_t>(std::max<index_t>(keys, 1)));
    std::vector<float> table_of_floats(table.size());
    if constexpr (keys > 0) {
        auto check = to.over("every entry of the first table is an expert");
        Gate::fill_table(contiguous_view(table.data(), 1, keys), make_site(3, check_stream));
        Gate::fill_table(contiguous_view(table_of_floats.data(), 1, keys), make_site(3, check_stream));
        for (std::size_t k = 0; k < table.size(); ++k) {
            check.require(table[k] >= 0.0 && table[k] < Gate::experts && table[k] == std::floor(table[k]),
                          "key " + std::to_string(k), "given " + number_text(table[k]));
            check.compare("key " + std::to_string(k) + " in float", static_cast<double>(table_of_floats[k]), table[k],
                          0.0);
        }
    }
    int accepted = 0;
    {
        auto check = to.over("a row has an expert, or a refusal says why not");
        for (index_t r = 0; r < n; ++r) {
            double const* const row_of = x.data() + r * width;
            std::int32_t const e = op.expert(batch, r, row_of, table.data());
            std::int32_t const other = op.expert(batch, r, narrow.data() + r * width, table_of_floats.data());
            check.require(e < Gate::experts && other < Gate::experts, "row " + std::to_string(r),
                          "given expert " + std::to_string(std::max(e, other)) + " of " +
                              std::to_string(Gate::experts));
            check.require(e >= 0 || !std::string(Gate::refusal(batch, r, row_of)).empty(), "row " + std::to_string(r),
                          "the expert is " + std::to_string(e) + " and the refusal is empty");
            accepted += e >= 0;
        }
    }
    if (accepted == 0)
        to.leave_out("experts of rows: all rows of the check (key, label, group, inputs in [0, 1)) were refused; give "
                     "`moe` rows of your own with `predict`");
}

template <class P> void check_gate(policy_checker& to, clock const& now) {
    using gate = gate_scorer<P>;
    if constexpr (gate_searches<P>())
        to.leave_out("the search; its scorer is. check_gradients_of a stack with the moe");
    if constexpr (gate::logits == 0)
        check_lookup_gate<gate>(to, now);
    else
        check_choosing_gate<gate>(to, now);
}

} // namespace espalier::detail

namespace espalier {

/// A gate, and the first values of its kernel and bias where it has its own.
template <class P> void axis::gate::check(policy_checker& to, clock const& now) {
    using scorer = detail::gate_scorer<P>;
    detail::check_gate<P>(to, now);
    if constexpr (requires { typename scorer::initial; })
        detail::check_initial<typename scorer::initial, scorer::logits>(to);
}

} // namespace espalier
