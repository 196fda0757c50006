// SPDX-License-Identifier: Apache-2.0
// The bodies of a layer's own passes for one group of a launch (core/live_groups.hpp): on the rows of its window, with
// its tensors, terms and random bits, and with a part of the scratch of its own. Tensors and sites given are group 0's.
#pragma once

#include <espalier/core/epilogue.hpp>
#include <espalier/core/layout.hpp>
#include <espalier/core/live_groups.hpp>
#include <espalier/core/macros.hpp>
#include <espalier/core/random.hpp>
#include <espalier/core/rows.hpp>
#include <espalier/core/update.hpp>
#include <espalier/core/view.hpp>
#include <espalier/kernels/access.hpp>
#include <espalier/kernels/epilogue.hpp>
#include <espalier/kernels/sums.hpp>
#include <espalier/kernels/tile_product.hpp>
#include <espalier/kernels/update.hpp>

#include <cstdint>

namespace espalier::kernels {

/// Strips of all groups of a launch at most, when views have `rows` rows.
ESPALIER_FN constexpr index_t most_strips_of(live_groups const& live, index_t rows) {
    index_t const apart = live.groups * strips_at_most(rows);
    if (live.groups == 1) return apart;
    index_t const together = live.groups + live.most_rows / shortest_strip;
    return apart < together ? apart : together;
}
/// Strips of the groups before this one: where its own begin in scratch.
ESPALIER_FN index_t strips_before(live_groups const& live, int group, index_t rows) {
    index_t sum = 0;
    for (int g = 0; g < group; ++g)
        sum += strips_of(live_count(rows, live.window(g))).count;
    return sum;
}

namespace grouped {

/// Where the dropout of a group draws: as every other layer where its decisions hold for all.
template <class Op>
ESPALIER_FN random_site epilogue_site(live_groups const& live, int group, random_site const& of_first) {
    return Op::scope == random_scope::step ? of_first : live.site(of_first, group);
}

template <class Block, class Op, class T>
ESPALIER_FN void epilogue_forward(Block const& block, live_groups const& live, int group, Op const& op,
                                  matrix_view<T const> z, matrix_view<T> y, random_site const& site, rows const& batch,
                                  error_word* error = nullptr, master_of<T> const* units = nullptr) {
    live_window const window = live.window(group);
    kernels::epilogue_forward(block, op, live_rows(z, window), live_rows(y, window),
                              epilogue_site<Op>(live, group, site), live_rows(batch, window), error,
                              live.of_state(units, group));
}
template <class Block, class Op, class T>
ESPALIER_FN void epilogue_forward_strips(Block const& block, live_groups const& live, int group, Op const& op,
                                         matrix_view<T const> z, matrix_view<T> y, random_site const& site,
                                         rows const& batch, epilogue_scratch<master_of<T>> const& scratch,
                                         error_word* error = nullptr, master_of<T> const* units = nullptr) {
    live_window const window = live.window(group);
    kernels::epilogue_forward_strips(
        block, op, live_rows(z, window), live_rows(y, window), epilogue_site<Op>(live, group, site),
        live_rows(batch, window), scratch.template behind<Op>(strips_before(live, group, z.rows), octets_of(z.columns)),
        error, live.of_state(units, group));
}
template <class Block, class Op, class W>
ESPALIER_FN void epilogue_finish(Block const& block, live_groups const& live, int group, Op const& op,
                                 index_t row_count, index_t columns, epilogue_scratch<W> const& scratch,
                                 epilogue_statistics<W> statistics) {
    statistics.value = live.term(statistics.value, group);
    kernels::epilogue_finish(block, op, live_count(row_count, live.window(group)), columns,
                             scratch.template behind<Op>(strips_before(live, group, row_count), octets_of(columns)),
                             statistics);
}
template <class Block, class Op, class T>
ESPALIER_FN void
epilogue_backward(Block const& block, live_groups const& live, int group, Op const& op, matrix_view<T const> z,
                  matrix_view<T const> dy, matrix_view<T> dz, random_site const& site, rows const& batch,
                  epilogue_statistics<master_of<T>> statistics, master_of<T>* partial, error_word* error = nullptr) {
    statistics.units = live.of_state(statistics.units, group);
    live_window const window = live.window(group);
    epilogue_window const part{static_cast<std::int32_t>(live_first(window)),
                               static_cast<std::int32_t>(live_count(z.rows, window)),
                               static_cast<std::int32_t>(partial ? strips_before(live, group, z.rows) : 0)};
    kernels::epilogue_backward(block, op, z, dy, dz, epilogue_site<Op>(live, group, site), batch, statistics, partial,
                               part, error);
}

template <class Block, class T>
ESPALIER_FN void column_partials(Block const& block, live_groups const& live, int group, matrix_view<T const> m,
                                 master_of<T>* partial) {
    kernels::column_partials(block, live_rows(m, live.window(group)),
                             partial + strips_before(live, group, m.rows) * octets_of(m.columns) * octet);
}
/// Of set `set` of the partial rows; `row_count` rows were cut into strips, as many as a set has partial rows.
template <class Block, class W>
ESPALIER_FN void add_partial_rows(Block const& block, live_groups const& live, int group, W const* partial, int set,
                                  index_t row_count, index_t columns, W* out, bool accumulate,
                                  error_word const* error) {
    index_t const count = strips_of(live_count(row_count, live.window(group))).count;
    index_t const stride = octets_of(columns) * octet;
    kernels::add_partial_rows(block, partial + (strips_before(live, group, row_count) + set * count) * stride, count,
                              stride, columns, live.tensor(out, group), accumulate, error);
}

/// `partial`: [groups][penalties][chunks], or null; `of_scalars`: [groups][trained numbers][chunks]. Not for penalties
/// over groups of weights.
template <class Block, class Optimizer, class Rule, class Wide, class Narrow>
ESPALIER_FN void update_tensor(Block const& block, live_groups const& live, int group, Optimizer const& optimizer,
                               Rule const& rule, update_segment<Wide, Narrow> const& segment,
                               update_context const& context, double* partial, double* of_scalars = nullptr) {
    index_t const chunks = update_chunks(segment.rows * segment.columns);
    if (partial) partial += group * Rule::penalty_count * chunks;
    if (of_scalars) of_scalars += group * Rule::scalars * chunks;
    kernels::update_tensor(block, optimizer, rule, segment_of(segment, live, group), context, partial, of_scalars);
}

template <class Block, class T, class Bias>
ESPALIER_FN void tile_forward(Block const& block, live_groups const& live, int group, matrix_view<T const> x,
                              matrix_view<T const> w, Bias const* bias, matrix_view<T> z, bool accumulate) {
    kernels::tile_forward(block, x, live.tensor(w, group), live.tensor(bias, group), z, accumulate, live.window(group),
                          live.groups);
}
template <class Block, class T>
ESPALIER_FN void tile_input_gradient(Block const& block, live_groups const& live, int group, matrix_view<T const> dz,
                                     matrix_view<T const> w, matrix_view<T> dx) {
    kernels::tile_input_gradient(block, dz, live.tensor(w, group), dx, live.window(group), live.groups);
}
template <class Block, class T>
ESPALIER_FN void tile_weight_gradient(Block const& block, live_groups const& live, int group, matrix_view<T const> x,
                                      matrix_view<T const> dz, matrix_view<master_of<T>> dw) {
    kernels::tile_weight_gradient(block, x, dz, live.tensor(dw, group), live.window(group), live.groups);
}

} // namespace grouped
} // namespace espalier::kernels
