// SPDX-License-Identifier: Apache-2.0
// Small charts as SVG text, without dependencies: learning curves (`line_chart`) and comparisons (`bar_chart`).
// Included by host code (host only). Colours are those of Okabe and Ito (jfly.uni-koeln.de/color, 2002), which people
// with any form of colour blindness tell apart.
#pragma once

#include <espalier/core/error.hpp>
#include <espalier/io/atomic_file.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace espalier {

/// One line of a chart. Points that are not finite (or not positive on a logarithmic axis) leave a gap.
struct chart_series {
    std::string name = {};
    std::vector<double> y = {};
    std::vector<double> x = {}; ///< as long as y, or empty: 0, 1, 2, ...
    bool dashed = false;
    int colour = -1; ///< place in the palette; -1: the place of the series. The same for train and test of one run.
};

/// y over x for a few series, with a legend above the plot.
struct line_chart {
    std::string title = {};
    std::string x_label = {};
    std::string y_label = {};
    std::vector<chart_series> series = {};
    bool log_x = false;
    bool log_y = false;
    std::optional<double> y_from = {}; ///< limits of the y axis, else those of the data
    std::optional<double> y_to = {};
    int width = 760;
    int height = 440;
};

/// One value per category; NaN is shown as "n/a".
struct chart_bars {
    std::string name = {}; ///< for the legend, which is drawn when there is more than one set of bars
    std::vector<double> values = {};
};

/// Horizontal bars (long names fit beside them), grouped by category, each with its value at its end.
struct bar_chart {
    std::string title = {};
    std::string x_label = {};
    std::vector<std::string> categories = {};
    std::vector<chart_bars> series = {};
    bool log_x = false;
    double from = 0.0;                 ///< where bars start (not used with log_x): say so in the label when it is not 0
    int decimals = -1;                 ///< of the values at the bars; -1: three significant digits
    std::string unit = {};             ///< after the values, " %" for example
    std::optional<double> reference{}; ///< a dashed line to compare with
    int width = 760;
};

namespace detail {

inline constexpr std::array<char const*, 7> chart_palette{"#0072b2", "#d55e00", "#009e73", "#cc79a7",
                                                          "#56b4e9", "#e69f00", "#555555"};

/// Text for XML: the five special characters as entities; what XML does not allow (control characters, bytes that are
/// not UTF-8) as U+FFFD.
inline std::string xml_text(std::string_view text) {
    std::string out;
    for (std::size_t i = 0; i < text.size();) {
        auto const lead = static_cast<unsigned char>(text[i]);
        std::size_t const length = lead < 0x80 ? 1 : lead >> 5 == 6 ? 2 : lead >> 4 == 14 ? 3 : lead >> 3 == 30 ? 4 : 0;
        bool valid = length != 0 && i + length <= text.size();
        std::uint32_t code = length < 2 ? lead : lead & (0x7fu >> length);
        for (std::size_t k = 1; valid && k < length; ++k) {
            auto const next = static_cast<unsigned char>(text[i + k]);
            valid = next >> 6 == 2;
            code = (code << 6) | (next & 0x3fu);
        }
        constexpr std::uint32_t least[5] = {0, 0, 0x80, 0x800, 0x10000}; // shorter forms exist below: not UTF-8
        valid = valid && code >= least[length] && code <= 0x10ffff && !(code >= 0xd800 && code <= 0xdfff) &&
                code != 0xfffe && code != 0xffff && (code >= 32 || code == '\t' || code == '\n');
        if (!valid) {
            out += "\xef\xbf\xbd";
            i += 1;
            continue;
        }
        std::string_view const piece = text.substr(i, length);
        out += piece == "&"    ? "&amp;"
               : piece == "<"  ? "&lt;"
               : piece == ">"  ? "&gt;"
               : piece == "\"" ? "&quot;"
               : piece == "'"  ? "&#39;"
                               : piece;
        i += length;
    }
    return out;
}

/// Width of a text in pixels, a little generous: no font is at hand to measure with.
inline double text_width(std::string_view text, double size) {
    double width = 0.0;
    for (char const c : text) {
        auto const in = [c](char const* set) { return std::string_view(set).find(c) != std::string_view::npos; };
        bool const continuation = (static_cast<unsigned char>(c) & 0xc0) == 0x80;
        width += continuation                ? 0.0
                 : in("iljtfr.,:;|!'()[] I") ? 0.38
                 : in("mwMW%@")              ? 0.95
                 : c >= 'A' && c <= 'Z'      ? 0.70
                                             : 0.62;
    }
    return width * size;
}

/// A coordinate with one decimal: a tenth of a pixel is enough.
inline std::string px(double value) {
    char text[32];
    std::snprintf(text, sizeof text, "%.1f", std::abs(value) < 0.05 ? 0.0 : value);
    return text;
}

/// 10^n, or a number of few digits times it, in superscripts.
inline std::string power_text(double value) {
    auto exponent = static_cast<int>(std::floor(std::log10(std::abs(value)) + 1e-9));
    double const digits = value / std::pow(10.0, exponent);
    char text[32];
    std::snprintf(text, sizeof text, "%.3g", digits);
    std::string result = std::string_view(text) == "1" ? "10"
                                                       : std::string(text) + "\xc2\xb7"
                                                                             "10";
    constexpr std::array<char const*, 10> raised{"\xe2\x81\xb0", "\xc2\xb9",     "\xc2\xb2",     "\xc2\xb3",
                                                 "\xe2\x81\xb4", "\xe2\x81\xb5", "\xe2\x81\xb6", "\xe2\x81\xb7",
                                                 "\xe2\x81\xb8", "\xe2\x81\xb9"};
    for (char const c : std::to_string(exponent)) {
        result += c == '-' ? "\xe2\x81\xbb" : raised[static_cast<std::size_t>(c - '0')];
    }
    return result;
}

/// A number as people write it: the given decimals, a space between thousands, a real minus sign.
inline std::string plain_number(double value, int decimals) {
    char text[64];
    std::snprintf(text, sizeof text, "%.*f", decimals, std::abs(value));
    std::string digits = text;
    auto const point = std::min(digits.find('.'), digits.size());
    for (std::size_t i = point; point > 4 && i > 3; i -= 3) {
        digits.insert(i - 3, i - 3 > 0 ? "\xe2\x80\x89" : "");
    }
    bool const zero = digits.find_first_not_of("0.") == std::string::npos;
    return (value < 0 && !zero ? "\xe2\x88\x92" : "") + digits;
}

struct chart_tick {
    double at = 0.0;
    std::string text; ///< empty: a line without a label
};

/// One axis: values to pixels, and its ticks at round numbers.
struct chart_axis {
    double low = 0.0;
    double high = 1.0;
    bool log = false;
    double pixel_low = 0.0;
    double pixel_high = 1.0;

    bool shows(double value) const { return std::isfinite(value) && (!log || value > 0.0); }
    double share(double value) const {
        return log ? (std::log10(value) - std::log10(low)) / (std::log10(high) - std::log10(low))
                   : (value - low) / (high - low);
    }
    double operator()(double value) const { return pixel_low + share(value) * (pixel_high - pixel_low); }

    /// Round numbers inside the range, about `wanted` of them: steps of 1, 2 or 5 times a power of ten, or on a
    /// logarithmic axis the powers themselves, with 2 and 5 between them when there are few.
    std::vector<chart_tick> ticks(int wanted) const {
        std::vector<chart_tick> result;
        double const slack = 1e-9;
        if (log) {
            double const first = std::log10(low);
            double const last = std::log10(high);
            double const decades = last - first;
            int const stride = std::max(1, static_cast<int>(std::ceil(decades / wanted - slack)));
            for (double e = std::floor(first); e <= last + slack; e += 1.0) {
                for (double const digit : {1.0, 2.0, 5.0}) {
                    double const exponent = e + std::log10(digit);
                    bool const labelled = digit == 1.0 ? std::fmod(std::abs(e), stride) < 0.5 : decades <= 2.2;
                    if (exponent < first - slack || exponent > last + slack || (digit > 1.0 && decades > 4.0)) {
                        continue;
                    }
                    double const value = digit * std::pow(10.0, e);
                    bool const plain = first >= -3.0 - slack && last <= 4.0 + slack;
                    result.push_back({value, !labelled ? std::string()
                                             : plain   ? plain_number(value, std::max(0, static_cast<int>(-e)))
                                                       : power_text(value)});
                }
            }
            return result;
        }
        double const raw = (high - low) / std::max(wanted, 1);
        double const scale = std::pow(10.0, std::floor(std::log10(raw)));
        double const step = scale * (raw / scale > 7.0    ? 10.0
                                     : raw / scale > 3.16 ? 5.0
                                     : raw / scale > 1.4  ? 2.0
                                                          : 1.0);
        double const largest = std::max(std::abs(low), std::abs(high));
        bool const powers = largest >= 1e6 || largest < 1e-3;
        int const decimals = std::clamp(static_cast<int>(std::ceil(-std::log10(step) - slack)), 0, 12);
        double const start = std::ceil(low / step - slack);
        for (int i = 0; i < 100 && (start + i) * step <= high + slack * step; ++i) {
            double const k = start + i;
            double const value = k == 0.0 ? 0.0 : k * step;
            result.push_back({value, powers && value != 0.0 ? power_text(value) : plain_number(value, decimals)});
        }
        return result;
    }
};

/// The range of an axis over the values that it can show, with a margin on a linear one.
inline chart_axis chart_range(double low, double high, bool log, double margin) {
    if (!(low <= high)) { // nothing to show
        return {log ? 0.1 : 0.0, 1.0, log};
    }
    // Within these, spans and margins stay finite; what lies outside is drawn outside.
    low = std::clamp(low, log ? 1e-300 : -1e300, 1e300);
    high = std::clamp(high, log ? 1e-300 : -1e300, 1e300);
    if (log) {
        return high > low * (1.0 + 1e-9) ? chart_axis{low, high, true} : chart_axis{low / 2.0, high * 2.0, true};
    }
    double const span = high - low;
    // A range so narrow that neighbouring ticks would be one number is a constant as far as a picture goes.
    if (span <= 1e-12 * std::max(std::abs(low), std::abs(high)) || span < 1e-300) {
        double const around = std::abs(low) < 1e-290 ? 1.0 : std::abs(low) * 0.1;
        return {low - around, high + around, false};
    }
    return {low - span * margin, high + span * margin, false};
}

/// The parts that both charts share.
class chart_canvas {
public:
    static constexpr double text_size = 13.0;
    static constexpr char const* ink = "#222222";
    static constexpr char const* soft_ink = "#555555";

    chart_canvas(int width, int height, std::string_view title) {
        std::string const w = std::to_string(width);
        std::string const h = std::to_string(height);
        out_ = "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"" + w + "\" height=\"" + h + "\" viewBox=\"0 0 " + w +
               " " + h +
               "\" role=\"img\" font-family=\"Inter, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, 'DejaVu Sans', "
               "sans-serif\" font-size=\"13\">\n<title>" +
               xml_text(title) + "</title>\n<rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n";
    }

    void raw(std::string const& text) { out_ += text; }

    void line(double x1, double y1, double x2, double y2, char const* colour, double width, char const* more = "") {
        out_ += "<line x1=\"" + px(x1) + "\" y1=\"" + px(y1) + "\" x2=\"" + px(x2) + "\" y2=\"" + px(y2) +
                "\" stroke=\"" + colour + "\" stroke-width=\"" + px(width) + "\"" + more + "/>\n";
    }

    void text(double x, double y, std::string_view what, char const* anchor, char const* colour = soft_ink,
              std::string const& more = "") {
        out_ += "<text x=\"" + px(x) + "\" y=\"" + px(y) + "\" text-anchor=\"" + anchor + "\" fill=\"" + colour + "\"" +
                more + ">" + xml_text(what) + "</text>\n";
    }

    /// Text that fits into `room`: smaller if it must, down to 10 pixels, and shortened after that.
    void fitted_text(double x, double y, std::string_view what, char const* anchor, double size, double room,
                     std::string const& more = "") {
        double const smaller = std::max(10.0, std::min(size, size * room / std::max(text_width(what, size), 1.0)));
        std::string shown(what);
        if (text_width(shown, smaller) > room + 1.0) {
            while (!shown.empty() && text_width(shown, smaller) + smaller > room) {
                while ((static_cast<unsigned char>(shown.back()) & 0xc0) == 0x80 && shown.size() > 1) {
                    shown.pop_back(); // a character is more than one byte
                }
                shown.pop_back();
            }
            shown += "\xe2\x80\xa6";
        }
        text(x, y, shown, anchor, ink, " font-size=\"" + px(smaller) + "\"" + more);
    }

    void title(std::string_view what, double x, double room) {
        if (!what.empty()) {
            fitted_text(x, 26, what, "start", 17, room / 1.08, " font-weight=\"600\""); // bold is wider
        }
    }

    /// Legend entries in as many lines as they need, from `y` on; returns where it ends.
    template <class Draw>
    double legend(std::vector<std::string_view> const& names, double left, double right, double y, Draw&& key) {
        double x = left;
        for (std::size_t i = 0; i < names.size(); ++i) {
            double const width = 34 + text_width(names[i], text_size) + 18;
            if (x > left && x + width > right + 18) {
                x = left;
                y += 20;
            }
            key(i, x, y);
            text(x + 32, y + 4.5, names[i], "start", ink);
            x += width;
        }
        return names.empty() ? y - 10 : y + 14;
    }

    std::string finish() { return out_ + "</svg>\n"; }

private:
    std::string out_;
};

inline char const* chart_colour(int place) {
    return chart_palette[static_cast<std::size_t>(place) % chart_palette.size()];
}

/// Dashes tell lines apart that share a colour: later rounds of the palette, and series marked as dashed.
inline char const* chart_dash(chart_series const& series, int place) {
    int const round = place / static_cast<int>(chart_palette.size()) + (series.dashed ? 1 : 0);
    constexpr std::array<char const*, 4> dashes{"", " stroke-dasharray=\"6 4\"", " stroke-dasharray=\"2 3\"",
                                                " stroke-dasharray=\"9 3 2 3\""};
    return dashes[static_cast<std::size_t>(round) % dashes.size()];
}

} // namespace detail

/// The chart as SVG text. Throws `data_error` when a series has x values, but not as many as y values, or the picture
/// is smaller than 200 x 150.
inline std::string to_svg(line_chart const& chart) {
    if (chart.width < 200 || chart.height < 150) {
        throw data_error("line_chart '" + chart.title + "': " + std::to_string(chart.width) + " x " +
                         std::to_string(chart.height) + " pixels; at least 200 x 150 are needed");
    }
    constexpr double infinity = std::numeric_limits<double>::infinity();
    double x_low = infinity, x_high = -infinity, y_low = infinity, y_high = -infinity;
    detail::chart_axis x{0, 1, chart.log_x};
    detail::chart_axis y{0, 1, chart.log_y};
    auto const abscissa = [](chart_series const& s, std::size_t i) {
        return s.x.empty() ? static_cast<double>(i) : s.x[i];
    };
    for (chart_series const& s : chart.series) {
        if (!s.x.empty() && s.x.size() != s.y.size()) {
            throw data_error("line_chart '" + chart.title + "': series '" + s.name + "' has " +
                             std::to_string(s.x.size()) + " x values for " + std::to_string(s.y.size()) + " y values");
        }
        for (std::size_t i = 0; i < s.y.size(); ++i) {
            double const at = abscissa(s, i);
            if (x.shows(at) && y.shows(s.y[i])) {
                x_low = std::min(x_low, at);
                x_high = std::max(x_high, at);
                y_low = std::min(y_low, s.y[i]);
                y_high = std::max(y_high, s.y[i]);
            }
        }
    }
    bool const empty = !(x_low <= x_high);
    x = detail::chart_range(x_low, x_high, chart.log_x, 0.0);
    y = detail::chart_range(y_low, y_high, chart.log_y, 0.04);
    if (!chart.log_y && y_low >= 0.0 && y.low < 0.0) {
        y.low = 0.0; // a loss or an accuracy: the margin must not look like negative values
    }
    // Limits that leave nothing between them would divide by zero below.
    double const wanted_low = chart.y_from && y.shows(*chart.y_from) ? *chart.y_from : y.low;
    double const wanted_high = chart.y_to && y.shows(*chart.y_to) ? *chart.y_to : y.high;
    if (wanted_high - wanted_low > 1e-9 * std::max(std::abs(wanted_low), std::abs(wanted_high)) &&
        std::isfinite(wanted_high - wanted_low)) {
        y.low = wanted_low;
        y.high = wanted_high;
    }

    double const right = chart.width - 24.0;
    std::vector<std::string_view> names;
    std::vector<std::size_t> keys;
    for (std::size_t i = 0; i < chart.series.size(); ++i) {
        if (!chart.series[i].name.empty()) {
            names.push_back(chart.series[i].name);
            keys.push_back(i);
        }
    }
    auto const colour_of = [&](std::size_t i) {
        return chart.series[i].colour >= 0 ? chart.series[i].colour : static_cast<int>(i);
    };
    auto const y_marks = y.ticks(std::max(2, (chart.height - 130) / 55));
    double label_width = 0.0;
    for (auto const& mark : y_marks) {
        label_width = std::max(label_width, detail::text_width(mark.text, detail::chart_canvas::text_size));
    }
    double const left = (chart.y_label.empty() ? 16.0 : 38.0) + label_width + 8.0;
    // The legend is laid out once to know how much it takes and once to draw: many series make the picture higher.
    auto const lay_out_legend = [&](detail::chart_canvas& on) {
        return 6.0 + on.legend(names, left, right, chart.title.empty() ? 20.0 : 48.0,
                               [&](std::size_t i, double kx, double ky) {
                                   std::size_t const s = keys[i];
                                   on.line(kx, ky, kx + 24, ky, detail::chart_colour(colour_of(s)), 2.5,
                                           detail::chart_dash(chart.series[s], colour_of(s)));
                               });
    };
    detail::chart_canvas scratch(1, 1, "");
    double const top = lay_out_legend(scratch);
    double const below = chart.x_label.empty() ? 34.0 : 56.0;
    int const height = std::max(chart.height, static_cast<int>(top + 100.0 + below));
    double const bottom = height - below;
    detail::chart_canvas canvas(chart.width, height, chart.title);
    canvas.title(chart.title, left, right - left);
    lay_out_legend(canvas);
    x.pixel_low = left;
    x.pixel_high = right;
    y.pixel_low = bottom;
    y.pixel_high = top;

    for (auto const& mark : y_marks) {
        double const at = y(mark.at);
        canvas.line(left, at, right, at, mark.text.empty() ? "#f0f0f0" : "#e2e2e2", 1);
        if (!mark.text.empty()) {
            canvas.text(left - 8, at + 4.5, mark.text, "end");
        }
    }
    auto x_marks = x.ticks(std::max(2, static_cast<int>((right - left) / 90.0)));
    if (!chart.log_x && x.high - x.low >= 1.0) { // epochs and steps: no ticks between whole numbers
        bool whole = true;
        for (chart_series const& s : chart.series) {
            for (std::size_t i = 0; i < s.y.size(); ++i) {
                whole = whole && (!std::isfinite(abscissa(s, i)) || abscissa(s, i) == std::floor(abscissa(s, i)));
            }
        }
        if (whole) {
            std::erase_if(x_marks, [](auto const& mark) { return std::abs(mark.at - std::round(mark.at)) > 1e-6; });
            for (auto& mark : x_marks) {
                mark.text = std::abs(mark.at) < 1e6 ? detail::plain_number(mark.at, 0) : mark.text;
            }
        }
    }
    for (auto const& mark : x_marks) {
        double const at = x(mark.at);
        canvas.line(at, bottom, at, bottom + 5, "#888888", 1);
        if (!mark.text.empty()) {
            canvas.text(at, bottom + 20, mark.text, "middle");
        }
    }
    canvas.line(left, bottom, right, bottom, "#888888", 1);
    if (!chart.x_label.empty()) {
        canvas.fitted_text((left + right) / 2, height - 14.0, chart.x_label, "middle", 13, right - left);
    }
    if (!chart.y_label.empty()) {
        double const middle = (top + bottom) / 2;
        canvas.fitted_text(20, middle, chart.y_label, "middle", 13, bottom - top,
                           " transform=\"rotate(-90 20 " + detail::px(middle) + ")\"");
    }
    if (empty) {
        canvas.text((left + right) / 2, (top + bottom) / 2, "no data", "middle");
    }

    canvas.raw("<clipPath id=\"plot\"><rect x=\"" + detail::px(left) + "\" y=\"" + detail::px(top - 2) + "\" width=\"" +
               detail::px(right - left + 3) + "\" height=\"" + detail::px(bottom - top + 3) +
               "\"/></clipPath>\n<g clip-path=\"url(#plot)\">\n");
    for (std::size_t i = 0; i < chart.series.size(); ++i) {
        chart_series const& s = chart.series[i];
        char const* const colour = detail::chart_colour(colour_of(i));
        std::string points;
        std::size_t count = 0;
        std::string last_x, last_y;
        auto const end_run = [&] {
            if (count == 1) { // a point between two gaps would be invisible as a line
                canvas.raw("<circle cx=\"" + last_x + "\" cy=\"" + last_y + "\" r=\"2.5\" fill=\"" + colour + "\"/>\n");
            } else if (count > 1) {
                canvas.raw("<polyline points=\"" + points + "\" fill=\"none\" stroke=\"" + colour +
                           "\" stroke-width=\"2\" stroke-linejoin=\"round\" stroke-linecap=\"round\"" +
                           detail::chart_dash(s, colour_of(i)) + "/>\n");
            }
            points.clear();
            count = 0;
        };
        for (std::size_t k = 0; k < s.y.size(); ++k) {
            if (!x.shows(abscissa(s, k)) || !y.shows(s.y[k])) {
                end_run();
                continue;
            }
            // Far outside the picture is as good as any place outside, and keeps the numbers printable.
            last_x = detail::px(std::clamp(x(abscissa(s, k)), -1e5, 1e5));
            last_y = detail::px(std::clamp(y(s.y[k]), -1e5, 1e5));
            points += (count == 0 ? "" : " ") + last_x + "," + last_y;
            ++count;
        }
        end_run();
    }
    canvas.raw("</g>\n");
    return canvas.finish();
}

/// The chart as SVG text; as high as its bars need. Throws `data_error` when a set of bars does not have one value per
/// category, or the picture is narrower than 200.
inline std::string to_svg(bar_chart const& chart) {
    if (chart.width < 200) {
        throw data_error("bar_chart '" + chart.title + "': " + std::to_string(chart.width) +
                         " pixels wide; at least 200 are needed");
    }
    constexpr double infinity = std::numeric_limits<double>::infinity();
    double const from = std::isfinite(chart.from) ? chart.from : 0.0;
    detail::chart_axis x{0, 1, chart.log_x};
    double low = infinity, high = -infinity;
    for (chart_bars const& bars : chart.series) {
        if (bars.values.size() != chart.categories.size()) {
            throw data_error("bar_chart '" + chart.title + "': '" + bars.name + "' has " +
                             std::to_string(bars.values.size()) + " values for " +
                             std::to_string(chart.categories.size()) + " categories");
        }
        for (double const value : bars.values) {
            if (x.shows(value)) {
                low = std::min(low, value);
                high = std::max(high, value);
            }
        }
    }
    if (chart.reference && x.shows(*chart.reference)) {
        low = std::min(low, *chart.reference);
        high = std::max(high, *chart.reference);
    }
    if (chart.log_x) {
        x = detail::chart_range(low, high, true, 0.0);
        x.low = std::pow(10.0, std::floor(std::log10(x.low) - 0.15)); // the shortest bar is a bar
    } else {
        x = detail::chart_range(std::min(low, from), std::max(high, from), false, 0.0);
    }

    double const size = detail::chart_canvas::text_size;
    double const bar = chart.series.size() > 1 ? 16.0 : 22.0;
    double const group = bar * static_cast<double>(std::max<std::size_t>(chart.series.size(), 1)) + 14.0;
    std::vector<std::string_view> names;
    for (chart_bars const& bars : chart.series) {
        if (chart.series.size() > 1) {
            names.push_back(bars.name);
        }
    }
    auto const value_text = [&](double value) {
        if (!x.shows(value)) {
            return std::string("n/a");
        }
        double const magnitude = std::abs(value);
        if (chart.decimals < 0 && magnitude != 0.0 && (magnitude >= 1e6 || magnitude < 1e-3)) {
            return detail::power_text(value) + chart.unit;
        }
        int const decimals = chart.decimals >= 0 ? std::min(chart.decimals, 12)
                             : magnitude == 0.0  ? 0
                                                 : std::max(0, 2 - static_cast<int>(std::floor(std::log10(magnitude))));
        return detail::plain_number(value, decimals) + chart.unit;
    };
    double label_width = 0.0;
    double value_width = 0.0;
    for (std::string const& category : chart.categories) {
        label_width = std::max(label_width, detail::text_width(category, size));
    }
    for (chart_bars const& bars : chart.series) {
        for (double const value : bars.values) {
            value_width = std::max(value_width, detail::text_width(value_text(value), size));
        }
    }
    label_width = std::min(label_width, chart.width * 0.4); // longer ones are drawn smaller
    double const left = 20.0 + label_width + 10.0;
    double const right = std::max(left + 40.0, chart.width - 24.0 - value_width - 6.0);
    double const legend_top = chart.title.empty() ? 20.0 : 48.0;

    // The legend decides how high the picture is, so it is laid out once to know and once to draw.
    auto const lay_out_legend = [&](detail::chart_canvas& on) {
        return 6.0 + on.legend(names, 20.0, chart.width - 24.0, legend_top, [&](std::size_t i, double kx, double ky) {
            on.raw("<rect class=\"key\" x=\"" + detail::px(kx + 6) + "\" y=\"" + detail::px(ky - 6) +
                   "\" width=\"14\" height=\"12\" rx=\"2\" fill=\"" + detail::chart_colour(static_cast<int>(i)) +
                   "\"/>\n");
        });
    };
    detail::chart_canvas scratch(1, 1, "");
    double const top = lay_out_legend(scratch);
    double const bottom = top + group * static_cast<double>(std::max<std::size_t>(chart.categories.size(), 1)) + 6.0;
    auto const height = static_cast<int>(bottom + (chart.x_label.empty() ? 34.0 : 54.0));

    detail::chart_canvas canvas(chart.width, height, chart.title);
    canvas.title(chart.title, 20, chart.width - 44.0);
    lay_out_legend(canvas);
    x.pixel_low = left;
    x.pixel_high = right;
    for (auto const& mark : x.ticks(std::max(2, static_cast<int>((right - left) / 95.0)))) {
        double const at = x(mark.at);
        canvas.line(at, top, at, bottom, mark.text.empty() ? "#f0f0f0" : "#e2e2e2", 1);
        if (!mark.text.empty()) {
            canvas.text(at, bottom + 18, mark.text, "middle");
        }
    }
    double const base = chart.log_x ? left : x(std::clamp(from, x.low, x.high));
    struct placed_value {
        double x, y;
        std::string text;
    };
    std::vector<placed_value> values; // drawn last, over the reference line
    for (std::size_t c = 0; c < chart.categories.size(); ++c) {
        double const start = top + 6.0 + group * static_cast<double>(c) + 4.0;
        canvas.fitted_text(left - 10, start + (group - 14.0) / 2 + 4.5, chart.categories[c], "end", size, label_width);
        for (std::size_t s = 0; s < chart.series.size(); ++s) {
            double const value = chart.series[s].values[c];
            double const y = start + bar * static_cast<double>(s);
            double const end = x.shows(value) ? std::clamp(x(value), left, right) : base;
            if (x.shows(value)) {
                canvas.raw("<rect class=\"bar\" x=\"" + detail::px(std::min(base, end)) + "\" y=\"" +
                           detail::px(y + 1) + "\" width=\"" + detail::px(std::max(std::abs(end - base), 0.5)) +
                           "\" height=\"" + detail::px(bar - 2) + "\" rx=\"2\" fill=\"" +
                           detail::chart_colour(static_cast<int>(s)) + "\"/>\n");
            }
            values.push_back({std::max(base, end) + 6, y + bar / 2 + 4.5, value_text(value)});
        }
    }
    canvas.line(base, top, base, bottom, "#888888", 1);
    if (chart.reference && x.shows(*chart.reference)) {
        canvas.line(x(*chart.reference), top, x(*chart.reference), bottom, detail::chart_canvas::ink, 1.5,
                    " class=\"reference\" stroke-dasharray=\"5 4\"");
    }
    for (placed_value const& value : values) { // a white edge keeps them readable where they cross a line
        canvas.text(value.x, value.y, value.text, "start", detail::chart_canvas::ink,
                    " stroke=\"#ffffff\" stroke-width=\"4\" stroke-linejoin=\"round\" paint-order=\"stroke\"");
    }
    if (chart.categories.empty() || chart.series.empty()) {
        canvas.text((left + right) / 2, (top + bottom) / 2, "no data", "middle");
    }
    if (!chart.x_label.empty()) {
        canvas.fitted_text((left + right) / 2, height - 12.0, chart.x_label, "middle", 13, 1.6 * (right - left));
    }
    return canvas.finish();
}

/// Writes a chart, atomically. Throws `data_error` as `to_svg` does, `file_error` when the file cannot be written.
inline void write_svg(std::filesystem::path const& path, line_chart const& chart) {
    write_text_file(path, to_svg(chart));
}
inline void write_svg(std::filesystem::path const& path, bar_chart const& chart) {
    write_text_file(path, to_svg(chart));
}

} // namespace espalier
