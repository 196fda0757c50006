// SPDX-License-Identifier: Apache-2.0
// Charts as SVG.
#include <espalier/io/detail/svg_chart.hpp>
