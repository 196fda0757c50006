// SPDX-License-Identifier: Apache-2.0
// Counts and places that are a decimal number times a whole one: 1.1 x 100 / 2 is 55, though the double that stands for
// 1.1 is a little more. What is counted is what exact arithmetic with the number in the source text gives.
#pragma once

#include <espalier/core/macros.hpp>
#include <espalier/core/view.hpp>

#include <cstdint>

namespace espalier {

namespace detail {

__extension__ typedef unsigned __int128 wide_natural;
__extension__ typedef __int128 wide_whole;

ESPALIER_FN constexpr wide_natural power_of_ten(int n) {
    wide_natural power = 1;
    for (int i = 0; i < n; ++i)
        power *= 10;
    return power;
}

/// digits / 10^places; `places` is -1 where there is no such number.
struct short_decimal {
    std::uint64_t digits = 0;
    int places = -1;

    ESPALIER_FN constexpr bool found() const { return places >= 0; }
    ESPALIER_FN constexpr wide_natural scale() const { return power_of_ten(places); }
};

/// The decimal number of fewest places that T rounds to x, of at most 9 digits in a double and 5 in a float, or 15
/// without places: so few that no quotient of small whole numbers is taken for one.
template <class T> ESPALIER_FN constexpr short_decimal decimal_in(double x) {
    constexpr double most = sizeof(T) == sizeof(double) ? 1e9 : 1e5;
    double scale = 1.0;
    // 10^22 is the last power of ten that a double holds exactly: then one rounding makes x of digits and scale, as the
    // compiler makes it of the text.
    for (int places = 0; places <= 22 && x * scale < (places == 0 ? 1e15 : most); ++places, scale *= 10.0) {
        std::uint64_t const digits = static_cast<std::uint64_t>(x * scale + 0.5);
        if (static_cast<double>(static_cast<T>(static_cast<double>(digits) / scale)) == x)
            return short_decimal{digits, places};
    }
    return short_decimal{};
}

/// The decimal number that somebody wrote to get x >= 0, as a double or as a float. There is none for what was
/// computed: 1.0 / 3, or a schedule's value on its way.
ESPALIER_FN constexpr short_decimal decimal_of(double x) {
    if (x < 1e5 && static_cast<double>(static_cast<float>(x)) == x) {
        short_decimal const single = decimal_in<float>(x);
        if (single.found()) return single;
    }
    return decimal_in<double>(x);
}

/// The largest whole number that is at most x + slack; x >= 0.
ESPALIER_FN constexpr index_t whole_below(double x, double slack) {
    index_t const whole = static_cast<index_t>(x);
    return static_cast<double>(whole + 1) <= x + slack ? whole + 1 : whole;
}

} // namespace detail

// factor * count / parts as a whole number, for a finite factor >= 0, count >= 0, 1 <= parts < 2^31 and results below
// 2^53.
//
// A factor that is the double (or float) of a decimal number with up to 9 (5) digits stands for that number, and the
// result is exact. Any other was computed, and its last digits are rounding: a result that is within
// 2^-50 max(factor, 1) count / parts of the number at which it changes is taken for it, so that a third of 300 is 100
// whichever way 1.0 / 3 was rounded.

/// The largest whole number that is not above factor * count / parts.
ESPALIER_FN constexpr index_t floor_of_product(double factor, index_t count, index_t parts = 1) {
    detail::short_decimal const decimal = detail::decimal_of(factor);
    if (decimal.found())
        return static_cast<index_t>(static_cast<detail::wide_natural>(decimal.digits) *
                                    static_cast<detail::wide_natural>(count) /
                                    (decimal.scale() * static_cast<detail::wide_natural>(parts)));
    double const even = static_cast<double>(count) / static_cast<double>(parts);
    return detail::whole_below(factor * even, 0x1p-50 * (factor > 1.0 ? factor : 1.0) * even);
}

/// The smallest whole number that is not below factor * count / parts.
ESPALIER_FN constexpr index_t ceil_of_product(double factor, index_t count, index_t parts = 1) {
    detail::short_decimal const decimal = detail::decimal_of(factor);
    if (decimal.found()) {
        detail::wide_natural const divisor = decimal.scale() * static_cast<detail::wide_natural>(parts);
        return static_cast<index_t>(
            (static_cast<detail::wide_natural>(decimal.digits) * static_cast<detail::wide_natural>(count) + divisor -
             1) /
            divisor);
    }
    double const even = static_cast<double>(count) / static_cast<double>(parts);
    double const slack = 0x1p-50 * (factor > 1.0 ? factor : 1.0) * even;
    double const x = factor * even;
    index_t const whole = detail::whole_below(x, slack);
    bool const reached = whole == 0 ? x == 0.0 : x <= static_cast<double>(whole) + slack;
    return reached ? whole : whole + 1;
}

/// The whole number nearest to factor * count / parts, the upper one of two.
ESPALIER_FN constexpr index_t round_of_product(double factor, index_t count, index_t parts = 1) {
    detail::short_decimal const decimal = detail::decimal_of(factor);
    if (decimal.found()) {
        detail::wide_natural const divisor = decimal.scale() * static_cast<detail::wide_natural>(parts);
        return static_cast<index_t>(
            (static_cast<detail::wide_natural>(decimal.digits) * static_cast<detail::wide_natural>(count) * 2 +
             divisor) /
            (divisor * 2));
    }
    double const even = static_cast<double>(count) / static_cast<double>(parts);
    return detail::whole_below(factor * even + 0.5, 0x1p-50 * (factor > 1.0 ? factor : 1.0) * even);
}

namespace detail {

/// The double nearest to dividend / divisor, of two the one with an even last bit.
ESPALIER_FN constexpr double nearest_quotient(wide_whole dividend, wide_natural divisor) {
    wide_natural const size = dividend < 0 ? -static_cast<wide_natural>(dividend) : static_cast<wide_natural>(dividend);
    if (size == 0) return 0.0;
    wide_natural whole = size / divisor, rest = size % divisor;
    double unit = 1.0;
    // 55 bits or more: the 53 of the result, the one behind them, and one that says whether anything follows.
    for (; whole < wide_natural(1) << 54; unit *= 0.5) {
        rest *= 2;
        whole = whole * 2 + (rest >= divisor ? 1 : 0);
        rest -= rest >= divisor ? divisor : 0;
    }
    bool more = rest != 0;
    for (; whole >= wide_natural(1) << 63; unit *= 2.0) {
        more = more || (whole & 1) != 0;
        whole >>= 1;
    }
    double const result = static_cast<double>(static_cast<std::uint64_t>(whole) | (more ? 1u : 0u)) * unit;
    return dividend < 0 ? -result : result;
}

} // namespace detail

/// The double nearest to low + part (high - low) / parts, 0 <= part <= parts, with low and high for the decimal numbers
/// they stand for: parts of [0, 1] in tenths begin at 0, 0.1, 0.2, 0.3 as somebody writes them. Ends of more than 9
/// digits or of very different size are taken as they are, with ordinary rounding.
ESPALIER_FN constexpr double point_between(double low, double high, index_t part, index_t parts) {
    detail::short_decimal const a = detail::decimal_of(low < 0.0 ? -low : low);
    detail::short_decimal const b = detail::decimal_of(high < 0.0 ? -high : high);
    int const places = a.places > b.places ? a.places : b.places;
    // 15 digits, 12 places more than the other end, 2^31 parts: below 2^127, and so is the divisor.
    if (a.found() && b.found() && places - a.places <= 12 && places - b.places <= 12 && parts < index_t(1) << 31) {
        detail::wide_whole from =
            static_cast<detail::wide_whole>(a.digits * detail::power_of_ten(places - a.places)) * (parts - part);
        detail::wide_whole to =
            static_cast<detail::wide_whole>(b.digits * detail::power_of_ten(places - b.places)) * part;
        if (low < 0.0) from = -from;
        if (high < 0.0) to = -to;
        return detail::nearest_quotient(from + to,
                                        detail::power_of_ten(places) * static_cast<detail::wide_natural>(parts));
    }
    double const share = static_cast<double>(part) / static_cast<double>(parts);
    return part == parts ? high : low * (1.0 - share) + high * share;
}

} // namespace espalier
