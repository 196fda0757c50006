// SPDX-License-Identifier: Apache-2.0
// host only. The epilogue of a layer on one core: one loop for any composition of activation, dropout and activation
// penalties.
#pragma once

#include <espalier/core/epilogue.hpp>
#include <espalier/core/finite.hpp>
#include <espalier/core/pack.hpp>
#include <espalier/core/random.hpp>
#include <espalier/core/rows.hpp>
#include <espalier/core/view.hpp>
#include <espalier/device/cpu/bits.hpp>

namespace espalier::cpu {

namespace detail {

/// Calls body(first_row, row_count, first_column, column_count) over tiles whose draws fit the buffer. First columns
/// are multiples of 128 so that draws come in whole blocks.
template <class Body> ESPALIER_HOST_FN void for_tiles(index_t row_count, index_t columns, Body const& body) {
    if (columns == 0) return;
    index_t const tile_columns = columns < strip_draws ? columns : strip_draws;
    index_t const padded_columns = (tile_columns + 7) / 8 * 8;
    index_t const tile_rows = strip_draws / padded_columns;
    for (index_t r = 0; r < row_count; r += tile_rows) {
        index_t const n = row_count - r < tile_rows ? row_count - r : tile_rows;
        for (index_t c = 0; c < columns; c += tile_columns)
            body(r, n, c, columns - c < tile_columns ? columns - c : tile_columns);
    }
}

/// The decisions of a tile, and one more of each of its rows where an op asks for it.
template <class Op> struct tile_draws {
    static constexpr index_t most_rows = strip_draws / 8;
    draw_buffer element;
    std::uint16_t row[Op::needs_row_bits ? most_rows : 1];
};

template <class Op>
ESPALIER_HOST_FN void draw_tile(Op const& op, random_site const& site, rows const& batch, index_t first_row,
                                index_t row_count, index_t first_column, index_t column_count, tile_draws<Op>& draws) {
    using dropout = typename Op::dropout_type;
    auto const place = [&](index_t r) { return espalier::detail::draw_place<dropout>(batch, first_row + r); };
    std::uint16_t* const to = draws.element.value;
    index_t const block_count = (column_count + 7) / 8;
    if constexpr (Op::needs_row_bits)
        for (index_t r = 0; r < row_count; ++r)
            draws.row[r] = static_cast<std::uint16_t>(draw(site, place(r), 0, row_draw)[0]);
    if constexpr (Op::scope == random_scope::element) {
        auto const blocks = static_cast<std::uint32_t>(block_count);
        auto const block = static_cast<std::uint32_t>(first_column / 8);
        if constexpr (requires { typename dropout::place; }) {
            std::uint32_t places[tile_draws<Op>::most_rows];
            for (index_t r = 0; r < row_count; ++r)
                places[r] = place(r);
            fill_bits(site, places, row_count, block, blocks, to);
        } else {
            fill_bits(site, batch.slice(first_row, row_count), block, blocks, to);
        }
    } else if constexpr (Op::scope == random_scope::row) {
        for (index_t r = 0; r < row_count; ++r)
            to[r] = static_cast<std::uint16_t>(draw(site, place(r), 0)[0]);
    } else if constexpr (Op::scope == random_scope::step) {
        to[0] = static_cast<std::uint16_t>(draw(site, 0, 0)[0]);
    } else if constexpr (Op::scope == random_scope::segment) {
        index_t const length = op.dropout.segment;
        for (index_t r = 0; r < row_count; ++r) {
            std::uint16_t* const of_row = to + r * block_count * 8;
            index_t segment = first_column / length, c = 0;
            bits8 bits = draw(site, place(r), static_cast<std::uint32_t>(segment / 8));
            for (; c < column_count; ++segment) {
                if (segment % 8 == 0) bits = draw(site, place(r), static_cast<std::uint32_t>(segment / 8));
                auto const decision = static_cast<std::uint16_t>(bits[static_cast<int>(segment % 8)]);
                for (; c < column_count && first_column + c < (segment + 1) * length; ++c)
                    of_row[c] = decision;
            }
        }
    }
}

/// The draws of one row for the lanes of T, starting at column c of the tile.
template <class T, class Op>
ESPALIER_FN bits_of<T> tile_bits(tile_draws<Op> const& draws, index_t row, index_t c, index_t row_stride) {
    if constexpr (Op::scope == random_scope::element || Op::scope == random_scope::segment)
        return load_bits<T>(draws.element.value + row * row_stride + c);
    else if constexpr (Op::scope == random_scope::row)
        return bits_of<T>(draws.element.value[row]);
    else if constexpr (Op::scope == random_scope::step)
        return bits_of<T>(draws.element.value[0]);
    else
        return bits_of<T>(0);
}

/// What all elements of row r of the tile have in common.
template <class T, class Op>
ESPALIER_FN auto about_tile_row(tile_draws<Op> const& draws, rows const& batch, index_t first_row, index_t r,
                                index_t width, T row_count, random_site const& site) {
    auto about = about_row<Op, T, bits_of<T>>(batch, first_row + r, width, row_count, site.step);
    if constexpr (Op::needs_row_bits) about.row_bits = bits_of<T>(draws.row[r]);
    return about;
}

/// The columns of the lanes of T, the first of them c.
template <class T> ESPALIER_FN bits_of<T> columns_from(index_t c) {
    return bits_of<T>::iota(static_cast<scalar_of<bits_of<T>>>(c));
}

} // namespace detail

/// y = factor * activation(z) over a batch; `z` and `y` may be the same memory. Penalty values, when `statistics.value`
/// is given, are written, not added. Returns whether all of z is finite, which y need not show.
template <class T, class Op>
bool epilogue_forward(Op const& given, matrix_view<T const> z, matrix_view<T> y, random_site const& site,
                      rows const& batch, epilogue_statistics<T> statistics) {
    using P = native_pack<T>;
    constexpr index_t lanes = pack_width<P>;
    detail::tile_draws<Op> draws;
    finite_watch<P> watch;
    double element_sum[Op::penalty_count + 1] = {};
    if constexpr (Op::column_penalties > 0)
        for (int i = 0; i < Op::column_penalties; ++i)
            for (index_t c = 0; c < z.columns; ++c)
                statistics.column_sums[i * statistics.column_stride + c] = T(0);

    detail::for_tiles(z.rows, z.columns, [&](index_t r0, index_t rn, index_t c0, index_t cn) {
        detail::draw_tile(given, site, batch, r0, rn, c0, cn, draws);
        index_t const draw_stride = (cn + 7) / 8 * 8;
        Op const op = given; // of the tile's own: through a reference its numbers are read again after every store
        T const* const units = statistics.units;
        P contribution[Op::penalty_count + 1]; // of the tile
        for (auto& sum : contribution)
            sum = P(T(0));
        finite_watch<P> seen;
        for (index_t r = 0; r < rn; ++r) {
            auto about = detail::about_tile_row(draws, batch, r0, r, z.columns, P(static_cast<T>(z.rows)), site);
            T const* const from = z.row(r0 + r) + c0;
            T* const to = y.row(r0 + r) + c0;
            // Always inlined, for GCC finds it too long and a call costs as much as the element.
            auto const element = [&](index_t c, auto load_some, auto store_some, auto partial)
                __attribute__((always_inline)) {
                P const x = load_some(from + c);
                seen.see(x);
                about.bits = detail::tile_bits<P>(draws, r, c, draw_stride);
                about.column = detail::columns_from<P>(c0 + c);
                if constexpr (Op::masks_units) about.unit = load_some(units + c0 + c);
                P const value = op.forward(x, about);
                store_some(to + c, value);
                if constexpr (Op::has_penalties) {
                    int index = 0;
                    int column_index = 0;
                    for_each(op.penalties, [&](auto const& penalty) {
                        using penalty_op = std::remove_cvref_t<decltype(penalty)>;
                        P const share = partial(espalier::detail::contribution_of(penalty, value, about));
                        if constexpr (penalty_op::scope == penalty_scope::column) {
                            T* const sums = statistics.column_sums + column_index++ * statistics.column_stride + c0 + c;
                            store_some(sums, load_some(sums) + share);
                        } else {
                            contribution[index] = contribution[index] + share;
                        }
                        ++index;
                    });
                }
            };
            index_t c = 0;
            for (; c + lanes <= cn; c += lanes)
                element(
                    c, [](T const* p) { return P::load(p); }, [](T* p, P const& v) { v.store(p); },
                    [](P const& v) { return v; });
            if (c < cn) {
                int const rest = static_cast<int>(cn - c);
                element(
                    c, [&](T const* p) { return P::load(p, rest); }, [&](T* p, P const& v) { v.store(p, rest); },
                    [&](P const& v) { return select(mask_of<P>::first(rest), v, P(T(0))); });
            }
        }
        watch.join(seen);
        if constexpr (Op::has_penalties)
            for (int i = 0; i < Op::penalty_count; ++i)
                element_sum[i] += static_cast<double>(horizontal_sum(contribution[i]));
    });

    if constexpr (Op::has_penalties) {
        if (statistics.value && z.rows > 0) {
            int index = 0;
            int column_index = 0;
            double const row_count = static_cast<double>(z.rows);
            for_each(given.penalties, [&](auto const& penalty) {
                using penalty_op = std::remove_cvref_t<decltype(penalty)>;
                if constexpr (penalty_op::scope == penalty_scope::column) {
                    double total = 0.0;
                    T const* const sums = statistics.column_sums + column_index++ * statistics.column_stride;
                    for (index_t c = 0; c < z.columns; ++c)
                        total += penalty.finish(static_cast<double>(sums[c]), row_count);
                    statistics.value[index] = total;
                } else {
                    statistics.value[index] = penalty.finish(element_sum[index], row_count);
                }
                ++index;
            });
        }
    }
    return watch.all_finite();
}

/// dz from dy; `dy` and `dz` may be the same memory. `bias_gradient`, when given, receives the column sums of dz.
/// Returns whether all of dy is finite.
template <class T, class Op>
bool epilogue_backward(Op const& given, matrix_view<T const> z, matrix_view<T const> dy, matrix_view<T> dz,
                       T* bias_gradient, random_site const& site, rows const& batch,
                       epilogue_statistics<T> statistics) {
    using P = native_pack<T>;
    constexpr index_t lanes = pack_width<P>;
    detail::tile_draws<Op> draws;
    finite_watch<P> watch;
    if (bias_gradient)
        for (index_t c = 0; c < z.columns; ++c)
            bias_gradient[c] = T(0);

    detail::for_tiles(z.rows, z.columns, [&](index_t r0, index_t rn, index_t c0, index_t cn) {
        detail::draw_tile(given, site, batch, r0, rn, c0, cn, draws);
        index_t const draw_stride = (cn + 7) / 8 * 8;
        Op const op = given; // of the tile's own, as in the forward pass, and so are the views
        matrix_view<T const> const zs = z, dys = dy;
        matrix_view<T> const dzs = dz;
        epilogue_statistics<T> const sums = statistics;
        P const row_count(static_cast<T>(z.rows));
        // Columns outside: the bias gradient of a pack of columns stays in a register for the whole strip of rows.
        auto const column = [&](index_t c, auto load_some, auto store_some) __attribute__((always_inline)) {
            P sum(T(0)), unit(T(0));
            if constexpr (Op::masks_units) unit = load_some(sums.units + c0 + c);
            finite_watch<P> seen;
            auto const column_sum = [&](int i) {
                return load_some(sums.column_sums + i * sums.column_stride + c0 + c);
            };
            for (index_t r = 0; r < rn; ++r) {
                P const upstream = load_some(dys.row(r0 + r) + c0 + c);
                seen.see(upstream);
                auto about = detail::about_tile_row(draws, batch, r0, r, zs.columns, row_count, site);
                about.bits = detail::tile_bits<P>(draws, r, c, draw_stride);
                about.column = detail::columns_from<P>(c0 + c);
                about.unit = unit;
                P const gradient = op.backward(load_some(zs.row(r0 + r) + c0 + c), upstream, about, column_sum);
                store_some(dzs.row(r0 + r) + c0 + c, gradient);
                sum = sum + gradient;
            }
            watch.join(seen);
            if (bias_gradient) {
                T* const to = bias_gradient + c0 + c;
                store_some(to, load_some(to) + sum);
            }
        };
        index_t c = 0;
        for (; c + lanes <= cn; c += lanes)
            column(
                c, [](T const* p) { return P::load(p); }, [](T* p, P const& v) { v.store(p); });
        if (c < cn) {
            int const rest = static_cast<int>(cn - c);
            column(
                c, [&](T const* p) { return P::load(p, rest); }, [&](T* p, P const& v) { v.store(p, rest); });
        }
    });
    return watch.all_finite();
}

} // namespace espalier::cpu
