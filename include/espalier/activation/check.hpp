// SPDX-License-Identifier: Apache-2.0
// host only. What `check_policy` looks at in an activation.
#pragma once

#include <espalier/activation/concept.hpp>
#include <espalier/core/clock.hpp>
#include <espalier/core/policy.hpp>
#include <espalier/core/row.hpp>
#include <espalier/train/policy_checker.hpp>

#include <cmath>
#include <limits>
#include <string>
#include <type_traits>

namespace espalier {

namespace detail {

/// Outputs of some rows, and the gradient of sum of dy y.
template <class Op> struct row_activation_trial {
    static constexpr int columns = 11; // more than the lanes of a pack of doubles, and no multiple of them
    static constexpr int row_count = 9;
    number_table x{row_count, columns}, dy{row_count, columns}, y{row_count, columns}, dx{row_count, columns};

    row_activation_trial() {
        for (int r = 0; r < row_count; ++r)
            for (int c = 0; c < columns; ++c) {
                x.at(r, c) = std::sin(1.7 * c + r);
                dy.at(r, c) = std::cos(2.3 * c - r);
            }
    }
    template <class Form> void run() {
        typename Form::group const group{};
        for (int first = 0; first < row_count; first += Form::rows) {
            auto values = load_form<Form, columns>(x, first);
            Op::forward(group, values);
            auto gradient = load_form<Form, columns>(dy, first);
            Op::backward(group, values, gradient);
            store_form<Form, columns>(values, y, first);
            store_form<Form, columns>(gradient, dx, first);
        }
    }
};

template <class Op> void check_row_gradient(policy_checker& to, row_activation_trial<Op> const& trial) {
    auto check = to.over("gradient of a row");
    auto moved = trial;
    for (int r = 0; r < trial.row_count; ++r)
        for (int c = 0; c < trial.columns; ++c) {
            double const numeric = central_difference(&moved.x.at(r, c), 1e-4, [&] {
                moved.template run<one_row>();
                double sum = 0.0;
                for (int k = 0; k < trial.columns; ++k)
                    sum += trial.dy.at(r, k) * moved.y.at(r, k);
                return sum;
            });
            if (std::isnan(numeric)) {
                ++check.skipped;
                continue;
            }
            check.compare("column " + std::to_string(c) + " = " + number_text(trial.x.at(r, c)), trial.dx.at(r, c),
                          numeric, 1e-6 * (1.0 + std::fabs(numeric)));
        }
}

template <class Form, class Op> void check_row_form(policy_checker& to, row_activation_trial<Op> const& expected) {
    auto given = expected;
    given.template run<Form>();
    compare_tables(to, std::string("outputs of ") + Form::name, given.y, expected.y);
    compare_tables(to, std::string("gradient of ") + Form::name, given.dx, expected.dx);
}

} // namespace detail

template <class P> void axis::activation::check(policy_checker& to, clock const& now) {
    using namespace detail;
    auto const op = op_at<P>(now);
    using op_type = std::remove_cvref_t<decltype(op)>;
    if constexpr (espalier::activation::row_form<op_type>) {
        row_activation_trial<op_type> trial;
        trial.template run<one_row>();
        check_row_gradient(to, trial);
        check_row_form<rows_in_packs>(to, trial);
        check_row_form<row_over_lanes>(to, trial);
    } else {
        double const nothing = std::numeric_limits<double>::quiet_NaN();
        auto const slope = [&](double x) { return op.backward(x, op.forward(x), 1.0); };
        to.derivative(
            "backward is the derivative of forward", "x", [&](double x) { return op.forward(x); }, slope);
        {
            auto check = to.over("backward is proportional to dy");
            for (double const x : {-2.3, -0.4, 0.7, 3.1})
                check.compare("x = " + number_text(x), op.backward(x, op.forward(x), -2.5), -2.5 * slope(x),
                              1e-12 * (1.0 + std::fabs(slope(x))));
        }
        if constexpr (!espalier::activation::reads_input<op_type> || !espalier::activation::reads_output<op_type>) {
            auto check = to.over("backward reads what it declares, no more");
            for (double const x : {-2.3, -0.4, 0.7, 3.1})
                check.compare("x = " + number_text(x),
                              op.backward(espalier::activation::reads_input<op_type> ? x : nothing,
                                          espalier::activation::reads_output<op_type> ? op.forward(x) : nothing, 1.0),
                              slope(x), 0.0);
        }
        to.over("a NaN stays a NaN")
            .require(std::isnan(op.forward(nothing)), "x = nan", "given " + number_text(op.forward(nothing)));
        to.packs("forward of a pack", [&](auto x, auto) { return op.forward(x); });
        to.packs("backward of a pack", [&](auto x, auto) { return op.backward(x, op.forward(x), decltype(x)(0.75f)); });
    }
}

} // namespace espalier
