// SPDX-License-Identifier: Apache-2.0
// Small charts as SVG text, without dependencies: learning curves (`line_chart`) and comparisons (`bar_chart`).
// Included by host code (host only). Colours are those of Okabe and Ito (jfly.uni-koeln.de/color, 2002), which people
// with any form of colour blindness tell apart.
#pragma once

#include <espalier/core/error.hpp>
#include <espalier/core/file_path.hpp>
#include <espalier/core/library.hpp>

#include <optional>
#include <string>
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

/// The chart as SVG text. Throws `data_error` when a series has x values, but not as many as y values, or the picture
/// is smaller than 200 x 150.
std::string to_svg(line_chart const& chart);

/// The chart as SVG text; as high as its bars need. Throws `data_error` when a set of bars does not have one value per
/// category, or the picture is narrower than 200.
std::string to_svg(bar_chart const& chart);

/// Writes a chart, atomically. Throws `data_error` as `to_svg` does, `file_error` when the file cannot be written.
void write_svg(file_path const& path, line_chart const& chart);

/// The same for bars.
void write_svg(file_path const& path, bar_chart const& chart);

} // namespace espalier

#if defined(ESPALIER_HEADER_ONLY)
#include <espalier/io/detail/svg_chart.hpp>
#endif
