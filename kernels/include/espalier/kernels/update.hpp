// SPDX-License-Identifier: Apache-2.0
// Kernel bodies of the update pass: one read and one write of the weights for any composition of penalties, transforms,
// optimizer, prox, mask and operand copy. What happens to a weight is core/update.hpp's to say.
#pragma once

#include <espalier/core/flat_tuple.hpp>
#include <espalier/core/layout.hpp>
#include <espalier/core/live_groups.hpp>
#include <espalier/core/macros.hpp>
#include <espalier/core/math.hpp>
#include <espalier/core/random.hpp>
#include <espalier/core/update.hpp>
#include <espalier/core/view.hpp>
#include <espalier/kernels/access.hpp>
#include <espalier/kernels/sums.hpp>

#include <cstddef>
#include <cstdint>
#include <type_traits>

namespace espalier::kernels {

/// Weights that one tile of lanes updates before it takes the next ones: the unit in which a tensor is dealt out, and
/// of which penalties leave one partial value.
inline constexpr index_t update_chunk = 1024;

ESPALIER_FN constexpr index_t update_chunks(index_t size) {
    return (size + update_chunk - 1) / update_chunk;
}

/// What an update looks at that may stand in device memory.
struct update_context {
    double const* squared_norm = nullptr; ///< of all gradients; null: the segment's global_norm
    std::uint32_t const* step = nullptr;  ///< of the random bits; null: the segment's own
    error_word* error = nullptr;          ///< nothing is changed when it reports an error of the step
};

namespace detail {

/// Eight neighbouring weights of one tensor.
template <class Optimizer, class Rule, class Wide, class Narrow> struct update_lane {
    static constexpr int moments = Optimizer::moments;
    static_assert(std::is_same_v<Wide, master_of<Narrow>>, "espalier: weights are the masters of what products read");
    static constexpr int scalars = espalier::detail::moved_scalars<Optimizer, Rule>;
    static constexpr int sums = Rule::penalty_count + scalars;
    static constexpr bool copies = (Rule::needs_operand || !std::is_same_v<Wide, Narrow>)&&scalars == 0;

    Optimizer const& optimizer;
    std::conditional_t<(Rule::scalars > 0), Rule, Rule const&> rule;
    update_segment<Wide, Narrow> const& s;
    random_site site;
    Wide rate;
    Wide decay;
    Wide global_norm;
    error_word* error;
    bool vector;

    ESPALIER_FN update_lane(Optimizer const& o, Rule const& r, update_segment<Wide, Narrow> const& segment,
                            update_context const& context, bool rows_aligned)
        : optimizer(o), rule(made(r, segment)), s(segment), site(segment.site),
          rate(static_cast<Wide>(o.rate() * segment.rates.learning_rate)),
          decay(static_cast<Wide>(segment.rates.decay)), global_norm(static_cast<Wide>(segment.global_norm)),
          error(context.error) {
        if (context.step) site.step = *context.step;
        if constexpr (Rule::needs_global_norm)
            if (context.squared_norm) global_norm = static_cast<Wide>(sqrt(*context.squared_norm));
        vector = rows_aligned && aligned16(s.weights) && aligned16(s.gradients);
        if constexpr (moments > 0)
            vector = vector && aligned16(s.moments) &&
                     (static_cast<std::uintptr_t>(s.moment_stride) * sizeof(Wide) & 15u) == 0;
        if constexpr (Rule::needs_reference) vector = vector && aligned16(s.reference);
        if constexpr (Rule::companions > 0)
            vector = vector && aligned16(s.companions) &&
                     (static_cast<std::uintptr_t>(s.companion_stride) * sizeof(Wide) & 15u) == 0;
        if constexpr (copies) vector = vector && aligned16(s.operands);
    }

    /// The rule with the map that the tensor's trained numbers make.
    ESPALIER_FN static decltype(auto) made(Rule const& given,
                                           [[maybe_unused]] update_segment<Wide, Narrow> const& segment) {
        if constexpr (Rule::scalars > 0)
            return espalier::detail::with_scalars(given, segment.scalars);
        else
            return (given);
    }

    /// `norm(group, j)`: norm of the group of element first + j; `value(k, v)`: sum of values of the eight, of
    /// penalties and, behind them, of gradients of the map's trained numbers. Leaves the new weights in `w`.
    template <class Norm, class Value>
    ESPALIER_FN void run(index_t first, int count, Norm const& norm, Value const& value, Wide (&w)[octet]) const {
        Wide g[std::size_t{octet}], m[std::size_t{moments + 1}][std::size_t{octet}], reference[std::size_t{octet}] = {};
        load8(s.weights + first, count, vector, w);
        load8(s.gradients + first, count, vector, g);
        ESPALIER_KERNEL_UNROLL
        for (int k = 0; k < moments; ++k)
            load8(s.moments + k * s.moment_stride + first, count, vector, m[k]);
        if constexpr (Rule::needs_reference) load8(s.reference + first, count, vector, reference);
        [[maybe_unused]] Wide companion[std::size_t{Rule::companions + 1}][std::size_t{octet}];
        ESPALIER_KERNEL_UNROLL
        for (int k = 0; k < Rule::companions; ++k)
            load8(s.companions + k * s.companion_stride + first, count, vector, companion[k]);
        bits8 bits[Rule::draws + 1] = {};
        ESPALIER_KERNEL_UNROLL
        for (int k = 0; k < Rule::draws; ++k)
            bits[k] = flat_bits(site, first, static_cast<std::uint32_t>(k));
        std::uint32_t kept = 0xff;
        if constexpr (Rule::uses_mask) kept = mask8(s.mask, first, count);
        Wide sum[std::size_t{sums + 1}] = {};
        [[maybe_unused]] Wide operand[octet];
        ESPALIER_KERNEL_UNROLL
        for (int j = 0; j < octet; ++j) {
            Wide moment[std::size_t{moments + 1}];
            ESPALIER_KERNEL_UNROLL
            for (int k = 0; k < moments; ++k)
                moment[k] = m[k][j];
            element_about<Wide> const about{.weight = w[j],
                                            .rate = rate,
                                            .keep = (kept >> j & 1u) != 0,
                                            .reference = reference[j],
                                            .global_norm = global_norm};
            w[j] = update_element(
                optimizer, rule, g[j], moment, decay, about, [&](int k) { return bits[k][j]; },
                [&](int group) { return norm(group, j); }, [&](int k, Wide v) { sum[k] += j < count ? v : Wide(0); },
                [&](int k) { return companion[k][j]; });
            ESPALIER_KERNEL_UNROLL
            for (int k = 0; k < moments; ++k)
                m[k][j] = moment[k];
            if constexpr (copies)
                operand[j] = weight::detail::effective_weight(
                    rule.map, w[j], about.keep,
                    espalier::detail::companions_of_map<Rule, Wide>([&](int k) { return companion[k][j]; }));
        }
        if constexpr (!espalier::detail::shrinks_groups<Optimizer>()) { // what moves no weight spoils none
            report_unless_finite(error, update_not_finite, first, w);
            ESPALIER_KERNEL_UNROLL
            for (int k = 0; k < moments; ++k)
                report_unless_finite(error, update_not_finite, first, m[k]);
        }
        store8(s.weights + first, count, vector, w);
        ESPALIER_KERNEL_UNROLL
        for (int k = 0; k < moments; ++k)
            store8(s.moments + k * s.moment_stride + first, count, vector, m[k]);
        if constexpr (copies) store8(s.operands + first, count, vector, operand);
        ESPALIER_KERNEL_UNROLL
        for (int k = 0; k < sums; ++k)
            value(k, sum[k]);
    }
};

} // namespace detail

/// One chunk of one tensor without grouped penalties. `values`, when given, receives the chunk's value of penalty k at
/// values[k * value_stride], in a fixed order for tiles of 32 lanes; `of_scalars` likewise what its weights add to the
/// gradients of the map's trained numbers.
/// Floor (float, AdamW): 28 bytes a weight, + 1/8 for a mask, + 4 for a reference gradient, a separate operand copy or
/// each companion, + 0 for further penalties, transforms or prox.
template <class Tile, class Optimizer, class Rule, class Wide, class Narrow>
ESPALIER_FN void update_flat(Tile const& tile, Optimizer const& optimizer, Rule const& rule,
                             update_segment<Wide, Narrow> const& segment, update_context const& context, index_t chunk,
                             double* values, index_t value_stride, [[maybe_unused]] double* of_scalars = nullptr) {
    static_assert(!Rule::grouped, "espalier: a rule with grouped penalties runs as update_grouped");
    detail::update_lane<Optimizer, Rule, Wide, Narrow> const lane(optimizer, rule, segment, context, true);
    index_t const n = segment.rows * segment.columns;
    constexpr int scalars = espalier::detail::moved_scalars<Optimizer, Rule>;
    double sum[std::size_t{Rule::penalty_count + scalars + 1}] = {};
    constexpr int rounds = static_cast<int>(update_chunk / (octet * static_cast<index_t>(Tile::lanes)));
    ESPALIER_KERNEL_LOOP
    for (int i = 0; i < rounds; ++i) {
        index_t const first =
            chunk * update_chunk + (static_cast<index_t>(i) * Tile::lanes + tile.thread_rank()) * octet;
        if (first >= n) break;
        Wide w[octet];
        lane.run(
            first, count8(first, n), [](int, int) { return Wide(0); },
            [&](int k, Wide v) { sum[k] += static_cast<double>(v); }, w);
    }
    if constexpr (Rule::penalty_count > 0) {
        ESPALIER_KERNEL_UNROLL
        for (int k = 0; k < Rule::penalty_count; ++k) {
            double const total = tile.reduce_add(sum[k]);
            if (values && tile.thread_rank() == 0) values[k * value_stride] = total;
        }
    }
    ESPALIER_KERNEL_UNROLL
    for (int k = 0; k < scalars; ++k) {
        double const total = tile.reduce_add(sum[Rule::penalty_count + k]);
        if (tile.thread_rank() == 0) of_scalars[k * value_stride] = total;
    }
}

/// The segment of a group of a launch, from that of the first one; not for penalties over groups of weights.
template <class Wide, class Narrow>
ESPALIER_FN update_segment<Wide, Narrow> segment_of(update_segment<Wide, Narrow> s, live_groups const& live,
                                                    int group) {
    if (group == 0) return s;
    s.weights = live.tensor(s.weights, group);
    s.gradients = live.tensor(s.gradients, group);
    s.reference = live.tensor(s.reference, group);
    s.moments = live.tensor(s.moments, group);
    s.companions = s.companions ? s.companions + group * live.fixed : s.companions;
    s.operands = live.tensor(s.operands, group);
    s.mask = s.mask ? s.mask + group * live.mask_words : s.mask;
    s.values = live.term(s.values, group);
    s.scalars = live.tensor(s.scalars, group);
    s.scalar_gradients = live.tensor(s.scalar_gradients, group);
    s.site = live.site(s.site, group);
    return s;
}

/// One tensor, dealt in chunks to the tiles of a grid. `partial`: [penalties][chunks], or null; `of_scalars`:
/// [trained numbers][chunks].
template <class Block, class Optimizer, class Rule, class Wide, class Narrow>
ESPALIER_FN void update_tensor(Block const& block, Optimizer const& optimizer, Rule const& rule,
                               update_segment<Wide, Narrow> const& segment, update_context const& context,
                               double* partial, double* of_scalars = nullptr) {
    if (failed(context.error)) return;
    auto const tile = block.template tile<(Block::lanes < 32 ? Block::lanes : 32)>();
    index_t const chunks = update_chunks(segment.rows * segment.columns);
    for (index_t chunk = tile.group_rank(); chunk < chunks; chunk += tile.group_count())
        update_flat(tile, optimizer, rule, segment, context, chunk, partial ? partial + chunk : nullptr, chunks,
                    of_scalars ? of_scalars + chunk : nullptr);
}

/// Scratch of an update with grouped penalties.
template <class W> struct group_scratch {
    W* columns = nullptr;      ///< [strips][8 octets]: squares of new weights, when columns or the tensor are groups
    W* rows = nullptr;         ///< [rows][octets]: the same, when rows are
    double* values = nullptr;  ///< [penalties][strips x octets], or null
    double* scalars = nullptr; ///< [trained numbers of the map][strips x octets]
};

/// One tensor whose penalties or projections see norms of its rows, its columns or all of it. A thread updates eight
/// columns of a strip of rows and leaves the squares of the new weights, from which finish_rows and add_partial_rows
/// make the next norms. Floor: that of update_flat + 1/8 W a weight for each direction, written and read.
template <class Group, class Optimizer, class Rule, class Wide, class Narrow>
ESPALIER_FN void update_grouped(Group const& group, Optimizer const& optimizer, Rule const& rule,
                                update_segment<Wide, Narrow> const& segment, update_context const& context,
                                group_scratch<Wide> const& scratch) {
    if (failed(context.error)) return;
    constexpr int sets = Rule::group_sets;
    index_t const columns = segment.columns, octets = octets_of(columns);
    detail::update_lane<Optimizer, Rule, Wide, Narrow> const lane(optimizer, rule, segment, context,
                                                                  columns % octet == 0);
    strips const cut = strips_of(segment.rows);
    for (pair_walk at(grid_lane(group), grid_lanes(group), octets); at.line < cut.count; at.advance()) {
        index_t const c = at.place * octet, first = at.line * cut.height;
        index_t const last = first + cut.height < segment.rows ? first + cut.height : segment.rows;
        int const count = count8(c, columns);
        Wide column_norm[std::size_t{sets + 1}][std::size_t{octet}];
        ESPALIER_KERNEL_UNROLL
        for (int g = 0; g < sets; ++g)
            if (Rule::scope(g) == group_scope::columns)
                load8(segment.norms[g] + c, count, aligned16(segment.norms[g]), column_norm[g]);
        Wide column_square[octet] = {};
        constexpr int scalars = espalier::detail::moved_scalars<Optimizer, Rule>;
        double sum[std::size_t{Rule::penalty_count + scalars + 1}] = {};
        ESPALIER_KERNEL_LOOP
        for (index_t r = first; r < last; ++r) {
            Wide row_norm[std::size_t{sets + 1}];
            ESPALIER_KERNEL_UNROLL
            for (int g = 0; g < sets; ++g)
                row_norm[g] = Rule::scope(g) == group_scope::rows     ? segment.norms[g][r]
                              : Rule::scope(g) == group_scope::tensor ? segment.norms[g][0]
                                                                      : Wide(0);
            Wide w[octet];
            lane.run(
                r * columns + c, count,
                [&](int g, int j) { return Rule::scope(g) == group_scope::columns ? column_norm[g][j] : row_norm[g]; },
                [&](int k, Wide v) { sum[k] += static_cast<double>(v); }, w);
            Wide row_square(0);
            ESPALIER_KERNEL_UNROLL
            for (int j = 0; j < octet; ++j) {
                Wide const square = j < count ? w[j] * w[j] : Wide(0);
                column_square[j] += square;
                row_square += square;
            }
            if constexpr (Rule::groups_over(group_scope::rows)) scratch.rows[r * octets + at.place] = row_square;
        }
        if constexpr (Rule::groups_over(group_scope::columns) || Rule::groups_over(group_scope::tensor))
            store8(scratch.columns + at.line * octets * octet + c, octet, aligned16(scratch.columns), column_square);
        if (scratch.values) {
            ESPALIER_KERNEL_UNROLL
            for (int k = 0; k < Rule::penalty_count; ++k)
                scratch.values[(k * cut.count + at.line) * octets + at.place] = sum[k];
        }
        ESPALIER_KERNEL_UNROLL
        for (int k = 0; k < scalars; ++k)
            scratch.scalars[(k * cut.count + at.line) * octets + at.place] = sum[Rule::penalty_count + k];
    }
}

/// out[r] += the sum of row r of a matrix of partial sums. One tile of 32 lanes a row. Floor: W rows (columns + 2)
/// bytes.
template <class Block, class W>
ESPALIER_FN void add_row_sums(Block const& block, W const* partial, index_t rows, index_t columns, W* out,
                              error_word const* error) {
    if (failed(error)) return;
    auto const tile = block.template tile<(Block::lanes < 32 ? Block::lanes : 32)>();
    for (index_t r = tile.group_rank(); r < rows; r += tile.group_count()) {
        W sum(0);
        for (index_t c = tile.thread_rank(); c < columns; c += tile.size())
            sum += partial[r * columns + c];
        sum = tile.reduce_add(sum);
        if (tile.thread_rank() == 0) out[r] += sum;
    }
}

/// values[k] += the sum of `count` partial values of penalty k, by one block. `stride`: from one penalty to the next.
template <class Block>
ESPALIER_FN void add_penalty_values(Block const& block, double const* partial, int penalties, index_t count,
                                    index_t stride, double* values, error_word const* error) {
    if (failed(error)) return;
    for (int k = 0; k < penalties; ++k)
        sum_numbers(block, partial + k * stride, count, values + k, true);
}

} // namespace espalier::kernels
