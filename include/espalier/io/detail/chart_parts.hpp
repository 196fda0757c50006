// SPDX-License-Identifier: Apache-2.0
// host only. What charts are made of: text, axes with their ticks, a canvas.
#pragma once

#include <espalier/core/error.hpp>
#include <espalier/io/svg_chart.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <limits>
#include <string>
#include <string_view>
#include <vector>

namespace espalier {

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

} // namespace espalier
