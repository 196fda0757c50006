// SPDX-License-Identifier: Apache-2.0
// host only. One call that says whether a policy of one's own keeps its contract.
#pragma once

#include <espalier/activation/concept.hpp>
#include <espalier/activation_penalty/concept.hpp>
#include <espalier/core/axis.hpp>
#include <espalier/core/clock.hpp>
#include <espalier/core/diagnostic.hpp>
#include <espalier/core/epilogue.hpp>
#include <espalier/core/pack.hpp>
#include <espalier/core/policy.hpp>
#include <espalier/core/row.hpp>
#include <espalier/core/update.hpp>
#include <espalier/dropout/concept.hpp>
#include <espalier/initial/concept.hpp>
#include <espalier/layer/check.hpp>
#include <espalier/penalty/concept.hpp>
#include <espalier/prune/concept.hpp>
#include <espalier/train/gate_check.hpp>
#include <espalier/train/policy_checker.hpp>
#include <espalier/transform/concept.hpp>
#include <espalier/weight/concept.hpp>
#include <espalier/weight/operator.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <limits>
#include <string>
#include <string_view>
#include <type_traits>
#include <typeinfo>
#include <vector>

namespace espalier {

namespace detail {

/// Whether a mangled name has a floating-point number among its template arguments: L, the letter of the type, its bits
/// as hexadecimal digits, E. A structure of zeros only is written without its members and not seen.
constexpr bool has_floating_argument(std::string_view mangled) {
    for (std::size_t at = 0; at + 2 < mangled.size(); ++at) {
        if (mangled[at] != 'L') continue;
        char const type = mangled[at + 1];
        std::size_t end = at + 2;
        while (end < mangled.size() &&
               ((mangled[end] >= '0' && mangled[end] <= '9') || (mangled[end] >= 'a' && mangled[end] <= 'f')))
            ++end;
        std::size_t const digits = end - at - 2;
        bool const whole = (type == 'f' && digits == 8) || (type == 'd' && digits == 16) ||
                           (type == 'e' && (digits == 20 || digits == 32));
        if (whole && end < mangled.size() && mangled[end] == 'E') return true;
    }
    return false;
}

/// Whether loops and kernels are specialised on the policy's op: what a device fills, multiplies or hands out with is
/// decided on the host.
template <class P> consteval bool op_reaches_kernels() {
    using on = typename P::axis;
    if constexpr (std::is_same_v<on, axis::weight>)
        return !weight::has_bind<P>;
    else
        return std::is_same_v<on, axis::activation> || std::is_same_v<on, axis::dropout> ||
               std::is_same_v<on, axis::penalty> || std::is_same_v<on, axis::activation_penalty> ||
               std::is_same_v<on, axis::transform> || std::is_same_v<on, axis::prune> || std::is_same_v<on, axis::gate>;
}

template <class P> void check_op_type(policy_checker& to) {
#if defined(__cpp_rtti)
    if constexpr (op_reaches_kernels<P>())
        to.line(!has_floating_argument(typeid(op_of<P>).name()),
                "no floating-point number in the type of its op: numbers are members, which `at(clock)` fills");
#else
    static_cast<void>(to);
#endif
}

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

template <class P> void check_activation(policy_checker& to, clock const& now) {
    auto const op = op_at<P>(now);
    using op_type = std::remove_cvref_t<decltype(op)>;
    if constexpr (activation::row_form<op_type>) {
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
        if constexpr (!activation::reads_input<op_type> || !activation::reads_output<op_type>) {
            auto check = to.over("backward reads what it declares, no more");
            for (double const x : {-2.3, -0.4, 0.7, 3.1})
                check.compare("x = " + number_text(x),
                              op.backward(activation::reads_input<op_type> ? x : nothing,
                                          activation::reads_output<op_type> ? op.forward(x) : nothing, 1.0),
                              slope(x), 0.0);
        }
        to.over("a NaN stays a NaN")
            .require(std::isnan(op.forward(nothing)), "x = nan", "given " + number_text(op.forward(nothing)));
        to.packs("forward of a pack", [&](auto x, auto) { return op.forward(x); });
        to.packs("backward of a pack", [&](auto x, auto) { return op.backward(x, op.forward(x), decltype(x)(0.75f)); });
    }
}

/// What an op of an epilogue is told of an element of the second of some rows of 8 columns without tags.
template <class T, class Bits = drawn_bits<T>>
epilogue_element<T, Bits> about_element(rows const& batch, Bits bits, std::uint32_t column, T column_sum = T()) {
    return {.bits = bits,
            .row_bits = bits,
            .column = Bits(column),
            .row_count = T(static_cast<scalar_of<T>>(batch.count)),
            .column_sum = column_sum,
            .width = 8,
            .row = 1,
            .batch = &batch,
            .origin = 1,
            .step = 3};
}

template <class P> void check_dropout(policy_checker& to, clock const& now) {
    auto const op = op_at<P>(now);
    rows const batch{.count = 4};
    if constexpr (std::remove_cvref_t<decltype(op)>::scope == random_scope::none) {
        to.line(true, "draws nothing");
    } else {
        double sum = 0.0;
        auto check = to.over("factors are finite");
        for (std::uint32_t bits = 0; bits < 65536; ++bits) {
            double const factor = factor_of(op, about_element<double>(batch, bits, 5));
            if (!std::isfinite(factor)) check.fail("bits = " + std::to_string(bits), "given " + number_text(factor));
            sum += factor;
        }
        check.seen = 65536;
        if constexpr (dropout::detail::keeps_mean<P>())
            to.over("the mean factor over all draws is 1").compare("all 65536 draws", sum / 65536.0, 1.0, 1e-9);
        else
            to.leave_out("whether the mean factor is 1: it does without on purpose");
        to.packs("factor of a pack", [&](auto x, auto bits) {
            auto const about = about_element<decltype(x)>(batch, bits, 5);
            return shifted(op, decltype(x)(x * factor_of(op, about)), about);
        });
    }
}

template <class P> void check_penalty(policy_checker& to, clock const& now) {
    auto const op = op_at<P>(now);
    using op_type = std::remove_cvref_t<decltype(op)>;
    if constexpr (penalty_groups<op_type>() != group_scope::element) {
        to.derivative(
            "gradient is the derivative of the group's value", "w",
            [&](double w) { return op.group_value(w * w + 0.7); },
            [&](double w) { return op.gradient(w, w * w + 0.7); });
        double const still = op.gradient(0.0, 0.0);
        to.over("a group of norm 0 has a finite gradient")
            .require(std::isfinite(still), "norm = 0", "given " + number_text(still));
        to.packs("group_value of a pack", [&](auto w, auto) { return op.group_value(w * w); });
        to.packs("gradient of a pack", [&](auto w, auto) { return op.gradient(w, w * w + decltype(w)(0.5f)); });
        if constexpr (penalty::has_group_prox<op_type, double>) {
            to.packs("prox of a pack", [&](auto w, auto) {
                using T = decltype(w);
                return op.prox(w, T(0.3f), w * w + T(0.5f));
            });
            auto check = to.over("prox minimises group_value(|u|^2) + |u - w|^2 / (2 rate)");
            for (double const rate : {0.05, 1.0})
                for (double const a : {-3.2, -0.4, 0.0, 0.02, 0.7})
                    for (double const b : {0.0, 0.03, 1.9}) {
                        auto const cost = [&](double u, double v) {
                            return op.group_value(u * u + v * v) +
                                   ((u - a) * (u - a) + (v - b) * (v - b)) / (2.0 * rate);
                        };
                        double const square = a * a + b * b, u = op.prox(a, rate, square), v = op.prox(b, rate, square),
                                     least = cost(u, v);
                        std::string const place =
                            "w = (" + number_text(a) + ", " + number_text(b) + "), rate = " + number_text(rate);
                        check.require(std::isfinite(u) && std::isfinite(v), place, "given " + number_text(u));
                        for (double const other : {a, 0.0, u - 1e-3, u + 1e-3, u - 0.1, u + 0.1, u / 2.0, a / 2.0})
                            for (double const another :
                                 {b, 0.0, v - 1e-3, v + 1e-3, v - 0.1, v + 0.1, v / 2.0, b / 2.0})
                                check.require(least <= cost(other, another) + 1e-12 * (1.0 + std::fabs(least)), place,
                                              "given u = (" + number_text(u) + ", " + number_text(v) + ")");
                    }
        }
    } else {
        if constexpr (penalty::has_gradient<op_type, double>) {
            to.derivative(
                "gradient is the derivative of value", "w", [&](double w) { return op.value(w); },
                [&](double w) { return op.gradient(w); });
            to.packs("gradient of a pack", [&](auto w, auto) { return op.gradient(w); });
        }
        to.packs("value of a pack", [&](auto w, auto) { return op.value(w); });
        if constexpr (penalty::has_prox<op_type, double>) {
            to.packs("prox of a pack", [&](auto w, auto) { return op.prox(w, decltype(w)(0.3f)); });
            auto check = to.over("prox minimises value(u) + (u - w)^2 / (2 rate)");
            for (double const rate : {0.05, 1.0})
                for (double const w : {-3.2, -0.4, -0.01, 0.0, 0.02, 0.7, 2.9}) {
                    auto const cost = [&](double u) { return op.value(u) + (u - w) * (u - w) / (2.0 * rate); };
                    double const u = op.prox(w, rate), least = cost(u);
                    std::string const place = "w = " + number_text(w) + ", rate = " + number_text(rate);
                    check.require(std::isfinite(u), place, "given " + number_text(u));
                    double const around[] = {w,        0.0,      u - 1e-4, u + 1e-4, u - 1e-3, u + 1e-3,
                                             u - 0.02, u + 0.02, u - 0.3,  u + 0.3,  u / 2.0,  w / 2.0};
                    for (double const other : around)
                        check.require(least <= cost(other) + 1e-12 * (1.0 + std::fabs(least)), place,
                                      "given u = " + number_text(u) + " costs " + number_text(least) + ", but " +
                                          number_text(other) + " costs " + number_text(cost(other)));
                }
        }
    }
}

template <class P> void check_activation_penalty(policy_checker& to, clock const& now) {
    auto const op = op_at<P>(now);
    constexpr bool by_column = std::remove_cvref_t<decltype(op)>::scope == penalty_scope::column;
    constexpr int row_count = 4, columns = 3;
    rows const batch{.count = row_count};
    auto const share = [&](double y, int c) {
        return contribution_of(op, y, about_element<double>(batch, 0, static_cast<std::uint32_t>(c)));
    };
    to.packs("contribution of a pack",
             [&](auto y, auto bits) { return contribution_of(op, y, about_element<decltype(y)>(batch, bits, 2)); });
    to.packs("gradient of a pack", [&](auto y, auto bits) {
        using T = decltype(y);
        return gradient_of(op, y, about_element<T>(batch, bits, 2, T(1.7f)));
    });
    auto check = to.over("gradient is the derivative of the term");
    for (int round = 0; round < 6; ++round) {
        double y[row_count][columns];
        for (int r = 0; r < row_count; ++r)
            for (int c = 0; c < columns; ++c)
                y[r][c] = 1.5 * std::sin(1.3 * (r * columns + c) + 0.7 * round);
        auto const sum_of = [&](int c) {
            double sum = 0.0;
            for (int r = 0; r < row_count; ++r)
                sum += share(y[r][c], c);
            return sum;
        };
        auto const term = [&] {
            double all = 0.0, finished = 0.0;
            for (int c = 0; c < columns; ++c) {
                all += sum_of(c);
                finished += op.finish(sum_of(c), double(row_count));
            }
            return by_column ? finished : op.finish(all, double(row_count));
        };
        double gradients[row_count][columns], scale = 0.0;
        for (int r = 0; r < row_count; ++r)
            for (int c = 0; c < columns; ++c) {
                gradients[r][c] =
                    gradient_of(op, y[r][c], about_element<double>(batch, 0, static_cast<std::uint32_t>(c), sum_of(c)));
                scale = std::max(scale, std::fabs(gradients[r][c]));
            }
        for (int r = 0; r < row_count; ++r)
            for (int c = 0; c < columns; ++c) {
                double const numeric = central_difference(&y[r][c], 1e-4, term);
                if (std::isnan(numeric)) {
                    ++check.skipped;
                    continue;
                }
                check.compare("y = " + number_text(y[r][c]) + " (row " + std::to_string(r) + ", column " +
                                  std::to_string(c) + " of 4 x 3)",
                              gradients[r][c], numeric, 1e-6 * (scale + std::fabs(numeric)) + 1e-12);
            }
    }
}

template <class P> void check_transform(policy_checker& to, clock const& now) {
    auto const op = op_at<P>(now);
    using op_type = std::remove_cvref_t<decltype(op)>;
    auto const apply = [&](double g, double reference, std::uint32_t bits, double norm) {
        return op.apply(g, transform_element<double, std::uint32_t>{0.3, reference, bits, norm});
    };
    {
        auto check = to.over("finite gradients stay finite");
        for (double const g : {-3.0, -1e-8, 0.0, 0.2, 7.0})
            for (double const reference : {-1.0, 0.0, 0.4})
                for (std::uint32_t const bits : {0u, 30000u, 65535u})
                    for (double const norm : {0.0, 1.0, 50.0}) {
                        double const given = apply(g, reference, bits, norm);
                        check.require(std::isfinite(given), "g = " + number_text(g), "given " + number_text(given));
                    }
    }
    {
        // A flag that is not declared means: nothing is delivered.
        auto check = to.over("reads what it declares, no more");
        for (double const g : {-3.0, 0.2, 7.0}) {
            double const plain = apply(g, 0.1, 30000, 9.0);
            std::string const place = "g = " + number_text(g);
            ++check.seen;
            if constexpr (!op_draws<op_type>())
                for (std::uint32_t const bits : {0u, 65535u})
                    check.require(apply(g, 0.1, bits, 9.0) == plain, place,
                                  "the result depends on about.bits, but `draws` is not declared");
            if constexpr (!op_needs_reference<op_type>())
                for (double const reference : {-5.0, 5.0})
                    check.require(apply(g, reference, 30000, 9.0) == plain, place,
                                  "the result depends on about.reference, but `needs_reference` is not declared");
            if constexpr (!op_needs_global_norm<op_type>())
                for (double const norm : {0.0, 1e6})
                    check.require(apply(g, 0.1, 30000, norm) == plain, place,
                                  "the result depends on about.global_norm, but `needs_global_norm` is not declared");
        }
    }
    to.packs("apply of a pack", [&](auto g, auto bits) {
        using T = decltype(g);
        return op.apply(g, transform_element<T, decltype(bits)>{T(0.3f), T(-0.7f), bits, T(2.0f)});
    });
}

template <class P> void check_weight_map(policy_checker& to, clock const& now) {
    auto const op = op_at<P>(now);
    using op_type = std::remove_cvref_t<decltype(op)>;
    to.derivative(
        "pull is the derivative of effective", "w", [&](double w) { return op.effective(w, true); },
        [&](double w) { return op.pull(1.0, w, true); });
    // A rule of pruning may let the gradient of a hidden weight through, which is no derivative.
    if constexpr (op_type::uses_mask && std::is_same_v<typename P::axis, axis::weight>)
        to.derivative(
            "pull is the derivative of effective where the mask drops", "w",
            [&](double w) { return op.effective(w, false); }, [&](double w) { return op.pull(1.0, w, false); });
    else if constexpr (op_type::uses_mask)
        to.leave_out("whether pull is the derivative of effective where the mask drops: a rule that passes the "
                     "gradient on differs from it on purpose");
    {
        auto check = to.over("pull is proportional to the gradient");
        for (double const w : {-2.3, -0.4, 0.7, 3.1})
            for (bool const keep : {true, false}) {
                if (!keep && !op_type::uses_mask) continue;
                double const one = op.pull(1.0, w, keep);
                check.compare("w = " + number_text(w) + (keep ? "" : ", dropped by the mask"), op.pull(-2.5, w, keep),
                              -2.5 * one, 1e-12 * (1.0 + std::fabs(one)));
            }
    }
    to.packs("pull, store and effective of a pack", [&](auto w, auto bits) {
        using T = decltype(w);
        mask_of<T> keep(true);
        if constexpr (op_type::uses_mask) keep = (bits & decltype(bits)(1u)) == decltype(bits)(0u);
        return op.pull(T(0.75f), w, keep) + op.effective(op.store(w, keep), keep);
    });
    auto check = to.over(op_type::needs_operand ? "store keeps what it stored"
                                                : "store keeps what it stored, and products may read it");
    for (double const w : {-2.0, -0.1, 0.0, 0.3, 4.0})
        for (bool const keep : {true, false}) {
            if (!keep && !op_type::uses_mask) continue;
            double const stored = op.store(w, keep);
            std::string const place = "w = " + number_text(w) + (keep ? "" : ", dropped by the mask");
            check.compare(place, op.store(stored, keep), stored, 0.0);
            if constexpr (!op_type::needs_operand) check.compare(place, op.effective(stored, keep), stored, 0.0);
        }
}

/// A matrix is filled by place and site, whatever lies between its rows.
template <class P, index_t Columns = 5> void check_initial(policy_checker& to) {
    constexpr index_t row_count = 6, columns = Columns, apart = Columns + 3;
    auto const filled = [](auto zero, index_t stride, std::uint64_t stream) {
        std::vector<decltype(zero)> w(static_cast<std::size_t>(row_count * stride), decltype(zero)(77));
        P::fill(matrix_view<decltype(zero)>{w.data(), row_count, columns, stride}, row_count, columns,
                make_site(11, stream));
        return w;
    };
    auto const near = filled(0.0, columns, 1), far = filled(0.0, apart, 1), again = filled(0.0, columns, 1);
    auto const narrow = filled(0.0f, columns, 1);
    auto values = to.over("values are finite, and those of float are those of double rounded");
    auto places = to.over("an element depends on its place and the site alone");
    auto between = to.over("what lies between the rows is left alone");
    for (index_t r = 0; r < row_count; ++r) {
        for (index_t c = 0; c < columns; ++c) {
            std::string const place = "row " + std::to_string(r) + ", column " + std::to_string(c);
            auto const at = static_cast<std::size_t>(r * columns + c);
            values.require(std::isfinite(near[at]), place, "given " + number_text(near[at]));
            values.compare(place + " in float", static_cast<double>(narrow[at]), near[at],
                           1e-5 * (1.0 + std::fabs(near[at])));
            places.compare(place + " of rows that lie apart", far[static_cast<std::size_t>(r * apart + c)], near[at],
                           0.0);
            places.compare(place + " filled again", again[at], near[at], 0.0);
        }
        for (index_t c = columns; c < apart; ++c)
            between.compare("row " + std::to_string(r), far[static_cast<std::size_t>(r * apart + c)], 77.0, 0.0);
    }
}

/// A gate, and the first values of its kernel and bias where it has its own.
template <class P> void check_gate_and_initial(policy_checker& to, clock const& now) {
    using gate = gate_scorer<P>;
    check_gate<P>(to, now);
    if constexpr (requires { typename gate::initial; }) check_initial<typename gate::initial, gate::logits>(to);
}

/// Which masks a rule selects, and when. Its weight map is checked as one.
template <class P> void check_prune(policy_checker& to, clock const& now) {
    to.over("sparsity lies in [0, 1]")
        .require(P::sparsity(now) >= 0.0 && P::sparsity(now) <= 1.0, "step " + std::to_string(now.step),
                 "given " + number_text(P::sparsity(now)));
    if constexpr (requires { typename P::criterion_type; }) {
        using criterion = typename P::criterion_type;
        constexpr std::size_t narrow = sizeof(criterion::key(0.5f)), wide = sizeof(criterion::key(0.5));
        to.over("a key is as wide as the weight")
            .require(narrow == sizeof(float) && wide == sizeof(double), "float and double",
                     "given " + std::to_string(narrow) + " and " + std::to_string(wide) + " bytes");
    }
    if constexpr (!P::selection::global) {
        constexpr index_t row_count = 480, columns = 2, n = row_count * columns;
        std::vector<double> w;
        for (index_t i = 0; i < n; ++i)
            w.push_back(check_number(static_cast<std::uint64_t>(i), 5));
        auto const kept = [&](double share) {
            std::vector<std::uint32_t> mask(static_cast<std::size_t>(n / 32), 0xaaaaaaaau);
            P::template select<double>(contiguous_view<double const>(w.data(), row_count, columns), share, mask.data());
            index_t count = 0;
            for (std::uint32_t const word : mask)
                for (int bit = 0; bit < 32; ++bit)
                    count += word >> bit & 1u;
            return static_cast<double>(count) / static_cast<double>(n);
        };
        auto check = to.over("a selection leaves out the share that it was given");
        check.compare("sparsity 0", kept(0.0), 1.0, 0.0);
        if constexpr (requires { P::selection::sparsity; })
            check.compare("its own sparsity", kept(P::selection::sparsity), 1.0 - P::selection::sparsity, 0.02);
        else
            for (double const share : {0.25, 0.5, 0.9})
                check.compare("sparsity " + number_text(share), kept(share), 1.0 - share, 0.02);
    } else {
        to.leave_out("the selection, which is over all tensors: prune::select_largest");
    }
}

} // namespace detail

/// Checks a policy on its own, in double precision, with the numbers it has at the time `now`. While compiling: it is a
/// policy and has every member its axis asks for (one sentence for each that is missing). At run time, against central
/// differences at points in [-5, 5], with a point near a kink left out and the point 0 held between both slopes:
///     activation          backward; what it declares to read; a NaN stays one. Of a row form the gradient of
///                         rows of 11 columns, and one row in one lane against several rows in packs and one row
///                         over lanes
///     penalty             gradient of elements or groups; prox against its definition
///     activation_penalty  gradient of the whole term over a batch of 4 x 3
///     weight              pull; what is stored
///     prune               the same of its rule; what share its selection leaves out
///     dropout             the mean factor over all 65536 draws is 1, unless it says `keeps_mean = false`
///     transform           finite results that depend on what is declared only
///     gate                gradient of weights and term; rows in every form; experts that exist, finite
///                         weights that add up to 1 where it does not say otherwise, for random, equal, very large
///                         and not-finite logits; lookups and tables; first values
///     initial             finite values that depend on place and site alone
/// and packs of floats against single floats, NaN and infinities among them. On every axis whose ops reach kernels the
/// type of the op must be free of floating-point numbers: kernels that differ in one are compiled anew, and nvcc
/// launches nothing where 15 digits do not hold it (docs/compilers.md). Without RTTI that is not looked at.
///
/// What is left to other checks stands in the report as "not checked", with where it is done: an operator in place of a
/// product, products, dispatches and merges have their members looked at only. What is no policy of a layer has
/// functions of its own: `check_loss`, `check_optimizer`, `check_schedule`, `check_batch`.
///
///     auto const report = check_policy<my_activation>();
///     if (!report.ok()) std::fputs(report.text.c_str(), stdout);
template <class P> policy_report check_policy(clock const& now = {}) {
    struct check_policy_alone;
    detail::policy_checker to;
    if constexpr (detail::check_is_policy<diagnostic::alone, check_policy_alone, P>()) {
        if constexpr (detail::check_members<diagnostic::alone, check_policy_alone, P>()) {
            using on = typename P::axis;
            to.report.text = std::string(name_of<P>()) + " on axis " + std::string(on::name) + "\n";
            to.line(true, "has every member that its axis asks for");
            detail::check_op_type<P>(to);
            if constexpr (std::is_same_v<on, axis::activation>)
                detail::check_activation<P>(to, now);
            else if constexpr (std::is_same_v<on, axis::dropout>)
                detail::check_dropout<P>(to, now);
            else if constexpr (std::is_same_v<on, axis::penalty>)
                detail::check_penalty<P>(to, now);
            else if constexpr (std::is_same_v<on, axis::activation_penalty>)
                detail::check_activation_penalty<P>(to, now);
            else if constexpr (std::is_same_v<on, axis::transform>)
                detail::check_transform<P>(to, now);
            else if constexpr (std::is_same_v<on, axis::gate>)
                detail::check_gate_and_initial<P>(to, now);
            else if constexpr (std::is_same_v<on, axis::initial>)
                detail::check_initial<P>(to);
            else if constexpr (std::is_same_v<on, axis::prune>) {
                detail::check_prune<P>(to, now);
                detail::check_weight_map<P>(to, now);
            } else if constexpr (std::is_same_v<on, axis::weight> && !weight::has_bind<P>)
                detail::check_weight_map<P>(to, now);
            else
                to.leave_out("anything but members and names: check_gradients_of<sequence<input<7>, dense<5, ...>>, "
                             "device::cpu> with the policy in a layer that has its axis");
        }
    }
    return to.report;
}

} // namespace espalier
