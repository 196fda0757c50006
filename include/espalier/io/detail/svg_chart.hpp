// SPDX-License-Identifier: Apache-2.0
// host only. Definitions of io/svg_chart.hpp; see core/library.hpp.
#pragma once

#include <espalier/io/svg_chart.hpp>

#include <espalier/core/error.hpp>
#include <espalier/io/atomic_file.hpp>
#include <espalier/io/detail/chart_parts.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <limits>
#include <string_view>

namespace espalier {

ESPALIER_LIBRARY std::string to_svg(line_chart const& chart) {
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

ESPALIER_LIBRARY std::string to_svg(bar_chart const& chart) {
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

ESPALIER_LIBRARY void write_svg(file_path const& path, line_chart const& chart) {
    write_text_file(path, to_svg(chart));
}
ESPALIER_LIBRARY void write_svg(file_path const& path, bar_chart const& chart) {
    write_text_file(path, to_svg(chart));
}

} // namespace espalier
