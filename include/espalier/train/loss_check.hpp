// SPDX-License-Identifier: Apache-2.0
// host only. One call that says whether a loss of one's own keeps its contract.
#pragma once

#include <espalier/core/macros.hpp>
#include <espalier/core/row.hpp>
#include <espalier/loss/concept.hpp>
#include <espalier/train/policy_checker.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>
#include <string_view>
#include <vector>

namespace espalier {
namespace detail {

/// Rows with everything that a batch can say of them, and what the loss makes of them.
template <class Loss, int N> struct loss_trial {
    static constexpr int row_count = 9;
    static constexpr bool labels = loss::needs_labels<Loss>, dense = loss::needs_dense_target<Loss>,
                          remembers = loss::per_sample_state<Loss>;

    Loss const& loss_value;
    number_table z{row_count, N}, target{row_count, N}, state{row_count, N};
    std::vector<double> label, partner_label, mixing, value;
    number_table dz{row_count, N};

    explicit loss_trial(Loss const& given) : loss_value(given), value(row_count) {
        for (std::size_t i = 0; i < z.of.size(); ++i) {
            z.of[i] = 1.7 * check_number(i, 6);
            target.of[i] = 0.5 + 0.45 * check_number(i, 7);
            state.of[i] = (0.5 + 0.4 * check_number(i, 8)) / N;
        }
        for (int r = 0; r < row_count; ++r) {
            label.push_back(r % N);
            partner_label.push_back(r % 3 == 2 ? (2 * r + 1) % N : r % N);
            mixing.push_back(r % 3 == 2 ? 0.3 : 1.0);
        }
    }

    template <class Form> using row_of = form_row<Form, N>;
    template <class Form>
    loss::row_target<typename Form::group, typename Form::value, N> target_of(int first,
                                                                              row_of<Form> const& rows) const {
        loss::row_target<typename Form::group, typename Form::value, N> t;
        t.label = load_numbers<Form>(label, first);
        t.partner_label = load_numbers<Form>(partner_label, first);
        t.mixing = load_numbers<Form>(mixing, first);
        t.weight = typename Form::value(1.0);
        t.dense = &rows;
        return t;
    }
    template <class Form> void keep(typename Form::value const& values, int first) {
        for (int r = 0; r < Form::rows && first + r < row_count; ++r)
            value[static_cast<std::size_t>(first + r)] = Form::of_row(values, r);
    }

    /// Values, gradients where they are asked for, and with `Remembers` the state after the visit.
    template <class Form, bool Remembers> void evaluate(bool wants_gradient = true) {
        typename Form::group const group{};
        for (int first = 0; first < row_count; first += Form::rows) {
            row_of<Form> const x = load_form<Form, N>(z, first), rows = load_form<Form, N>(target, first);
            row_of<Form> gradient = x, memory = load_form<Form, N>(state, first);
            auto const t = target_of<Form>(first, rows);
            keep<Form>(
                loss_value.evaluate(group, x, t, wants_gradient ? &gradient : nullptr, Remembers ? &memory : nullptr),
                first);
            if (wants_gradient) store_form<Form, N>(gradient, dz, first);
            if constexpr (Remembers) store_form<Form, N>(memory, state, first);
        }
    }
    /// The same in the three steps of several outputs of one row; here there is one.
    void take_in() {
        serial_group const group{};
        for (int r = 0; r < row_count; ++r) {
            auto const x = load_form<one_row, N>(z, r);
            auto memory = load_form<one_row, N>(state, r), sum = load_form<one_row, N>(number_table(1, N), 0);
            loss_value.add_prediction(group, x, sum);
            loss_value.remember(group, sum, 1, memory);
            store_form<one_row, N>(memory, state, r);
        }
    }
    void judge() {
        serial_group const group{};
        for (int r = 0; r < row_count; ++r) {
            auto const x = load_form<one_row, N>(z, r), rows = load_form<one_row, N>(target, r),
                       memory = load_form<one_row, N>(state, r);
            auto gradient = x;
            value[static_cast<std::size_t>(r)] =
                loss_value.judge(group, x, target_of<one_row>(r, rows), &gradient, memory);
            store_form<one_row, N>(gradient, dz, r);
        }
    }
};

template <class Trial, class Run>
void check_loss_gradient(policy_checker& to, std::string const& what, Trial const& at, Run const& run) {
    auto check = to.over(what);
    Trial moved = at;
    for (int r = 0; r < at.row_count; ++r)
        for (int c = 0; c < at.z.columns; ++c) {
            double const numeric = central_difference(&moved.z.at(r, c), 1e-4, [&] {
                run(moved);
                return moved.value[static_cast<std::size_t>(r)];
            });
            if (std::isnan(numeric)) {
                ++check.skipped;
                continue;
            }
            check.compare("row " + std::to_string(r) + ", column " + std::to_string(c) + " = " +
                              number_text(at.z.at(r, c)),
                          at.dz.at(r, c), numeric, 1e-6 * (1.0 + std::fabs(numeric)));
        }
}

inline void compare_values(policy_checker& to, std::string const& what, std::vector<double> const& given,
                           std::vector<double> const& expected) {
    auto check = to.over(what);
    for (std::size_t r = 0; r < given.size(); ++r)
        check.compare("row " + std::to_string(r), given[r], expected[r], 1e-11 * (1.0 + std::fabs(expected[r])));
}

template <class Form, class Trial> void check_loss_form(policy_checker& to, Trial const& at, Trial const& expected) {
    Trial given = at;
    given.template evaluate<Form, Trial::remembers>();
    compare_values(to, std::string("values of ") + Form::name, given.value, expected.value);
    compare_tables(to, std::string("gradient of ") + Form::name, given.dz, expected.dz);
    if constexpr (Trial::remembers)
        compare_tables(to, std::string("state of ") + Form::name, given.state, expected.state);
}

template <int N, class Loss> void check_loss_rows(policy_checker& to, Loss const& given) {
    using trial_type = loss_trial<Loss, N>;
    double const nothing = std::numeric_limits<double>::quiet_NaN();
    trial_type const start(given);
    trial_type plain = start;
    plain.template evaluate<one_row, false>();
    check_loss_gradient(to, "dz is the gradient of the loss of a row", plain,
                        [](trial_type& moved) { moved.template evaluate<one_row, false>(); });
    {
        trial_type alone = start;
        alone.template evaluate<one_row, false>(false);
        compare_values(to, "the value does not depend on whether a gradient is asked for", alone.value, plain.value);
    }
    if constexpr (!trial_type::labels) {
        trial_type other = start;
        other.label.assign(other.label.size(), nothing);
        other.partner_label = other.mixing = other.label;
        other.template evaluate<one_row, false>();
        compare_values(to, "reads no labels, since `needs_labels` is not declared", other.value, plain.value);
    }
    if constexpr (!trial_type::dense) {
        trial_type other = start;
        other.target.of.assign(other.target.of.size(), nothing);
        other.template evaluate<one_row, false>();
        compare_values(to, "reads no target row, since `needs_dense_target` is not declared", other.value, plain.value);
    }
    if constexpr (loss::skips_missing_targets<Loss>) {
        trial_type missing = start;
        for (int r = 0; r < missing.row_count; ++r)
            missing.target.at(r, r % N) = nothing;
        missing.template evaluate<one_row, false>();
        auto check = to.over("a target that is NaN counts as none");
        for (int r = 0; r < missing.row_count; ++r) {
            check.require(std::isfinite(missing.value[static_cast<std::size_t>(r)]), "row " + std::to_string(r),
                          "given the value " + number_text(missing.value[static_cast<std::size_t>(r)]));
            check.compare("row " + std::to_string(r) + ", gradient of its output", missing.dz.at(r, r % N), 0.0, 0.0);
        }
    }
    {
        trial_type large = start;
        for (std::size_t i = 0; i < large.z.of.size(); ++i)
            large.z.of[i] = i % 3 == 0 ? 0.0 : i % 2 ? 200.0 : -200.0;
        large.template evaluate<one_row, false>();
        auto check = to.over("equal and large outputs have finite values and gradients");
        for (int r = 0; r < large.row_count; ++r) {
            double const value = large.value[static_cast<std::size_t>(r)];
            check.require(std::isfinite(value), "row " + std::to_string(r), "given the value " + number_text(value));
            for (int c = 0; c < N; ++c)
                check.require(std::isfinite(large.dz.at(r, c)), "row " + std::to_string(r),
                              "given the gradient " + number_text(large.dz.at(r, c)));
        }
    }
    trial_type visited = start;
    visited.template evaluate<one_row, trial_type::remembers>();
    check_loss_form<rows_in_packs>(to, start, visited);
    check_loss_form<row_over_lanes>(to, start, visited);
    if constexpr (trial_type::remembers) {
        if constexpr (loss::remembers_copies<Loss, serial_group, double, N>) {
            trial_type apart = start;
            apart.take_in();
            compare_tables(to, "remember, after one output, leaves the state that evaluate does", apart.state,
                           visited.state);
            apart.judge();
            compare_values(to, "judge gives the value that evaluate does", apart.value, visited.value);
            compare_tables(to, "judge gives the gradient that evaluate does", apart.dz, visited.dz);
            check_loss_gradient(to, "judge: dz is the gradient of the loss of a row", apart,
                                [](trial_type& moved) { moved.judge(); });
        } else {
            to.leave_out("the gradient with memory, in which the memory is constant: with add_prediction, remember and "
                         "judge it would be");
        }
    }
}

} // namespace detail

/// Checks a loss on its own, in double precision, on rows of N columns with labels, pairs of labels and target rows: dz
/// against central differences of the value; value and gradient of one row in one lane against those of several rows
/// in packs and of one row over several lanes; that it reads what it declares; finite values and gradients of equal
/// outputs and of outputs of 200; a missing target where it skips them; the memory of `evaluate` against that of
/// `remember` and `judge`. Needs about 100 N evaluations.
///
///     auto const report = check_loss(my_loss{.margin = 0.5});
///     if (!report.ok()) std::fputs(report.text.c_str(), stdout);
template <int N = 5, class Loss> policy_report check_loss(Loss const& given) {
    policy_checker to;
    static_assert(diagnostic::holds<loss::has_name<Loss>, diagnostic::given_type<Loss>>,
                  "espalier: a loss needs `static constexpr std::string_view name`, which terms and the history print; "
                  "the next lines name the type");
    constexpr bool evaluates = loss::evaluates_rows<Loss, serial_group, double, N> &&
                               loss::evaluates_rows<Loss, serial_group, native_pack<double>, N>;
    static_assert(
        diagnostic::holds<evaluates, diagnostic::given_type<Loss>>,
        "espalier: a loss needs `T evaluate(group, z, target, dz, state) const` as a template of the group, T "
        "and N that returns T, a number or a pack of them; see loss/concept.hpp");
    if constexpr (loss::has_name<Loss> && evaluates) {
        to.report.text = std::string(std::string_view(Loss::name)) + ", a loss\n";
        if (char const* const why = loss::problem(given))
            to.line(false, std::string("its numbers make sense: ") + why);
        else
            detail::check_loss_rows<N>(to, given);
    }
    return to.report;
}

} // namespace espalier
