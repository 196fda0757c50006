// SPDX-License-Identifier: Apache-2.0
// host only. What checks of policies are made of: the report, points of comparison, and rows in every form.
#pragma once

#include <espalier/core/epilogue.hpp>
#include <espalier/core/group.hpp>
#include <espalier/core/pack.hpp>
#include <espalier/core/random.hpp>
#include <espalier/core/row.hpp>
#include <espalier/core/rows.hpp>
#include <espalier/core/text.hpp>
#include <espalier/device/cpu/row_lanes.hpp>
#include <espalier/train/check_gradients.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <limits>
#include <string>
#include <utility>
#include <vector>

namespace espalier {

/// What a check of a policy found: a line for every part of it, "ok", "FAIL" or "not checked" first. A failure names
/// the point, what the policy gave there and what was expected; what was not checked, where that is done.
struct policy_report {
    std::string text;
    int checks = 0;
    int failures = 0;
    int not_checked = 0;

    bool ok() const { return checks > 0 && failures == 0; }
};

namespace detail {

inline std::string number_text(double x) {
    char text[40];
    std::snprintf(text, sizeof text, "%.9g", x);
    return text;
}

} // namespace detail

/// Collects the lines of a report.
struct policy_checker {
    policy_report report;

    void line(bool good, std::string const& what) {
        report.text += (good ? "  ok    " : "  FAIL  ") + what + "\n";
        ++report.checks;
        if (!good) ++report.failures;
    }

    void leave_out(std::string const& what) {
        report.text += "  not checked: " + what + "\n";
        ++report.not_checked;
    }

    /// Whether `given.validate()` accepts its numbers, in a line.
    template <class Given> bool accepts(Given const& given) {
        std::string why;
        try {
            given.validate();
        } catch (error const& problem) {
            why = problem.what();
        }
        line(why.empty(), "validate accepts its numbers" + (why.empty() ? "" : ": " + why));
        return why.empty();
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
            bool const near = std::isfinite(expected) && std::fabs(given - expected) <= tolerance;
            if (near || given == expected || (std::isnan(given) && std::isnan(expected))) return;
            std::string const one = detail::number_text(given), other = detail::number_text(expected);
            bool const alike = one == other; // in nine digits
            fail(place, "given " + (alike ? detail::text_of(given) : one) + ", expected " +
                            (alike ? detail::text_of(expected) : other));
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
            double const numeric = detail::central_difference(&moved, 1e-4, [&] { return value(moved); });
            if (std::isnan(numeric)) {
                ++check.skipped;
                continue;
            }
            check.compare(variable + (" = " + detail::number_text(x)), slope(x), numeric,
                          1e-6 * (scale + std::fabs(slope(x)) + std::fabs(numeric)) + 1e-12);
        }
        double const h = 1e-7, left = (value(0.0) - value(-h)) / h, right = (value(h) - value(0.0)) / h;
        double const room = 1e-4 * (scale + std::fabs(left) + std::fabs(right)) + 1e-12, given = slope(0.0);
        check.require(given >= std::min(left, right) - room && given <= std::max(left, right) + room,
                      std::string(variable) + " = 0",
                      "given " + detail::number_text(given) + ", the slopes on both sides are " +
                          detail::number_text(left) + " and " + detail::number_text(right));
    }

    /// f on a pack of floats against f on single floats; f takes (x, bits). A NaN and infinities stand among the
    /// numbers.
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
            x[round] = 0.0f;
            if (round == 1) x[lanes - 1] = std::numeric_limits<float>::quiet_NaN();
            if (round == 2) x[lanes - 1] = std::numeric_limits<float>::infinity();
            if (round == 3) x[lanes - 1] = -std::numeric_limits<float>::infinity();
            P const wide = f(P::load(x), B::load(bits));
            for (int i = 0; i < lanes; ++i) {
                float const one = f(x[i], bits[i]);
                check.compare("x = " + detail::number_text(static_cast<double>(x[i])), static_cast<double>(wide[i]),
                              static_cast<double>(one), 1e-5 * (1.0 + std::fabs(static_cast<double>(one))));
            }
        }
    }
};

namespace detail {

// Forms of a row: where column c of row r stands. Elements that are nobody's hold NaN.

struct one_row {
    using group = serial_group;
    using value = double;
    static constexpr char const* name = "one row in one lane";
    static constexpr int rows = 1;
    template <class Row> static void put(Row& x, int, int c, double v) { x.v[c] = v; }
    template <class Row> static double get(Row const& x, int, int c) { return x.v[c]; }
    static double of_row(double x, int) { return x; }
};
struct rows_in_packs {
    using group = serial_group;
    using value = native_pack<double>;
    static constexpr char const* name = "several rows in packs";
    static constexpr int rows = pack_width<value>;
    template <class Row> static void put(Row& x, int r, int c, double v) { x.v[c].set(r, v); }
    template <class Row> static double get(Row const& x, int r, int c) { return x.v[c][r]; }
    static double of_row(value const& x, int r) { return x[r]; }
};
struct row_over_lanes {
    using value = native_pack<double>;
    static constexpr int lanes = pack_width<value>;
    using group = cpu::pack_lanes<lanes>;
    static constexpr char const* name = "one row over several lanes";
    static constexpr int rows = 1;
    template <class Row> static void put(Row& x, int, int c, double v) { x.v[c / lanes].set(c % lanes, v); }
    template <class Row> static double get(Row const& x, int, int c) { return x.v[c / lanes][c % lanes]; }
    static double of_row(value const& x, int) { return x[0]; }
};

template <class Form, int N> using form_row = row<typename Form::group, typename Form::value, N>;

/// Numbers by row and column.
struct number_table {
    int columns;
    std::vector<double> of;

    number_table(int row_count, int columns_, double value = 0.0)
        : columns(columns_), of(static_cast<std::size_t>(row_count * columns_), value) {}
    double& at(int r, int c) { return of[static_cast<std::size_t>(r * columns + c)]; }
    double at(int r, int c) const { return of[static_cast<std::size_t>(r * columns + c)]; }
};

/// Rows first ... first + Form::rows - 1 of a table; beyond its last row, that one again.
template <class Form, int N> form_row<Form, N> load_form(number_table const& from, int first) {
    form_row<Form, N> x;
    for (int i = 0; i < x.local; ++i)
        x.v[i] = typename Form::value(std::numeric_limits<double>::quiet_NaN());
    int const last = static_cast<int>(from.of.size()) / from.columns - 1;
    for (int r = 0; r < Form::rows; ++r)
        for (int c = 0; c < N; ++c)
            Form::put(x, r, c, from.at(std::min(first + r, last), c));
    return x;
}
template <class Form, int N> void store_form(form_row<Form, N> const& x, number_table& to, int first) {
    int const count = static_cast<int>(to.of.size()) / to.columns;
    for (int r = 0; r < Form::rows && first + r < count; ++r)
        for (int c = 0; c < N; ++c)
            to.at(first + r, c) = Form::get(x, r, c);
}
/// A number for every row, as a form holds it.
template <class Form> typename Form::value load_numbers(std::vector<double> const& from, int first) {
    if constexpr (Form::rows == 1)
        return typename Form::value(from[static_cast<std::size_t>(first)]);
    else {
        typename Form::value x(0.0);
        for (int r = 0; r < Form::rows; ++r)
            x.set(r, from[std::min(static_cast<std::size_t>(first + r), from.size() - 1)]);
        return x;
    }
}

/// Every number of a table against those that one row in one lane gives.
inline void compare_tables(policy_checker& to, std::string const& what, number_table const& given,
                           number_table const& expected) {
    auto check = to.over(what);
    for (int r = 0; r * given.columns < static_cast<int>(given.of.size()); ++r)
        for (int c = 0; c < given.columns; ++c)
            check.compare("row " + std::to_string(r) + ", column " + std::to_string(c), given.at(r, c),
                          expected.at(r, c), 1e-11 * (1.0 + std::fabs(expected.at(r, c))));
}

/// Evenly from [-1, 1), the same at every call.
inline double check_number(std::uint64_t i, std::uint32_t purpose = 0) {
    return 2.0 * uniform01(draw(make_site(purpose, check_stream), static_cast<std::uint32_t>(i), 0).word[0]) - 1.0;
}

/// What an op of an epilogue is told of an element of the second of some rows of 8 columns without tags.
template <class T, class Bits = drawn_bits<T>>
epilogue_about<T, Bits> about_element(rows const& batch, Bits bits, std::uint32_t column, T column_sum = T()) {
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

} // namespace detail
} // namespace espalier
