// SPDX-License-Identifier: Apache-2.0
// How rows reach the experts of a mixture.
#pragma once

#include <espalier/core/context.hpp>
#include <espalier/core/diagnostic.hpp>
#include <espalier/core/exact_count.hpp>
#include <espalier/core/fields.hpp>
#include <espalier/core/view.hpp>
#include <espalier/gate/axis.hpp>

#include <string_view>

namespace espalier::dispatch {

/// Every expert runs on every row; weights of 0 remove what was not wanted. Right while most slots are filled. Rows of
/// weight 0 count nowhere: experts whose layers make something of all their rows (an activation penalty, running
/// statistics, a mixture inside) run on the rows that the gate sent to them, gathered as compacted does it.
struct dense {
    using axis = espalier::axis::dispatch;
    static constexpr std::string_view name = "dense";
    static constexpr bool gathers = false;
};

/// The rows of each expert are counted, gathered (in row order) and run together; outputs are combined in slot order.
/// Work is proportional to the filled slots.
struct compacted {
    using axis = espalier::axis::dispatch;
    static constexpr std::string_view name = "compacted";
    static constexpr bool gathers = true;
};

/// As compacted, with less memory: what the experts keep of their rows for the way back has room for `Rows` rows for
/// each row of the batch. Experts whose rows do not fit beside those before them begin the next chunk, which takes the
/// place of the last one; on the way back every chunk is run forward once more, so a batch of one chunk costs what
/// compacted does and one of several a further forward pass. Results are those of compacted, bit for bit. The experts'
/// outputs stay: mixing them in slot order needs all of them. For gates that start with most experts and become sparse
/// (COMET, DSelect-k), where room for the worst batch is Rows / experts of what is kept too much.
template <int Rows = 1> struct chunked {
    static_assert(diagnostic::holds<(Rows >= 1), diagnostic::given<Rows>>,
                  "espalier: dispatch::chunked<rows> needs room for at least 1 row for each row of the batch, because "
                  "one expert may get them all; the next line names the number given");
    using axis = espalier::axis::dispatch;
    static constexpr std::string_view name = "chunked";
    static constexpr bool gathers = true;
    static constexpr int kept_rows = Rows;
    static constexpr auto numbers = fields<&chunked::kept_rows>;
};

/// What happens to a slot whose expert is full.
enum class overflow {
    drop, ///< nothing is added for it; a residual connection around the mixture keeps the row (Fedus et al. 2022)
    pass, ///< the row itself takes the place of the expert's output; input and output must be equally wide
};

/// When a capacity bounds the rows of an expert.
enum class bounds_rows {
    in_training, ///< in evaluation every slot that the gate fills is served, so a row's output is its own affair
    always,      ///< in evaluation too: what a row gets depends on the others of its batch
};

/// As compacted, but in training an expert takes at most ceil(Factor * slots * rows / experts) rows of a batch: first
/// the first choices of all rows, in row order, then the second ones (Lepikhin et al. 2021, GShard, section 2.2; Fedus
/// et al. 2022, Switch Transformers, section 2.2). What is left over follows `Overflow`; weights are not normalised
/// anew. Work in training, and memory, are bounded by Factor * slots * rows whatever the gate does; a batch whose slots
/// do not fit in evaluation goes through in parts. `measures` tell the share that was dropped.
template <double Factor, overflow Overflow = overflow::drop, bounds_rows When = bounds_rows::in_training>
struct capacity {
    static_assert(diagnostic::holds<(Factor > 0.0 && Factor < 1e6), diagnostic::given<Factor>>,
                  "espalier: the factor of dispatch::capacity must be above 0: it is how many times an even share of "
                  "the slots an expert takes at most; the next line names the one given");
    using axis = espalier::axis::dispatch;
    static constexpr std::string_view name = Overflow == overflow::drop ? "capacity" : "capacity, passing";
    static constexpr bool gathers = true;
    static constexpr overflow on_overflow = Overflow;
    static constexpr double factor = Factor;
    static constexpr auto numbers = fields<&capacity::factor>;
    static constexpr bool bounds_evaluation = When == bounds_rows::always;

    /// Most rows of an expert, at least 1. Factor is the decimal number it was written as (core/exact_count.hpp).
    static constexpr index_t capacity_of(index_t slots, index_t rows, index_t experts) {
        index_t const up = ceil_of_product(Factor, slots * rows, experts);
        return up < 1 ? 1 : up;
    }
};

/// Dense or compacted, whichever the last batches needed: dense once more than `High` of all (row, expert) places are
/// filled, compacted again below `Low`. Results are those of either; gates that start dense and become sparse (COMET,
/// DSelect-k) gain. What was counted on one batch decides for that batch, on the host. Experts whose layers make
/// something of all their rows are never run dense.
template <double Low = 0.45, double High = 0.6> struct automatic {
    static_assert(
        diagnostic::holds<(Low >= 0.0 && Low <= High && High <= 1.0), diagnostic::given<Low>, diagnostic::needed<High>>,
        "espalier: dispatch::automatic<low, high> needs 0 <= low <= high <= 1, shares of the places that are "
        "filled; the next lines name the low and the high one given");
    using axis = espalier::axis::dispatch;
    static constexpr std::string_view name = "automatic";
    static constexpr bool gathers = true;
    static constexpr double low = Low, high = High;
    static constexpr auto numbers = fields<&automatic::low, &automatic::high>;

    static constexpr bool dense_for(index_t filled, index_t places, bool dense_now) {
        double const density = places > 0 ? static_cast<double>(filled) / static_cast<double>(places) : 0.0;
        return density > (dense_now ? Low : High);
    }
};

/// Whether a dispatch bounds the rows of an expert.
template <class D> inline constexpr bool limits = requires {
    D::on_overflow;
};
/// Whether it leaves slots unserved in that behaviour.
template <class D> consteval bool limits_in(mode behaviour) {
    if constexpr (limits<D>)
        return behaviour == mode::train || D::bounds_evaluation;
    else
        return false;
}
/// Whether it decides batch by batch between dense and gathered rows.
template <class D> inline constexpr bool chooses = requires {
    D::dense_for(index_t{1}, index_t{1}, false);
};

/// Whether experts run in parts that share memory.
template <class D> inline constexpr bool runs_in_chunks = requires {
    D::kept_rows;
};

/// The value of `passes_rows`.
template <class D> consteval bool find_passing() {
    if constexpr (limits<D>)
        return D::on_overflow == overflow::pass;
    else
        return false;
}
/// Whether a row that finds no room goes on unchanged.
template <class D> inline constexpr bool passes_rows = find_passing<D>();

/// Rows of all experts for one row of a batch, at most, rounded up.
template <class D> constexpr index_t capacity_per_row(index_t slots) {
    if constexpr (limits<D>)
        return D::capacity_of(slots, 1, 1);
    else
        return slots;
}

} // namespace espalier::dispatch
