// SPDX-License-Identifier: Apache-2.0
// What the types of a mixture say: how many of what there are, and how its experts may be run.
#pragma once

#include <espalier/core/layout.hpp>
#include <espalier/core/pairs.hpp>
#include <espalier/core/shape.hpp>
#include <espalier/core/view.hpp>
#include <espalier/gate/dispatch.hpp>
#include <espalier/layer/concept.hpp>
#include <espalier/layer/list.hpp>

namespace espalier::detail {

template <shape In, class Experts, class Dispatch, class... Routers> struct mixture_facts {
    using gates_type = layer_list<Routers...>;
    using experts_type = Experts;
    using dispatch_type = Dispatch;

    struct numbers {
        typename gates_type::numbers gates;
        typename experts_type::numbers experts;
    };

    static constexpr int tasks_count = sizeof...(Routers);
    static constexpr int experts = Experts::count;
    static constexpr index_t in = In.size();
    static constexpr index_t out = Experts::output.size();
    static constexpr index_t slots = (index_t{Routers::slots} + ...);
    /// Slots are their experts, in every row: then nobody needs the experts' numbers.
    static constexpr bool slot_is_expert = tasks_count == 1 && (... && Routers::slot_is_expert);
    static constexpr bool fills_all = (... || Routers::fills_all);
    static constexpr bool chooses_rows = (... || Routers::chooses_rows);
    static constexpr mixture_tasks tasks = [] {
        mixture_tasks t;
        int const widths[] = {Routers::slots...};
        t.count = tasks_count;
        for (int i = 0; i < tasks_count; ++i)
            t.first_slot[i + 1] = t.first_slot[i] + widths[i];
        return t;
    }();
    /// Numbers about the routing of a step: `measure_mixture` says which.
    static constexpr int measures = mixture_measures + experts;

    /// One expert and all experts. What is counted here does not depend on the type of the numbers.
    static constexpr footprint one = Experts::template before<float>(1);
    static constexpr footprint all = Experts::template before<float>(experts);

    /// Layers of the experts that make something of all their rows: a term of an activation penalty, running
    /// statistics, the routing of a mixture inside. A row that the gate did not send to an expert is none of its rows,
    /// so such experts run on gathered rows by every dispatch.
    static constexpr bool watches_rows =
        all.row_terms > 0 || all.learned_state + all.scattered_state > 0 || all.measures > 0;
    /// Layers that look at their rows together learn state from them, those that count them have measures.
    static constexpr bool blocks_fit = all.learned_state + all.scattered_state == 0 && all.measures == 0;
    static constexpr bool gathers = Dispatch::gathers || watches_rows;
    /// The experts see the tags of the rows that were gathered for them.
    static constexpr bool maps_tags = gathers && has(Experts::needs, need::tags);
    static constexpr bool automatic = dispatch::chooses<Dispatch> && !watches_rows;
    static constexpr bool limited = dispatch::limits<Dispatch>;
    static constexpr bool passes_rows = dispatch::passes_rows<Dispatch>;
    static constexpr bool in_chunks = dispatch::runs_in_chunks<Dispatch>;

    /// Rows that all experts together may get: one a pair, plus what rounding every block up may add.
    static constexpr extent pair_rows = [] {
        if (!gathers) return extent{experts, 0};
        index_t most = limited ? dispatch::capacity_per_row<Dispatch>(slots) : slots;
        if (most > experts || dispatch::chooses<Dispatch> || !Dispatch::gathers) most = experts;
        return extent{most, round_up(experts * (row_granule + 1), row_granule)};
    }();
    /// Those of which the experts keep something.
    static constexpr extent kept_rows = [] {
        if constexpr (in_chunks)
            if (Dispatch::kept_rows < pair_rows.per_row) return extent{Dispatch::kept_rows, 0};
        return pair_rows;
    }();
    /// Every expert may have a block of its own, as large as its capacity or with room for all rows.
    static constexpr bool room_for_all = limited || (!in_chunks && pair_rows.per_row >= experts);
    /// Experts whose rows may lie in one block for the pairs of all. Experts of different types keep different things
    /// of a row, and an activation penalty over columns keeps sums beside them.
    static constexpr bool share_block =
        gathers && !in_chunks && Experts::equal && Experts::template tape<float>().fixed == 0;
    /// Equal experts run together where the host cannot know their rows: each launch is for all of them, on windows in
    /// memory laid out for the pairs of all; without a capacity the experts' rows follow each other as the host would
    /// lay them out. Others run one after the other, each on a block of its own.
    template <class Device> static constexpr bool runs_together = !Device::host_memory && share_block && blocks_fit;
    /// Their updates do so whatever the dispatch, unless penalties over groups of weights share norms with others.
    template <class Device>
    static constexpr bool updates_together =
        !Device::host_memory && Experts::equal && blocks_fit && all.group_sets == 0;
};

/// What they say where the mixture runs: with a context's device and behaviour.
template <class Mixture, class Context> struct mixture_facts_in {
    using dispatch_type = typename Mixture::dispatch_type;
    static constexpr bool on_host = Context::device_type::host_memory;

    /// Where only the device counts the rows, layers that need their number run on all rows if the dispatch is dense:
    /// right when every row is sent everywhere.
    static constexpr bool gathers = Mixture::gathers && (dispatch_type::gathers || Mixture::blocks_fit || on_host);
    /// The host decides batch by batch.
    static constexpr bool chooses = Mixture::automatic && on_host;
    static constexpr bool sees_own_rows = gathers || !Mixture::watches_rows || Mixture::fills_all;
    static constexpr bool runs = gathers ? on_host || (Mixture::blocks_fit && !Mixture::in_chunks &&
                                                       (Mixture::room_for_all || Mixture::share_block))
                                         : sees_own_rows;
    /// Slots may find no room in this behaviour.
    static constexpr bool bounded = dispatch::limits_in<dispatch_type>(Context::behaviour);

    /// Where the host cannot know how many rows an expert gets, the experts run on as many as the device has counted.
    /// With a capacity they run on whole blocks of that size, by the products of the library: places that got no row
    /// hold zeros, their outputs are read by nobody and their gradients are zero. Only an expert with a term over its
    /// rows, an activation penalty, must know which places are rows, and runs on what was counted too.
    static constexpr bool in_blocks = gathers && !on_host;
    static constexpr bool counts_on_device = in_blocks && (!bounded || Mixture::all.row_terms > 0);
    static constexpr bool together = Mixture::template runs_together<typename Context::device_type>;

    /// Rows of an expert's block for a batch of n.
    static constexpr index_t block_rows(index_t n) {
        if constexpr (Mixture::limited) {
            index_t const most = dispatch_type::capacity_of(Mixture::slots, n, Mixture::experts);
            return round_up(most < n ? most : n, row_granule);
        } else {
            return round_up(n, row_granule);
        }
    }
    static pair_plan plan_for(index_t rows_of_batch, index_t capacity) {
        pair_plan plan;
        plan.experts = Mixture::experts;
        plan.granule = row_granule;
        plan.shared = Mixture::tasks_count > 1;
        if constexpr (bounded)
            plan.capacity = dispatch_type::capacity_of(Mixture::slots, rows_of_batch, Mixture::experts);
        if constexpr (in_blocks) {
            plan.block = together && !bounded ? 0 : block_rows(capacity);
            if (plan.capacity > block_rows(rows_of_batch)) plan.capacity = block_rows(rows_of_batch);
        }
        return plan;
    }
    /// Rows of a batch whose slots are sure to find room, where no capacity holds them back and the memory is that of
    /// one.
    static index_t rows_at_once(index_t capacity) {
        if constexpr (!Mixture::limited || bounded) return capacity;
        if constexpr (in_blocks && !together) return block_rows(capacity);
        index_t const most = Mixture::slots < Mixture::experts ? Mixture::slots : Mixture::experts; // of one row
        index_t const fit = Mixture::pair_rows.per_row * capacity / most;
        return fit < 1 ? 1 : fit; // what is there for rounding has room for one row whatever its slots
    }
};

} // namespace espalier::detail
