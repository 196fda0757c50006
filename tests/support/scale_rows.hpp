// SPDX-License-Identifier: Apache-2.0
// A pass that the library does not have, written as docs/devices.md says: the body, and the pass that names its
// arguments. Every device runs it.
#pragma once

#include <espalier/core/live_groups.hpp>
#include <espalier/core/live_window.hpp>
#include <espalier/core/macros.hpp>
#include <espalier/core/view.hpp>
#include <espalier/kernels/access.hpp>

namespace test_passes {

using namespace espalier;

/// Row r of x becomes factor_r x_r, by the lanes of a grid.
template <class Block, class T> ESPALIER_FN void scale_rows(Block const& block, matrix_view<T> x, T const* factor) {
    for (index_t i = kernels::grid_lane(block); i < x.rows * x.columns; i += kernels::grid_lanes(block)) {
        index_t const r = i / x.columns;
        x(r, i % x.columns) *= factor[r];
    }
}

/// For every group of a launch: the rows of its window, with its tensor of factors.
template <class T> struct scale_rows_pass {
    matrix_view<T> x;
    T const* factor;

    index_t lanes() const { return x.rows * x.columns; }
    template <class Block> ESPALIER_FN void operator()(Block const& block, live_groups const& live, int group) const {
        scale_rows(block, kernels::live_rows(x, live.window(group)), live.tensor(factor, group));
    }
};

} // namespace test_passes
