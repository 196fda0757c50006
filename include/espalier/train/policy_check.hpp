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
#include <espalier/layer/check.hpp>
#include <espalier/penalty/concept.hpp>
#include <espalier/train/check_gradients.hpp>
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

/// What `check_policy` found: a line for every check, "ok" or "FAIL" first. A failure names the point, what the policy
/// gave there and what was expected.
struct policy_report {
    std::string text;
    int checks = 0;
    int failures = 0;

    bool ok() const { return checks > 0 && failures == 0; }
};

namespace detail {

inline std::string number_text(double x) {
    char text[40];
    std::snprintf(text, sizeof text, "%.9g", x);
    return text;
}

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

/// Collects the lines; `place` is where a check looks, `worst` its largest error so far.
struct policy_checker {
    policy_report report;

    void line(bool good, std::string const& what) {
        report.text += (good ? "  ok    " : "  FAIL  ") + what + "\n";
        ++report.checks;
        if (!good) ++report.failures;
    }

    /// One check over several points: the first that fails is named.
    struct points {
        policy_checker& to;
        std::string what;
        int seen = 0;
        int skipped = 0;
        std::string failure{};

        void compare(std::string const& place, double given, double expected, double tolerance) {
            ++seen;
            if (std::fabs(given - expected) <= tolerance || (std::isnan(given) && std::isnan(expected))) return;
            fail(place, "given " + number_text(given) + ", expected " + number_text(expected));
        }
        void require(bool good, std::string const& place, std::string const& facts) {
            ++seen;
            if (!good) fail(place, facts);
        }
        void fail(std::string const& place, std::string const& facts) {
            if (failure.empty()) failure = " at " + place + ": " + facts;
        }
        ~points() {
            std::string const count = failure.empty()
                                          ? ": " + std::to_string(seen) + " points" +
                                                (skipped ? ", " + std::to_string(skipped) + " near kinks left out" : "")
                                          : failure;
            to.line(failure.empty() && seen > 0, what + count);
        }
    };
    points over(std::string what) { return {*this, std::move(what)}; }

    /// derivative(x) against central differences of value(x), and at `kink` within the one-sided slopes.
    template <class Value, class Derivative>
    void derivative(std::string const& what, char const* variable, Value const& value, Derivative const& slope) {
        std::vector<double> at;
        for (int i = 0; i < 64; ++i)
            at.push_back(-5.0 + 10.0 * (i + 0.371) / 64.0); // no round number, where kinks like to be
        double scale = 0.0;
        for (double const x : at)
            scale = std::max(scale, std::fabs(slope(x)));
        auto check = over(what);
        for (double const x : at) {
            double moved = x;
            double const numeric = central_difference(&moved, 1e-4, [&] { return value(moved); });
            if (std::isnan(numeric)) {
                ++check.skipped;
                continue;
            }
            check.compare(variable + (" = " + number_text(x)), slope(x), numeric,
                          1e-6 * (scale + std::fabs(slope(x)) + std::fabs(numeric)) + 1e-12);
        }
        double const h = 1e-7, left = (value(0.0) - value(-h)) / h, right = (value(h) - value(0.0)) / h;
        double const room = 1e-4 * (scale + std::fabs(left) + std::fabs(right)) + 1e-12, given = slope(0.0);
        check.require(given >= std::min(left, right) - room && given <= std::max(left, right) + room,
                      std::string(variable) + " = 0",
                      "given " + number_text(given) + ", the slopes on both sides are " + number_text(left) + " and " +
                          number_text(right));
    }

    /// f on a pack of floats against f on single floats; f takes (x, bits).
    template <class F> void packs(std::string const& what, F const& f) {
        using P = native_pack<float>;
        using B = pack<std::uint32_t, pack_width<P>>;
        constexpr int lanes = pack_width<P>;
        auto check = over(what);
        for (int round = 0; round < 4; ++round) {
            float x[std::size_t{lanes}];
            std::uint32_t bits[std::size_t{lanes}];
            for (int i = 0; i < lanes; ++i) {
                x[i] = static_cast<float>(-4.0 + 8.0 * (i + 0.13 + 0.21 * round) / lanes);
                bits[i] = static_cast<std::uint32_t>((i * 9973 + round * 20011) % 65536);
            }
            P const wide = f(P::load(x), B::load(bits));
            for (int i = 0; i < lanes; ++i) {
                float const one = f(x[i], bits[i]);
                check.compare("x = " + number_text(static_cast<double>(x[i])), static_cast<double>(wide[i]),
                              static_cast<double>(one), 1e-5 * (1.0 + std::fabs(static_cast<double>(one))));
            }
        }
    }
};

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

template <class P> void check_activation(policy_checker& to, clock const& now) {
    auto const op = op_at<P>(now);
    using op_type = std::remove_cvref_t<decltype(op)>;
    if constexpr (activation::row_form<op_type>) {
        constexpr int n = 5;
        serial_group const group{};
        auto check = to.over("gradient of a row");
        for (int round = 0; round < 8; ++round) {
            double x[n], dy[n];
            for (int i = 0; i < n; ++i) {
                x[i] = std::sin(1.7 * i + round);
                dy[i] = std::cos(2.3 * i - round);
            }
            auto const forward = [&] {
                row<serial_group, double, n> y;
                for (int i = 0; i < n; ++i)
                    y.v[i] = x[i];
                op_type::forward(group, y);
                return y;
            };
            row<serial_group, double, n> const y = forward();
            row<serial_group, double, n> dx;
            for (int i = 0; i < n; ++i)
                dx.v[i] = dy[i];
            op_type::backward(group, y, dx);
            for (int i = 0; i < n; ++i) {
                double const numeric = central_difference(x + i, 1e-4, [&] {
                    auto const moved = forward();
                    double sum = 0.0;
                    for (int k = 0; k < n; ++k)
                        sum += dy[k] * moved.v[k];
                    return sum;
                });
                if (std::isnan(numeric)) {
                    ++check.skipped;
                    continue;
                }
                check.compare("column " + std::to_string(i) + " = " + number_text(x[i]), dx.v[i], numeric,
                              1e-6 * (1.0 + std::fabs(numeric)));
            }
        }
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
        to.packs("forward of a pack", [&](auto x, auto) { return op.forward(x); });
        to.packs("backward of a pack", [&](auto x, auto) { return op.backward(x, op.forward(x), decltype(x)(0.75f)); });
    }
}

template <class P> void check_dropout(policy_checker& to, clock const& now) {
    auto const op = op_at<P>(now);
    if constexpr (std::remove_cvref_t<decltype(op)>::scope == random_scope::none) {
        to.line(true, "draws nothing");
    } else {
        double sum = 0.0;
        auto check = to.over("factors are finite");
        for (std::uint32_t bits = 0; bits < 65536; ++bits) {
            double const factor = op.template factor<double>(bits);
            if (!std::isfinite(factor)) check.fail("bits = " + std::to_string(bits), "given " + number_text(factor));
            sum += factor;
        }
        check.seen = 65536;
        to.over("the mean factor over all draws is 1").compare("all 65536 draws", sum / 65536.0, 1.0, 1e-9);
        to.packs("factor of a pack", [&](auto x, auto bits) { return op.template factor<decltype(x)>(bits); });
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
        if constexpr (penalty::has_group_prox<op_type, double>) {
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
    auto check = to.over("gradient is the derivative of the term");
    for (int round = 0; round < 6; ++round) {
        double y[row_count][columns];
        for (int r = 0; r < row_count; ++r)
            for (int c = 0; c < columns; ++c)
                y[r][c] = 1.5 * std::sin(1.3 * (r * columns + c) + 0.7 * round);
        auto const sum_of = [&](int c) {
            double sum = 0.0;
            for (int r = 0; r < row_count; ++r)
                sum += op.contribution(y[r][c]);
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
                if constexpr (by_column)
                    gradients[r][c] = op.gradient(y[r][c], sum_of(c), double(row_count));
                else
                    gradients[r][c] = op.gradient(y[r][c], double(row_count));
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
    if constexpr (op_type::uses_mask)
        to.derivative(
            "pull is the derivative of effective where the mask drops", "w",
            [&](double w) { return op.effective(w, false); }, [&](double w) { return op.pull(1.0, w, false); });
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

} // namespace detail

/// Checks a policy on its own, in double precision, with the numbers it has at the time `now`. While compiling: it is a
/// policy and has every member its axis asks for (one sentence for each that is missing). At run time, against central
/// differences at points in [-5, 5], with a point near a kink left out and the point 0 held between both slopes:
///     activation          backward; what it declares to read; for a row form the gradient of rows of 5 columns
///     penalty             gradient of elements or groups; prox against its definition
///     activation_penalty  gradient of the whole term over a batch of 4 x 3
///     weight              pull; what is stored (an operator is checked in its layer: `check_gradients_of`)
///     dropout             the mean factor over all 65536 draws is 1
///     transform           finite results that depend on what is declared only
/// and packs of floats against single floats. The other axes have no derivative; only their members are checked. On
/// every axis whose ops reach kernels (these and prune, gate) the type of the op must be free of floating-point
/// numbers: kernels that differ in one are compiled anew, and nvcc launches nothing where 15 digits do not hold it
/// (docs/compilers.md). Without RTTI that is not looked at.
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
            else if constexpr (std::is_same_v<on, axis::weight> && !weight::has_bind<P>)
                detail::check_weight_map<P>(to, now);
        }
    }
    return to.report;
}

} // namespace espalier
